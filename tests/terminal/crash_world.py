"""A terminal's disk and its way to a gateway, in memory, where power fails at a step chosen by its number.

A step is anything between which power can fail: a write (before it, half of it, after it), a request (before
it leaves, after it was booked). The gateway here books idempotently and keeps what it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

import msgspec

from terminal.errors import GatewayUnreachable
from terminal.gateway_client.transport import Reply
from tests.terminal.conftest import ask_for_confirmation, make_answer, take_back
from wire.messages.base import dump_message, parse_message
from wire.messages.payments import ConfirmationWay, PaymentAnswer, PaymentRequest, ReversalRequest
from wire.messages.problem import PROBLEM_CONTENT_TYPE, Problem


class PowerLost(BaseException):
    """No Exception: nothing of the product may go on after it."""


class Power:
    """Counts steps and fails at one of them; once it has failed, nothing happens any more."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.step_count = 0
        self._fails_at = fails_at
        self.is_lost = False

    def step(self) -> bool:
        """Take one step; returns whether power fails right here."""
        if self.is_lost:
            raise PowerLost
        self.step_count += 1
        self.is_lost = self.step_count == self._fails_at
        return self.is_lost


class CrashDisk:
    """Keeps `Disk`; what it holds after a power loss is in `files`."""

    def __init__(self, power: Power, files: dict[str, bytes] | None = None) -> None:
        self.power = power
        self.files = dict(files or {})

    def read(self, name: str) -> bytes:
        return self.files.get(name, b"")

    def open(self, name: str) -> CrashFile:
        self.files.setdefault(name, b"")
        return CrashFile(self, name)

    def write(self, name: str, content: bytes) -> None:
        self.change(name, self.files.get(name, b""), content, content)

    def change(self, name: str, before: bytes, torn: bytes, after: bytes) -> None:
        """Put other content in place; power may fail before, in the middle, or after."""
        for content in (before, torn, after):
            fails = self.power.step()
            self.files[name] = content
            if fails:
                raise PowerLost


class CrashFile:
    """Keeps `DiskFile`."""

    def __init__(self, disk: CrashDisk, name: str) -> None:
        self._disk = disk
        self._name = name

    def append(self, content: bytes) -> None:
        before = self._disk.read(self._name)
        self._disk.change(self._name, before, before + content[: len(content) // 2], before + content)

    def replace(self, content: bytes) -> None:
        self._disk.change(self._name, self._disk.read(self._name), content, content)

    def cut(self, size_bytes: int) -> None:
        before = self._disk.read(self._name)
        self._disk.change(self._name, before, before, before[:size_bytes])

    def close(self) -> None:
        """There is nothing open."""


class CrashGateway:
    """A gateway's memory; outlives every power loss of the terminal."""

    def __init__(self) -> None:
        self.decided: dict[str, PaymentAnswer] = {}
        self.charge_count = 0
        self.asks_holder = False
        """Whether payments wait for their holder, who says yes by `agree`."""
        self.requests: dict[str, PaymentRequest] = {}
        self.sends: list[str] = []
        """`pay` and `reverse`, in the order in which they arrived."""

    def agree(self) -> None:
        """Have every holder who is asked say yes, on a phone."""
        for attempt_id, answer in self.decided.items():
            if answer.outcome == "requires_confirmation":
                paid = make_answer(self.requests[attempt_id])
                self.decided[attempt_id] = msgspec.structs.replace(paid, payment_id=answer.payment_id)

    def handle(self, method: str, uri: str, body: bytes) -> object | None:
        """Return the answer to a request, None for not found."""
        parts = urlsplit(uri)
        if method == "GET":
            return self.decided.get(parse_qs(parts.query)["attempt_id"][0])
        if parts.path == "/v1/reversals":
            self.sends.append("reverse")
            reversal = parse_message(body, ReversalRequest)
            answer = take_back(reversal, self.decided.get(reversal.attempt_id))
        else:
            self.sends.append("pay")
            request = parse_message(body, PaymentRequest)
            known = self.decided.get(request.attempt_id)
            self.charge_count += known is None
            answer = known or make_answer(request)
            if known is None and self.asks_holder:
                answer = ask_for_confirmation(
                    answer, (ConfirmationWay.DEVICE,), request.presented_ms + 30_000
                )
            self.requests[request.attempt_id] = request
        self.decided[answer.attempt_id] = answer
        return answer


class CrashTransport:
    """Keeps `Transport`; `loses` says of each request what goes missing: nothing, "request" or "answer"."""

    def __init__(
        self, power: Power, gateway: CrashGateway, loses: Callable[[str, str], str] = lambda _, __: ""
    ) -> None:
        self._power = power
        self._gateway = gateway
        self._loses = loses

    async def exchange(self, method: str, uri: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        if self._power.step():
            raise PowerLost
        lost = self._loses(method, urlsplit(uri).path)
        if lost == "request":
            raise GatewayUnreachable("lost on the way there")
        answer = self._gateway.handle(method, uri, body)
        if self._power.step():
            raise PowerLost
        if lost == "answer":
            raise GatewayUnreachable("lost on the way back")
        if answer is None:
            problem = Problem(type="", title="", status=404, code="not_found", retryable=False)
            return Reply(404, PROBLEM_CONTENT_TYPE, dump_message(problem), {})
        return Reply(200, "application/json", msgspec.json.encode(answer), {})

    async def close(self) -> None:
        """There is nothing open."""
