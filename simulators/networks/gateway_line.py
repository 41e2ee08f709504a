"""The line between tills and their gateway, over real sockets: it carries, loses answers, or is cut.

Whole answers are lost, never half requests changed: the gateway has then done what it was asked, and no till
can know. A blow may be struck at one moment of the next attempt that passes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum, StrEnum
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

LOOPBACK: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536
CONNECTIONS_MAX: Final = 256
"""At once; one more is turned away. A till has a handful."""

_ATTEMPT: Final = b"POST /v1/payments "
"""How an attempt begins; it comes as one chunk, being small."""
_DECISION: Final = b'"attempt_id"'
"""What the answer to one has in it."""


class LineState(StrEnum):
    """What the line does with what is given to it."""

    CARRIES = "carries"
    LOSES_ANSWERS = "loses_answers"
    """Requests arrive; of the answers nothing comes back, and the connection breaks."""
    CUT = "cut"
    """Nobody is reached."""


class Moment(Enum):
    """Where an attempt is when something happens."""

    BEFORE_IT_ARRIVES = "before it arrives"
    WHILE_IT_IS_DECIDED = "while it is decided"
    BEFORE_THE_ANSWER_ARRIVES = "before the answer arrives"
    """The answer is then lost."""


class GatewayLine:
    """A listening port that leads to a gateway, for as long as the block runs."""

    def __init__(self) -> None:
        self._state = LineState.CARRIES
        self._target = (LOOPBACK, 0)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._lost = asyncio.Condition()
        self._blow: tuple[Moment, Callable[[], None]] | None = None
        self.lost_count = 0
        """Answers that were on their way while answers were lost."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, LOOPBACK, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._break_all()

    @property
    def url(self) -> str:
        """Where tills and phones reach the gateway, without a trailing slash."""
        assert self._server is not None, "the block has begun"
        return f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    def lead_to(self, gateway_url: str) -> None:
        """Carry to this gateway from now on."""
        parts = urlsplit(gateway_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)

    def set(self, state: LineState) -> None:
        """Do something else from now on; what is cut breaks at once."""
        self._state = state
        if state is LineState.CUT:
            self._break_all()

    def strike_once(self, moment: Moment, blow: Callable[[], None]) -> None:
        """Have something happen to the next attempt that passes, at one moment of it."""
        self._blow = moment, blow

    async def wait_for_losses(self, count: int) -> None:
        """Return once so many more answers were lost than now."""
        enough = self.lost_count + count
        async with self._lost:
            await self._lost.wait_for(lambda: self.lost_count >= enough)

    def _is_cut(self) -> bool:
        return self._state is LineState.CUT

    def _break_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut() or len(self._open) >= 2 * CONNECTIONS_MAX:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        if self._is_cut():
            # Cut while it was being connected.
            self._break_all()
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump_back(far_reader, writer))
        finally:
            self._open -= {writer, far_writer}
            for one in (writer, far_writer):
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                is_attempt = chunk.startswith(_ATTEMPT)
                if is_attempt:
                    self._strike(Moment.BEFORE_IT_ARRIVES)
                writer.write(chunk)
                await writer.drain()
                if is_attempt:
                    self._strike(Moment.WHILE_IT_IS_DECIDED)
        writer.transport.abort()

    async def _pump_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if _DECISION in chunk and self._strike(Moment.BEFORE_THE_ANSWER_ARRIVES):
                    break
                if self._state is LineState.LOSES_ANSWERS:
                    async with self._lost:
                        self.lost_count += 1
                        self._lost.notify_all()
                    break
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()

    def _strike(self, moment: Moment) -> bool:
        """Strike what is to happen at this moment, and say whether anything was."""
        if self._blow is None or self._blow[0] is not moment:
            return False
        blow, self._blow = self._blow[1], None
        blow()
        return True
