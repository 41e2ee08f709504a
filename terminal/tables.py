"""Tables on the command line: readers and journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from terminal.journal_records import JournalEntry
from wire.messages.till import ReaderState, ReaderView
from wire.money import find_currency, format_minor

_READER_STYLES: Final = {
    ReaderState.READY: "green",
    ReaderState.STARTING: "yellow",
    ReaderState.FAULTY: "red",
    ReaderState.OFF: "dim",
}
_OUTCOME_STYLES: Final = {"approved": "green", "unresolved": "bold black on yellow"}


def print_readers(readers: Sequence[ReaderView]) -> None:
    """Print each reader's health, with the reason in words where it is not ready."""
    table = Table("Reader", "State", "Since (UTC)", "Presented", "Reason")
    for reader in readers:
        table.add_row(
            Text(reader.path),
            Text(reader.state.value, style=_READER_STYLES[reader.state]),
            _format_time(reader.since_ms),
            str(reader.presentation_count),
            Text(reader.reason),
        )
    Console().print(table)


def print_journal(entries: Sequence[JournalEntry]) -> None:
    """Print the attempts in the order given; a journal entry holds nothing that could be spent."""
    table = Table("Time (UTC)", "Order", "Amount", "Entry", "Outcome", "Attempt")
    for entry in entries:
        amount = format_minor(entry.amount_minor, find_currency(entry.currency))
        note = entry.code or ("" if entry.stage is None else entry.stage.value)
        outcome = f"{entry.outcome} ({note})" if note else entry.outcome
        table.add_row(
            _format_time(entry.at_ms),
            Text(entry.order_id),
            Text(f"{amount} {entry.currency}", justify="right"),
            entry.entry_mode.value,
            Text(outcome, style=_OUTCOME_STYLES.get(entry.outcome, "red")),
            entry.attempt_id,
        )
    Console().print(table)


def _format_time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
