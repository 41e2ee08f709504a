"""Bars on standard error for what takes minutes, while somebody looks at a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Show: TypeAlias = Callable[[str, int, int | None], None]
"""Takes what is being done, how much of it is, and of how much; None where nobody knows."""


@contextlib.contextmanager
def show_progress(*, quiet: bool) -> Iterator[Show]:
    """Show a bar for each thing that is done, with its rate and the time left; nothing if nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield _show_nothing
        return
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(doing: str, done_count: int, total_count: int | None) -> None:
            if doing not in tasks:
                tasks[doing] = bars.add_task(doing, total=None)
            bars.update(tasks[doing], completed=done_count, total=total_count)

        yield show


class _RateColumn(ProgressColumn):
    """How many of a thing were done in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


def _show_nothing(doing: str, done_count: int, total_count: int | None) -> None:
    """Nobody looks."""
