"""Tables on the command line: readers and journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from terminal.journal.records import JournalEntry
from wire.messages.till import OfflineView, ReaderState, ReaderView, TillPayment
from wire.money import find_currency, format_minor
from wire.notices import NOTICES

_READER_STYLES: Final = {
    ReaderState.READY: "green",
    ReaderState.STARTING: "yellow",
    ReaderState.FAULTY: "red",
    ReaderState.OFF: "dim",
}
_OUTCOME_STYLES: Final = {"approved": "green", "unresolved": "bold black on yellow"}


def print_readers(readers: Sequence[ReaderView], *, language: str) -> None:
    """Print each reader's health, why it is not ready and what to do, and how its last fault ended.

    Args:
        language: of the texts, `en` or `zh-Hans`.
    """
    table = Table("Reader", "State", "Since (UTC)", "Presented", "Faults", "Last recovery", "Reason")
    for reader in readers:
        recovery_ms = reader.recovery_ms_last
        reason = " ".join(part for part in (reader.cashier_text.get(language, ""), reader.reason) if part)
        table.add_row(
            Text(reader.path),
            Text(reader.state.value, style=_READER_STYLES[reader.state]),
            _format_time(reader.since_ms),
            str(reader.presentation_count),
            str(reader.fault_count),
            "" if recovery_ms is None else f"{recovery_ms} ms",
            Text(reason),
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


def print_offline(view: OfflineView, *, language: str) -> None:
    """Print how payments without a connection stand, and each that did not plainly end well.

    Args:
        language: of the texts, `en` or `zh-Hans`.
    """
    currency = find_currency(view.currency)
    facts = Table("Offline payments", "")
    facts.add_row("mode", f"{view.mode} since {_format_time(view.since_ms)} UTC")
    facts.add_row(
        "waiting", f"{view.waiting_count}, {format_minor(view.waiting_minor, currency)} {currency.code}"
    )
    facts.add_row("oldest", "" if view.oldest_ms is None else f"{_format_time(view.oldest_ms)} UTC")
    facts.add_row("last synced", "never" if view.synced_ms is None else f"{_format_time(view.synced_ms)} UTC")
    facts.add_row(
        "can't accept because", NOTICES[view.refusal].cashier_text[language] if view.refusal else ""
    )
    facts.add_row("unreadable to the gateway", str(view.set_aside_count))
    facts.add_row("declined, in conflict", f"{view.declined_count}, {view.conflict_count}")
    facts.add_row("the shop's loss", f"{format_minor(view.merchant_loss_minor, currency)} {currency.code}")
    Console().print(facts)
    if not view.results:
        return
    table = Table("Time (UTC)", "Order", "Amount", "Outcome", "Loss borne by", "Why")
    for result in view.results:
        amount = format_minor(result.amount_minor, find_currency(result.currency))
        table.add_row(
            _format_time(result.accepted_ms),
            Text(result.order_id),
            Text(f"{amount} {result.currency}", justify="right"),
            Text(result.outcome, style="red"),
            result.loss_bearer or "",
            Text(result.cashier_text.get(language, result.code)),
        )
    Console().print(table)


def print_payments(payments: Sequence[TillPayment]) -> None:
    """Print payments as they stood when the till last heard of them."""
    table = Table("Time (UTC)", "Order", "Amount", "State", "Charged", "Refunded", "Payment")
    for payment in payments:
        currency = find_currency(payment.currency)
        state = f"{payment.state.value} ({payment.code})" if payment.code else payment.state.value
        table.add_row(
            _format_time(payment.decided_ms),
            Text(payment.order_id),
            Text(f"{format_minor(payment.amount_minor, currency)} {payment.currency}", justify="right"),
            state,
            format_minor(payment.charged_minor, currency),
            format_minor(payment.refunded_minor, currency),
            payment.payment_id,
        )
    Console().print(table)
