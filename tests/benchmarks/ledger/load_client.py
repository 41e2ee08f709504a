"""The load client: a process of its own that sends ready bytes over keep-alive connections and times answers.

    python -m tests.benchmarks.ledger.load_client

It reads one JSON order a line from standard input and answers each with one line of JSON. A connection is
a raw asyncio protocol on uvloop with one request outstanding, so that a request costs it some thirty
microseconds; how many it could send is measured in every run against a responder that does nothing.

A closed load keeps a number of requests in flight. An open load fires at a rate, whatever the answers do,
and sends nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import msgspec
import uvloop

from tests.benchmarks.ledger.requests_file import read_requests

ANSWER_TIMEOUT_S: Final = 30
"""How long after the last request its answer may come before the cell fails."""
TICK_S: Final = 0.001
READ_BYTES_MAX: Final = 64 * 1024
COMPLAINTS_MAX: Final = 3
CONNECTS_AT_ONCE: Final = 64

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"Content-Length: "
_RETRY_AFTER: Final = b"Retry-After: "
_ATTEMPT: Final = b"Idempotency-Key: "
_ULID_CHARS: Final = 26


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One cell's load."""

    ports: list[int]
    """Of 127.0.0.1; connections take them in turn, as a load balancer would."""
    files: list[str]
    duration_s: float
    warm_up_s: float
    """Part of the duration that is not counted."""
    connections: int
    """Also how many requests are in flight, unless there is a rate."""
    rate_per_s: float | None = None
    """Fires this often, whatever the answers do."""
    endless: bool = False
    """Begins with the first request again after the last; only for who does not read them."""
    checks_answers: bool = True
    """Whether an answer must be an approval of the very attempt it answers."""


class Latencies(msgspec.Struct, frozen=True):
    """In milliseconds, of what was answered after the warm-up."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a cell's load."""

    sent: int
    approved: int
    """In all, the warm-up and what came after the end included: so many must be in the ledger."""
    refused: int
    """Answered 503 with Retry-After."""
    failed: int
    """Answered otherwise, or wrongly, or not at all; any of them fails the cell."""
    complaints: list[str]
    window_s: float
    approved_per_s: float
    """Within the window: after the warm-up, until sending stopped."""
    refused_per_s: float
    offered_per_s: float
    not_offered: int
    """An open load's shots for which no connection was free."""
    approval: Latencies
    refusal: Latencies
    answer_bytes: int
    """Of one approval, head and all."""
    answer_body_bytes: int
    client_cpu_share: float
    """Of one core, while the clock ran."""
    client_us_per_request: float


class _Load:
    """One cell: its requests, its connections and its books."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.requests = read_requests(map(Path, order.files))
        self.attempts = [_attempt_of(request) for request in self.requests] if order.checks_answers else []
        # An endless load of a minute at most, at rates nobody here reaches.
        size_max = 2_000_000 if order.endless else len(self.requests)
        self.approved_at, self.approved_ms = _zeros(size_max), _zeros(size_max)
        self.refused_at, self.refused_ms = _zeros(size_max), _zeros(size_max)
        self.sent = self.approved = self.refused = self.failed = self.not_offered = 0
        self.waiting = 0
        self.answer_bytes = self.answer_body_bytes = 0
        self.complaints: list[str] = []
        self.idle: deque[_Connection] = deque()
        self.is_over = False
        self.ends_at = 0.0
        self.stopped_at = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def take(self) -> int | None:
        """Return the index of the next request, or None when nothing more is sent."""
        if self.is_over:
            return None
        index = self.sent
        if index >= len(self.requests) and not self.order.endless:
            self.stop()
            return None
        self.sent = index + 1
        self.waiting += 1
        return index % len(self.requests)

    def stop(self) -> None:
        """Send no more; what is outstanding is still awaited."""
        if not self.is_over:
            self.is_over, self.stopped_at = True, time.perf_counter()
        self._finish_if_all_answered()

    def approve(self, now: float, sent_at: float) -> None:
        index = self.approved
        self.approved_at[index], self.approved_ms[index] = now, (now - sent_at) * 1000
        self.approved = index + 1
        self._settle(now)

    def refuse(self, now: float, sent_at: float) -> None:
        index = self.refused
        self.refused_at[index], self.refused_ms[index] = now, (now - sent_at) * 1000
        self.refused = index + 1
        self._settle(now)

    def fail(self, complaint: str) -> None:
        self.failed += 1
        if len(self.complaints) < COMPLAINTS_MAX:
            self.complaints.append(complaint)
        self._settle(time.perf_counter())

    def _settle(self, now: float) -> None:
        self.waiting -= 1
        if self.is_over or now >= self.ends_at:
            self.stop()

    def _finish_if_all_answered(self) -> None:
        if self.is_over and self.waiting <= 0 and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request outstanding."""

    __slots__ = ("_index", "_is_waiting", "_load", "_received", "_sent_at", "_transport")

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""
        self._index = -1
        self._is_waiting = False
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        """Send the next request, if there is one."""
        index = self._load.take()
        if index is None:
            return
        self._index, self._is_waiting = index, True
        self._sent_at = time.perf_counter()
        self._transport.write(self._load.requests[index])

    def data_received(self, data: bytes) -> None:
        answer = self._received + data if self._received else data
        body = _body_start(answer)
        if body is None:
            self._received = answer
            return
        self._received = b""
        self._is_waiting = False
        self._judge(answer, body)
        if self._load.order.rate_per_s is None:
            self.send()
        else:
            self._load.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._load.fail("the connection was closed without an answer")
        with contextlib.suppress(ValueError):
            self._load.idle.remove(self)

    def close(self) -> None:
        self._transport.close()

    def _judge(self, answer: bytes, body: int) -> None:
        load, now = self._load, time.perf_counter()
        if answer.startswith(b"HTTP/1.1 201 "):
            if not load.order.checks_answers or (
                answer.find(b'"outcome":"approved"', body) > 0 and load.attempts[self._index] in answer
            ):
                load.answer_bytes, load.answer_body_bytes = len(answer), len(answer) - body
                load.approve(now, self._sent_at)
                return
        elif answer.startswith(b"HTTP/1.1 503 ") and 0 < answer.find(_RETRY_AFTER) < body:
            load.refuse(now, self._sent_at)
            return
        load.fail(
            answer[:15].decode("ascii", "replace") + answer[body : body + 300].decode("utf-8", "replace")
        )


