"""Devices that count what they spend without a connection, and tills that number what they accept.

For tests of the store: what real phones sign is made up here, field by field, without a signature. What a
till seals is really sealed, with nothing but the claim's digest and the credential's tag in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.merchants.model import TerminalStatus
from gateway.offline.model import CredentialWish, SealedPayment, TapClaim
from wire import es256
from wire.money import Money, find_currency
from wire.tokens.offline_record import FIRST_LINK, OfflineRecord, link_of, seal_offline_record

if TYPE_CHECKING:
    from gateway.offline.model import Credential
    from gateway.storage.store import Store
    from tests.conftest import Shop

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SEALING_KEY = ec.derive_private_key(0x5EA1, ec.SECP256R1())
"""Of all tills: what becomes of records is tested here, not who sealed them."""


@dataclass
class Device:
    """A phone: its key, its counter, and what it has spent under the credential it holds."""

    number: int
    instrument_id: str
    key_id: bytes
    counter: int = 0
    total_minor: int = 0
    tag: bytes = b""
    allowance_minor: int = 0

    def wish(self, number: int, allowance_minor: int, now_ms: int) -> CredentialWish:
        """Ask for the number's credential of this phone."""
        credential_id = f"0CREDENT{self.number:06d}{number:012d}"
        return CredentialWish(
            credential_id=credential_id,
            request_digest=hashlib.sha256(f"{credential_id} {allowance_minor}".encode()).digest(),
            instrument_id=self.instrument_id,
            tag=hashlib.sha256(credential_id.encode()).digest()[:8],
            allowance_minor=allowance_minor,
            per_payment_minor=allowance_minor,
            issued_ms=now_ms,
            expires_ms=now_ms + 7 * DAY_MS,
            ends_ms=now_ms + 14 * DAY_MS,
        )

    async def get_credential(
        self, store: Store, allowance_minor: int, now_ms: int, number: int = 1
    ) -> Credential:
        """Have a credential issued, and hold it."""
        issued = await store.issue_credential(self.wish(number, allowance_minor, now_ms))
        self.tag, self.allowance_minor, self.total_minor = issued.tag, issued.allowance_minor, 0
        return issued

    def tap(self, amount_minor: int) -> TapClaim:
        """Sign for an amount, as the real one does: what passes the allowance is refused."""
        assert self.total_minor + amount_minor <= self.allowance_minor, "the device refuses"
        self.total_minor += amount_minor
        self.counter += 1
        return self.claim()

    def claim(self, words: str = "") -> TapClaim:
        """Sign under the counter and total as they are."""
        said = f"{self.key_id.hex()} {self.counter} {self.total_minor} {words}"
        digest = hashlib.sha256(said.encode()).digest()
        return TapClaim(self.instrument_id, self.key_id, self.counter, digest, self.total_minor, self.tag)

    def copy(self) -> Device:
        """Return the phone as an attacker reads it out, to count on by itself."""
        return replace(self)


@dataclass
class Till:
    """A till that seals; `sealed` is its chain."""

    terminal_id: str
    merchant_id: str
    now_ms: int
    sealed: list[SealedPayment] = field(default_factory=list)

    def accept(self, claim: TapClaim | None, amount_minor: int, **changes: object) -> SealedPayment:
        """Seal a tap as the next record."""
        sequence = len(self.sealed) + 1
        place = f"{self.terminal_id} {sequence}"
        number = int(self.terminal_id[-2:]) * 1_000 + sequence
        payment = SealedPayment(
            payment_id=f"0SEA1ED0{number:018d}",
            terminal_id=self.terminal_id,
            merchant_id=self.merchant_id,
            sequence=sequence,
            link=b"",
            previous_link=self.sealed[-1].link if self.sealed else FIRST_LINK,
            sealed=b"",
            attempt_id=f"0ATTSEAD{number:018d}",
            order_id=f"offline-{place.replace(' ', '-')}",
            amount_minor=amount_minor,
            currency="EUR",
            accepted_ms=self.now_ms,
            list_issued_s=self.now_ms // 1000 - 60,
            refusal=None,
            claim=claim,
            now_ms=self.now_ms + HOUR_MS,
        )
        self.sealed.append(_seal(msgspec.structs.replace(payment, **changes)))
        return self.sealed[-1]


def _seal(payment: SealedPayment) -> SealedPayment:
    """Return a record with its sealed bytes and their link."""
    claim = payment.claim
    record = OfflineRecord(
        sequence=payment.sequence,
        previous_link=payment.previous_link,
        attempt_id=payment.attempt_id,
        order_id=payment.order_id,
        amount=Money(payment.amount_minor, find_currency(payment.currency)),
        accepted_ms=payment.accepted_ms,
        clock_set_ms=payment.accepted_ms,
        list_issued_s=payment.list_issued_s,
        token=b"no token" if claim is None else claim.claims_digest,
        credential=b"no credential" if claim is None else claim.credential_tag,
    )
    sealed = seal_offline_record(record, SEALING_KEY)
    return msgspec.structs.replace(payment, sealed=sealed, link=link_of(sealed))


@dataclass
class OfflineWorld:
    """The shop's wallet with as many phones, and the shop with as many tills, as a test asks for."""

    store: Store
    shop: Shop

    async def device(self, number: int = 1) -> Device:
        """The shop's phone for 1, another one of the same wallet for every other number."""
        instrument = self.shop.instrument
        if number > 1:
            key = ec.derive_private_key(0xD0_0000 + number, ec.SECP256R1()).public_key()
            instrument = replace(
                instrument,
                instrument_id=f"INSTRUMENT{number}",
                key_id=es256.key_id_of(key),
                public_key=es256.dump_public_key(key),
            )
            await self.store.add_instrument(instrument)
        return Device(number, instrument.instrument_id, instrument.key_id)

    async def till(self, number: int = 1) -> Till:
        """The shop's till for 1, another one of the same merchant for every other number."""
        shop = self.shop
        terminal_id = f"TERMNA{number:02d}"
        if number > 1:
            terminal = replace(shop.terminal, terminal_id=terminal_id, status=TerminalStatus.PENDING)
            code_hash = hashlib.sha256(terminal_id.encode()).digest()
            await self.store.add_terminal(terminal, code_hash, shop.now_ms + 60_000)
            key = ec.derive_private_key(0x7E_0000 + number, ec.SECP256R1()).public_key()
            await self.store.enrol_terminal(
                code_hash, es256.key_id_of(key), es256.dump_public_key(key), "test", shop.now_ms
            )
        return Till(terminal_id, shop.merchant.merchant_id, shop.now_ms)
