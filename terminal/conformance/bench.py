"""A device under test: its driver, the hands around it, and waiting that is bounded."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from terminal.conformance.model import Action, CheckFailed, CheckSkipped, Hands
from terminal.devices.device import Device
from terminal.errors import PresentationRefused, ReaderUnavailable
from terminal.readers.card_reader import CardConnection, CardReader
from terminal.scanners.code_scanner import CodeScanner

LOOK_MS: Final = 250
REOPEN_PAUSE_S: Final = 0.1
REOPEN_S_MAX: Final = 10.0
LATE_MS_MAX: Final = 1_100
"""How much later than asked a driver may return; nfcpy's UDP radio waits a second for every request."""
LATE_TRIES_MAX: Final = 5
WAIT_MS: Final = 200
"""One look in which nothing is expected."""

DeviceT = TypeVar("DeviceT", bound=Device)
T = TypeVar("T")


class Bench(Generic[DeviceT]):
    """One device, open at the beginning of every check."""

    def __init__(self, device: DeviceT, hands: Hands, *, wait_s: float) -> None:
        """Put a device on the bench; it is not open yet.

        Args:
            wait_s: how long is waited for what hands were asked to do.
        """
        self.device = device
        self.hands = hands
        self.wait_s = wait_s

    def ask(self, action: Action) -> str:
        """Have something done; return the text of the code that is shown, where it is known.

        Raises:
            CheckSkipped: it can't be done here.
        """
        done = self.hands.do(action)
        if done is None:
            raise CheckSkipped(f"not to be had here: {action.text('en')}")
        return done

    def wait_for(self, look: Callable[[], T | None], what: str) -> T:
        """Look again and again until something is there.

        Raises:
            CheckFailed: it surely happened, and was not seen in time.
            CheckSkipped: nothing came; perhaps nobody did it.
        """
        deadline = time.monotonic() + self.wait_s
        while time.monotonic() < deadline:
            found = look()
            if found is not None:
                return found
        self.miss(f"{what} was not seen within {self.wait_s:.0f} s")
        raise AssertionError("miss never returns")

    def miss(self, reason: str) -> None:
        """Say that something did not come: the device's fault where it surely happened."""
        raise CheckFailed(reason) if self.hands.is_certain else CheckSkipped(f"{reason}, or nobody did it")

    def time_in_vain(self, wait: Callable[[int], object]) -> dict[str, int]:
        """Return how much later than asked a driver returns that sees nothing.

        The best of a few tries counts: what a busy machine adds now and then is not the driver's.

        Raises:
            CheckFailed: it saw something, or it was late at every try.
        """
        waited_ms = 0
        for _ in range(LATE_TRIES_MAX):
            started = time.monotonic()
            if wait(WAIT_MS) is not None:
                raise CheckFailed("it sees something where there is nothing")
            waited_ms = ms_since(started)
            if waited_ms <= WAIT_MS + LATE_MS_MAX:
                return {"late_ms": max(0, waited_ms - WAIT_MS)}
        raise CheckFailed(f"asked to wait {WAIT_MS} ms, it returned after {waited_ms}")

    def await_failure(self, use: Callable[[], object]) -> int:
        """Return after how many milliseconds the driver says that its device is gone."""

        def look() -> bool | None:
            try:
                use()
            except ReaderUnavailable:
                return True
            except PresentationRefused:
                return None
            return None

        started = time.monotonic()
        self.wait_for(look, "the pulled cable")
        return ms_since(started)

    def open_again(self) -> int:
        """Open the device as the supervisor does, again and again; return after how many milliseconds."""
        started = time.monotonic()
        while True:
            self.device.close()
            try:
                self.device.open()
                return ms_since(started)
            except ReaderUnavailable as failure:
                if time.monotonic() - started > max(REOPEN_S_MAX, self.wait_s):
                    raise CheckFailed(f"it does not open again: {failure}") from None
                time.sleep(REOPEN_PAUSE_S)


class CardBench(Bench[CardReader]):
    """A card reader on the bench."""

    def await_card(self) -> CardConnection:
        """Return the card that is held to the reader; errors as `wait_for`."""
        return self.wait_for(lambda: self.device.wait_for_card(LOOK_MS), "a card")

    def clear(self) -> None:
        """Have everything taken away, and wait until the reader sees nothing."""
        self.ask(Action.CLEAR)
        self.wait_for(lambda: self._is_empty() or None, "the empty reader")

    def _is_empty(self) -> bool:
        try:
            connection = self.device.wait_for_card(0)
        except PresentationRefused:
            return False
        if connection is not None:
            connection.close()
        return connection is None


class CodeBench(Bench[CodeScanner]):
    """A code scanner on the bench."""

    def await_code(self, *, other_than: str | None = None) -> str:
        """Return the next code that is not the one named; errors as `wait_for`."""

        def look() -> str | None:
            text = self.device.wait_for_code(LOOK_MS)
            return None if text == other_than else text

        return self.wait_for(look, "a code")

    def clear(self) -> None:
        """Have every code taken away, and wait until none is seen any more."""
        self.ask(Action.HIDE_CODE)

        def look() -> bool | None:
            try:
                return True if self.device.wait_for_code(LOOK_MS) is None else None
            except PresentationRefused:
                return None

        self.wait_for(look, "the empty counter")


def ms_since(started: float) -> int:
    """Return how many milliseconds it is since a moment of time.monotonic."""
    return round((time.monotonic() - started) * 1000)
