"""The supervisor over devices that fail, hang, lie and come back; no hardware, real threads."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from simulators.cards.offline_allowance import OfflineAllowance
from simulators.cards.payment_card import PaymentCard
from terminal.errors import (
    CardRemoved,
    ConfigurationError,
    PresentationRefused,
    ReaderNotInstalled,
    ReaderUnavailable,
)
from terminal.presentations import Noticed, PresentationEvent, Presented, PresentedInVain
from terminal.readers import card_meeting
from terminal.readers.card_meeting import APDU_COUNT_MAX
from terminal.readers.card_reader import CardConnection, CardReader, CardTechnology
from terminal.scanners.code_scanner import CodeScanner
from terminal.supervision import card_owner, code_flood, code_owner, health, owner, supervisor
from terminal.supervision.arming import Switch
from terminal.supervision.station import LEFT_BEHIND_MAX
from terminal.supervision.supervisor import Supervisor
from wire import es256
from wire.cards.payment_terms import QUALIFIERS_OFFLINE, PaymentTerms
from wire.codes.numeric import make_numeric_code
from wire.messages.payments import CodeNumericPresentation, NfcAppPresentation
from wire.messages.till import ReaderState
from wire.money import Money, find_currency
from wire.notices import NOTICES
from wire.tokens.credential import CredentialClaims, mint_credential

KEY = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
CODE = make_numeric_code("123456789012345")
EVENT_S_MAX = 30.0
NOW_MS = 1_790_000_000_000


class ScriptedConnection:
    """A card whose every answer is a function's."""

    def __init__(
        self,
        transmit: Callable[[bytes], bytes],
        technology: CardTechnology = CardTechnology.ISO_DEP,
    ) -> None:
        self.technology = technology
        self._transmit = transmit
        self.present = True
        self.closed = threading.Event()
        self.commands: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        self.commands.append(command)
        return self._transmit(command)

    def is_present(self) -> bool:
        return self.present

    def close(self) -> None:
        self.closed.set()


Step = CardConnection | Exception | None


class ScriptedReader:
    """A reader that does what its queue says, and nothing when that is empty."""

    def __init__(self, path: str = "pcsc:Scripted") -> None:
        self.path = path
        self.steps: queue.SimpleQueue[Step] = queue.SimpleQueue()
        self.open_failures: queue.SimpleQueue[Exception] = queue.SimpleQueue()
        self.open_count = 0
        self.close_count = 0
        self.hang: threading.Event | None = None

    def open(self) -> None:
        self.open_count += 1
        if not self.open_failures.empty():
            raise self.open_failures.get()

    def wait_for_card(self, timeout_ms: int) -> CardConnection | None:
        if self.hang is not None:
            self.hang.wait()
        try:
            step = self.steps.get(timeout=timeout_ms / 1000) if timeout_ms else self.steps.get_nowait()
        except queue.Empty:
            return None
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.close_count += 1


class ScriptedScanner:
    """A scanner that sees what its queue says."""

    def __init__(self, path: str = "serial:/dev/scripted") -> None:
        self.path = path
        self.clock_ns: Callable[[], int] = time.monotonic_ns
        """When the device read what is returned now."""
        self.codes: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()

    @property
    def seen_ns(self) -> int:
        return self.clock_ns()

    def open(self) -> None:
        pass

    def wait_for_code(self, timeout_ms: int) -> str | None:
        try:
            code = self.codes.get(timeout=timeout_ms / 1000) if timeout_ms else self.codes.get_nowait()
        except queue.Empty:
            return None
        if isinstance(code, Exception):
            raise code
        return code

    def close(self) -> None:
        pass


