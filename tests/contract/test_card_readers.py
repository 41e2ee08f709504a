"""One suite for every way a card can reach the till: the same cards, the same outcomes.

Paths: nfcpy over its UDP radio, nfcpy driving a PN532 on a pseudo-terminal, pyscard through a private pcscd
(once at pcscd's own 400 ms poll, else with the fast-poll shim), and a card object in the same process. What
a driver must do by itself is in test_conformance.py.
"""

from __future__ import annotations

import os
import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.cards.card import CardTorn, MemoryTag, SimulatedCard
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import personalise_chip
from simulators.cards.payment_card import PaymentCard
from simulators.cards.uid_tag import UidTag
from simulators.fields.card_worker import processor_of
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.pn532 import Pn532Device
from simulators.fields.private_pcscd import PrivatePcscd, VirtualSlot, find_missing
from simulators.fields.udp_radio import UdpRadio
from simulators.fields.vpcd import VpcdSlot
from terminal.devices.paths import make_device
from terminal.errors import CardRemoved
from terminal.presentations import Noticed, PresentationEvent, Presented, PresentedInVain
from terminal.readers.card_reader import CardConnection, CardReader, CardTechnology
from terminal.supervision.supervisor import Supervisor
from tests.patient_nfcpy import patient_drivers
from wire.cards.ntag424.card_profile import CardKeys
from wire.cards.ntag424.link import SunLink, verify_sun_link
from wire.cards.payment_terms import PaymentTerms
from wire.messages.payments import NfcAppPresentation, NfcSdmPresentation
from wire.messages.till import ReaderState
from wire.money import Money, find_currency
from wire.tokens.nfc_token import verify_nfc_token
from wire.tokens.sign1 import parse_sign1

EVENT_S_MAX: Final = 20.0
"""Far more than any path needs; only a lost tap ever waits so long."""
QUIET_S: Final = 0.15
QUIET_AT_STOCK_S: Final = 0.5
"""pcscd's stock poll and some more."""
TRAITS: Final = IsoDepTraits(fwi=8)
QUICK_TRAITS: Final = IsoDepTraits(fwi=6)
KEY: Final = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
META_KEY, FILE_KEY = bytes(range(16)), bytes(range(16, 32))
REFUSED_UID: Final = bytes.fromhex("05112233445566")


# --- what carries a card ----------------------------------------------------------------------------


class DirectField:
    """A field and its reader in one: the card object is the connection."""

    reader_path = "direct"

    def __init__(self) -> None:
        self.path = self.reader_path
        self._card: SimulatedCard | MemoryTag | None = None
        self._taps = 0
        self._came = threading.Condition()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.remove()

    def present(self, card: SimulatedCard | MemoryTag) -> None:
        with self._came:
            if self._card is not None:
                self._card.power_off()
            self._card = card
            self._taps += 1
            card.power_on()
            self._came.notify_all()

    def remove(self) -> None:
        with self._came:
            if self._card is not None:
                self._card.power_off()
            self._card = None

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def wait_for_card(self, timeout_ms: int) -> CardConnection | None:
        with self._came:
            if not self._came.wait_for(lambda: self._card is not None, timeout_ms / 1000):
                return None
            assert self._card is not None
            return DirectConnection(self, self._card, self._taps)

    def holds(self, tap: int) -> bool:
        return self._card is not None and self._taps == tap


class DirectConnection:
    """A card object as the terminal sees any card."""

    def __init__(self, field: DirectField, card: SimulatedCard | MemoryTag, tap: int) -> None:
        self._field = field
        self._tap = tap
        self._card = card
        is_tag = hasattr(card, "exchange")
        self.technology = CardTechnology.UID_ONLY if is_tag else CardTechnology.ISO_DEP

    def transmit(self, command: bytes) -> bytes:
        try:
            return processor_of(self._card).transmit(command)
        except CardTorn:
            self._field.remove()
            raise CardRemoved from None

    def is_present(self) -> bool:
        return self._field.holds(self._tap)

    def close(self) -> None:
        pass


AnyField = DirectField | UdpRadio | Pn532Device | VpcdSlot


