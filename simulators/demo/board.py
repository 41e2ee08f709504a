"""What a person sees of the demo: a live page on a terminal, plain lines everywhere else."""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from simulators.demo.tally import Outcome, Tally
from wire.messages.till import DaemonView, ReaderState
from wire.money import Currency, format_minor

PICTURE_TITLE: Final = "make demo"
ROWS_MAX: Final = 200
"""Outcomes kept for the page, which shows as many as fit."""
NOTES_MAX: Final = 4
REFRESH_PER_SECOND: Final = 4
TOTALS_ROWS: Final = 17
CODE_COLUMNS: Final = 27
"""As wide as the longest code, limit_per_payment_exceeded, and a space."""
RIGHT_COLUMNS: Final = 46
"""Wide enough for a receipt of 42 characters."""
PAGE_COLUMNS_MIN: Final = 120
PAGE_ROWS_MIN: Final = 36
"""On a smaller terminal the page would hide more than it shows: plain lines then."""

REMOTE_FONTS: Final = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""rich names a font on somebody's server; a picture in a README asks nobody for anything."""

_READER_STYLES: Final = {
    ReaderState.READY: "green",
    ReaderState.STARTING: "yellow",
    ReaderState.FAULTY: "red",
    ReaderState.OFF: "dim",
}


class Board(Protocol):
    """Where the demo says what happens."""

    def say(self, text: str) -> None:
        """Say something to the developer."""

    def pin(self, text: str) -> None:
        """Say something that stays in sight; it replaces what was pinned before."""

    def show_outcome(self, saying: str, outcome: Outcome, expected: str | None) -> None:
        """Show what came of something presented; `expected` is None where nothing was."""

    def show_health(self, till: str, daemon: DaemonView) -> None:
        """Show how a till's readers are."""

    def show_balances(self, balances_minor: Mapping[str, int]) -> None:
        """Show what accounts hold, by the name to show."""

    def save_picture(self, path: Path) -> None:
        """Write what is shown as an SVG picture."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; what was said stays on the screen."""


class PlainBoard:
    """One line a happening, for logs and pipes."""

    def __init__(self, console: Console, currency: Currency) -> None:
        """Write to `console`."""
        self._console = console
        self._currency = currency
        self._readers: dict[str, ReaderState] = {}

    def say(self, text: str) -> None:
        """Write it."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def pin(self, text: str) -> None:
        """Write it; lines stay where they are."""
        self.say(text)

    def show_outcome(self, saying: str, outcome: Outcome, expected: str | None) -> None:
        """Write one line, and the expectation that was not met."""
        line = outcome_text(saying, outcome, self._currency)
        if expected is not None and expected != outcome.code:
            line.append(f"  EXPECTED {expected}", style="bold red")
        self._console.print(line, soft_wrap=True)

    def show_health(self, till: str, daemon: DaemonView) -> None:
        """Write a line for each reader whose state has changed."""
        for reader in daemon.readers:
            if self._readers.get(reader.path) is not reader.state:
                self._readers[reader.path] = reader.state
                self.say(f"{till}: {reader.path} is {reader.state} {reader.reason}".rstrip())

    def show_balances(self, balances_minor: Mapping[str, int]) -> None:
        """Balances are for the page; lines would only repeat them."""

    def save_picture(self, path: Path) -> None:
        """Say that there is none: lines are no page."""
        self.say(f"{path} was not written: the page needs a terminal of {PAGE_COLUMNS_MIN} columns")

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to tidy."""


