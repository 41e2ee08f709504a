"""Owns a card reader.

While no sale is armed, nobody looks for cards, so a contactless reader's field is off (no phone opens its
wallet at an idle till, and nobody can be read on the quiet) except for a moment every IDLE_PROBE_MS, which
is how a pulled plug is noticed. This costs no latency: arming wakes the thread, and a card already there
answers the first look, a few milliseconds after its field comes on.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from terminal.errors import CardRemoved, PresentationRefused
from terminal.presentations import Noticed, Presented, PresentedInVain
from terminal.readers.card_line import CardLine
from terminal.readers.card_meeting import meet_card
from terminal.readers.card_reader import CardConnection, CardReader
from terminal.supervision import health
from terminal.supervision.owner import WAIT_MS, Owner
from wire.messages.payments import NfcSdmPresentation

IDLE_PROBE_MS: Final = 2_000
"""How often an idle card reader is looked after."""
PRESENCE_PAUSE_S: Final = 0.05
"""Between two questions whether a card that was read is still there."""


class CardOwner(Owner):
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
        self._tenure.beat(health.CALL_MS_MAX)
        if connection is None:
            return
        try:
            # A thread that was replaced while its driver hung asks no card anything: another has the reader.
            if not self._is_done:
                self._meet(connection)
        finally:
            connection.close()

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
        line = CardLine()
        if isinstance(event, Presented) and isinstance(event.presentation, NfcSdmPresentation):
            event = replace(event, line=line)
        try:
            self._deliver(arming, event)
            self._await_removal(connection, line)
        except (CardRemoved, PresentationRefused):
            # Whoever asked the card by its line was told; it is read again when it is held there again.
            return
        finally:
            line.close()

    def _await_removal(self, connection: CardConnection, line: CardLine) -> None:
        """Wait until the card has left; meanwhile it answers whoever asks it by its line."""
        while not self._is_done and connection.is_present():
            self._tenure.beat(health.CALL_MS_MAX)
            while line.serve(connection, PRESENCE_PAUSE_S) and not self._is_done:
                self._tenure.beat(health.CALL_MS_MAX)
