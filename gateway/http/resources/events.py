"""`/v1/terminals/events`: what happened to a terminal's payments without its asking."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_terminal
from gateway.http.calls import SignedCall, read_query
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.merchants.model import EnrolledTerminal
from wire.errors import WireError
from wire.messages.terminals import TerminalEvents

POSITION_DIGITS_MAX = 15


class EventResource:
    """The events of the terminal that signed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Return what happened after `?after=`; without it, where the events stand."""
        terminal = await self.identify(call, noted)
        after = parse_position(read_query(call, ("after",)).get("after"))
        return answer_with(await self.read(terminal, after))

    async def identify(self, call: SignedCall, noted: Exchange) -> EnrolledTerminal:
        """Return whose events are asked for."""
        terminal, _ = await read_terminal(self._desk, call, noted)
        return terminal

    async def read(self, terminal: EnrolledTerminal, after: int | None) -> TerminalEvents:
        """Return a terminal's events after one of them."""
        return await self._desk.events.read(terminal, after)


def parse_position(text: str | None) -> int | None:
    """Return the number of an event; None if none is given.

    Raises:
        WireError: `malformed`.
    """
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= POSITION_DIGITS_MAX):
        raise WireError("an event is named by its number")
    return int(text)
