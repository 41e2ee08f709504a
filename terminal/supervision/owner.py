"""The thread that owns one device, and opens it again whatever its driver does.

Drivers block, throw whatever their libraries throw, and sometimes never return; none of that may reach
another device or the sale.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from terminal.devices.device import Device
from terminal.errors import ConfigurationError, ReaderNotInstalled, TerminalError
from terminal.presentations import Noticed, PresentationEvent, PresentedInVain
from terminal.supervision import health
from terminal.supervision.arming import Arming, Switch
from terminal.supervision.health import Tenure
from wire.messages.till import ReaderState

WAIT_MS: Final = 250
"""One look for a card or code while armed; also how late a thread notices that it should stop."""
REOPEN_DELAY_MS_MIN: Final = 250
REOPEN_DELAY_MS_MAX: Final = 2_000
"""How long a device that works again may go unnoticed; opening one that is not there costs little."""

Deliver = Callable[[PresentationEvent], None]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Owner:
    """The thread that owns one device; what it does with it is the subclass's."""

    def __init__(self, device: Device, switch: Switch, deliver: Deliver, tenure: Tenure) -> None:
        self._device = device
        self._switch = switch
        self._deliver_event = deliver
        self._tenure = tenure
        self._reading: tuple[Arming, int] | None = None
        self._thread = threading.Thread(target=self._run, name=f"reader {device.path}", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs, be it in its driver."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to open and serve the device."""
        self._tenure.beat(health.OPEN_MS_MAX)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def tell_abandoned(self) -> None:
        """Tell the sale, once, that what it was told is being read will not be; called by the watch."""
        reading, self._reading = self._reading, None
        if reading is not None:
            arming, noticed_ns = reading
            self._hand_over(arming, PresentedInVain(self._device.path, "card_too_slow", noticed_ns))

    @property
    def _is_done(self) -> bool:
        return self._switch.stopped or not self._tenure.is_current

    def _run(self) -> None:
        delay_ms = REOPEN_DELAY_MS_MIN
        while not self._is_done:
            worked = self._try_session()
            if worked is None:
                break
            delay_ms = REOPEN_DELAY_MS_MIN if worked else min(2 * delay_ms, REOPEN_DELAY_MS_MAX)
            self._tenure.beat(health.OPEN_MS_MAX)
            self._switch.rest(delay_ms)
        self._tenure.end()

    def _try_session(self) -> bool | None:
        """Use the device until it fails; say whether it ever worked, None to try no more."""
        worked = False
        try:
            self._tenure.beat(health.OPEN_MS_MAX)
            self._device.open()
            self._tenure.beat(health.CALL_MS_MAX)
            self._tenure.note(ReaderState.READY)
            while not self._is_done:
                self._tenure.beat(health.CALL_MS_MAX)
                self._serve()
                worked = True
        except (ReaderNotInstalled, ConfigurationError) as error:
            self._tenure.note(ReaderState.OFF, error.code, str(error))
            return None
        except TerminalError as error:
            self._tenure.note(ReaderState.FAULTY, error.code, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a driver throws, it is closed and opened again
            # Its text may hold what the card or the code said.
            self._tenure.note(ReaderState.FAULTY, "reader_failed", f"unexpected {type(error).__name__}")
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

    def _deliver(self, arming: Arming, event: PresentationEvent) -> None:
        """Hand an event on unless its arming is over, or this thread was replaced."""
        if not self._tenure.is_current:
            return
        if isinstance(event, Noticed) and self._switch.arming is arming:
            self._tenure.count()
        self._reading = (arming, event.noticed_ns) if isinstance(event, Noticed) else None
        self._hand_over(arming, event)

    def _refuse(self, code: str) -> None:
        """Tell the armed sale, if there is one, that what is presented can't be used."""
        arming = self._switch.arming
        if arming is not None:
            noticed_ns = time.monotonic_ns()
            self._deliver(arming, Noticed(self._device.path, noticed_ns))
            self._deliver(arming, PresentedInVain(self._device.path, code, noticed_ns))

    def _hand_over(self, arming: Arming, event: PresentationEvent) -> None:
        if self._switch.arming is not arming:
            return
        try:
            self._deliver_event(event)
        except Exception as error:  # noqa: BLE001 - the sale's trouble must not stop the reader
            log.error("event_not_taken", reader=self._device.path, error=type(error).__name__)
