"""What every simulated field offers to whoever holds the cards."""

from __future__ import annotations

from typing import Protocol

from simulators.cards.card import MemoryTag, SimulatedCard


class Field(Protocol):
    """A place a card can be put: one at a time, from any thread."""

    @property
    def reader_path(self) -> str:
        """What to write into terminal.toml to read from this field, e.g. `contactless:udp:127.0.0.1:9901`."""

    def start(self) -> None:
        """Open sockets or pseudo-terminals and start answering; returns when a reader may open it."""

    def present(self, card: SimulatedCard | MemoryTag) -> None:
        """Put a card into the field; replaces one that is there (a swap inside one poll)."""

    def remove(self) -> None:
        """Take the card out; no card there is no error."""

    def stop(self) -> None:
        """Close everything; may be called twice."""