async def run_order(order: Order) -> Result:
    """Run one cell's load."""
    load = _Load(order)
    connections = await _connect(load)
    cpu_s = _cpu_s()
    started = time.perf_counter()
    load.ends_at = started + order.duration_s
    if order.rate_per_s is None:
        for connection in connections:
            connection.send()
    else:
        load.idle.extend(connections)
        await _fire(load, started, order.rate_per_s)
    outstanding_s = order.duration_s + ANSWER_TIMEOUT_S
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(load.done, outstanding_s)
    load.stop()
    cpu_share = (_cpu_s() - cpu_s) / (time.perf_counter() - started)
    for connection in connections:
        connection.close()
    return _report(load, started + order.warm_up_s, cpu_share, _cpu_s() - cpu_s)


async def _connect(load: _Load) -> list[_Connection]:
    loop, ports = asyncio.get_running_loop(), load.order.ports
    connections: list[_Connection] = []
    for start in range(0, load.order.connections, CONNECTS_AT_ONCE):
        numbers = range(start, min(start + CONNECTS_AT_ONCE, load.order.connections))
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda: _Connection(load), "127.0.0.1", ports[number % len(ports)])
                for number in numbers
            )
        )
        connections += [connection for _, connection in made]
    return connections


async def _fire(load: _Load, started: float, rate_per_s: float) -> None:
    fired = 0
    while (now := time.perf_counter()) < load.ends_at and not load.is_over:
        due = int((now - started) * rate_per_s)
        for _ in range(due - fired):
            if load.idle:
                load.idle.popleft().send()
            else:
                load.not_offered += 1
        fired = due
        await asyncio.sleep(TICK_S)
    load.stop()


def _body_start(answer: bytes) -> int | None:
    """Return where the body of a complete answer begins, None while it is not complete."""
    end = answer.find(_END_OF_HEAD)
    length_at = answer.find(_LENGTH, 0, end)
    if end < 0 or length_at < 0:
        return None
    start = length_at + len(_LENGTH)
    length = int(answer[start : answer.index(b"\r", start)])
    body = end + len(_END_OF_HEAD)
    return body if len(answer) >= body + length else None


def _attempt_of(request: bytes) -> bytes:
    start = request.index(_ATTEMPT) + len(_ATTEMPT)
    return request[start : start + _ULID_CHARS]


def _report(load: _Load, counted_from: float, cpu_share: float, cpu_s: float) -> Result:
    window_s = max(1e-9, load.stopped_at - counted_from)
    window = (counted_from, load.stopped_at)
    approvals = _within(window, load.approved_at, load.approved_ms, load.approved)
    refusals = _within(window, load.refused_at, load.refused_ms, load.refused)
    return Result(
        sent=load.sent,
        approved=load.approved,
        refused=load.refused,
        failed=load.failed + load.waiting,
        complaints=load.complaints + ["requests were never answered"] * (load.waiting > 0),
        window_s=window_s,
        approved_per_s=len(approvals) / window_s,
        refused_per_s=len(refusals) / window_s,
        offered_per_s=load.sent / max(1e-9, window_s + load.order.warm_up_s),
        not_offered=load.not_offered,
        approval=_latencies(approvals),
        refusal=_latencies(refusals),
        answer_bytes=load.answer_bytes,
        answer_body_bytes=load.answer_body_bytes,
        client_cpu_share=cpu_share,
        client_us_per_request=1e6 * cpu_s / max(1, load.sent),
    )


def _within(window: tuple[float, float], at: Sequence[float], ms: Sequence[float], count: int) -> list[float]:
    first, last = window
    return sorted(ms[index] for index in range(count) if first <= at[index] <= last)


def _latencies(ordered_ms: Sequence[float]) -> Latencies:
    if not ordered_ms:
        return Latencies(0, 0.0, 0.0, 0.0)
    count = len(ordered_ms)
    return Latencies(
        count, ordered_ms[count // 2], ordered_ms[min(count - 1, count * 99 // 100)], ordered_ms[-1]
    )


def _zeros(count: int) -> array[float]:
    return array("d", bytes(8 * count))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Carry out orders until standard input ends."""
    for line in sys.stdin.buffer:
        result = uvloop.run(run_order(msgspec.json.decode(line, type=Order)))
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
