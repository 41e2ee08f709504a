"""The thread that owns one device, and opens it again whatever its driver does.

Drivers block, throw whatever their libraries throw, and sometimes never return; none of that may reach
another device or the sale.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from terminal.errors import ConfigurationError, ReaderNotInstalled, TerminalError
from terminal.presentations import Noticed, PresentationEvent
from terminal.readers.card_reader import CardReader
from terminal.scanners.code_scanner import CodeScanner
from terminal.supervision.arming import Arming, Switch
from terminal.supervision.health import Health
from wire.messages.till import ReaderState, ReaderView

WAIT_MS: Final = 250
"""One look for a card or code while armed; also how late a thread notices that it should stop."""
REOPEN_DELAY_MS_MIN: Final = 250
REOPEN_DELAY_MS_MAX: Final = 5_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Owner:
    """The thread that owns one device; what it does with it is the subclass's."""

    def __init__(
        self,
        device: CardReader | CodeScanner,
        switch: Switch,
        deliver: Callable[[PresentationEvent], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._device = device
        self._switch = switch
        self._deliver_event = deliver
        self._health = Health(device.path, now_ms)
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

    def _deliver(self, arming: Arming, event: PresentationEvent) -> None:
        """Hand an event on unless its arming is over."""
        if self._switch.arming is not arming:
            return
        if isinstance(event, Noticed):
            self._health.count()
        try:
            self._deliver_event(event)
        except Exception as error:  # noqa: BLE001 - the sale's trouble must not stop the reader
            log.error("event_not_taken", reader=self._device.path, error=type(error).__name__)
