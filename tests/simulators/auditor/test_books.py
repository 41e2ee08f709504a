"""Books with one thing wrong in them: each wrong ledger is noticed, by the name of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from simulators.auditor.books import Books, StoredGroup, StoredPayment, check_books, check_limits
from simulators.auditor.ledger import Group, LedgerModel, Leg, expiry_of
from simulators.auditor.promises import Promise, Told, check_promises

OUTSIDE, ADA, SHOP, FEES = b"outside", b"ada", b"shop", b"fees"
HOLD = Leg(b"hold", "pending", ADA, SHOP, 30, "EUR", expires_ms=10)
POST = Leg(b"post", "post", ADA, SHOP, 20, "EUR", pending_id=b"hold")
VOIDED = Leg(b"voided", "pending", ADA, SHOP, 5, "EUR", expires_ms=10)
VOID = Leg(b"void", "void", ADA, SHOP, 5, "EUR", pending_id=b"voided")
OVER = Leg(b"over", "pending", ADA, SHOP, 7, "EUR", expires_ms=10)
PAID = Leg(b"p1", "single", ADA, SHOP, 40, "EUR")
FEE = Leg(b"f1", "single", SHOP, FEES, 1, "EUR")
HISTORY = (
    (0, Group((Leg(b"funding", "single", OUTSIDE, ADA, 100, "EUR"),), "funding")),
    (1, Group((HOLD, VOIDED))),
    (2, Group((POST,))),
    (3, Group((VOID,))),
    (4, Group((OVER,))),
    (5, Group((PAID, FEE), "payment")),
    (6, Group((Leg(b"p2", "single", ADA, SHOP, 10, "EUR"),), "payment")),
    (10, Group((expiry_of(OVER),), "expiry")),
)
FIRST = StoredPayment("P1", "A1", "till", "tea", "order-1", 40, "EUR", "phone", None, 1, 6, 5)
SECOND = StoredPayment("P2", "A2", "till", "tea", "order-2", 10, "EUR", "phone", None, 2, 7, 6)
PAYMENTS = (
    FIRST,
    SECOND,
    replace(
        SECOND,
        payment_id="P3",
        attempt_id="A3",
        decline_code="order_already_paid",
        receipt_number=None,
        group_sequence=None,
    ),
)
PROMISES = (
    Promise("till", "A1", 40, Told("P1", True), use="token 1"),
    Promise("till", "A2", 10, Told("P2", True), use="token 2"),
    Promise("till", "A3", 10, Told("P3", False, "order_already_paid"), use="token 2"),
    Promise("till", "A4", 10, refused=True),
    Promise("till", "A5", 10),
)


def make_books() -> Books:
    """Return books in which everything is right, written by the model itself."""
    model = LedgerModel()
    for name in (OUTSIDE, ADA, SHOP, FEES):
        model.open_account(name, "EUR", limited=name == ADA)
    for booked_ms, group in HISTORY:
        assert set(model.book_group(group, booked_ms).legs) == {"booked"}
    groups = tuple(
        StoredGroup(sequence, booked_ms, group)
        for sequence, (booked_ms, group) in enumerate(HISTORY, start=1)
    )
    states = {hold_id: hold.state for hold_id, hold in model.holds.items()}
    return Books(dict(model.accounts), groups, PAYMENTS, states)


def with_account(name: bytes, **changes: int) -> Callable[[Books], Books]:
    return lambda books: replace(
        books, accounts=books.accounts | {name: replace(books.accounts[name], **changes)}
    )


def with_leg(sequence: int, leg_index: int = 0, **changes: object) -> Callable[[Books], Books]:
    def change(books: Books) -> Books:
        stored = books.groups[sequence - 1]
        legs = list(stored.group.legs)
        legs[leg_index] = replace(legs[leg_index], **changes)
        changed = replace(stored, group=replace(stored.group, legs=tuple(legs)))
        return replace(books, groups=(*books.groups[: sequence - 1], changed, *books.groups[sequence:]))

    return change


def with_payment(index: int, **changes: object) -> Callable[[Books], Books]:
    def change(books: Books) -> Books:
        payments = list(books.payments)
        payments[index] = replace(payments[index], **changes)
        return replace(books, payments=tuple(payments))

    return change


def with_group(*legs: Leg, purpose: str = "transfer") -> Callable[[Books], Books]:
    def change(books: Books) -> Books:
        added = StoredGroup(len(books.groups) + 1, 11, Group(legs, purpose))
        return replace(books, groups=(*books.groups, added))

    return change


MUTANTS: dict[str, tuple[str, Callable[[Books], Books]]] = {
    "money out of nothing": ("money_not_conserved", with_account(ADA, credits_posted=101)),
    "a hold on one side only": ("money_not_conserved", with_account(SHOP, credits_pending=1)),
    "a counter below nothing": ("balance_too_low", with_account(ADA, debits_pending=-1)),
    "a wallet that owes": ("balance_too_low", with_account(ADA, debits_posted=101)),
    "a counter that its transfers do not add up to": ("counters_differ", with_account(ADA, debits_posted=71)),
    "a group that is gone": (
        "sequence_gap",
        lambda books: replace(books, groups=books.groups[:2] + books.groups[3:]),
    ),
    "a transfer that stands twice": ("transfer_twice", with_group(HISTORY[0][1].legs[0])),
    "more spent than there was, and later put back": (
        "could_not_be_booked",
        with_leg(2, amount_minor=96),
    ),
    "a hold ended twice": ("hold_ended_twice", with_group(replace(VOID, transfer_id=b"again"))),
    "a hold that never was": ("hold_missing", with_leg(3, pending_id=b"nothing")),
    "more posted than was held": ("more_than_held", with_leg(3, amount_minor=31)),
    "a void of a part": ("could_not_be_booked", with_leg(4, amount_minor=4)),
    "a post after its time": ("could_not_be_booked", with_leg(2, expires_ms=2)),
    "an expiry before its time": ("could_not_be_booked", with_leg(5, expires_ms=11)),
    "a hold whose stored state is another": (
        "pending_states_differ",
        lambda books: replace(books, pending_states={**(books.pending_states or {}), b"hold": "open"}),
    ),
    "a payment that moved another amount": ("payment_differs_from_group", with_payment(0, amount_minor=41)),
    "a fee that is more than the payment": (
        "payment_differs_from_group",
        with_leg(6, 1, amount_minor=41),
    ),
    "a fee that somebody else pays": ("payment_differs_from_group", with_leg(6, 1, debit_account_id=ADA)),
    "an approval that moved nothing": ("payment_without_group", with_payment(1, group_sequence=None)),
    "a decline that moved money": ("decline_moved_money", with_payment(2, group_sequence=7)),
    "two payments of one group": ("group_not_of_one_payment", with_payment(1, group_sequence=6)),
    "a charge that is nobody's payment": (
        "group_not_of_one_payment",
        with_group(Leg(b"p9", "single", ADA, SHOP, 1, "EUR"), purpose="payment"),
    ),
    "one attempt decided twice": ("attempt_id_twice", with_payment(1, attempt_id="A1")),
    "one payment id for two": ("payment_id_twice", with_payment(1, payment_id="P1")),
    "an order paid twice": ("order_paid_twice", with_payment(1, order_id="order-1")),
    "a receipt left out": ("receipt_gap", with_payment(1, receipt_number=3)),
    "a receipt given twice": ("receipt_gap", with_payment(1, receipt_number=1)),
}


def test_right_books_are_found_right() -> None:
    assert check_books(make_books()) == []
    assert check_promises(PROMISES, make_books()) == []
    assert check_limits(make_books(), {"phone": (40, 50)}) == []


def test_frozen_accounts_are_right_whenever_they_were_frozen() -> None:
    assert check_books(with_account(ADA, frozen=True)(make_books())) == []


@pytest.mark.parametrize(("code", "mutate"), MUTANTS.values(), ids=MUTANTS)
def test_wrong_books_are_noticed(code: str, mutate: Callable[[Books], Books]) -> None:
    assert code in {finding.code for finding in check_books(mutate(make_books()))}


def promise(index: int, **changes: object) -> list[Promise]:
    promises = list(PROMISES)
    promises[index] = replace(promises[index], **changes)
    return promises


@pytest.mark.parametrize(
    ("code", "promises"),
    [
        ("lost", [*PROMISES, Promise("till", "A6", 1, Told("P6", False, "wallet_frozen"))]),
        ("lost", promise(0, terminal_id="other")),
        ("refused_but_booked", promise(0, told=None, refused=True)),
        ("other_amount", promise(0, amount_minor=41)),
        ("other_decision", promise(0, told=Told("P9", True))),
        ("other_decision", promise(2, told=Told("P3", True))),
        ("other_decision", promise(2, told=Told("P3", False, "wallet_frozen"))),
        ("used_twice", promise(0, use="token 2")),
        ("nobody_asked", list(PROMISES[1:])),
    ],
)
def test_broken_promises_are_noticed(code: str, promises: list[Promise]) -> None:
    assert code in {finding.code for finding in check_promises(promises, make_books())}


def test_doubled_payment_is_noticed() -> None:
    books = with_payment(1, attempt_id="A1", amount_minor=40)(make_books())
    assert "doubled" in {finding.code for finding in check_promises(PROMISES, books)}


@pytest.mark.parametrize("limits", [(39, 50), (40, 49)])
def test_limits_that_were_passed_are_noticed(limits: tuple[int, int]) -> None:
    (finding,) = check_limits(make_books(), {"phone": limits})
    assert finding.code == "limit_passed"
    assert check_limits(make_books(), {"another": (1, 1)}) == []
