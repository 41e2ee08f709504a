"""What the people of a world carry, and what the world knows of everything they show.

Every presentation is made by the simulated thing itself, over APDUs or as a code's text, and read by the
terminal's own dialogue or parser. What was shown is written into the evidence before the till has it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from gateway.holders.model import InstrumentKind
from simulators.auditor.witness.evidence import Evidence
from simulators.auditor.witness.evidence import Presented as Shown
from simulators.auditor.witness.offline.evidence import OfflineTap
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.payment_card import PaymentCard
from simulators.faults.dice import Dice
from simulators.faults.plan import FaultKind, FaultPlan
from simulators.phones.phone import Phone
from simulators.seeds import draw_private_key, make_rng
from simulators.world.belongings import draw_token_pan, make_ntag_memory
from terminal.errors import CardRemoved, ReaderUnavailable
from terminal.presentations import Noticed, Presented, PresentedInVain
from terminal.readers.card_meeting import meet_card
from tests.simulation.tapping import CardInField
from tests.simulation.till_node import Life
from tests.simulation.town import EURO, TOWN_SEED, ThingFacts, Town
from wire.codes.scanned import recognise
from wire.errors import PaymentCodeError
from wire.messages.payments import (
    CodeNumericPresentation,
    NfcAppPresentation,
    NfcSdmPresentation,
    Presentation,
    QrConsumerPresentation,
    entry_mode_of,
)
from wire.money import Money
from wire.tokens.credential import parse_credential, read_credential
from wire.tokens.nfc_token import read_nfc_claims
from wire.tokens.sign1 import NFC_TOKEN_TYPE, parse_sign1_of

READER = "contactless:sim"
SCANNER = "scanner:sim"
TERMS_WINDOW_MS = 300_000
QR_LEEWAY_MS = 30_000
CODES_KEPT_MAX = 50
SERVICE_IS_FASTER = 4
"""A service is back in a quarter of the time that a plug takes."""


def read_tap(use: bytes, token: bytes, credential: bytes, instrument_id: str) -> OfflineTap:
    """Return what a token says that was signed for an offline till."""
    claims = read_nfc_claims(parse_sign1_of(token, NFC_TOKEN_TYPE))
    assert claims.running_total_minor is not None
    return OfflineTap(
        use=use,
        instrument_id=instrument_id,
        terminal_id=claims.terms.terminal_id,
        amount_minor=claims.terms.amount.minor,
        counter=claims.counter,
        total_minor=claims.running_total_minor,
        tag=read_credential(parse_credential(credential)).credential_id,
        tapped_ms=claims.terms.at_s * 1000,
    )


def use_of(presentation: Presentation) -> bytes:
    """Return what is the same for every copy of a presentation."""
    return hashlib.sha256(msgspec.json.encode(presentation)).digest()


@dataclass
class Thing:
    """Something to pay with, as its holder has it."""

    name: str
    facts: ThingFacts | None
    """None of a stranger's, which no gateway knows."""
    card: PaymentCard | Ntag424Card
    phone: Phone | None = None
    codes: list[str] = field(default_factory=list)
    """The texts it has shown, or was given, so far."""
    is_copy: bool = False
    """Whether somebody has copied it, with what it held."""

    @property
    def instrument_id(self) -> str | None:
        return None if self.facts is None else self.facts.payer.instrument_id


def make_things(town: Town, seed: int) -> list[Thing]:
    """Return everything the town's people carry, and a stranger's card, as new."""
    things = [_make_thing(town, facts, make_rng(seed, "thing", facts.name)) for facts in town.things]
    stranger = PaymentCard(draw_private_key(make_rng(seed, "stranger")), rng=make_rng(seed, "stranger card"))
    return [*things, Thing("stranger", None, stranger)]


def _make_thing(town: Town, facts: ThingFacts, rng: random.Random) -> Thing:
    if facts.uid is not None:
        memory = make_ntag_memory(facts.uid, town.card_keys)
        return Thing(facts.name, facts, Ntag424Card(memory, rng=rng))
    if facts.kind is InstrumentKind.APPLET_CARD:
        return Thing(facts.name, facts, PaymentCard(facts.private_key, rng=rng))
    phone = Phone(facts.private_key, rng=rng, token_pan=draw_token_pan(TOWN_SEED, facts.name))
    return Thing(facts.name, facts, phone.payment_card(), phone)