class LiveBoard:
    """A page that is drawn anew as things happen."""

    def __init__(self, console: Console, currency: Currency, tally: Tally) -> None:
        """Draw on `console`; totals come from `tally`."""
        self._currency = currency
        self._tally = tally
        self._rows: deque[Text] = deque(maxlen=ROWS_MAX)
        self._notes: deque[str] = deque(maxlen=NOTES_MAX)
        self._daemons: dict[str, DaemonView] = {}
        self._balances: dict[str, int] = {}
        self._receipt = ""
        self._pinned = ""
        self._console = console
        self._live = Live(
            console=console, refresh_per_second=REFRESH_PER_SECOND, screen=True, get_renderable=self._draw
        )

    def say(self, text: str) -> None:
        """Note it at the foot of the page."""
        self._notes.append(text)

    def pin(self, text: str) -> None:
        """Keep it on top of the notes."""
        self._pinned = text

    def show_outcome(self, saying: str, outcome: Outcome, expected: str | None) -> None:
        """Put it on top of the list, with its receipt beside."""
        line = outcome_text(saying, outcome, self._currency)
        if expected is not None and expected != outcome.code:
            line.append(f"  EXPECTED {expected}", style="bold red")
        self._rows.appendleft(line)
        if outcome.receipt:
            self._receipt = outcome.receipt

    def show_health(self, till: str, daemon: DaemonView) -> None:
        """Keep it for the next drawing."""
        self._daemons[till] = daemon

    def show_balances(self, balances_minor: Mapping[str, int]) -> None:
        """Keep them for the next drawing."""
        self._balances = dict(balances_minor)

    def save_picture(self, path: Path) -> None:
        """Write the page as it stands as an SVG picture."""
        width, height = self._console.size
        recorder = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True)
        recorder.print(self._draw())
        picture = recorder.export_svg(title=PICTURE_TITLE)
        path.write_text(REMOTE_FONTS.sub("", picture), encoding="utf-8")

    def __enter__(self) -> Self:
        """Take over the terminal."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back and leave the last outcomes and notes on it."""
        # What happened since the last drawing must have been on the page once.
        self._live.refresh()
        self._live.stop()
        for row in reversed([*self._rows][:NOTES_MAX]):
            self._console.print(row)
        for note in filter(None, (self._pinned, *self._notes)):
            self._console.print(note, markup=False, highlight=False)

    def _draw(self) -> RenderableType:
        page = Layout()
        notes = [*([self._pinned] if self._pinned else []), *self._notes]
        page.split_column(Layout(name="body"), Layout(_notes_panel(notes), size=NOTES_MAX + 3))
        page["body"].split_row(Layout(name="left"), Layout(name="right", size=RIGHT_COLUMNS))
        left = page["body"]["left"]
        readers = sum(len(daemon.readers) for daemon in self._daemons.values())
        left.split_column(
            Layout(Panel(Group(*self._rows), title="taps and scans")),
            Layout(Panel(_readers_table(self._daemons), title="readers"), size=readers + 4),
        )
        page["body"]["right"].split_column(
            Layout(Panel(Text(self._receipt), title="last receipt")),
            Layout(Panel(self._totals(), title="totals"), size=TOTALS_ROWS),
        )
        return page

    def _totals(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for till, minor in sorted(self._tally.taken_minor.items()):
            table.add_row(f"{till} took", self._money(minor))
        for mode, count in sorted(self._tally.payments.items()):
            table.add_row(mode.value, Text(str(count), style="green"))
        for code, count in self._tally.declined.most_common(3):
            table.add_row(code, Text(str(count), style="red"))
        if self._tally.p50_tap_to_answer_ms is not None:
            table.add_row("tap to answer, median", f"{self._tally.p50_tap_to_answer_ms} ms")
        for name, minor in self._balances.items():
            table.add_row(name, self._money(minor))
        return table

    def _money(self, minor: int) -> str:
        return f"{format_minor(minor, self._currency)} {self._currency}"


def make_board(console: Console, currency: Currency, tally: Tally) -> Board:
    """Return a live page where there is a terminal large enough to draw it on, else plain lines."""
    width, height = console.size
    fits = console.is_terminal and width >= PAGE_COLUMNS_MIN and height >= PAGE_ROWS_MIN
    return LiveBoard(console, currency, tally) if fits else PlainBoard(console, currency)


def outcome_text(saying: str, outcome: Outcome, currency: Currency) -> Text:
    """Return one outcome as a coloured line."""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{outcome.till}  ", style="dim")
    line.append(
        f"{outcome.code:<{CODE_COLUMNS}}", style="bold green" if outcome.is_approved else "bold yellow"
    )
    line.append(f" {format_minor(outcome.amount_minor, currency):>8} {currency}  ")
    line.append(f"{outcome.mode or '-':<12}", style="cyan")
    duration = "" if outcome.tap_to_answer_ms is None else f"{outcome.tap_to_answer_ms} ms"
    line.append(f" {duration:>7}  ", style="dim")
    line.append(saying)
    return line


def _readers_table(daemons: Mapping[str, DaemonView]) -> Table:
    table = Table.grid(padding=(0, 2))
    for till, daemon in sorted(daemons.items()):
        reachable = "" if daemon.gateway_reachable else " (gateway away)"
        table.add_row(Text(till + reachable, style="bold"), daemon.terminal_id, "", "")
        for reader in daemon.readers:
            state = Text(reader.state.value, style=_READER_STYLES[reader.state])
            table.add_row(Text(f"  {reader.path}"), state, str(reader.presentation_count), reader.reason)
    return table


def _notes_panel(notes: Sequence[str]) -> Panel:
    return Panel(Text("\n".join(notes)), title="tapscan demo, Ctrl-C ends it")
