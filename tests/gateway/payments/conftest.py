"""A payer at a counter: what can be presented there, and the service that decides about it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.holders.model import CardKeyBatch, Instrument, InstrumentKind
from gateway.merchants.model import EnrolledTerminal
from gateway.payments.model import Refused, Verified
from gateway.payments.service import PaymentService
from gateway.payments.verify import Verifier
from gateway.storage.sqlite.store import SqliteStore, open_sqlite_store
from gateway.vault import Vault, file_master_purpose, meta_key_purpose
from wire.cards.ntag424.keys import card_key_id, diversify_file_key
from wire.cards.ntag424.link import PiccData, seal_picc_data, sun_mac
from wire.cards.payment_terms import PaymentTerms
from wire.codes.numeric import make_numeric_code
from wire.ids import make_ulid
from wire.messages.payments import (
    CodeNumericPresentation,
    NfcAppPresentation,
    NfcSdmPresentation,
    PaymentAnswer,
    PaymentRequest,
    Presentation,
    QrConsumerPresentation,
)
from wire.money import Money, find_currency
from wire.tokens.nfc_token import mint_nfc_token
from wire.tokens.qr_token import QrTokenClaims, mint_qr_token

if TYPE_CHECKING:
    from tests.conftest import Shop

EUR = find_currency("EUR")
AMOUNT_MINOR = 1_250
CARD_UID = bytes.fromhex("04112233445566")


@dataclass
class CheckoutCounter:
    """One till, one service, and a payer with a phone, an applet card and an NTAG 424 card."""

    store: SqliteStore
    shop: Shop
    terminal: EnrolledTerminal
    vault: Vault
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.service = PaymentService(self.store, self.vault)
        self.verifier = Verifier(self.store, self.vault)

    def request(self, presentation: Presentation, **changes: object) -> PaymentRequest:
        """A fresh attempt of a fresh order."""
        values = {
            "attempt_id": self.ulid(),
            "order_id": f"order-{next(self.numbers)}",
            "amount_minor": AMOUNT_MINOR,
            "currency": "EUR",
            "presentation": presentation,
            "presented_ms": self.shop.now_ms,
        }
        return PaymentRequest(**(values | changes))

    async def pay(self, presentation: Presentation, **changes: object) -> PaymentAnswer:
        return await self.send(self.request(presentation, **changes))

    async def send(self, request: PaymentRequest, now_ms: int | None = None) -> PaymentAnswer:
        return await self.service.pay(
            request, self.terminal, payment_id=self.ulid(), now_ms=now_ms or self.shop.now_ms
        )

    async def verify(self, presentation: Presentation, **changes: object) -> Verified | Refused:
        request = self.request(presentation, **changes)
        return await self.verifier.verify(request, self.terminal, now_ms=self.shop.now_ms)

    def ulid(self) -> str:
        return make_ulid(self.shop.now_ms, next(self.numbers).to_bytes(10, "big"))

    def terms(self, **changes: object) -> PaymentTerms:
        terms = PaymentTerms(
            amount=Money(AMOUNT_MINOR, EUR),
            nonce=next(self.numbers).to_bytes(8, "big"),
            merchant_id=self.shop.merchant.merchant_id,
            terminal_id=self.shop.terminal.terminal_id,
            at_s=self.shop.now_ms // 1000,
        )
        return msgspec.structs.replace(terms, **changes)

    def tap(self, *, counter: int = 1, private_key: object = None, **changes: object) -> NfcAppPresentation:
        key = private_key or self.shop.phone_key
        return NfcAppPresentation(
            token=mint_nfc_token(self.terms(**changes).encode(), counter, bytes(4), key)
        )

    def qr(
        self,
        *,
        counter: int = 1,
        age_s: int = 0,
        life_s: int = 60,
        cap: Money | None = None,
        key: object = None,
    ) -> QrConsumerPresentation:
        issued_s = self.shop.now_ms // 1000 - age_s
        claims = QrTokenClaims(bytes(8), issued_s, issued_s + life_s, cap or Money(5_000, EUR), counter)
        return QrConsumerPresentation(token=mint_qr_token(claims, key or self.shop.phone_key))

    async def add_batch(self, number: int) -> tuple[bytes, bytes]:
        meta_key, file_master = bytes((number,)) * 16, bytes((number + 100,)) * 16
        batch = CardKeyBatch(
            batch_number=number,
            key_version=1,
            meta_key_sealed=self.vault.seal(meta_key, meta_key_purpose(number, 1)),
            file_master_sealed=self.vault.seal(file_master, file_master_purpose(number, 1)),
            created_ms=self.shop.now_ms,
        )
        await self.store.add_card_key_batch(batch)
        return meta_key, file_master

    async def add_card(self, batch: int, file_master: bytes, uid: bytes = CARD_UID) -> Instrument:
        card = replace(
            self.shop.instrument,
            instrument_id="CARD1",
            kind=InstrumentKind.NTAG424_CARD,
            label="Card ·· 0007",
            key_id=card_key_id(file_master, uid),
            public_key=None,
            card_key_batch=batch,
            card_key_version=1,
        )
        await self.store.add_instrument(card)
        return card

    async def code(
        self, instrument_id: str = "INSTRUMENT1", life_ms: int = 60_000
    ) -> CodeNumericPresentation:
        code = make_numeric_code(f"{next(self.numbers):015d}")
        now_ms = self.shop.now_ms
        await self.store.add_payment_code(self.vault.hash_code(code), instrument_id, now_ms + life_ms, now_ms)
        return CodeNumericPresentation(code=code)


def link(meta_key: bytes, file_master: bytes, counter: int = 1, uid: bytes = CARD_UID) -> NfcSdmPresentation:
    """What the chip writes into its link at its `counter`th tap."""
    picc = PiccData(uid, counter)
    mac = sun_mac(diversify_file_key(file_master, uid), picc)
    return NfcSdmPresentation(
        picc_data_hex=seal_picc_data(picc, bytes(5), meta_key).hex().upper(), mac_hex=mac.hex().upper()
    )


@pytest.fixture
async def counter(tmp_path: Path, shop: Shop) -> AsyncIterator[CheckoutCounter]:
    store = await open_sqlite_store(tmp_path / "store.sqlite3")
    terminal = await shop.furnish(store)
    yield CheckoutCounter(store, shop, terminal, Vault(bytes(range(32))))
    await store.close()


@pytest.fixture
def make_link() -> object:
    return link
