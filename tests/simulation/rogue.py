"""A till that is enrolled and runs software of its own: it seals what it likes, and hands that in.

People hold their phones to it as to any other till that says it is offline. What it seals is a lie in one way
or another, or none; the gateway has to tell.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulators.auditor.witness.offline.evidence import OfflineEvidence
from simulators.cards.payment_card import PaymentCard
from simulators.seeds import make_rng
from terminal.errors import CardRemoved
from terminal.presentations import Presented
from terminal.readers.card_meeting import meet_card
from tests.simulation.counter import Counter
from tests.simulation.people import Hands, Thing, read_tap, use_of
from tests.simulation.tapping import CardInField
from tests.simulation.town import EURO, TillFacts
from wire.cards.payment_terms import NONCE_BYTES, QUALIFIERS_OFFLINE, PaymentTerms
from wire.codes.scanned import recognise
from wire.messages.offline import BatchRequest
from wire.messages.payments import NfcAppPresentation, PaymentRequest, QrConsumerPresentation
from wire.money import Money
from wire.tokens.offline_record import FIRST_LINK, OfflineRecord, link_of, seal_offline_record

if TYPE_CHECKING:
    from tests.simulation.world import World

BATCHES_MAX = 4
HUGE = Money(1_000_000, EURO)
SENDS_MAX = 6


@dataclass(frozen=True)
class RogueMachine:
    """What a counter needs of a till; it has the right time."""

    name: str
    facts: TillFacts
    true_ms: Callable[[], int]

    def now_ms(self) -> int:
        """Return unix milliseconds."""
        return self.true_ms()


class RogueTill:
    """Collects taps, makes records of them, and hands them in."""

    def __init__(self, world: World, evidence: OfflineEvidence, facts: TillFacts, hands: Hands) -> None:
        self._world = world
        self._evidence = evidence
        self._facts = facts
        self._hands = hands
        assert world.offline is not None
        self._note_batch = world.offline.note_batch
        self._rng = make_rng(world.seed, "rogue till")
        self._counter = Counter(world, RogueMachine("rogue", facts, world.true_ms))
        # It reads no events.
        del world.evidence.dealings.events[facts.enrolment.terminal_id]
        evidence.rogues.add(facts.enrolment.terminal_id)
        self._sequence, self._link = 0, FIRST_LINK
        self._last: OfflineRecord | None = None

    async def work(self, draw_thing: Callable[[], Thing | None]) -> None:
        """Seal and hand in, now and again."""
        world, rng = self._world, self._rng
        for _ in range(rng.randint(1, BATCHES_MAX)):
            await asyncio.sleep(rng.uniform(4, 25))
            if world.dice.is_healed:
                return
            records = []
            for _ in range(rng.randint(1, 4)):
                thing = draw_thing()
                tapped = None if thing is None else self._have_tapped(thing)
                if tapped is not None:
                    records += await self._make_records(tapped)
            if records:
                await self._hand_in(records)

    def _have_tapped(self, thing: Thing) -> tuple[Money, bytes, bytes] | None:
        """Have a phone sign for an amount; now and then it is one that signs anything."""
        rng, now_ms = self._rng, self._world.true_ms()
        amount, card, is_lax = Money(rng.randint(50, 900), EURO), thing.card, rng.random() < 0.25
        assert isinstance(card, PaymentCard)
        if is_lax and card.allowance is not None:
            card = card.clone()
            assert card.allowance is not None
            amount = Money(rng.randint(50, 3_000), EURO)
            card.allowance.claims = replace(
                card.allowance.claims, per_payment_minor=HUGE.minor, allowance=HUGE
            )
        enrolment = self._facts.enrolment
        terms = PaymentTerms(
            amount=amount,
            nonce=rng.randbytes(NONCE_BYTES),
            merchant_id=enrolment.merchant_id,
            terminal_id=enrolment.terminal_id,
            at_s=now_ms // 1000,
            qualifiers=QUALIFIERS_OFFLINE,
        )
        card.power_on()
        event: object = None
        with contextlib.suppress(CardRemoved):
            event = meet_card(
                CardInField(card, None), lambda: terms, reader="rogue", noticed_ns=0, monotonic_ns=lambda: 0
            )
        card.power_off()
        if not isinstance(event, Presented) or event.credential is None:
            return None
        assert isinstance(event.presentation, NfcAppPresentation)
        assert thing.instrument_id is not None
        token = event.presentation.token
        tap = read_tap(use_of(event.presentation), token, event.credential, thing.instrument_id)
        self._evidence.taps[tap.use] = tap
        if thing.is_copy or card is not thing.card:
            self._evidence.copied.add(tap.tag)
        return amount, token, event.credential

    async def _make_records(self, tapped: tuple[Money, bytes, bytes]) -> list[bytes]:
        """Return a record of a tap, honest or not, or two of them."""
        rng, now_ms = self._rng, self._world.true_ms()
        amount, token, credential = tapped
        record = OfflineRecord(
            sequence=self._sequence + 1,
            previous_link=self._link,
            attempt_id=self._counter.new_id(),
            order_id=f"rogue-{self._sequence}",
            amount=amount,
            accepted_ms=now_ms,
            clock_set_ms=now_ms - 2_000,
            list_issued_s=now_ms // 1000 - 3,
            token=token,
            credential=credential,
        )
        roll = rng.random()
        if roll < 0.4:
            record = replace(record, **rng.choice(self._lies_about(record)))
        elif roll < 0.5 and self._last is not None:
            # Another record under a number that was given before.
            record = replace(record, sequence=self._last.sequence)
        sealed = [self._seal(record)]
        if 0.5 <= roll < 0.62:
            again = replace(record, sequence=self._sequence + 1, attempt_id=self._counter.new_id())
            sealed.append(self._seal(replace(again, previous_link=self._link, order_id="rogue-again")))
        elif 0.62 <= roll < 0.75:
            await self._send_online(record, amount.minor + rng.choice((0, 0, 1)))
        return sealed

    def _lies_about(self, record: OfflineRecord) -> list[dict[str, object]]:
        """Return what it may say in the place of the truth, one rule broken by each."""
        house, now_ms = self._evidence.house, record.accepted_ms
        old_ms = now_ms - house.record_age_ms - 5_000
        return [
            {"amount": Money(record.amount.minor + 100, EURO)},
            {"accepted_ms": old_ms, "clock_set_ms": old_ms, "list_issued_s": old_ms // 1000},
            {"clock_set_ms": now_ms - house.clock_age_ms - 1_000},
            {"list_issued_s": (now_ms - house.list_age_ms) // 1000 - 2},
            {"accepted_ms": now_ms + 60_000, "clock_set_ms": now_ms + 59_000},
            {"sequence": record.sequence + 2},
            {"previous_link": self._rng.randbytes(32)},
        ]

    def _seal(self, record: OfflineRecord) -> bytes:
        sealed = seal_offline_record(record, self._facts.private_key)
        self._sequence = max(self._sequence, record.sequence)
        self._link, self._last = link_of(sealed), record
        return sealed

    async def _send_online(self, record: OfflineRecord, amount_minor: int) -> None:
        """Have somebody else pay the same attempt by a code, before or after the record comes."""
        phone = self._rng.choice(self._world.holders.phones)
        text = self._hands.draw_code(phone, amount_minor, "base45", self._world.holders.skew_of(phone))
        presentation = recognise(text)
        assert isinstance(presentation, QrConsumerPresentation)
        request = PaymentRequest(
            attempt_id=record.attempt_id,
            order_id=record.order_id,
            amount_minor=amount_minor,
            currency="EUR",
            presentation=presentation,
            presented_ms=self._world.true_ms(),
        )
        self._evidence.online_attempts.add((self._facts.enrolment.terminal_id, record.attempt_id))
        await self._counter.pay(request, tries_max=SENDS_MAX)

    async def _hand_in(self, records: list[bytes]) -> None:
        self._note_batch(self._facts.enrolment.terminal_id, records)
        for _ in range(SENDS_MAX):
            batch = BatchRequest(batch_id=self._counter.new_id(), records=records)
            if await self._counter.hand_in(batch) is not None:
                return
            await asyncio.sleep(self._rng.uniform(0.5, 4))