@dataclass(frozen=True)
class ReaderPath:
    """One way to the till."""

    name: str
    slot: VirtualSlot | None = None

    @property
    def quick_taps(self) -> int:
        # At stock polling a tap costs pcscd two polls.
        return 6 if self.name == "pcsc_stock" else 50

    @property
    def quiet_s(self) -> float:
        return QUIET_AT_STOCK_S if self.name == "pcsc_stock" else QUIET_S

    def make_field(self, traits: IsoDepTraits) -> AnyField:
        if self.slot is not None:
            return VpcdSlot(self.slot.port, reader_name=self.slot.reader_name)
        if self.name == "udp":
            # A tear costs one word and not six timeouts; test_conformance.py has silent ones.
            return UdpRadio(traits=traits, announces_removal=True)
        return DirectField() if self.name == "direct" else Pn532Device(traits=traits)


class Till:
    """A field, its reader, a supervisor, and what it delivers."""

    def __init__(self, field: AnyField, quiet_s: float = QUIET_S) -> None:
        self.field = field
        self._quiet_s = quiet_s
        self.events: queue.Queue[PresentationEvent] = queue.Queue()
        self.terms: list[PaymentTerms] = []
        device = field if isinstance(field, DirectField) else make_device(field.reader_path)
        self.supervisor = Supervisor([device], self.events.put, now_ms=lambda: 1_790_000_000_000)
        self._rng = random.Random(7)

    def make_terms(self) -> PaymentTerms:
        terms = PaymentTerms(
            amount=Money(1250, find_currency("EUR")),
            nonce=self._rng.randbytes(8),
            merchant_id="0123456789ABCDE",
            terminal_id="TERM0001",
            at_s=1_790_000_000,
        )
        self.terms.append(terms)
        return terms

    def arm(self) -> None:
        self.supervisor.arm(self.make_terms)

    def tap(self, card: SimulatedCard | MemoryTag) -> Presented | PresentedInVain:
        """Put a card into the field, wait for what comes of it, take it out again."""
        self.field.present(card)
        outcome = self.outcome()
        self.field.remove()
        return outcome

    def outcome(self) -> Presented | PresentedInVain:
        noticed = self.events.get(timeout=EVENT_S_MAX)
        assert isinstance(noticed, Noticed)
        outcome = self.events.get(timeout=EVENT_S_MAX)
        assert not isinstance(outcome, Noticed)
        assert outcome.noticed_ns == noticed.noticed_ns
        return outcome

    def is_quiet(self) -> bool:
        try:
            self.events.get(timeout=self._quiet_s)
        except queue.Empty:
            return True
        return False


PCSC = pytest.mark.pcsc
QUICK_PATHS: Final = ["direct", "udp", "pn532", pytest.param("pcsc_fast", marks=PCSC)]
EVERY_PATH: Final = [*QUICK_PATHS, pytest.param("pcsc_stock", marks=PCSC)]
not_at_stock_polling = pytest.mark.parametrize("reader_path", QUICK_PATHS, indirect=True)
"""For what a card says, which does not depend on when pcscd notices it."""


@pytest.fixture(scope="module", params=EVERY_PATH)
def reader_path(request: pytest.FixtureRequest) -> Iterator[ReaderPath]:
    name: str = request.param
    if not name.startswith("pcsc"):
        with patient_drivers():
            yield ReaderPath(name)
        return
    fast_poll = name == "pcsc_fast"
    missing = find_missing(fast_poll=fast_poll)
    if missing:
        pytest.skip("; ".join(missing))
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed")
    # libpcsclite reads the variable once per process: every test here gives the same folder.
    folder = Path(tempfile.gettempdir()) / f"tapscan-test-pcsc-{os.getpid()}"
    with PrivatePcscd(("Contract",), fast_poll=fast_poll, socket_folder=folder) as pcscd:
        os.environ.update(pcscd.environment)
        yield ReaderPath(name, pcscd.slots[0])
    folder.rmdir()


@pytest.fixture
def open_till(reader_path: ReaderPath) -> Iterator[Callable[[IsoDepTraits], Till]]:
    tills: list[Till] = []

    def open_it(traits: IsoDepTraits) -> Till:
        field = _start_field(reader_path, traits)
        till = Till(field, reader_path.quiet_s)
        tills.append(till)
        till.supervisor.start()
        _await(lambda: till.supervisor.views()[0].state is ReaderState.READY)
        return till

    yield open_it
    for till in tills:
        till.supervisor.stop()
        till.field.stop()