class Stand:
    """A supervisor and what it delivers."""

    def __init__(self, *devices: CardReader | CodeScanner) -> None:
        self.events: queue.Queue[PresentationEvent] = queue.Queue()
        self.nonces = random.Random(1)
        self.made_again: list[str] = []
        self.supervisor = Supervisor(devices, self.deliver, now_ms=lambda: NOW_MS, make_again=self.make_again)
        self.spares: dict[str, CardReader | CodeScanner] = {}
        self.deliver_failure: Exception | None = None

    def make_again(self, path: str) -> CardReader | CodeScanner:
        self.made_again.append(path)
        if path not in self.spares:
            raise ConfigurationError("no spare one")
        return self.spares[path]

    def deliver(self, event: PresentationEvent) -> None:
        self.events.put(event)
        if self.deliver_failure is not None:
            raise self.deliver_failure

    def make_terms(self) -> PaymentTerms:
        nonce = self.nonces.randbytes(8)
        money = Money(1250, find_currency("EUR"))
        return PaymentTerms(money, nonce, "0123456789ABCDE", "TERM0001", 1_790_000_000)

    def arm(self) -> None:
        self.supervisor.arm(self.make_terms)

    def next(self) -> PresentationEvent:
        return self.events.get(timeout=EVENT_S_MAX)

    def outcome(self) -> Presented | PresentedInVain:
        assert isinstance(self.next(), Noticed)
        outcome = self.next()
        assert not isinstance(outcome, Noticed)
        return outcome

    def state(self, index: int = 0) -> ReaderState:
        return self.supervisor.views()[index].state

    def await_state(self, state: ReaderState, index: int = 0) -> None:
        _await(lambda: self.state(index) is state)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_owner, "WAIT_MS", 20)
    monkeypatch.setattr(code_owner, "WAIT_MS", 20)
    monkeypatch.setattr(card_owner, "IDLE_PROBE_MS", 20)
    monkeypatch.setattr(code_owner, "IDLE_DRAIN_MS", 20)
    monkeypatch.setattr(card_owner, "PRESENCE_PAUSE_S", 0.005)
    monkeypatch.setattr(owner, "REOPEN_DELAY_MS_MIN", 5)
    monkeypatch.setattr(owner, "REOPEN_DELAY_MS_MAX", 40)


@pytest.fixture
def stands() -> Iterator[Callable[..., Stand]]:
    running: list[Stand] = []

    def start(*devices: CardReader | CodeScanner) -> Stand:
        stand = Stand(*devices)
        running.append(stand)
        stand.supervisor.start()
        return stand

    yield start
    for stand in running:
        stand.supervisor.stop()


def _paying() -> ScriptedConnection:
    card = PaymentCard(KEY, rng=random.Random(1))
    card.power_on()
    return ScriptedConnection(card.transmit)


def _raising(error: Exception) -> Callable[[bytes], bytes]:
    def transmit(command: bytes) -> bytes:
        raise error

    return transmit


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + EVENT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.002)


