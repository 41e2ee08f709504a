"""Lines of requests: the same keys whichever way they are written, none lost, none that was not asked for."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from typing import Any

import msgspec
import pytest
import structlog

from gateway.config import LoggingSettings
from gateway.logs import JsonRequestLog, RequestLine, configure_logs, open_request_log

LINE = RequestLine(
    request_id="00ff",
    method="POST",
    route="/v1/payments",
    status=201,
    code="approved",
    caller="TERMNA01",
    duration_ms=1.25,
)
NOW_MS = 1_767_225_600_007
INFO = 20


def make_log(stream: io.BytesIO, level: int = INFO, worker: int | None = None) -> JsonRequestLog:
    return JsonRequestLog(stream, lambda: NOW_MS, level=level, worker=worker)


async def test_lines_of_one_turn_are_written_together_and_in_order() -> None:
    stream = io.BytesIO()
    log = make_log(stream)
    for status in (201, 200, 503):
        log.write(msgspec.structs.replace(LINE, status=status))
    assert stream.getvalue() == b""
    await asyncio.sleep(0)
    log.write(LINE)
    await asyncio.sleep(0)
    assert [json.loads(line)["status"] for line in stream.getvalue().splitlines()] == [201, 200, 503, 201]
    assert stream.getvalue().endswith(b"}\n")


async def test_a_line_says_what_happened_and_when() -> None:
    stream = io.BytesIO()
    make_log(stream).write(LINE)
    await asyncio.sleep(0)
    assert json.loads(stream.getvalue()) == {
        "request_id": "00ff",
        "method": "POST",
        "route": "/v1/payments",
        "status": 201,
        "code": "approved",
        "caller": "TERMNA01",
        "duration_ms": 1.25,
        "event": "request",
        "level": "info",
        "timestamp": "2026-01-01T00:00:00.007Z",
    }


async def test_quiet_requests_and_high_levels_write_nothing() -> None:
    stream = io.BytesIO()
    make_log(stream).write(LINE, is_quiet=True)
    make_log(stream, level=30).write(LINE)
    await asyncio.sleep(0)
    assert stream.getvalue() == b""


@pytest.mark.parametrize("worker", [None, 3])
async def test_both_forms_have_the_same_keys(monkeypatch: pytest.MonkeyPatch, worker: int | None) -> None:
    settings = LoggingSettings(format="json")
    stream, handlers = _Stream(), logging.getLogger().handlers[:]
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        configure_logs(settings, worker=worker)
        structlog.get_logger().info("request", **msgspec.structs.asdict(LINE))
        open_request_log(settings, lambda: NOW_MS, worker=worker).write(LINE)
        await asyncio.sleep(0)
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[:] = handlers
    slow, quick = (json.loads(line) for line in stream.buffer.getvalue().splitlines())
    assert slow.keys() == quick.keys()
    assert slow | {"timestamp": ""} == quick | {"timestamp": ""}
    assert quick.get("worker") == worker


class _Stream(io.StringIO):
    """A standard error of the test's own."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer: Any = io.BytesIO()
