"""What every simulated card offers to the field that carries it."""

from __future__ import annotations

from typing import Protocol


class CardTorn(Exception):
    """The card was pulled out at this very moment: the field must behave as if it had left."""


class SimulatedCard(Protocol):
    """An ISO-DEP card: powered by a field, answering APDUs, forgetting volatile state without power."""

    uid: bytes
    """4 or 7 bytes, as anticollision shows them; with RandomID a new `08 xx xx xx` per power-up."""
    historical_bytes: bytes
    """For the ATS and the PC/SC ATR, 0 to 15 bytes."""

    def power_on(self) -> None:
        """Enter a field: no application selected, no session, counters ready to rise."""

    def power_off(self) -> None:
        """Leave the field: volatile state is lost, what was written to memory stays."""

    def transmit(self, command: bytes) -> bytes:
        """Answer one command APDU with a response APDU, status word last.

        Raises:
            CardTorn: a scripted tear; the answer, if any was computed, is lost.
        """


class MemoryTag(Protocol):
    """A Type 2 tag: a UID and pages of four bytes, no APDUs, no secrets."""

    uid: bytes

    def power_on(self) -> None:
        """Enter a field."""

    def power_off(self) -> None:
        """Leave the field."""

    def exchange(self, frame: bytes) -> bytes | None:
        """Answer one Type 2 command frame (READ 30, WRITE A2), without CRC; None is silence."""