@pytest.fixture
def till(open_till: Callable[[IsoDepTraits], Till]) -> Till:
    till = open_till(TRAITS)
    till.arm()
    return till


# --- cards -------------------------------------------------------------------------------------------


class SlowCard:
    """A card that thinks before every answer."""

    def __init__(self, card: PaymentCard, think_s: float) -> None:
        self._card = card
        self._think_s = think_s
        self.uid = card.uid
        self.historical_bytes = card.historical_bytes

    def power_on(self) -> None:
        self._card.power_on()

    def power_off(self) -> None:
        self._card.power_off()

    def transmit(self, command: bytes) -> bytes:
        threading.Event().wait(self._think_s)
        return self._card.transmit(command)


class HostileCard:
    """Answers whatever it was made to answer, over and over."""

    uid = bytes.fromhex("08A1B2C3")
    historical_bytes = b""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._count = 0

    def power_on(self) -> None:
        pass

    def power_off(self) -> None:
        pass

    def transmit(self, command: bytes) -> bytes:
        self._count += 1
        return self._answers[(self._count - 1) % len(self._answers)]


def _payment_card(seed: int = 1, **options: int) -> PaymentCard:
    return PaymentCard(KEY, rng=random.Random(seed), tear_at_apdu=options.get("tear_at_apdu"))


def _link_card(tear_at_apdu: int | None = None) -> Ntag424Card:
    keys = CardKeys(bytes(16), META_KEY, FILE_KEY, bytes(16), bytes(16))
    memory = personalise_chip(bytes.fromhex("04112233445566"), keys, "https://pay.example.com/t")
    return Ntag424Card(memory, rng=random.Random(2), tear_at_apdu=tear_at_apdu)


def _make_reader(path: str) -> CardReader:
    return cast(CardReader, make_device(path))


def _start_field(reader_path: ReaderPath, traits: IsoDepTraits) -> AnyField:
    """Start a field that its reader sees empty: pcscd may still show the card of the test before."""
    field = reader_path.make_field(traits)
    field.start()
    if reader_path.slot is not None:
        reader = _make_reader(field.reader_path)
        reader.open()
        _await(lambda: _is_empty(reader))
        reader.close()
    return field


def _is_empty(reader: CardReader) -> bool:
    connection = reader.wait_for_card(0)
    if connection is not None:
        connection.close()
    return connection is None


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + EVENT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.005)


def _assert_pays(till: Till, card: PaymentCard | SlowCard) -> None:
    outcome = till.tap(card)
    assert isinstance(outcome, Presented), outcome
    assert isinstance(outcome.presentation, NfcAppPresentation)
    claims = verify_nfc_token(parse_sign1(outcome.presentation.token), KEY.public_key())
    assert claims.terms == till.terms[-1]


# --- what every path must do -------------------------------------------------------------------------


def test_payment_card_signs_the_terms_of_the_sale(till: Till) -> None:
    outcome = till.tap(_payment_card())

    assert isinstance(outcome, Presented)
    assert isinstance(outcome.presentation, NfcAppPresentation)
    claims = verify_nfc_token(parse_sign1(outcome.presentation.token), KEY.public_key())
    assert claims.terms == till.terms[0]
    assert claims.counter == 1
    assert outcome.complete_ns >= outcome.noticed_ns
    assert outcome.card_exchange_ms is not None


def test_link_card_shows_a_link_that_verifies(till: Till) -> None:
    outcome = till.tap(_link_card())

    assert isinstance(outcome, Presented)
    assert isinstance(outcome.presentation, NfcSdmPresentation)
    assert outcome.card_exchange_ms is None
    link = SunLink(
        bytes.fromhex(outcome.presentation.picc_data_hex), bytes.fromhex(outcome.presentation.mac_hex)
    )
    tap = verify_sun_link(link, meta_key=META_KEY, file_key_of=lambda _: FILE_KEY)
    assert (tap.uid, tap.counter) == (bytes.fromhex("04112233445566"), 1)


def test_uid_tag_is_refused_unread(till: Till) -> None:
    tag = UidTag(REFUSED_UID)

    outcome = till.tap(tag)

    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "uid_only_card"
    assert not tag.received


