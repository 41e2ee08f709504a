"""What `tapscan-sim rehearse` asks of a running rehearsal."""

from __future__ import annotations

import contextlib
from typing import Final

import aiohttp
import msgspec

from simulators.errors import SimulatorError
from simulators.rehearsal.report import Report
from simulators.rehearsal.service import Programme, RehearsalOrder, ValueLine
from wire.messages.base import Message, dump_message
from wire.messages.problem import Problem

PATIENCE_S: Final = 600.0
"""A value takes seconds; one that waits for a deadline, or for somebody's till software, some minutes."""


async def list_values(url: str) -> list[str]:
    """Return a line for every value of a rehearsal: its name, what it gives, and what is done.

    Raises:
        SimulatorError: no rehearsal runs there.
    """
    programme = msgspec.json.decode(await _ask("GET", f"{url}/v1/rehearsal", None), type=Programme)
    width = max(len(line.name) for line in programme.values)
    gives = max(len(_gives(line)) for line in programme.values)
    return [
        f"{line.name:<{width}}  {_gives(line):<{gives}}  {line.till}: {line.steps}"
        for line in programme.values
    ]


async def rehearse_value(url: str, name: str, *, hands_only: bool) -> Report:
    """Have one value rehearsed, and return its report.

    Raises:
        SimulatorError: no rehearsal runs there, it has no such value, or another one is being rehearsed.
    """
    order = RehearsalOrder(hands_only=hands_only)
    return msgspec.json.decode(await _ask("POST", f"{url}/v1/values/{name}", order), type=Report)


def show_report(report: Report) -> str:
    """Return a report as JSON for a person to read."""
    return msgspec.json.format(dump_message(report), indent=2).decode("utf-8")


def _gives(line: ValueLine) -> str:
    said = line.event or f"HTTP {line.status}"
    return f"{said} {line.code}".rstrip()


async def _ask(method: str, url: str, message: Message | None) -> bytes:
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    headers = {"Content-Type": "application/json"}
    data = None if message is None else dump_message(message)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, data=data, headers=headers) as answer,
        ):
            status, content = answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        raise SimulatorError(
            f"no rehearsal answers at {url}: start one with `tapscan-sim rehearsal`"
        ) from None
    if status >= 400:
        raise SimulatorError(_reason(content))
    return content


def _reason(content: bytes) -> str:
    with contextlib.suppress(msgspec.MsgspecError):
        problem = msgspec.json.decode(content, type=Problem)
        return problem.detail or problem.title
    return "what answers there is no rehearsal"
