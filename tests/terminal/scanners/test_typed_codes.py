"""Codes that were typed and wait: handed on at once, each with the time it was read."""

from __future__ import annotations

import time

from terminal.scanners.typed_codes import TypedCodes


def test_codes_that_wait_cost_no_waiting_and_keep_the_time_they_were_read() -> None:
    codes = TypedCodes()
    for number in range(3):
        codes.add(f"CODE {number}", number)
    waits: list[int] = []

    # Each used to cost a read's timeout, in which the next sale could begin.
    for number in range(3):
        assert codes.wait(60_000, waits.append) == f"CODE {number}"
        assert codes.taken_ns == number

    assert waits == [0, 0, 0]


def test_code_that_is_waited_for_is_handed_on_as_soon_as_it_is_there() -> None:
    codes = TypedCodes()
    reads: list[int] = []

    def read_until(deadline_ns: int) -> None:
        reads.append(deadline_ns)
        if len(reads) == 3:
            codes.add("CODE", 7)

    before_ns = time.monotonic_ns()
    assert codes.wait(60_000, read_until) == "CODE"
    assert len(reads) == 3
    assert all(deadline_ns >= before_ns + 60_000_000_000 for deadline_ns in reads)


def test_waiting_no_time_reads_once() -> None:
    codes = TypedCodes()
    reads: list[int] = []
    assert codes.wait(0, reads.append) is None
    assert len(reads) == 1