@pytest.mark.parametrize("tear_at_apdu", [1, 2])
def test_torn_payment_card_is_told_and_the_next_tap_pays(till: Till, tear_at_apdu: int) -> None:
    outcome = till.tap(_payment_card(tear_at_apdu=tear_at_apdu))

    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "card_removed"
    _assert_pays(till, _payment_card(seed=2))


@not_at_stock_polling
def test_torn_link_card_is_told_at_every_command(open_till: Callable[[IsoDepTraits], Till]) -> None:
    till = open_till(QUICK_TRAITS)
    till.arm()
    apdu_count = _link_card_apdu_count()
    for tear_at_apdu in range(1, apdu_count + 1):
        outcome = till.tap(_link_card(tear_at_apdu))
        assert isinstance(outcome, PresentedInVain), tear_at_apdu
        assert outcome.code == "card_removed"
    assert isinstance(till.tap(_link_card()), Presented)


def test_slow_card_is_waited_for(till: Till) -> None:
    _assert_pays(till, SlowCard(_payment_card(), think_s=0.3))


@not_at_stock_polling
@pytest.mark.parametrize(
    "answers",
    [
        pytest.param((b"",), id="nothing"),
        pytest.param((b"\x90",), id="half a status word"),
        pytest.param((bytes.fromhex("6100"),), id="more and more data"),
        pytest.param((bytes.fromhex("6C10"),), id="never the right length"),
        pytest.param((bytes(255) + bytes.fromhex("9000"),), id="zeros"),
        pytest.param((bytes.fromhex("6A82"), b"\xff" * 64), id="no status after the select"),
        pytest.param((bytes.fromhex("9000"),), id="success without data"),
        pytest.param((bytes(900) + bytes.fromhex("9000"),), id="more than a short answer"),
    ],
)
def test_hostile_answer_is_refused_and_the_reader_lives(till: Till, answers: tuple[bytes, ...]) -> None:
    outcome = till.tap(HostileCard(*answers))

    assert isinstance(outcome, PresentedInVain)
    assert outcome.code in {"card_answer_invalid", "card_not_supported", "card_removed"}
    _assert_pays(till, _payment_card())
    assert till.supervisor.views()[0].state is ReaderState.READY


def test_card_left_in_the_field_is_not_read_again(till: Till) -> None:
    card = _payment_card()
    till.field.present(card)
    assert isinstance(till.outcome(), Presented)

    assert till.is_quiet()
    till.arm()
    assert till.is_quiet()


def test_tapping_again_is_a_new_presentation(till: Till) -> None:
    card = _payment_card()
    first, second = till.tap(card), till.tap(card)

    assert isinstance(first, Presented)
    assert isinstance(second, Presented)
    counters = [
        verify_nfc_token(parse_sign1(tap.presentation.token), KEY.public_key()).counter
        for tap in (first, second)
        if isinstance(tap.presentation, NfcAppPresentation)
    ]
    assert counters == [1, 2]


def test_card_lying_there_when_armed_is_read_and_not_before(
    open_till: Callable[[IsoDepTraits], Till],
) -> None:
    till = open_till(TRAITS)
    card = _payment_card()
    till.field.present(card)
    assert till.is_quiet()
    assert not card.received

    till.arm()

    assert isinstance(till.outcome(), Presented)


def test_disarmed_reader_delivers_nothing(till: Till) -> None:
    till.supervisor.disarm()
    till.field.present(_payment_card())

    assert till.is_quiet()


def test_quick_taps_are_all_presented(
    open_till: Callable[[IsoDepTraits], Till], reader_path: ReaderPath
) -> None:
    till = open_till(QUICK_TRAITS)
    till.arm()
    for _ in range(reader_path.quick_taps):
        _assert_pays(till, _payment_card())
    assert till.supervisor.views()[0].presentation_count == reader_path.quick_taps


def _link_card_apdu_count() -> int:
    """Count an honest link card's commands by reading one directly."""
    field = DirectField()
    till = Till(field)
    till.supervisor.start()
    till.arm()
    card = _link_card()
    assert isinstance(till.tap(card), Presented)
    till.supervisor.stop()
    return len(card.received)
