"""Requests that were sent at once: was there any order in which they could have been answered like this?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

State = TypeVar("State")

TRIES_MAX: Final = 100_000
"""Most answers tried for one question; what was sent at once is a handful."""


class TooManyOrders(Exception):
    """The search was given up: that says nothing about the answers."""


def find_serial_order(
    state: State,
    count: int,
    step: Callable[[State, int], State | None],
    accepts: Callable[[State], bool] = lambda state: True,
) -> tuple[list[int], State] | None:
    """Return an order of requests that explains all answers, with the state it leaves; None if none does.

    The order in which they were sent is tried first, so the usual case takes `count` steps.

    Args:
        step: takes a state, which it must leave as it is, and the index of a request; returns the state
            after that request if a ledger in that state would have given its answer, else None.
        accepts: says whether the state after all of them is the one that was seen.

    Raises:
        TooManyOrders: TRIES_MAX steps did not suffice.
    """
    tries = 0

    def search(here: State, left: tuple[int, ...]) -> tuple[list[int], State] | None:
        nonlocal tries
        if not left:
            return ([], here) if accepts(here) else None
        for index in left:
            tries += 1
            if tries > TRIES_MAX:
                raise TooManyOrders
            after = step(here, index)
            if after is None:
                continue
            rest = search(after, tuple(other for other in left if other != index))
            if rest is not None:
                return [index, *rest[0]], rest[1]
        return None

    return search(state, tuple(range(count)))
