"""All devices of a till: a station each, a switch that arms and stops them, a watch over what hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from terminal.devices.device import Device
from terminal.devices.paths import make_device
from terminal.presentations import TermsSource
from terminal.supervision.arming import Arming, Switch
from terminal.supervision.owner import Deliver
from terminal.supervision.station import MakeAgain, Station
from wire.messages.till import ReaderView

STOP_MS_MAX: Final = 2_000
"""How long `stop` waits for all threads together; what hangs is left behind."""
WATCH_MS: Final = 250
"""How often it is looked whether a driver hangs."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Supervisor:
    """Runs every device of a till and hands on what is presented while a sale is armed.

    Args:
        devices: drivers, not yet open.
        deliver: takes events; called in a device's thread, must not block.
        now_ms: unix milliseconds, for the health view only.
        make_again: makes another driver of a path, where one never returned.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        deliver: Deliver,
        *,
        now_ms: Callable[[], int],
        make_again: MakeAgain = make_device,
    ) -> None:
        self._switch = Switch()
        self._stations = [Station(device, make_again, self._switch, deliver, now_ms) for device in devices]
        self._watch = threading.Thread(target=self._look_after_all, name="readers' watch", daemon=True)

    def start(self) -> None:
        """Start one thread per device, and the watch; returns at once."""
        for station in self._stations:
            station.start()
        self._watch.start()

    def arm(self, terms: TermsSource) -> None:
        """Let every device accept presentations for these terms, instead of any before."""
        self._switch.arm(Arming(terms, time.monotonic_ns()))

    def disarm(self) -> None:
        """Let no device accept anything; may be called twice.

        An event that was on its way may still be delivered.
        """
        self._switch.arm(None)

    def views(self) -> list[ReaderView]:
        """Return every device's health, in the order given."""
        return [station.view() for station in self._stations]

    def stop(self) -> None:
        """End all threads; returns within STOP_MS_MAX even where a driver hangs."""
        self._switch.stop()
        deadline = time.monotonic() + STOP_MS_MAX / 1000
        for station in self._stations:
            station.join(max(0.0, deadline - time.monotonic()))

    def _look_after_all(self) -> None:
        while not self._switch.stopped:
            for station in self._stations:
                try:
                    station.look_after()
                except Exception as error:  # noqa: BLE001 - one device's trouble must not end the watch
                    log.error("reader_not_looked_after", error=type(error).__name__)
            self._switch.rest(WATCH_MS)
