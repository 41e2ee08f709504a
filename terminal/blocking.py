"""Work that waits for a disk, done where it holds up no sale."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
RunBlocking = Callable[[Callable[[], object]], Awaitable[object]]
"""Runs what waits for a disk where it holds up nobody: `asyncio.to_thread`, or at once where none waits."""


async def ask_blocking(run_blocking: RunBlocking, work: Callable[[], T]) -> T:
    """Run what waits for a disk where it holds up nobody, and return what it returns."""
    results: list[T] = []
    await run_blocking(lambda: results.append(work()))
    return results[0]
