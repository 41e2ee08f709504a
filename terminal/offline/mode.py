"""Is the gateway there? A pure state machine over what became of each exchange with it.

    ONLINE   --so many bad exchanges in a row-->    OFFLINE
    OFFLINE  --so many good exchanges in a row-->   ONLINE

A bad exchange is one without an answer, or with one that took too long to wait for at a till. Two numbers
and not one keep a gateway that answers every other time from switching the till to and fro.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

COUNT_MAX: Final = 1_000
"""Counts stop here; the numbers they are held against are far smaller."""


class Mode(StrEnum):
    """Whether payments are asked about or judged here."""

    ONLINE = "online"
    OFFLINE = "offline"


class Exchange(StrEnum):
    """What became of one request to the gateway."""

    GOOD = "good"
    """Answered in time, favourably or not."""
    SLOW = "slow"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class ModeRules:
    """When the mode changes."""

    bad_exchanges_to_leave: int
    """So many slow or silent exchanges in a row, and the till is offline; from 1."""
    good_exchanges_to_return: int
    """So many good ones in a row, and it is online again; from 1."""
    slow_ms: int
    """An answer that took longer counts as slow."""


@dataclass(frozen=True, slots=True)
class ModeState:
    """The mode, and how many exchanges in a row have spoken against it."""

    mode: Mode = Mode.ONLINE
    against_count: int = 0


def classify_exchange(duration_ms: int | None, rules: ModeRules) -> Exchange:
    """Return what an exchange was, from how long its answer took; None for no answer at all."""
    if duration_ms is None:
        return Exchange.SILENT
    return Exchange.SLOW if duration_ms > rules.slow_ms else Exchange.GOOD


def next_mode(state: ModeState, exchange: Exchange, rules: ModeRules) -> ModeState:
    """Return the state after one more exchange."""
    is_good = exchange is Exchange.GOOD
    speaks_for_mode = is_good == (state.mode is Mode.ONLINE)
    if speaks_for_mode:
        return ModeState(state.mode)
    against_count = min(state.against_count + 1, COUNT_MAX)
    is_online = state.mode is Mode.ONLINE
    needed_count = rules.bad_exchanges_to_leave if is_online else rules.good_exchanges_to_return
    if against_count < needed_count:
        return ModeState(state.mode, against_count)
    return ModeState(Mode.OFFLINE if is_online else Mode.ONLINE)


class ModeKeeper:
    """Holds the state of one daemon and tells of each change; all calls in the event loop's thread."""

    def __init__(self, rules: ModeRules, on_change: Callable[[Mode], None]) -> None:
        """Begin online: the first exchanges will tell."""
        self._rules = rules
        self._on_change = on_change
        self._state = ModeState()

    @property
    def mode(self) -> Mode:
        """What holds now."""
        return self._state.mode

    def note(self, duration_ms: int | None) -> None:
        """Take one exchange's duration, None for no answer, and tell `on_change` if it changes the mode."""
        before = self._state.mode
        self._state = next_mode(self._state, classify_exchange(duration_ms, self._rules), self._rules)
        if self._state.mode is not before:
            self._on_change(self._state.mode)
