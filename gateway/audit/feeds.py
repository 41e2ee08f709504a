"""Streams read beside a main one, each handed out part by part as the main one comes to its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gateway.audit.report import Broken

K = TypeVar("K", int, str)
R = TypeVar("R", bound=tuple)  # type: ignore[type-arg]


class Feed(Generic[K, R]):
    """Rows that begin with their key and come in its order."""

    __slots__ = ("_describe_stray", "_head", "_rows", "_rows_max", "next_key")

    def __init__(self, rows: Iterator[R], describe_stray: Callable[[R], Broken], rows_max: int) -> None:
        """Read the first row.

        Args:
            describe_stray: says what is wrong with a row whose key the main stream has not.
            rows_max: more rows than this of one key are not looked at: they can't be right.
        """
        self._rows: Iterator[R] = rows
        self._head: R | None = next(rows, None)
        self._describe_stray = describe_stray
        self._rows_max = rows_max
        self.next_key: K | None = None if self._head is None else self._head[0]
        """The key of the next row, None after the last; rows of earlier keys are strays."""

    def take(self, key: K) -> list[R]:
        """Return the rows of a key: none, or some, but no more than one beyond what could ever be right.

        Raises:
            Broken: a row before it is nobody's.
        """
        head = self._head
        taken: list[R] = []
        if head is not None and head[0] < key:
            raise self._describe_stray(head)
        while head is not None and head[0] == key and len(taken) <= self._rows_max:
            taken.append(head)
            head = next(self._rows, None)
        self._head = head
        self.next_key = None if head is None else head[0]
        return taken

    def check_all_taken(self) -> None:
        """See that no row is left.

        Raises:
            Broken: one is, and is nobody's.
        """
        if self._head is not None:
            raise self._describe_stray(self._head)


def first_of(one: K | None, other: K | None) -> K | None:
    """Return the smaller key of those that there are."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
