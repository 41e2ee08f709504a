"""Outcomes are numbers that others store: they are never reused, and their order is their precedence."""

from __future__ import annotations

import pytest

from gateway.ledger.outcomes import GroupOutcome, Outcome, fail_group

# Written out, because a number that changes silently would rewrite history.
NUMBERS = """
booked 0, exists 1,
amount_must_be_positive 10, amount_too_large 11, accounts_must_differ 12, id_repeated_in_group 13,
exists_with_different_kind 20, exists_with_different_accounts 21, exists_with_different_amount 22,
exists_with_different_currency 23, exists_with_different_pending 24, exists_with_different_expiry 25,
exists_in_different_group 26,
expiry_has_passed 30, pending_not_found 31, pending_has_different_accounts 32,
pending_has_different_currency 33, exceeds_pending 34, pending_has_different_amount 35,
pending_already_posted 36, pending_already_voided 37, pending_expired 38, pending_not_expired 39,
account_not_found 40, account_frozen 41, currency_mismatch 42, counter_out_of_range 43,
insufficient_funds 44, linked_failed 60
"""
MAY_SUCCEED_LATER = {
    "booked",
    "exists",
    "pending_not_found",
    "pending_not_expired",
    "account_not_found",
    "account_frozen",
    "counter_out_of_range",
    "insufficient_funds",
    "linked_failed",
}


def test_outcomes_keep_their_numbers() -> None:
    written = dict(entry.split() for entry in NUMBERS.replace("\n", " ").split(","))
    assert {outcome.name.lower(): str(outcome.value) for outcome in Outcome} == written


@pytest.mark.parametrize("outcome", Outcome, ids=lambda outcome: outcome.name.lower())
def test_outcome_says_whether_the_same_request_may_succeed_later(outcome: Outcome) -> None:
    assert outcome.may_succeed_later == (outcome.name.lower() in MAY_SUCCEED_LATER)


def test_group_is_named_by_the_leg_that_failed() -> None:
    failed = fail_group(3, 1, Outcome.ACCOUNT_FROZEN)
    assert failed.legs == (Outcome.LINKED_FAILED, Outcome.ACCOUNT_FROZEN, Outcome.LINKED_FAILED)
    assert failed.outcome is Outcome.ACCOUNT_FROZEN
    assert not failed.outcome.is_booked
    assert GroupOutcome((Outcome.BOOKED, Outcome.BOOKED), 1).outcome.is_booked