def test_card_is_noticed_then_presented_then_let_go_when_it_leaves(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    connection = _paying()
    reader.steps.put(connection)

    outcome = stand.outcome()

    assert isinstance(outcome, Presented)
    assert outcome.reader == reader.path
    assert outcome.card_exchange_ms is not None
    assert not connection.closed.is_set()
    connection.present = False
    assert connection.closed.wait(EVENT_S_MAX)


def test_signing_command_is_timed_by_itself() -> None:
    card = PaymentCard(KEY, rng=random.Random(1))
    card.power_on()
    now_ns = 0

    def transmit(command: bytes) -> bytes:
        nonlocal now_ns
        now_ns += 50_000_000 if command.startswith(bytes.fromhex("80A8")) else 200_000_000
        return card.transmit(command)

    outcome = card_meeting.meet_card(
        ScriptedConnection(transmit),
        Stand().make_terms,
        reader="pcsc:Scripted",
        noticed_ns=0,
        monotonic_ns=lambda: now_ns,
    )
    assert isinstance(outcome, Presented)
    assert outcome.card_exchange_ms == 50


def test_uid_only_card_is_refused_without_a_command(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    connection = ScriptedConnection(_raising(AssertionError()), CardTechnology.UID_ONLY)
    reader.steps.put(connection)

    outcome = stand.outcome()

    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "uid_only_card"
    assert not connection.commands


def test_card_is_not_read_while_disarmed_and_read_once_armed(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    early = _paying()
    reader.steps.put(early)
    assert early.closed.wait(EVENT_S_MAX)
    assert not early.commands

    stand.arm()
    reader.steps.put(_paying())
    assert isinstance(stand.outcome(), Presented)


def test_result_of_a_sale_that_is_over_is_not_delivered(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    card = PaymentCard(KEY, rng=random.Random(1))
    card.power_on()

    def transmit(command: bytes) -> bytes:
        stand.supervisor.disarm()
        return card.transmit(command)

    connection = ScriptedConnection(transmit)
    reader.steps.put(connection)
    assert isinstance(stand.next(), Noticed)
    connection.present = False
    assert connection.closed.wait(EVENT_S_MAX)
    assert stand.events.empty()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CardRemoved(), "card_removed"),
        (PresentationRefused(code="card_answer_invalid"), "card_answer_invalid"),
        (ReaderUnavailable(), "card_removed"),
        (ZeroDivisionError(), "card_removed"),
    ],
)
def test_failure_under_a_card_is_told_and_the_next_card_pays(
    stands: Callable[..., Stand], error: Exception, code: str
) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    connection = ScriptedConnection(_raising(error))
    connection.present = False
    reader.steps.put(connection)

    outcome = stand.outcome()
    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == code
    assert connection.closed.wait(EVENT_S_MAX)
    reader.steps.put(_paying())
    assert isinstance(stand.outcome(), Presented)


def test_presence_of_what_cannot_be_read_is_told(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    reader.steps.put(PresentationRefused(code="card_changed"))

    outcome = stand.outcome()

    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "card_changed"
    assert stand.state() is ReaderState.READY


def test_dialogue_without_end_is_cut_off(
    stands: Callable[..., Stand], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forever(make_terms: object) -> Iterator[bytes]:
        while True:
            yield b"\x00\xb0\x00\x00\x00"

    monkeypatch.setattr(card_meeting, "read_presentation", forever)
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    connection = ScriptedConnection(lambda command: b"\x90\x00")
    reader.steps.put(connection)

    outcome = stand.outcome()

    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "card_answer_invalid"
    assert len(connection.commands) == APDU_COUNT_MAX


def test_dialogue_that_takes_too_long_is_cut_off(
    stands: Callable[..., Stand], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_meeting, "PRESENTATION_MS_MAX", 30)
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    card = PaymentCard(KEY, rng=random.Random(1))
    card.power_on()

    def transmit(command: bytes) -> bytes:
        threading.Event().wait(0.05)
        return card.transmit(command)

    connection = ScriptedConnection(transmit)
    reader.steps.put(connection)
    outcome = stand.outcome()
    assert isinstance(outcome, PresentedInVain)
    assert len(connection.commands) == 1


@pytest.mark.parametrize("error", [ReaderUnavailable("unplugged"), ZeroDivisionError("secret 4711")])
def test_failed_reader_is_closed_and_opened_again(stands: Callable[..., Stand], error: Exception) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.await_state(ReaderState.READY)
    reader.steps.put(error)

    _await(lambda: reader.open_count >= 2)
    stand.await_state(ReaderState.READY)
    assert reader.close_count >= 1


def test_reader_that_does_not_open_is_faulty_with_the_reason_and_tried_more_and_more_slowly(
    stands: Callable[..., Stand], monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[int] = []
    rest = Switch.rest

    def recorded(switch: Switch, delay_ms: int) -> None:
        if delay_ms != supervisor.WATCH_MS:
            rests.append(delay_ms)
        rest(switch, delay_ms)

    monkeypatch.setattr(Switch, "rest", recorded)
    reader = ScriptedReader()
    for _ in range(6):
        reader.open_failures.put(ReaderUnavailable("pcscd does not run"))
    stand = stands(reader)

    _await(lambda: stand.supervisor.views()[0].reason == "pcscd does not run")
    stand.await_state(ReaderState.READY)
    assert rests[:6] == [10, 20, 40, 40, 40, 40]


def test_unexpected_error_is_named_by_its_kind_and_never_by_its_text(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    for _ in range(50):
        reader.open_failures.put(ValueError("token 8451d2"))
    stand = stands(reader)
    stand.await_state(ReaderState.FAULTY)
    assert stand.supervisor.views()[0].reason == "unexpected ValueError"


@pytest.mark.parametrize("error", [ReaderNotInstalled("nfcpy is not installed"), ConfigurationError("baud")])
def test_reader_that_can_never_open_is_off_and_left_alone(
    stands: Callable[..., Stand], error: Exception
) -> None:
    reader = ScriptedReader()
    reader.open_failures.put(error)
    stand = stands(reader)
    stand.await_state(ReaderState.OFF)
    stand.arm()
    assert stand.supervisor.views()[0].reason == str(error)
    assert reader.open_count == 1


def test_reader_that_healed_says_how_long_it_took(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.await_state(ReaderState.READY)
    assert stand.supervisor.views()[0].recovery_ms_last is None
    for _ in range(2):
        before = reader.open_count
        reader.open_failures.put(ReaderUnavailable("pulled", code="reader_unplugged"))
        reader.steps.put(ReaderUnavailable("pulled", code="reader_unplugged"))
        _await(lambda before=before: reader.open_count >= before + 2)
        stand.await_state(ReaderState.READY)
    view = stand.supervisor.views()[0]
    # Seen at the failure, and not again at the opening that failed in between.
    assert view.fault_count == 2
    assert view.recovery_ms_last is not None
    assert view.recovery_ms_max is not None
    assert owner.REOPEN_DELAY_MS_MIN <= view.recovery_ms_last <= view.recovery_ms_max


def test_condition_of_a_faulty_reader_is_told_in_both_languages(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    for _ in range(50):
        reader.open_failures.put(ReaderUnavailable("pulled", code="reader_unplugged"))
    stand = stands(reader)
    stand.await_state(ReaderState.FAULTY)
    view = stand.supervisor.views()[0]
    assert view.code == "reader_unplugged"
    assert view.cashier_text == NOTICES["reader_unplugged"].cashier_text


def test_view_says_whether_a_card_would_be_taken_now(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.await_state(ReaderState.READY)
    assert not stand.supervisor.views()[0].is_armed
    stand.arm()
    assert stand.supervisor.views()[0].is_armed
    stand.supervisor.disarm()
    assert not stand.supervisor.views()[0].is_armed


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CALL_MS_MAX", 250)
    monkeypatch.setattr(supervisor, "WATCH_MS", 5)
    monkeypatch.setattr(supervisor, "STOP_MS_MAX", 200)


@pytest.mark.usefixtures("impatient")
def test_hanging_reader_stops_neither_the_others_nor_stop(stands: Callable[..., Stand]) -> None:
    hanging, healthy = ScriptedReader("pcsc:Hanging"), ScriptedReader("pcsc:Healthy")
    hanging.hang = threading.Event()
    stand = stands(hanging, healthy)
    stand.arm()
    stand.await_state(ReaderState.FAULTY, 0)
    # No other driver of it can be made here, so only a restart helps.
    _await(lambda: stand.supervisor.views()[0].code == "reader_restart_needed")

    healthy.steps.put(_paying())
    assert isinstance(stand.outcome(), Presented)

    started = time.monotonic()
    stand.supervisor.stop()
    assert time.monotonic() - started < EVENT_S_MAX
    hanging.steps.put(_paying())
    hanging.hang.set()
    _await(lambda: hanging.close_count == 1)
    assert stand.events.empty()


@pytest.mark.usefixtures("impatient")
def test_thread_whose_driver_never_returns_is_replaced_and_counts_for_nothing(
    stands: Callable[..., Stand],
) -> None:
    hanging, spare = ScriptedReader("pcsc:One"), ScriptedReader("pcsc:One")
    stand = stands(hanging)
    stand.spares["pcsc:One"] = spare
    stand.await_state(ReaderState.READY)
    stand.arm()
    returns = threading.Event()
    answers = _paying()

    def transmit(command: bytes) -> bytes:
        returns.wait()
        return answers.transmit(command)

    late = ScriptedConnection(transmit)
    hanging.steps.put(late)
    outcome = stand.outcome()
    # The cashier is told at once that nothing comes of that card.
    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "card_too_slow"
    _await(lambda: spare.open_count == 1)
    stand.await_state(ReaderState.READY)
    assert stand.supervisor.views()[0].left_behind_count == 1

    returns.set()
    _await(lambda: hanging.close_count == 1)
    _await(lambda: stand.supervisor.views()[0].left_behind_count == 0)
    assert late.closed.is_set()
    assert stand.events.empty()

    spare.steps.put(_paying())
    assert isinstance(stand.outcome(), Presented)
    assert stand.supervisor.views()[0].recovery_ms_last is not None


@pytest.mark.usefixtures("impatient")
def test_thread_that_was_replaced_asks_no_card_anything(stands: Callable[..., Stand]) -> None:
    hanging, spare = ScriptedReader("pcsc:One"), ScriptedReader("pcsc:One")
    hanging.hang = threading.Event()
    stand = stands(hanging)
    stand.spares["pcsc:One"] = spare
    _await(lambda: spare.open_count == 1)
    stand.arm()

    late = _paying()
    hanging.steps.put(late)
    hanging.hang.set()
    _await(lambda: hanging.close_count == 1)

    assert late.closed.is_set()
    # It would have signed for a sale that another thread's card pays.
    assert not late.commands
    assert stand.events.empty()


@pytest.mark.usefixtures("impatient")
def test_card_whose_driver_hangs_is_told_of_where_nothing_can_take_its_place(
    stands: Callable[..., Stand],
) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    returns = threading.Event()
    card = _paying()

    def transmit(command: bytes) -> bytes:
        returns.wait()
        return card.transmit(command)

    reader.steps.put(ScriptedConnection(transmit))
    outcome = stand.outcome()
    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "card_too_slow"
    assert stand.supervisor.views()[0].code == "reader_restart_needed"

    # Its call returns after all: what it signed is of this very sale, and nobody was told of anything else.
    returns.set()
    assert isinstance(stand.next(), Presented)


@pytest.mark.usefixtures("impatient")
def test_what_a_thread_says_after_it_was_replaced_changes_nothing(stands: Callable[..., Stand]) -> None:
    hanging, spare = ScriptedReader("pcsc:One"), ScriptedReader("pcsc:One")
    hanging.hang = threading.Event()
    stand = stands(hanging)
    stand.spares["pcsc:One"] = spare
    _await(lambda: spare.open_count == 1)
    stand.await_state(ReaderState.READY)
    before = stand.supervisor.views()[0].fault_count

    hanging.steps.put(ReaderUnavailable("its driver failed at last"))
    hanging.hang.set()
    _await(lambda: stand.supervisor.views()[0].left_behind_count == 0)

    view = stand.supervisor.views()[0]
    assert (view.state, view.fault_count) == (ReaderState.READY, before)
    assert hanging.open_count == 1


@pytest.mark.usefixtures("impatient")
def test_device_that_hangs_again_and_again_is_given_up_until_a_call_returns(
    stands: Callable[..., Stand],
) -> None:
    hanging = ScriptedReader("pcsc:One")
    hanging.hang = threading.Event()
    stand = stands(hanging)
    # Its replacements are the same device, and hang like it.
    stand.spares["pcsc:One"] = hanging
    _await(lambda: stand.supervisor.views()[0].code == "reader_restart_needed")
    assert stand.supervisor.views()[0].left_behind_count == LEFT_BEHIND_MAX
    assert len(stand.made_again) == LEFT_BEHIND_MAX

    hanging.hang.set()
    stand.await_state(ReaderState.READY)
    _await(lambda: stand.supervisor.views()[0].left_behind_count == 0)


@pytest.mark.usefixtures("impatient")
def test_call_that_returns_late_makes_its_device_ready_again(stands: Callable[..., Stand]) -> None:
    hanging = ScriptedReader("pcsc:One")
    hanging.hang = threading.Event()
    stand = stands(hanging)
    stand.await_state(ReaderState.FAULTY)
    hanging.hang.set()
    stand.await_state(ReaderState.READY)


def test_sale_that_fails_to_take_an_event_does_not_stop_the_reader(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.deliver_failure = ZeroDivisionError()
    stand.arm()
    for _ in range(2):
        connection = _paying()
        connection.present = False
        reader.steps.put(connection)
        assert isinstance(stand.outcome(), Presented)
    assert stand.state() is ReaderState.READY


def test_view_counts_what_was_noticed(stands: Callable[..., Stand]) -> None:
    reader = ScriptedReader()
    stand = stands(reader)
    stand.arm()
    for _ in range(3):
        connection = _paying()
        connection.present = False
        reader.steps.put(connection)
        stand.outcome()
    view = stand.supervisor.views()[0]
    assert (view.path, view.presentation_count, view.since_ms) == (reader.path, 3, NOW_MS)


def test_code_is_recognised_and_presented(stands: Callable[..., Stand]) -> None:
    scanner = ScriptedScanner()
    stand = stands(scanner)
    stand.arm()
    scanner.codes.put(CODE)

    outcome = stand.outcome()

    assert isinstance(outcome, Presented)
    assert outcome.presentation == CodeNumericPresentation(code=CODE)
    assert outcome.card_exchange_ms is None


@pytest.mark.parametrize(
    ("text", "code"),
    [("https://example.com", "code_not_recognised"), ("P1:" + "A" * 2000, "code_too_long")],
)
def test_foreign_code_is_refused_and_the_scanner_lives(
    stands: Callable[..., Stand], text: str, code: str
) -> None:
    scanner = ScriptedScanner()
    stand = stands(scanner)
    stand.arm()
    scanner.codes.put(text)
    outcome = stand.outcome()
    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == code
    scanner.codes.put(CODE)
    assert isinstance(stand.outcome(), Presented)


def test_code_scanned_before_the_sale_is_thrown_away(
    stands: Callable[..., Stand], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The next customer's code follows here faster than any hand's.
    monkeypatch.setattr(code_flood, "GAP_MS", 0)
    scanner = ScriptedScanner()
    stand = stands(scanner)
    scanner.codes.put(CODE)
    scanner.codes.put(None)
    # Nothing scanned is taken only after the code before it has been dealt with.
    _await(scanner.codes.empty)

    stand.arm()
    later = make_numeric_code("543210987654321")
    scanner.codes.put(later)

    outcome = stand.outcome()
    assert isinstance(outcome, Presented)
    assert outcome.presentation == CodeNumericPresentation(code=later)


def test_code_held_before_a_camera_is_presented_once_and_again_in_the_next_sale(
    stands: Callable[..., Stand],
) -> None:
    camera = ScriptedScanner("camera:scripted")
    stand = stands(camera)
    for _ in range(2):
        stand.arm()
        for _ in range(code_owner.DRAIN_CODES_MAX + 5):
            camera.codes.put(CODE)
        assert isinstance(stand.outcome(), Presented)
        _await(camera.codes.empty)
        assert stand.events.empty()


def test_half_a_scan_is_refused_with_a_reason_and_the_next_one_pays(stands: Callable[..., Stand]) -> None:
    scanner = ScriptedScanner()
    stand = stands(scanner)
    stand.arm()
    scanner.codes.put(PresentationRefused(code="code_incomplete"))
    outcome = stand.outcome()
    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "code_incomplete"
    scanner.codes.put(CODE)
    assert isinstance(stand.outcome(), Presented)


@pytest.mark.parametrize("path", ["serial:/dev/scripted", "camera:scripted"])
def test_flood_of_codes_is_refused_once_with_a_reason_until_it_is_over(
    stands: Callable[..., Stand], path: str
) -> None:
    scanner = ScriptedScanner(path)
    stand = stands(scanner)
    stand.arm()
    read_ns = time.monotonic_ns()
    scanner.clock_ns = lambda: read_ns
    for number in range(40):
        # A camera hands on one code a picture; None ends each picture.
        scanner.codes.put(make_numeric_code(f"{number:015d}"))
        scanner.codes.put(None)
    # The first can't be told from a customer's.
    assert isinstance(stand.outcome(), Presented)
    refused = stand.next()
    while isinstance(refused, Noticed):
        refused = stand.next()
    assert isinstance(refused, PresentedInVain)
    assert refused.code == "too_many_codes"
    _await(scanner.codes.empty)
    assert stand.events.empty()

    read_ns += 2 * code_flood.QUIET_MS * 1_000_000
    scanner.codes.put(CODE)
    assert isinstance(stand.outcome(), Presented)


def test_what_is_left_of_a_flood_pays_no_later_sale(stands: Callable[..., Stand]) -> None:
    scanner = ScriptedScanner()
    stand = stands(scanner)
    stand.arm()
    # All of them at once, and after either arming.
    read_ns = time.monotonic_ns() + 3_600_000_000_000
    scanner.clock_ns = lambda: read_ns
    scanner.codes.put(make_numeric_code("1" * 15))
    assert isinstance(stand.outcome(), Presented)
    # The sale is over with the first code already, and the next one armed before the second is read.
    stand.supervisor.disarm()
    stand.arm()
    for number in range(100, 108):
        scanner.codes.put(make_numeric_code(f"{number:015d}"))
    refused = stand.outcome()
    assert isinstance(refused, PresentedInVain)
    assert refused.code == "too_many_codes"
    _await(scanner.codes.empty)
    assert stand.events.empty()


def test_codes_as_fast_as_a_hand_shows_them_are_no_flood() -> None:
    flood = code_flood.CodeFlood()
    step_ns = code_flood.GAP_MS * 1_000_000
    assert not any(flood.is_flooded(f"code {number}", number * step_ns) for number in range(10))
    # The same code again is a hand that pulls the trigger twice.
    assert not flood.is_flooded("code 9", 9 * step_ns + 1)
    assert flood.is_flooded("another", 9 * step_ns + 2)
    assert flood.is_news
    assert flood.is_flooded("a third", 10 * step_ns)
    assert not flood.is_news


@pytest.mark.parametrize("step", [CODE, PresentationRefused(code="code_incomplete")])
def test_what_was_read_before_the_sale_is_not_of_it_however_late_it_is_handed_on(
    stands: Callable[..., Stand], step: str | Exception
) -> None:
    scanner = ScriptedScanner()
    stand = stands(scanner)
    stand.arm()
    scanner.clock_ns = lambda: 0
    scanner.codes.put(step)
    scanner.codes.put(None)
    _await(scanner.codes.empty)
    scanner.clock_ns = time.monotonic_ns
    later = make_numeric_code("543210987654321")
    scanner.codes.put(later)
    outcome = stand.outcome()
    assert isinstance(outcome, Presented)
    assert outcome.presentation == CodeNumericPresentation(code=later)


def test_two_payment_codes_before_a_camera_are_refused_and_a_poster_is_not_one(
    stands: Callable[..., Stand],
) -> None:
    camera = ScriptedScanner("camera:scripted")
    stand = stands(camera)
    stand.arm()
    other = make_numeric_code("999999999999999")
    # The first None ends the emptying at arming, whichever comes first.
    for text in (None, CODE, "https://example.com/poster", other, None):
        camera.codes.put(text)
    outcome = stand.outcome()
    assert isinstance(outcome, PresentedInVain)
    assert outcome.code == "too_many_codes"
    for text in (CODE, "https://example.com/poster", None):
        camera.codes.put(text)
    assert isinstance(stand.outcome(), Presented)


def test_scanner_that_fails_is_opened_again(stands: Callable[..., Stand]) -> None:
    scanner = ScriptedScanner()
    stand = stands(scanner)
    stand.arm()
    scanner.codes.put(ReaderUnavailable("unplugged"))
    scanner.codes.put(CODE)
    assert isinstance(stand.outcome(), Presented)


def test_a_tap_for_offline_terms_comes_with_its_credential(stands: Callable[..., Stand]) -> None:
    claims = CredentialClaims(
        credential_id=bytes(8),
        issued_s=1_790_000_000,
        expires_s=1_790_600_000,
        device_public_key=es256.dump_public_key(KEY.public_key()),
        status_index=7,
        per_payment_minor=5_000,
        allowance=Money(5_000, find_currency("EUR")),
    )
    credential = mint_credential(claims, KEY)
    card = PaymentCard(KEY, rng=random.Random(1), allowance=OfflineAllowance(credential))
    card.power_on()
    reader = ScriptedReader()
    stand = stands(reader)
    stand.supervisor.arm(lambda: replace(stand.make_terms(), qualifiers=QUALIFIERS_OFFLINE))
    reader.steps.put(ScriptedConnection(card.transmit))

    outcome = stand.outcome()

    assert isinstance(outcome, Presented)
    assert isinstance(outcome.presentation, NfcAppPresentation)
    assert outcome.credential == credential
    assert outcome.card_exchange_ms is not None
