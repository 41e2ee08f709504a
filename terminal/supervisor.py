"""One owner thread per device: open, wait, read, hand over, heal, report health.

Drivers block, throw whatever their libraries throw, and sometimes never return; none of that may reach
another device or the sale. A thread that hangs in its driver is shown as faulty and left behind.

While no sale is armed, devices rest: nobody looks for cards, so a contactless reader's field is off (no
phone opens its wallet at an idle till, and nobody can be read on the quiet) except for a moment every
IDLE_PROBE_MS, which is how a pulled plug is noticed. This costs no latency: arming wakes the thread, and a
card already there answers the first look, a few milliseconds after its field comes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

import structlog

from terminal.errors import (
    CardRemoved,
    ConfigurationError,
    PresentationRefused,
    ReaderNotInstalled,
    TerminalError,
)
from terminal.presentations import (
    Noticed,
    PresentationEvent,
    Presented,
    PresentedInVain,
    TermsSource,
)
from terminal.readers.card_meeting import meet_card
from terminal.readers.card_reader import CardConnection, CardReader
from terminal.scanners.code_scanner import CodeScanner
from wire.codes.scanned import recognise
from wire.errors import PaymentCodeError
from wire.messages.till import ReaderState, ReaderView

WAIT_MS: Final = 250
"""One look for a card or code while armed; also how late a thread notices that it should stop."""
IDLE_PROBE_MS: Final = 2_000
"""How often an idle card reader is looked after."""
IDLE_DRAIN_MS: Final = 250
"""How often an idle camera is emptied, so that no code of before a sale is taken for one of it."""
DRAIN_CODES_MAX: Final = 3
"""Codes thrown away at arming: what a camera had buffered. It sees what is before it again."""
PRESENCE_PAUSE_S: Final = 0.05
"""Between two questions whether a card that was read is still there."""
SIGHTING_GAP_MS: Final = 1_000
"""A camera's code that was gone for less is still the same one being held there."""
REOPEN_DELAY_MS_MIN: Final = 250
REOPEN_DELAY_MS_MAX: Final = 5_000
CALL_MS_MAX: Final = 15_000
"""A driver call that lasts longer makes its device faulty in the eyes of the till."""
STOP_MS_MAX: Final = 2_000
"""How long `stop` waits for all threads together; what hangs is left behind."""

_CAMERA: Final = "camera:"
_NS_PER_MS: Final = 1_000_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Arming:
    """One arming of all readers; a presentation belongs to the arming it was read under."""

    terms: TermsSource