class Hands:
    """Whoever holds things before a till's readers."""

    def __init__(
        self,
        evidence: Evidence,
        plan: FaultPlan,
        dice: Dice,
        *,
        true_ms: Callable[[], int],
        monotonic_ns: Callable[[], int],
    ) -> None:
        self._evidence = evidence
        self._plan = plan
        self._dice = dice
        self._true_ms = true_ms
        self._monotonic_ns = monotonic_ns
        self._away_until_ns: dict[str, int] = {}
        self.captured: list[Presentation] = []
        """What somebody who listens has seen: every presentation so far."""
        self.captured_offline: dict[str, tuple[int, Presentation]] = {}
        """The last tap for each till that was offline, and its amount, by the till's name."""

    def tap(self, life: Life, thing: Thing) -> None:
        """Hold a card to a till's reader: noticed, asked, and taken or refused."""
        till, terms = life.till, life.armed
        now_ns = self._monotonic_ns()
        if terms is None or now_ns < self._away_until_ns.get(till.name, 0):
            return
        life.present(Noticed(READER, now_ns))
        self._perhaps_tear(thing, till.name)
        connection = CardInField(thing.card, self._draw_failure(till.name))
        signed: list[int] = []

        def make_terms() -> object:
            made = terms()
            signed.append(made.amount.minor)
            return made

        thing.card.power_on()
        try:
            event = meet_card(
                connection,
                make_terms,
                reader=READER,
                noticed_ns=now_ns,
                monotonic_ns=self._monotonic_ns,
            )
        except (CardRemoved, ReaderUnavailable):
            event = PresentedInVain(READER, CardRemoved.code, now_ns)
        finally:
            thing.card.power_off()
            thing.card.tear_at_apdu = None
        if isinstance(event, Presented):
            self._note_tap(life, thing, event, signed)
        life.present(event)

    def show(self, life: Life, text: str) -> None:
        """Hold a code before a till's scanner."""
        now_ns = self._monotonic_ns()
        if life.armed is None:
            return
        life.present(Noticed(SCANNER, now_ns))
        try:
            presentation = recognise(text)
        except PaymentCodeError as refusal:
            life.present(PresentedInVain(SCANNER, refusal.code, now_ns))
            return
        self._capture(presentation)
        life.present(Presented(SCANNER, presentation, now_ns, now_ns, None))

    def replay(self, life: Life, presentation: Presentation) -> None:
        """Present what was captured elsewhere, as a thief with the right equipment would."""
        now_ns = self._monotonic_ns()
        if life.armed is not None:
            life.present(Noticed(READER, now_ns))
            life.present(Presented(READER, presentation, now_ns, now_ns, 20))

    def draw_code(self, thing: Thing, cap_minor: int, form: str, skew_ms: int) -> str:
        """Let a phone make a code, and note what it is good for."""
        assert thing.phone is not None
        believed_ms = self._true_ms() + skew_ms
        text = thing.phone.pay_code(believed_ms, Money(cap_minor, EURO), form)
        presentation = recognise(text)
        assert isinstance(presentation, QrConsumerPresentation)
        issued_ms = believed_ms // 1000 * 1000
        self._evidence.show(
            Shown(
                use=use_of(presentation),
                instrument_id=thing.instrument_id,
                entry_mode=str(entry_mode_of(presentation)),
                counter=thing.phone.counter,
                cap_minor=cap_minor,
                valid_from_ms=issued_ms - QR_LEEWAY_MS,
                valid_until_ms=issued_ms + 60_000 + QR_LEEWAY_MS - 1,
            )
        )
        self._keep(thing, text)
        return text

    def note_numeric_code(self, thing: Thing, code: str, asked_ms: int, expires_ms: int) -> None:
        """Note a code that a holder was given."""
        presentation = CodeNumericPresentation(code=code)
        self._evidence.show(
            Shown(
                use=use_of(presentation),
                instrument_id=thing.instrument_id,
                entry_mode=str(entry_mode_of(presentation)),
                valid_from_ms=asked_ms,
                valid_until_ms=expires_ms - 1,
            )
        )
        self._keep(thing, code)

    def _note_tap(self, life: Life, thing: Thing, event: Presented, signed: list[int]) -> None:
        presentation = event.presentation
        window: dict[str, int] = {}
        if event.credential is not None:
            self._note_offline_tap(life.till.name, thing, event)
        if isinstance(presentation, NfcAppPresentation):
            at_ms = life.till.now_ms() // 1000 * 1000
            window = {
                "valid_from_ms": at_ms - TERMS_WINDOW_MS,
                "valid_until_ms": at_ms + TERMS_WINDOW_MS,
                "amount_minor": signed[-1],
            }
        else:
            assert isinstance(presentation, NfcSdmPresentation)
        self._evidence.show(
            Shown(
                use=use_of(presentation),
                instrument_id=thing.instrument_id,
                entry_mode=str(entry_mode_of(presentation)),
                counter=thing.card.counter,
                is_offline=event.credential is not None,
                **window,
            )
        )
        self._capture(presentation)

    def _note_offline_tap(self, till_name: str, thing: Thing, event: Presented) -> None:
        offline = self._evidence.offline
        assert offline is not None
        assert thing.instrument_id is not None
        assert event.credential is not None
        assert isinstance(event.presentation, NfcAppPresentation)
        use = use_of(event.presentation)
        tap = read_tap(use, event.presentation.token, event.credential, thing.instrument_id)
        offline.taps[tap.use] = tap
        self.captured_offline[till_name] = tap.amount_minor, event.presentation
        if thing.is_copy:
            offline.copied.add(tap.tag)

    def _perhaps_tear(self, thing: Thing, till_name: str) -> None:
        if self._dice.happens(FaultKind.CARD_TORN, self._plan.cards.torn, till_name):
            thing.card.tear_at_apdu = 1 + self._dice.below(f"{till_name} apdu", 4)
            thing.card.tear_after_processing = self._dice.below(f"{till_name} tear", 2) == 0

    def _draw_failure(self, till_name: str) -> int | None:
        """Return at which command the reader fails, if it does."""
        faults, away_ms_max = self._plan.readers, self._plan.readers.away_ms_max
        for kind, probability, longest_ms in (
            (FaultKind.READER_UNPLUGGED, faults.unplugged, away_ms_max),
            (FaultKind.READER_SERVICE_RESTARTED, faults.service_restarted, away_ms_max // SERVICE_IS_FASTER),
        ):
            if self._dice.happens(kind, probability, till_name):
                away_ms = self._dice.duration_ms(f"{till_name} reader", longest_ms)
                self._away_until_ns[till_name] = self._monotonic_ns() + away_ms * 1_000_000
                return self._dice.below(f"{till_name} apdu", 4)
        return None

    def _capture(self, presentation: Presentation) -> None:
        self.captured.append(presentation)
        del self.captured[:-CODES_KEPT_MAX]

    @staticmethod
    def _keep(thing: Thing, text: str) -> None:
        thing.codes.append(text)
        del thing.codes[:-CODES_KEPT_MAX]
