"""All devices of a till: one owner thread each, joined by a switch that arms and stops them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeGuard

from terminal.presentations import PresentationEvent, TermsSource
from terminal.readers.card_reader import CardReader
from terminal.scanners.code_scanner import CodeScanner
from terminal.supervision.arming import Arming, Switch
from terminal.supervision.card_owner import CardOwner
from terminal.supervision.code_owner import CodeOwner
from terminal.supervision.owner import Owner
from wire.messages.till import ReaderView

STOP_MS_MAX: Final = 2_000
"""How long `stop` waits for all threads together; what hangs is left behind."""


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
        self._switch = Switch()
        self._owners = [_make_owner(device, self._switch, deliver, now_ms) for device in devices]

    def start(self) -> None:
        """Start one thread per device; returns at once."""
        for owner in self._owners:
            owner.start()

    def arm(self, terms: TermsSource) -> None:
        """Let every device accept presentations for these terms, instead of any before."""
        self._switch.arm(Arming(terms))

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


def _is_card_reader(device: CardReader | CodeScanner) -> TypeGuard[CardReader]:
    return hasattr(device, "wait_for_card")


def _is_code_scanner(device: CardReader | CodeScanner) -> TypeGuard[CodeScanner]:
    return hasattr(device, "wait_for_code")


def _make_owner(
    device: CardReader | CodeScanner,
    switch: Switch,
    deliver: Callable[[PresentationEvent], None],
    now_ms: Callable[[], int],
) -> Owner:
    if _is_card_reader(device):
        return CardOwner(device, switch, deliver, now_ms)
    assert _is_code_scanner(device)
    return CodeOwner(device, switch, deliver, now_ms)
