"""A network that loses, delays, doubles and reorders what it carries, and knows nothing of what that is.

Each message has its own luck. A request that is on its way arrives even if its sender has stopped waiting,
and even if the sender's machine is off by then; an answer finds its sender only while that one waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from simulators.faults.dice import Dice
from simulators.faults.plan import FaultKind, LineFaults, NetworkFaults

HOP_MS_MIN: Final = 2
HOP_MS_MAX: Final = 30
"""What a message takes one way when nothing is wrong."""
WHOLE: Final = LineFaults()
IN_FLIGHT_MAX: Final = 1_000
"""Most requests on their way; more are a mistake of whoever built the world."""

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class ConnectionBroken(Exception):
    """No answer will come, and the client can tell: refused, reset, or the other side died."""


class SimulatedNetwork(Generic[Request, Answer]):
    """Carries requests to one place; used within one event loop."""

    def __init__(
        self,
        deliver: Callable[[Request], Awaitable[Answer]],
        faults: NetworkFaults,
        dice: Dice,
        *,
        may_repeat: Callable[[Answer], bool] = lambda answer: True,
        lines: LineFaults = WHOLE,
    ) -> None:
        """Prepare a network with nothing on it.

        Args:
            deliver: takes a request where it goes, and returns its answer; raises ConnectionBroken where
                there is nobody.
            may_repeat: says of which answers a copy may come in another's place.
            lines: how often a client's whole way is away.
        """
        self._deliver = deliver
        self._faults = faults
        self._dice = dice
        self._may_repeat = may_repeat
        self._lines = lines
        self._cut_until_s: dict[str, float] = {}
        self._carrying: set[asyncio.Task[None]] = set()
        self._earlier: dict[str, Answer] = {}
        self._sent_count: dict[str, int] = {}
        self._arrived_last: dict[str, int] = {}
        self._copies_since = 0

    async def exchange(self, client: str, request: Request) -> Answer:
        """Send a request and return the first answer that comes; may wait for ever.

        Raises:
            ConnectionBroken: no answer will come.
        """
        assert len(self._carrying) < IN_FLIGHT_MAX, "what is on its way has a bound"
        faults, dice = self._faults, self._dice
        number = self._sent_count[client] = self._sent_count.get(client, 0) + 1
        heard: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._is_cut(client):
            self._break(client, heard)
            return await heard
        copies = 2 if dice.happens(FaultKind.REQUEST_DUPLICATED, faults.request_duplicated, client) else 1
        for copy in range(copies):
            task = asyncio.create_task(self._carry(client, number, request, heard, is_copy=copy > 0))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)
        return await heard

    def forget_copies(self) -> None:
        """Drop the copies that have not arrived: whoever relays for a server drops them when it dies."""
        self._copies_since += 1

    async def settle(self) -> None:
        """Return when nothing is on its way any more."""
        while self._carrying:
            await asyncio.wait(set(self._carrying))

    def cut(self, client: str, duration_ms: int) -> None:
        """Let nothing through for a client, for so long."""
        now_s = asyncio.get_running_loop().time()
        self._cut_until_s[client] = max(self._cut_until_s.get(client, 0.0), now_s + duration_ms / 1000)
        self._dice.note(FaultKind.LINE_CUT)

    def mend(self) -> None:
        """Put every line back."""
        self._cut_until_s.clear()

    def _is_cut(self, client: str) -> bool:
        """Say whether nothing gets through for a client now."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._cut_until_s.get(client, 0.0):
            return True
        if not self._dice.happens(FaultKind.LINE_CUT, self._lines.cut, client):
            return False
        cut_ms = self._dice.duration_ms(f"{client} line", self._lines.cut_ms_max)
        self._cut_until_s[client] = now_s + cut_ms / 1000
        return True

    async def _carry(
        self, client: str, number: int, request: Request, heard: asyncio.Future[Answer], *, is_copy: bool
    ) -> None:
        faults, dice = self._faults, self._dice
        if dice.happens(FaultKind.REQUEST_LOST, faults.request_lost, client):
            self._break(client, heard)
            return
        era = self._copies_since
        late = is_copy or dice.happens(FaultKind.REQUEST_DELAYED, faults.request_delayed, client)
        await self._travel(client, late=late)
        if is_copy and era != self._copies_since:
            return
        self._note_arrival(client, number)
        try:
            answer = await self._deliver(request)
        except ConnectionBroken as broken:
            _tell(heard, broken)
            return
        is_cut = asyncio.get_running_loop().time() < self._cut_until_s.get(client, 0.0)
        if is_cut or dice.happens(FaultKind.ANSWER_LOST, faults.answer_lost, client):
            self._break(client, heard)
            return
        late = dice.happens(FaultKind.ANSWER_DELAYED, faults.answer_delayed, client)
        await self._travel(client, late=late)
        if not heard.done():
            heard.set_result(self._perhaps_another(client, answer))

    def _perhaps_another(self, client: str, answer: Answer) -> Answer:
        """Return the answer, or in its place the one before it."""
        earlier = self._earlier.get(client)
        if self._may_repeat(answer):
            self._earlier[client] = answer
        if earlier is None:
            return answer
        repeats = self._dice.happens(FaultKind.ANSWER_REPEATED, self._faults.answer_repeated, client)
        return earlier if repeats else answer

    def _break(self, client: str, heard: asyncio.Future[Answer]) -> None:
        """Let nothing come: half of the clients are told by a reset, the others wait in vain."""
        if self._dice.below(f"{client} reset", 2):
            _tell(heard, ConnectionBroken())

    async def _travel(self, client: str, *, late: bool) -> None:
        hop_ms = HOP_MS_MIN + self._dice.below(f"{client} hop", HOP_MS_MAX - HOP_MS_MIN + 1)
        extra_ms = self._dice.duration_ms(f"{client} delay", self._faults.delay_ms_max) if late else 0
        await asyncio.sleep((hop_ms + extra_ms) / 1000)

    def _note_arrival(self, client: str, number: int) -> None:
        last = self._arrived_last.get(client, 0)
        if number < last:
            self._dice.note(FaultKind.REQUEST_OVERTAKEN)
        self._arrived_last[client] = max(last, number)


def _tell(heard: asyncio.Future[Answer], broken: ConnectionBroken) -> None:
    if not heard.done():
        heard.set_exception(broken)
