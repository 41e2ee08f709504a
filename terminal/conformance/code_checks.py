"""What every code scanner must do; see CodeScanner for the contract."""

from __future__ import annotations

import time
from typing import Final

from terminal.conformance.bench import WAIT_MS, CodeBench, ms_since
from terminal.conformance.model import Action, Check, CheckFailed
from terminal.errors import PresentationRefused, ReaderUnavailable
from terminal.scanners.code_scanner import CODE_CHARS_MAX
from wire.codes.scanned import is_payment_code


def _opens_and_closes(bench: CodeBench) -> dict[str, int]:
    bench.device.close()
    bench.device.close()
    try:
        bench.device.wait_for_code(0)
    except ReaderUnavailable:
        started = time.monotonic()
        bench.device.open()
        return {"open_ms": ms_since(started)}
    raise CheckFailed("closed, it does not say so")


def _returns_in_time(bench: CodeBench) -> dict[str, int]:
    bench.clear()
    return bench.time_in_vain(bench.device.wait_for_code)


def _reads_a_code(bench: CodeBench) -> dict[str, int]:
    bench.clear()
    before_ns = time.monotonic_ns()
    shown = bench.ask(Action.SHOW_CODE)
    text = bench.await_code()
    _must_be(shown, text)
    if not before_ns <= bench.device.seen_ns <= time.monotonic_ns():
        raise CheckFailed("it says that it read the code at another time")
    return {"is_payment_code": int(is_payment_code(text)), "characters": len(text)}


def _reads_the_next_code(bench: CodeBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.SHOW_CODE)
    first = bench.await_code()
    shown = bench.ask(Action.SHOW_OTHER)
    _must_be(shown, bench.await_code(other_than=first))
    return {}


def _forgets_what_was_taken_away(bench: CodeBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.SHOW_CODE)
    bench.await_code()
    bench.clear()
    if bench.device.wait_for_code(WAIT_MS) is not None:
        raise CheckFailed("it goes on reading a code that was taken away")
    return {}


def _cuts_what_is_too_long(bench: CodeBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.SHOW_LONG)
    text = bench.await_code()
    if len(text) != CODE_CHARS_MAX + 1:
        raise CheckFailed(f"{len(text)} characters were handed on")
    if is_payment_code(text):
        raise CheckFailed("what was cut is taken for a payment code")
    return {}


def _lives_through_foreign_codes(bench: CodeBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.SHOW_FOREIGN)
    text = bench.device.wait_for_code(WAIT_MS)
    if text is not None and is_payment_code(text):
        raise CheckFailed("a foreign code is taken for a payment code")
    bench.clear()
    shown = bench.ask(Action.SHOW_CODE)
    text = bench.await_code()
    if shown not in ("", text) and not is_payment_code(text):
        # A busy machine came to the foreign one only now.
        text = bench.await_code()
    _must_be(shown, text)
    return {}


def _refuses_half_a_scan(bench: CodeBench) -> dict[str, int]:
    bench.clear()
    bench.ask(Action.SCAN_HALF)
    try:
        bench.await_code()
    except PresentationRefused as refusal:
        if refusal.code != "code_incomplete":
            raise CheckFailed(f"half a scan is called {refusal.code}") from None
    else:
        raise CheckFailed("half a scan was handed on")
    shown = bench.ask(Action.SHOW_CODE)
    _must_be(shown, bench.await_code())
    return {}


def _heals_after_unplugging(bench: CodeBench) -> dict[str, int]:
    bench.ask(Action.UNPLUG)
    noticed_ms = bench.await_failure(lambda: bench.device.wait_for_code(WAIT_MS))
    bench.ask(Action.PLUG_IN)
    opened_ms = bench.open_again()
    shown = bench.ask(Action.SHOW_CODE)
    _must_be(shown, bench.await_code())
    return {"noticed_ms": noticed_ms, "opened_ms": opened_ms} if bench.hands.is_certain else {}


CODE_CHECKS: Final = (
    Check("opens_and_closes", "It can be given back and taken again.", _opens_and_closes),
    Check("returns_in_time", "It returns in time where there is no code.", _returns_in_time),
    Check("reads_a_code", "A code arrives, word for word where it is known.", _reads_a_code),
    Check("reads_the_next_code", "The next code follows the one before.", _reads_the_next_code),
    Check(
        "forgets_what_was_taken_away",
        "A code that was taken away is not read again.",
        _forgets_what_was_taken_away,
    ),
    Check("cuts_what_is_too_long", "A text longer than any code of ours is cut.", _cuts_what_is_too_long),
    Check(
        "lives_through_foreign_codes",
        "What is no payment code is told so, and the next one is read.",
        _lives_through_foreign_codes,
    ),
    Check(
        "refuses_half_a_scan",
        "Half a scan is refused with a reason, and the next one is read.",
        _refuses_half_a_scan,
    ),
    Check(
        "heals_after_unplugging",
        "A pulled cable is noticed, and the device works when it is back.",
        _heals_after_unplugging,
    ),
)


def _must_be(shown: str, text: str) -> None:
    if shown and text != shown:
        raise CheckFailed("the text is not the one that was shown")