class Supervisor:
    """Runs every device of a till and hands on what is presented while a sale is armed.

    Args:
        devices: drivers, not yet open.
        deliver: takes events; called in a device's thread, must not block.
        now_ms: unix milliseconds, for the health view only.
    """

    def __init__(
        self,
        devices: Sequence[CardReader | CodeScanner],
        deliver: Callable[[PresentationEvent], None],
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._switch = _Switch()
        self._owners = [_make_owner(device, self._switch, deliver, now_ms) for device in devices]

    def start(self) -> None:
        """Start one thread per device; returns at once."""
        for owner in self._owners:
            owner.start()

    def arm(self, terms: TermsSource) -> None:
        """Let every device accept presentations for these terms, instead of any before."""
        self._switch.arm(_Arming(terms))

    def disarm(self) -> None:
        """Let no device accept anything; may be called twice.

        An event that was on its way may still be delivered.
        """
        self._switch.arm(None)

    def views(self) -> list[ReaderView]:
        """Return every device's health, in the order given."""
        return [owner.view() for owner in self._owners]

    def stop(self) -> None:
        """End all threads; returns within STOP_MS_MAX even where a driver hangs."""
        self._switch.stop()
        deadline = time.monotonic() + STOP_MS_MAX / 1000
        for owner in self._owners:
            owner.join(max(0.0, deadline - time.monotonic()))


class _Switch:
    """What all threads wait on: the sale that is armed, and the order to stop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arming: _Arming | None = None
        self._stopped = False

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def arming(self) -> _Arming | None:
        return self._arming

    def arm(self, arming: _Arming | None) -> None:
        with self._changed:
            self._arming = arming
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped, self._arming = True, None
            self._changed.notify_all()

    def rest(self, delay_ms: int) -> None:
        """Sleep, but not past an order to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, delay_ms / 1000)

    def await_arming(self, delay_ms: int) -> _Arming | None:
        """Return the arming, waiting for one at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._arming is not None, delay_ms / 1000)
            return self._arming


class _Health:
    """A device's state as the till sees it; written by its thread, read by any."""

    def __init__(self, path: str, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._state, self._reason, self._since_ms = ReaderState.STARTING, "", now_ms()
        self._presentation_count = 0
        self._alive_ns = time.monotonic_ns()
        self._lock = threading.Lock()

    def set(self, state: ReaderState, reason: str = "") -> None:
        with self._lock:
            if (state, reason) != (self._state, self._reason):
                self._state, self._reason, self._since_ms = state, reason, self._now_ms()
                log.info("reader_state", reader=self._path, state=state.value, reason=reason)

    def count(self) -> None:
        with self._lock:
            self._presentation_count += 1

    def beat(self) -> None:
        """Say that the thread is in its own hands and not in its driver's."""
        self._alive_ns = time.monotonic_ns()

    def view(self) -> ReaderView:
        silent_ms = (time.monotonic_ns() - self._alive_ns) // _NS_PER_MS
        with self._lock:
            state, reason, since_ms = self._state, self._reason, self._since_ms
            count = self._presentation_count
        if state in (ReaderState.READY, ReaderState.STARTING) and silent_ms > CALL_MS_MAX:
            state, reason = ReaderState.FAULTY, "the driver does not return"
            since_ms = max(since_ms, self._now_ms() - silent_ms)
        return ReaderView(self._path, state, since_ms, reason, count)


class _Owner:
    """The thread that owns one device; what it does with it is the subclass's."""

    def __init__(
        self,
        device: CardReader | CodeScanner,
        switch: _Switch,
        deliver: Callable[[PresentationEvent], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._device = device
        self._switch = switch
        self._deliver_event = deliver
        self._health = _Health(device.path, now_ms)
        self._thread = threading.Thread(target=self._run, name=f"reader {device.path}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def view(self) -> ReaderView:
        return self._health.view()

    def _run(self) -> None:
        delay_ms = REOPEN_DELAY_MS_MIN
        while not self._switch.stopped:
            worked = self._try_session()
            if worked is None:
                return
            delay_ms = REOPEN_DELAY_MS_MIN if worked else min(2 * delay_ms, REOPEN_DELAY_MS_MAX)
            self._switch.rest(delay_ms)

    def _try_session(self) -> bool | None:
        """Use the device until it fails; say whether it ever worked, None to try no more."""
        worked = False
        try:
            self._device.open()
            self._health.set(ReaderState.READY)
            while not self._switch.stopped:
                self._health.beat()
                self._serve()
                worked = True
        except (ReaderNotInstalled, ConfigurationError) as error:
            self._health.set(ReaderState.OFF, str(error))
            return None
        except TerminalError as error:
            self._health.set(ReaderState.FAULTY, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a driver throws, it is closed and opened again
            # Its text may hold what the card or the code said.
            self._health.set(ReaderState.FAULTY, f"unexpected {type(error).__name__}")
            log.error("reader_failed", reader=self._device.path, error=type(error).__name__)
        finally:
            self._close()
        return worked

    def _close(self) -> None:
        try:
            self._device.close()
        except Exception as error:  # noqa: BLE001 - promised not to raise, but nothing may end this thread
            log.error("reader_close_failed", reader=self._device.path, error=type(error).__name__)

    def _serve(self) -> None:
        """Wait for something once and deal with it."""
        raise NotImplementedError

    def _deliver(self, arming: _Arming, event: PresentationEvent) -> None:
        """Hand an event on unless its arming is over."""
        if self._switch.arming is not arming:
            return
        if isinstance(event, Noticed):
            self._health.count()
        try:
            self._deliver_event(event)
        except Exception as error:  # noqa: BLE001 - the sale's trouble must not stop the reader
            log.error("event_not_taken", reader=self._device.path, error=type(error).__name__)


class _CardOwner(_Owner):
    """Owns a card reader."""

    _device: CardReader

    def _serve(self) -> None:
        armed = self._switch.await_arming(IDLE_PROBE_MS) is not None
        if self._switch.stopped:
            return
        try:
            connection = self._device.wait_for_card(WAIT_MS if armed else 0)
        except PresentationRefused as refusal:
            self._refuse(refusal.code)
            return
        self._health.beat()
        if connection is None:
            return
        try:
            self._meet(connection)
        finally:
            connection.close()

    def _refuse(self, code: str) -> None:
        arming = self._switch.arming
        if arming is not None:
            noticed_ns = time.monotonic_ns()
            self._deliver(arming, Noticed(self._device.path, noticed_ns))
            self._deliver(arming, PresentedInVain(self._device.path, code, noticed_ns))

    def _meet(self, connection: CardConnection) -> None:
        """Read a card if a sale is armed, then wait until it has left."""
        arming = self._switch.arming
        if arming is None:
            # Not read, and let go at once: still there when a sale is armed, it is met anew.
            return
        noticed_ns = time.monotonic_ns()
        self._deliver(arming, Noticed(self._device.path, noticed_ns))
        try:
            event = meet_card(
                connection,
                arming.terms,
                reader=self._device.path,
                noticed_ns=noticed_ns,
                monotonic_ns=time.monotonic_ns,
            )
        except CardRemoved as removal:
            # Whoever holds it again, or still, is read again: no waiting for its absence.
            self._deliver(arming, PresentedInVain(self._device.path, removal.code, noticed_ns))
            return
        except Exception:
            # The reader failed under the card; its holder must not be left with "hold it still".
            self._deliver(arming, PresentedInVain(self._device.path, CardRemoved.code, noticed_ns))
            raise
        self._deliver(arming, event)
        self._await_removal(connection)

    def _await_removal(self, connection: CardConnection) -> None:
        while not self._switch.stopped and connection.is_present():
            self._health.beat()
            self._switch.rest(int(PRESENCE_PAUSE_S * 1000))


class _CodeOwner(_Owner):
    """Owns a code scanner."""

    _device: CodeScanner

    def __init__(
        self,
        device: CodeScanner,
        switch: _Switch,
        deliver: Callable[[PresentationEvent], None],
        now_ms: Callable[[], int],
    ) -> None:
        super().__init__(device, switch, deliver, now_ms)
        self._served: _Arming | None = None
        self._held: tuple[str, int] | None = None

    def _serve(self) -> None:
        if self._device.path.startswith(_CAMERA):
            self._look()
        else:
            self._listen()

    def _listen(self) -> None:
        """Take each scan as it comes; one that comes while nothing is armed is thrown away at once.

        Emptying the scanner at arming instead would now and then throw away a scan of this very sale.
        """
        text = self._device.wait_for_code(WAIT_MS)
        self._health.beat()
        arming = self._switch.arming
        if text is not None and arming is not None:
            self._take(arming, text)

    def _look(self) -> None:
        """Look through a camera while armed; what it sees it will see again, so emptying it loses nothing."""
        arming = self._switch.await_arming(IDLE_DRAIN_MS)
        if self._switch.stopped:
            return
        if arming is None or arming is not self._served:
            self._drain()
            self._served, self._held = arming, None
        if arming is None:
            return
        text = self._device.wait_for_code(WAIT_MS)
        self._health.beat()
        if text is not None and not self._is_held(text):
            self._take(arming, text)

    def _drain(self) -> None:
        for _ in range(DRAIN_CODES_MAX):
            if self._device.wait_for_code(0) is None:
                return

    def _is_held(self, text: str) -> bool:
        """Say whether the camera still sees what it saw."""
        before, now_ns = self._held, time.monotonic_ns()
        self._held = (text, now_ns)
        return before is not None and before[0] == text and now_ns - before[1] < SIGHTING_GAP_MS * _NS_PER_MS

    def _take(self, arming: _Arming, text: str) -> None:
        noticed_ns = time.monotonic_ns()
        self._deliver(arming, Noticed(self._device.path, noticed_ns))
        try:
            presentation = recognise(text)
        except PaymentCodeError as refusal:
            log.info("code_refused", reader=self._device.path, code=refusal.code)
            self._deliver(arming, PresentedInVain(self._device.path, refusal.code, noticed_ns))
            return
        presented = Presented(self._device.path, presentation, noticed_ns, time.monotonic_ns(), None)
        self._deliver(arming, presented)


def _is_card_reader(device: CardReader | CodeScanner) -> TypeGuard[CardReader]:
    return hasattr(device, "wait_for_card")


def _is_code_scanner(device: CardReader | CodeScanner) -> TypeGuard[CodeScanner]:
    return hasattr(device, "wait_for_code")


def _make_owner(
    device: CardReader | CodeScanner,
    switch: _Switch,
    deliver: Callable[[PresentationEvent], None],
    now_ms: Callable[[], int],
) -> _Owner:
    if _is_card_reader(device):
        return _CardOwner(device, switch, deliver, now_ms)
    assert _is_code_scanner(device)
    return _CodeOwner(device, switch, deliver, now_ms)
