"""The model of the ledger, by hand: small cases whose answer anybody can work out on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulators.auditor.model.ledger import COUNTER_MAX, EXPIRIES_MAX, Group, LedgerModel, Leg, expiry_of
from simulators.auditor.model.outcomes import NUMBERS, first_of

ADA, BOB, OUTSIDE, EVE, NOBODY = b"ada", b"bob", b"outside", b"eve", b"nobody"


@pytest.fixture
def ledger() -> LedgerModel:
    """Ada has 100, Bob nothing; neither may go below; Eve's account is in dollars."""
    ledger = LedgerModel()
    for name, currency, limited in (
        (ADA, "EUR", True),
        (BOB, "EUR", True),
        (OUTSIDE, "EUR", False),
        (EVE, "USD", False),
    ):
        ledger.open_account(name, currency, limited=limited)
    ledger.book([Group((single(b"funding", OUTSIDE, ADA, 100),))], 0)
    return ledger


def single(number: bytes, debit: bytes, credit: bytes, amount: int) -> Leg:
    return Leg(number, "single", debit, credit, amount, "EUR")


def hold(number: bytes, amount: int, until: int = 50) -> Leg:
    return Leg(number, "pending", ADA, BOB, amount, "EUR", expires_ms=until)


def end(number: bytes, kind: str, of: Leg, amount: int | None = None) -> Leg:
    amount_minor = of.amount_minor if amount is None else amount
    return Leg(number, kind, *of.accounts, amount_minor, of.currency, pending_id=of.transfer_id)


def book(ledger: LedgerModel, *legs: Leg, now: int = 0) -> tuple[str, ...]:
    (answer,) = ledger.book([Group(legs)], now)
    return answer.legs


def test_lowest_number_answers_whatever_else_is_wrong(ledger: LedgerModel) -> None:
    everything = single(b"1", ADA, ADA, 0)
    assert book(ledger, everything) == ("amount_must_be_positive",)
    assert first_of({"insufficient_funds", "account_frozen", "pending_expired"}) == "pending_expired"
    assert first_of(set()) is None
    assert list(NUMBERS.values()) == sorted(NUMBERS.values())


def test_money_moves_with_all_legs_or_with_none(ledger: LedgerModel) -> None:
    too_much = single(b"1", ADA, BOB, 60), single(b"2", ADA, BOB, 41)
    assert book(ledger, *too_much) == ("linked_failed", "insufficient_funds")
    assert ledger.accounts[ADA].counters == (0, 0, 0, 100)
    through_bob = single(b"1", ADA, BOB, 60), single(b"2", BOB, OUTSIDE, 60)
    assert book(ledger, *through_bob) == ("booked", "booked")
    assert ledger.accounts[BOB].counters == (0, 60, 0, 60)


def test_later_fault_of_an_earlier_leg_hides_an_earlier_fault_of_a_later_one(ledger: LedgerModel) -> None:
    poor, unknown = single(b"1", BOB, ADA, 1), single(b"2", NOBODY, ADA, 1)
    assert book(ledger, poor, unknown) == ("insufficient_funds", "linked_failed")
    # Form is judged over all legs before anything else is judged of any.
    assert book(ledger, poor, replace(unknown, amount_minor=0)) == (
        "linked_failed",
        "amount_must_be_positive",
    )


def test_hold_is_posted_in_part_and_ends(ledger: LedgerModel) -> None:
    held = hold(b"h", 70)
    assert book(ledger, held) == ("booked",)
    assert ledger.accounts[ADA].counters == (70, 0, 0, 100)
    assert book(ledger, end(b"p", "post", held, 71)) == ("exceeds_pending",)
    assert book(ledger, end(b"p", "post", held, 30)) == ("booked",)
    assert ledger.accounts[ADA].counters == (0, 30, 0, 100)
    assert ledger.accounts[BOB].counters == (0, 0, 0, 30)
    assert book(ledger, end(b"v", "void", held)) == ("pending_already_posted",)


def test_frozen_account_lets_go_but_pays_nothing(ledger: LedgerModel) -> None:
    held, other = hold(b"h", 10), hold(b"i", 10)
    book(ledger, held, other)
    ledger.set_frozen(ADA, True)
    assert book(ledger, end(b"p", "post", held)) == ("account_frozen",)
    assert book(ledger, end(b"v", "void", held)) == ("booked",)
    assert book(ledger, single(b"1", OUTSIDE, ADA, 5)) == ("booked",)


def test_due_holds_go_before_a_batch_oldest_first_and_so_many_only(ledger: LedgerModel) -> None:
    for number in range(EXPIRIES_MAX + 1):
        book(ledger, hold(b"h%03d" % number, 1, until=90 - number))
    assert ledger.expire(25) == 0
    assert book(ledger, single(b"1", ADA, BOB, 99), now=90) == ("booked",)
    (left,) = ledger.due(90)
    assert left.leg.expires_ms == 90
    assert ledger.book_group(Group((end(b"x", "expire", left.leg),)), 90).legs == ("booked",)


def test_expiry_that_was_booked_can_be_found_by_its_id(ledger: LedgerModel) -> None:
    held = hold(b"h", 10, until=20)
    book(ledger, held)
    assert ledger.expire(20) == 1
    assert ledger.history[-1] == Group((expiry_of(held),), "expiry")
    assert book(ledger, end(b"v", "void", held), now=20) == ("pending_expired",)


def test_repeat_must_be_the_whole_group_at_its_place(ledger: LedgerModel) -> None:
    first, second = single(b"1", ADA, BOB, 10), single(b"2", ADA, BOB, 20)
    assert ledger.book([Group((first, second))], 0)[0].sequence == 2
    (again,) = ledger.book([Group((first, second))], 9)
    assert (again.legs, again.sequence) == (("exists", "exists"), 2)
    assert book(ledger, second) == ("exists_in_different_group",)
    assert book(ledger, first, single(b"3", ADA, BOB, 1)) == ("exists_in_different_group", "linked_failed")
    assert book(ledger, single(b"3", ADA, BOB, 1), second) == ("linked_failed", "exists_in_different_group")
    other_purpose = Group((first, second), "funding")
    assert ledger.book_group(other_purpose, 0).legs == ("exists_in_different_group", "linked_failed")
    assert book(ledger, first, replace(second, currency="USD")) == (
        "linked_failed",
        "exists_with_different_currency",
    )


def test_counters_stay_in_their_range(ledger: LedgerModel) -> None:
    amount = 10**15
    whole, rest = divmod(COUNTER_MAX, amount)
    for number in range(whole):
        assert book(ledger, single(b"n%d" % number, OUTSIDE, BOB, amount)) == ("booked",)
    # A hundred went to Ada before, which the outside account was debited with as well.
    assert book(ledger, single(b"last", OUTSIDE, BOB, rest - 99)) == ("counter_out_of_range",)
    assert book(ledger, single(b"last", OUTSIDE, BOB, rest - 100)) == ("booked",)


def test_fork_goes_its_own_way(ledger: LedgerModel) -> None:
    other = ledger.fork()
    book(other, single(b"1", ADA, BOB, 60))
    assert book(ledger, single(b"2", ADA, BOB, 60)) == ("booked",)
    assert len(ledger.history) == len(other.history) == 2
    assert ledger.history != other.history
