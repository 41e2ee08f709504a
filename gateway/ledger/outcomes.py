"""What booking can answer: numbered, ordered by precedence, never reused.

Where several apply, the lowest number is the answer. A group is judged in phases, and within a phase its
first failing leg decides: the form of all legs (1x), whether any was booked before (2x), then leg by leg
the pending transfer it names (3x) and its accounts (4x). All other legs of a failed group are
`linked_failed`.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec


class Outcome(IntEnum):
    """The answer to one leg."""

    BOOKED = 0
    EXISTS = 1
    """This very group was booked before; nothing changed now."""

    AMOUNT_MUST_BE_POSITIVE = 10
    AMOUNT_TOO_LARGE = 11
    ACCOUNTS_MUST_DIFFER = 12
    ID_REPEATED_IN_GROUP = 13

    EXISTS_WITH_DIFFERENT_KIND = 20
    EXISTS_WITH_DIFFERENT_ACCOUNTS = 21
    EXISTS_WITH_DIFFERENT_AMOUNT = 22
    EXISTS_WITH_DIFFERENT_CURRENCY = 23
    EXISTS_WITH_DIFFERENT_PENDING = 24
    EXISTS_WITH_DIFFERENT_EXPIRY = 25
    EXISTS_IN_DIFFERENT_GROUP = 26
    """The leg itself is an exact repeat, but its group had other legs, another order or purpose."""

    EXPIRY_HAS_PASSED = 30
    """A pending transfer that would be over before it began."""
    PENDING_NOT_FOUND = 31
    PENDING_HAS_DIFFERENT_ACCOUNTS = 32
    PENDING_HAS_DIFFERENT_CURRENCY = 33
    EXCEEDS_PENDING = 34
    PENDING_HAS_DIFFERENT_AMOUNT = 35
    PENDING_ALREADY_POSTED = 36
    PENDING_ALREADY_VOIDED = 37
    PENDING_EXPIRED = 38
    PENDING_NOT_EXPIRED = 39

    ACCOUNT_NOT_FOUND = 40
    ACCOUNT_FROZEN = 41
    CURRENCY_MISMATCH = 42
    COUNTER_OUT_OF_RANGE = 43
    INSUFFICIENT_FUNDS = 44

    LINKED_FAILED = 60
    """Nothing wrong here that was looked at; another leg of the group failed."""

    @property
    def is_booked(self) -> bool:
        """Say whether the transfer stands in the ledger, since now or since before."""
        return self <= Outcome.EXISTS

    @property
    def may_succeed_later(self) -> bool:
        """Say whether the same request, unchanged, may be booked at another time."""
        return self in _MAY_SUCCEED_LATER


_MAY_SUCCEED_LATER = frozenset(
    {
        Outcome.BOOKED,
        Outcome.EXISTS,
        Outcome.PENDING_NOT_FOUND,
        Outcome.PENDING_NOT_EXPIRED,
        Outcome.ACCOUNT_NOT_FOUND,
        Outcome.ACCOUNT_FROZEN,
        Outcome.COUNTER_OUT_OF_RANGE,
        Outcome.INSUFFICIENT_FUNDS,
        # It depends on the leg that failed; alone it rules nothing out.
        Outcome.LINKED_FAILED,
    }
)


class GroupOutcome(msgspec.Struct, frozen=True, gc=False):
    """The answer to a group: one outcome a leg, in the order of the legs."""

    legs: tuple[Outcome, ...]
    sequence: int | None
    """Its place in the ledger, now or since before; None if it is not booked."""

    @property
    def outcome(self) -> Outcome:
        """Return the outcome that decided the whole group."""
        first = self.legs[0]
        if first is not _LINKED_FAILED:
            return first
        return next((leg for leg in self.legs if leg is not _LINKED_FAILED), first)


_LINKED_FAILED = Outcome.LINKED_FAILED


def fail_group(leg_count: int, leg_index: int, outcome: Outcome) -> GroupOutcome:
    """Return the answer to a group of which one leg failed."""
    legs = [Outcome.LINKED_FAILED] * leg_count
    legs[leg_index] = outcome
    return GroupOutcome(tuple(legs), None)
