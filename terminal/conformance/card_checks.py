"""What every card reader must do; see CardReader and CardConnection for the contract."""

from __future__ import annotations

import statistics
import time
from typing import Final

from terminal.conformance.bench import WAIT_MS, CardBench, ms_since
from terminal.conformance.model import Action, Check, CheckFailed, CheckSkipped
from terminal.errors import CardRemoved, PresentationRefused, ReaderUnavailable
from terminal.readers.card_reader import CardConnection, CardTechnology
from wire.cards.payment_application import SELECT_APPLICATION

COMMANDS: Final = 20
"""Commands that are timed; what is asked is whether our application is there, which changes no card."""
REMOVAL_MS_MAX: Final = 6_000
"""From a card's leaving to CardRemoved: a command in the air may last three seconds, and is repeated."""
STATUS_BYTES: Final = 2
AFTER_REMOVAL_TRIES: Final = 4
"""After a swap inside one look, pcscd lets the old handle reach the new card at about the third command."""

_SELECT: Final = SELECT_APPLICATION.encode()


def _opens_and_closes(bench: CardBench) -> dict[str, int]:
    bench.device.close()
    bench.device.close()
    _must_be_unavailable(bench)
    started = time.monotonic()
    bench.device.open()
    return {"open_ms": ms_since(started)}


def _returns_in_time(bench: CardBench) -> dict[str, int]:
    bench.clear()
    return bench.time_in_vain(bench.device.wait_for_card)


def _reads_a_card(bench: CardBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.HOLD_CARD)
    connection = bench.await_card()
    try:
        if connection.technology is not CardTechnology.ISO_DEP:
            bench.miss("a card that speaks commands was asked for, and a simple tag came")
        if not connection.is_present():
            raise CheckFailed("it says that the card left, which lies there")
        durations_ms = [_time_command(connection) for _ in range(COMMANDS)]
    finally:
        connection.close()
    return {
        "command_ms_median": round(statistics.median(durations_ms)),
        "command_ms_max": round(max(durations_ms)),
    }


def _sees_the_removal(bench: CardBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.HOLD_CARD)
    connection = bench.await_card()
    try:
        _time_command(connection)
        bench.ask(Action.TAKE_AWAY)
        started = time.monotonic()
        bench.wait_for(lambda: None if connection.is_present() else True, "the removal")
        removal_ms = ms_since(started)
        _must_be_over(connection)
    finally:
        connection.close()
    return {"removal_ms": removal_ms} if bench.hands.is_certain else {}


def _never_reaches_the_next_card(bench: CardBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.HOLD_CARD)
    first = bench.await_card()
    try:
        _time_command(first)
        bench.ask(Action.TAKE_AWAY)
        bench.wait_for(lambda: _is_over(first) or None, "the removal")
        bench.ask(Action.HOLD_CARD)
        for _ in range(AFTER_REMOVAL_TRIES):
            _must_be_over(first)
    finally:
        first.close()
    second = bench.await_card()
    try:
        # Where one poll saw no gap between the cards, the reader may have to be told by a failed command.
        if _is_over(second):
            second.close()
            second = bench.await_card()
        _time_command(second)
    finally:
        second.close()
    return {}


def _survives_a_tear(bench: CardBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.HOLD_CARD)
    connection = bench.await_card()
    try:
        bench.ask(Action.TEAR)
        ended_ms = _read_until_torn(bench, connection)
    finally:
        connection.close()
    if ended_ms > REMOVAL_MS_MAX:
        raise CheckFailed(f"the last command lasted {ended_ms} ms")
    bench.clear()
    bench.ask(Action.HOLD_CARD)
    again = bench.await_card()
    try:
        _time_command(again)
    finally:
        again.close()
    return {"torn_command_ms": ended_ms}


def _refuses_what_can_be_copied(bench: CardBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.HOLD_TAG)
    connection = bench.await_card()
    try:
        if connection.technology is not CardTechnology.UID_ONLY:
            bench.miss("a simple tag was asked for, and a card came")
    finally:
        connection.close()
    return {}


def _refuses_two_cards(bench: CardBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.HOLD_TWO)
    try:
        connection = bench.await_card()
    except PresentationRefused as refusal:
        if refusal.code != "card_changed":
            raise CheckFailed(f"two cards are called {refusal.code}") from None
        bench.clear()
        return {}
    connection.close()
    raise CheckSkipped("this reader can't tell two cards from one: have customers hold one card only")


def _heals_after_unplugging(bench: CardBench) -> dict[str, int]:
    bench.ask(Action.UNPLUG)
    noticed_ms = bench.await_failure(lambda: bench.device.wait_for_card(WAIT_MS))
    bench.ask(Action.PLUG_IN)
    opened_ms = bench.open_again()
    bench.clear()
    bench.ask(Action.HOLD_CARD)
    connection = bench.await_card()
    try:
        _time_command(connection)
    finally:
        connection.close()
    return {"noticed_ms": noticed_ms, "opened_ms": opened_ms} if bench.hands.is_certain else {}


CARD_CHECKS: Final = (
    Check("opens_and_closes", "It can be given back and taken again.", _opens_and_closes),
    Check("returns_in_time", "It returns in time where there is no card.", _returns_in_time),
    Check("reads_a_card", "It sees a card and carries commands to it.", _reads_a_card),
    Check("sees_the_removal", "It sees the card leave, and says so from then on.", _sees_the_removal),
    Check(
        "never_reaches_the_next_card",
        "A connection whose card has left never reaches the next one.",
        _never_reaches_the_next_card,
    ),
    Check("survives_a_tear", "A card torn away is a removal, and the next one is read.", _survives_a_tear),
    Check(
        "refuses_what_can_be_copied",
        "A tag with a number only is told from a card.",
        _refuses_what_can_be_copied,
    ),
    Check("refuses_two_cards", "Two cards at once are refused.", _refuses_two_cards),
    Check(
        "heals_after_unplugging",
        "A pulled cable is noticed, and the reader works when it is back.",
        _heals_after_unplugging,
    ),
)


def _time_command(connection: CardConnection) -> float:
    started = time.monotonic()
    try:
        answer = connection.transmit(_SELECT)
    except CardRemoved:
        raise CheckFailed("it says that the card left, which lies there") from None
    if len(answer) < STATUS_BYTES:
        raise CheckFailed("an answer without status word")
    return (time.monotonic() - started) * 1000


def _read_until_torn(bench: CardBench, connection: CardConnection) -> int:
    deadline = time.monotonic() + bench.wait_s
    while time.monotonic() < deadline:
        started = time.monotonic()
        try:
            connection.transmit(_SELECT)
        except (CardRemoved, PresentationRefused):
            return ms_since(started)
    bench.miss(f"the tear was not seen within {bench.wait_s:.0f} s")
    raise AssertionError("miss never returns")


def _is_over(connection: CardConnection) -> bool:
    try:
        connection.transmit(_SELECT)
    except CardRemoved:
        return True
    return False


def _must_be_over(connection: CardConnection) -> None:
    if not _is_over(connection):
        raise CheckFailed("a connection whose card had left was answered")


def _must_be_unavailable(bench: CardBench) -> None:
    try:
        bench.device.wait_for_card(0)
    except ReaderUnavailable:
        return
    raise CheckFailed("closed, it does not say so")
