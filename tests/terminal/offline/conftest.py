"""A till that knows its issuer, and phones with credentials, at one fixed moment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import settings

from terminal.offline.queue import AcceptedPayment
from terminal.offline.rules import OfflineSale, Trust
from wire import es256
from wire.cards.payment_terms import QUALIFIERS_OFFLINE, PaymentTerms
from wire.es256 import PrivateKey
from wire.ids import make_ulid
from wire.messages.offline import OfflineRules
from wire.money import Money, find_currency
from wire.tokens.credential import CredentialClaims, mint_credential
from wire.tokens.nfc_token import mint_nfc_token
from wire.tokens.status_list import StatusList, make_status_list

# Property tests judge results, not times: a busy machine must not fail them.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EUR = find_currency("EUR")
MERCHANT_ID = "MERCHANT0000001"
TERMINAL_ID = "TERM0001"
ISSUER_KEY = ec.derive_private_key(0x155E, ec.SECP256R1())
TERMINAL_KEY = ec.derive_private_key(0x7E21, ec.SECP256R1())
RULES = OfflineRules(
    currency="EUR",
    floor_minor=1_500,
    device_total_minor=2_500,
    stored_sum_minor=50_000,
    stored_count=200,
    list_age_ms=DAY_MS,
    clock_age_ms=DAY_MS,
    record_age_ms=7 * DAY_MS,
)
STATUS_LIST = make_status_list(NOW_MS // 1000 - 600, 900, [13])


def sale_of(amount_minor: int) -> OfflineSale:
    return OfflineSale(Money(amount_minor, EUR), MERCHANT_ID, TERMINAL_ID)


def trust(
    *,
    rules: OfflineRules | None = RULES,
    status_list: StatusList | None = STATUS_LIST,
    clock_set_ms: int | None = NOW_MS - HOUR_MS,
    issuers: tuple[PrivateKey, ...] = (ISSUER_KEY,),
) -> Trust:
    keys = {es256.key_id_of(key.public_key()): key.public_key() for key in issuers}
    return Trust(keys, rules, status_list, clock_set_ms)


def rules(**changes: object) -> OfflineRules:
    return msgspec.structs.replace(RULES, **changes)


@dataclass
class OfflinePhone:
    """Signs what a test asks for, honest or not."""

    number: int = 1
    issuer: PrivateKey = ISSUER_KEY
    changes: dict[str, object] = field(default_factory=dict)

    @property
    def key(self) -> PrivateKey:
        return ec.derive_private_key(0xD0_0000 + self.number, ec.SECP256R1())

    @property
    def key_id(self) -> bytes:
        return es256.key_id_of(self.key.public_key())

    @property
    def claims(self) -> CredentialClaims:
        claims = CredentialClaims(
            credential_id=self.number.to_bytes(8, "big"),
            issued_s=NOW_MS // 1000 - 86_400,
            expires_s=NOW_MS // 1000 + 86_400,
            device_public_key=es256.dump_public_key(self.key.public_key()),
            status_index=self.number + 100,
            per_payment_minor=2_000,
            allowance=Money(5_000, EUR),
        )
        return replace(claims, **self.changes)

    @property
    def credential(self) -> bytes:
        return mint_credential(self.claims, self.issuer)

    def tap(
        self,
        amount_minor: int = 1_000,
        *,
        counter: int = 1,
        total_minor: int | None = None,
        key: PrivateKey | None = None,
        **terms: object,
    ) -> bytes:
        signed = PaymentTerms(
            amount=Money(amount_minor, EUR),
            nonce=bytes(8),
            merchant_id=MERCHANT_ID,
            terminal_id=TERMINAL_ID,
            at_s=NOW_MS // 1000 - 1,
            qualifiers=QUALIFIERS_OFFLINE,
        )
        block = msgspec.structs.replace(signed, **terms).encode()
        total_minor = amount_minor if total_minor is None else total_minor
        return mint_nfc_token(block, counter, bytes(4), key or self.key, running_total_minor=total_minor)


def payment(number: int, phone: OfflinePhone | None = None, *, amount_minor: int = 1_000) -> AcceptedPayment:
    """The number's payment: each of its own phone unless one is given, which then counts on."""
    by = phone or OfflinePhone(number)
    counter = number if phone else 1
    return AcceptedPayment(
        attempt_id=make_ulid(NOW_MS + number, bytes(10)),
        order_id=f"order-{number}",
        amount=Money(amount_minor, EUR),
        accepted_ms=NOW_MS + number,
        clock_set_ms=NOW_MS - HOUR_MS,
        list_issued_s=STATUS_LIST.issued_s,
        token=by.tap(amount_minor, counter=counter, total_minor=amount_minor * counter),
        credential=by.credential,
    )


@pytest.fixture
def phone() -> OfflinePhone:
    return OfflinePhone()
