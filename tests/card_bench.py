"""A gateway's card services over a store, and a simulated chip that is held to them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gateway.cards.orders import CardOrderService
from gateway.cards.sessions import CardSessionService
from gateway.holders.service import HolderService
from gateway.merchants.model import EnrolledTerminal
from gateway.merchants.staff import StaffService
from gateway.payments.bell import TerminalBell
from gateway.payments.card_keys import CardKeyRing
from gateway.payments.life_service import PaymentLifeService
from gateway.pins import PinHasher
from gateway.storage.store import Store
from gateway.vault import Vault
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import Ntag424Memory, deliver_chip
from wire.cards.dialogue import hold_dialogue
from wire.cards.ndef import parse_uri_message, read_ndef_message
from wire.cards.ntag424.link import SunLink, parse_sun_url
from wire.ids import make_ulid
from wire.messages.cards import (
    CardAnswerRequest,
    CardPurpose,
    CardSessionAnswer,
    CardSessionRequest,
)

NOW_MS = 1_800_014_400_000
LINK_BASE = "https://pay.example.com/t"
UID = bytes.fromhex("04112233445566")
ASKED_MAX = 400


@dataclass
class CardBench:
    """What the tests of cards work with; `service` may be another process's from one step to the next."""

    store: Store
    terminal: EnrolledTerminal
    seed: int
    rng: random.Random = field(init=False)
    vault: Vault = field(init=False)
    now_ms: int = NOW_MS

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.vault = Vault(b"v" * 32, draw_nonce=self.rng.randbytes)
        self.holders = HolderService(self.store, self.vault, self.rng.randbytes)
        self.orders = CardOrderService(self.store, self.vault, self.rng.randbytes)
        self.service = self.make_service(self.store)

    def make_service(self, store: Store) -> CardSessionService:
        """Return the service of one more process on the same database."""
        orders = CardOrderService(store, self.vault, self.rng.randbytes)
        pins = PinHasher(b"p" * 32)
        staff = StaffService(store, pins, CardKeyRing(store, self.vault), self.rng.randbytes)
        lives = PaymentLifeService(store, staff, pins, TerminalBell(), self.rng.randbytes)
        return CardSessionService(store, self.vault, orders, lives, self.rng.randbytes, link_base=LINK_BASE)

    async def furnish(self) -> str:
        """Store one batch of keys and a wallet, and return the wallet's id."""
        await self.add_keys(1)
        wallet = await self.holders.add_wallet("Ada", "EUR", now_ms=self.now_ms)
        return wallet.wallet_id

    async def add_keys(self, key_version: int, batch: int = 1) -> None:
        """Store keys that only the batch and the version decide."""
        meta, master = keys_of_batch(batch, key_version)
        await self.holders.add_card_key_batch(
            batch, meta, master, key_version=key_version, now_ms=self.now_ms
        )

    async def order(self, wallet_id: str, **terms: object) -> str:
        """Order a card, and return its code."""
        batch, label = terms.get("batch"), terms.get("label")
        issued = await self.orders.order(wallet_id, batch, label, now_ms=self.now_ms)  # type: ignore[arg-type]
        return issued.code

    def new_id(self) -> str:
        """Return an id never used before."""
        return make_ulid(self.now_ms, self.rng.randbytes(10))

    async def begin(
        self, purpose: CardPurpose, code: str | None = None, payment_id: str | None = None
    ) -> CardSessionAnswer:
        """Begin a conversation."""
        request = CardSessionRequest(
            session_id=self.new_id(), purpose=purpose, code=code, payment_id=payment_id
        )
        return await self.service.begin(request, self.terminal, now_ms=self.now_ms)

    async def answer(self, asked: CardSessionAnswer, answer: bytes) -> CardSessionAnswer:
        """Hand in what the card said."""
        request = CardAnswerRequest(answer_id=self.new_id(), step=asked.step, answer=answer)
        return await self.service.take_answer(asked.session_id, request, self.terminal, now_ms=self.now_ms)

    async def hold(
        self,
        card: Ntag424Card,
        purpose: CardPurpose,
        code: str | None = None,
        payment_id: str | None = None,
    ) -> CardSessionAnswer:
        """Hold a card to the reader until the conversation is over; what tears the card passes through."""
        card.power_on()
        try:
            asked = await self.begin(purpose, code, payment_id)
            for _ in range(ASKED_MAX):
                if asked.command is None:
                    return asked
                asked = await self.answer(asked, card.transmit(asked.command))
        finally:
            card.power_off()
        raise AssertionError("the conversation never ends")


def keys_of_batch(batch: int, key_version: int) -> tuple[bytes, bytes]:
    """Return the meta key and the file master that `add_keys` stores."""
    return bytes((batch, key_version)) * 8, bytes((batch, key_version, 0xF1, 0x1E)) * 4


def make_chip(seed: int, uid: bytes = UID) -> Ntag424Card:
    """Return a chip as delivered."""
    return Ntag424Card(deliver_chip(uid), rng=random.Random(seed))


def chip_of(memory: Ntag424Memory, seed: int) -> Ntag424Card:
    """Return a chip with a copy of a memory."""
    return Ntag424Card(memory.copy(), rng=random.Random(seed))


def read_link(card: Ntag424Card) -> SunLink:
    """Tap a card and return its link."""
    card.power_on()
    try:
        return parse_sun_url(parse_uri_message(hold_dialogue(read_ndef_message(), card.transmit)))
    finally:
        card.power_off()
