"""What a person sees: a page where there is room for one, lines elsewhere, and nothing hidden."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from simulators.demo.board import LiveBoard, PlainBoard, make_board
from simulators.demo.tally import Outcome, Tally
from wire.messages.payments import EntryMode
from wire.messages.till import DaemonView, ReaderState, ReaderView
from wire.money import find_currency

EURO = find_currency("EUR")
PAID = Outcome("till-1", "phone", "approved", 1250, EntryMode.NFC_APP, None, 12, receipt="PAID 12.50 磨坊")
DAEMON = DaemonView(
    terminal_id="T0000000",
    merchant_name="Bakery",
    location_name="Here",
    currency="EUR",
    gateway_reachable=True,
    unresolved_attempt_count=0,
    readers=[ReaderView(path="camera:0", state=ReaderState.FAULTY, since_ms=0, reason="unplugged")],
)


def make_console(columns: int, rows: int, *, terminal: bool) -> Console:
    return Console(
        file=io.StringIO(),
        width=columns,
        height=rows,
        force_terminal=terminal,
        color_system=None,
        legacy_windows=False,
    )


def output_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("columns", "rows", "terminal", "kind"),
    [(150, 45, True, LiveBoard), (80, 24, True, PlainBoard), (150, 45, False, PlainBoard)],
)
def test_a_page_needs_a_terminal_large_enough(columns: int, rows: int, terminal: bool, kind: type) -> None:
    assert isinstance(make_board(make_console(columns, rows, terminal=terminal), EURO, Tally()), kind)


def test_lines_say_what_was_expected_when_something_else_came() -> None:
    console = make_console(200, 40, terminal=False)
    with PlainBoard(console, EURO) as board:
        board.show_outcome("Ana taps", PAID, "approved")
        board.show_outcome("Eve taps", PAID, "insufficient_funds")

    first, second = output_of(console).splitlines()
    assert "12.50 EUR" in first
    assert "12 ms" in first
    assert "EXPECTED" not in first
    assert "EXPECTED insufficient_funds" in second


def test_lines_tell_a_readers_state_once_until_it_changes() -> None:
    console = make_console(200, 40, terminal=False)
    with PlainBoard(console, EURO) as board:
        board.show_health("till-1", DAEMON)
        board.show_health("till-1", DAEMON)

    assert output_of(console).splitlines() == ["till-1: camera:0 is faulty unplugged"]


def test_the_page_shows_outcomes_receipt_readers_totals_and_notes() -> None:
    console = make_console(150, 45, terminal=True)
    tally = Tally()
    tally.add(PAID)
    with LiveBoard(console, EURO, tally) as board:
        board.say("gateway: http://127.0.0.1:1")
        board.show_outcome("Ana taps", PAID, "approved")
        board.show_health("till-1", DAEMON)
        board.show_balances({"Ana Lima": 38_750})

    page = output_of(console)
    for shown in ("Ana taps", "PAID 12.50", "磨坊", "camera:0", "unplugged", "till-1 took", "387.50 EUR"):
        assert shown in page
    assert "gateway: http://127.0.0.1:1" in page


def test_the_page_can_be_kept_as_a_picture(tmp_path: Path) -> None:
    board = LiveBoard(make_console(150, 45, terminal=True), EURO, Tally())
    board.show_outcome("Ana taps", PAID, "approved")

    board.save_picture(tmp_path / "page.svg")

    picture = (tmp_path / "page.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "font-face" not in picture
    assert "Ana" in picture
