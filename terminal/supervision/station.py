"""A device's place at the till: its health, the thread that owns it now, and those that were left behind.

A thread can't be ended from outside. One whose driver does not return is replaced by another with a driver
of its own, and left to its call; should that ever return, it closes its driver and ends. So many of them and
no more: a device that hangs again and again needs a restart, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from terminal.devices.device import Device, is_card_reader, is_code_scanner
from terminal.errors import TerminalError
from terminal.supervision.arming import Switch
from terminal.supervision.card_owner import CardOwner
from terminal.supervision.code_owner import CodeOwner
from terminal.supervision.health import Health, Tenure
from terminal.supervision.owner import Deliver, Owner
from wire.messages.till import ReaderView

LEFT_BEHIND_MAX: Final = 3
"""Threads of one device that may hang at once, besides the one that owns it."""

MakeAgain = Callable[[str], Device]
"""Makes another driver of a path, not open."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Station:
    """One device of the till, whatever becomes of its threads."""

    def __init__(
        self,
        device: Device,
        make_again: MakeAgain,
        switch: Switch,
        deliver: Deliver,
        now_ms: Callable[[], int],
    ) -> None:
        self._path = device.path
        self._make_again = make_again
        self._switch = switch
        self._deliver = deliver
        self._health = Health(device.path, now_ms)
        self._owner = self._make_owner(device, self._health.tenure)
        self._left_behind: list[Owner] = []

    def start(self) -> None:
        """Start the device's thread."""
        self._owner.start()

    def view(self) -> ReaderView:
        """Return the device's health."""
        hanging = [owner for owner in self._left_behind if owner.is_alive]
        return self._health.view(is_armed=self._switch.arming is not None, left_behind_count=len(hanging))

    def look_after(self) -> None:
        """Replace the thread if its driver hangs; called by one thread only."""
        self._left_behind = [owner for owner in self._left_behind if owner.is_alive]
        if not self._health.tenure.is_overdue:
            return
        device = self._make_device() if len(self._left_behind) < LEFT_BEHIND_MAX else None
        if device is None:
            self._health.note_hanging("reader_restart_needed")
            self._owner.tell_abandoned()
            return
        self._health.note_hanging("reader_stuck")
        hanging = self._owner
        self._left_behind = [*self._left_behind, hanging]
        self._owner = self._make_owner(device, self._health.take_over())
        log.warning("reader_thread_replaced", reader=self._path, left_behind=len(self._left_behind))
        hanging.tell_abandoned()
        self._owner.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the owner's end; what was left behind stays so."""
        self._owner.join(timeout_s)

    def _make_device(self) -> Device | None:
        try:
            return self._make_again(self._path)
        except TerminalError as error:
            log.error("reader_not_made_again", reader=self._path, code=error.code)
            return None

    def _make_owner(self, device: Device, tenure: Tenure) -> Owner:
        if is_card_reader(device):
            return CardOwner(device, self._switch, self._deliver, tenure)
        assert is_code_scanner(device)
        return CodeOwner(device, self._switch, self._deliver, tenure)
