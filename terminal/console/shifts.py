"""`tapscan-terminal shift`: open, close and show the shift of this till."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from terminal.console.config_option import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from terminal.console.till_client import TillClient
    from wire.messages.shifts import ShiftView


PrintOption = Annotated[bool, typer.Option("--print", help="Also on the till's printer.")]

app = typer.Typer(help="The shift of this till: from when to when, and its totals.", rich_markup_mode=None)


@app.command("open")
def open_shift(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Begin a shift, by whoever is signed in."""
    _show(config, lambda client: client.open_shift())


@app.command("close")
def close_shift(on_paper: PrintOption = False, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End the shift and show its totals."""
    _show(config, lambda client: client.close_shift(), on_paper=on_paper)


@app.command("show")
def show_shift(
    last: Annotated[bool, typer.Option("--last", help="The last one that was closed.")] = False,
    on_paper: PrintOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show the open shift with its totals so far."""
    _show(config, lambda client: client.find_shift("last" if last else "current"), on_paper=on_paper)


def _show(config: Path, ask: Callable[[TillClient], Awaitable[ShiftView]], *, on_paper: bool = False) -> None:
    from terminal.console.till_client import find_client

    async def work() -> str:
        async with find_client(config) as client:
            shift = await ask(client)
            if on_paper:
                await client.print_shift(shift.shift_id)
            return await client.find_shift_report(shift.shift_id)

    typer.echo(asyncio.run(work()), nl=False)
