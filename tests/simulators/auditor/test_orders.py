"""Whether answers given at once can be explained by some order."""

from __future__ import annotations

import pytest

from simulators.auditor.model.orders import TooManyOrders, find_serial_order


def draw_from(purse: int, wishes: list[tuple[int, bool]]) -> tuple[list[int], int] | None:
    """Take sums out of a purse at once; each wish says whether it was granted."""

    def step(left: int, index: int) -> int | None:
        amount, granted = wishes[index]
        if granted != (amount <= left):
            return None
        return left - amount if granted else left

    return find_serial_order(purse, len(wishes), step)


def test_order_of_sending_is_preferred() -> None:
    assert draw_from(10, [(4, True), (4, True), (4, False)]) == ([0, 1, 2], 2)
    assert draw_from(10, []) == ([], 10)


def test_other_order_is_found() -> None:
    assert draw_from(10, [(7, False), (5, True), (5, True)]) == ([1, 0, 2], 0)


def test_state_that_was_seen_afterwards_decides_between_orders() -> None:
    def say(_: str, index: int) -> str:
        return ("first", "second")[index]

    assert find_serial_order("", 2, say) == ([0, 1], "second")
    assert find_serial_order("", 2, say, lambda last: last == "first") == ([1, 0], "first")
    assert find_serial_order("", 2, say, lambda last: last == "third") is None


def test_answers_that_no_order_gives_are_not_explained() -> None:
    assert draw_from(10, [(7, True), (5, True)]) is None
    assert draw_from(10, [(7, False), (3, True)]) is None


def test_search_has_a_bound() -> None:
    with pytest.raises(TooManyOrders):
        draw_from(100, [(1, True)] * 12 + [(1, False)])
