"""Books with one thing wrong in them: each wrong ledger is noticed, by the name of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from simulators.auditor.books.books import Books, StoredGroup, check_books, check_limits
from simulators.auditor.books.histories import StoredPayment, StoredRefund, StoredStep
from simulators.auditor.model.ledger import Group, LedgerModel, Leg, expiry_of
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
    (11, Group((Leg(b"h4", "pending", ADA, SHOP, 12, "EUR", expires_ms=500),), "hold")),
    (
        12,
        Group(
            (
                Leg(b"c4", "post", ADA, SHOP, 9, "EUR", pending_id=b"h4"),
                Leg(b"f4", "single", SHOP, FEES, 2, "EUR"),
            ),
            "capture",
        ),
    ),
    (
        13,
        Group(
            (Leg(b"g4", "single", FEES, SHOP, 1, "EUR"), Leg(b"r4", "single", SHOP, ADA, 4, "EUR")), "refund"
        ),
    ),
    (14, Group((Leg(b"h5", "pending", ADA, SHOP, 5, "EUR", expires_ms=500),), "hold")),
    (15, Group((Leg(b"v5", "void", ADA, SHOP, 5, "EUR", pending_id=b"h5"),), "release")),
    (16, Group((Leg(b"p6", "single", ADA, SHOP, 6, "EUR"),), "payment")),
    (17, Group((Leg(b"r6", "single", SHOP, ADA, 6, "EUR"),), "refund")),
    (18, Group((Leg(b"h7", "pending", ADA, SHOP, 3, "EUR", expires_ms=500),), "hold")),
)
FIRST = StoredPayment("P1", "A1", "till", "tea", "order-1", 40, "EUR", "phone", None, 1, 6, 5, fee_minor=1)
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
        outcome="declined",
    ),
    StoredPayment(
        "P4",
        "A4",
        "till",
        "tea",
        "order-4",
        12,
        "EUR",
        "phone",
        None,
        None,
        9,
        11,
        "authorised",
        tip_max_minor=2,
    ),
    StoredPayment("P5", "A5", "till", "tea", "order-5", 5, "EUR", "phone", None, None, 12, 14, "authorised"),
    StoredPayment("P6", "A6", "till", "tea", "order-6", 6, "EUR", "phone", None, 4, 14, 16),
    StoredPayment(
        "P7", "A7", "till", "tea", "order-7", 3, "EUR", "phone", None, None, 16, 18, "requires_confirmation"
    ),
)
"""Charged, charged, declined; held and captured with a tip of 1, then refunded in part; held and voided;
charged and reversed; waiting."""
STEPS = (
    StoredStep("P4", 1, "captured", "succeeded", 9, 1, 2, 2, 3, 3, 10, None),
    StoredStep("P5", 1, "voided", "voided", 0, 0, 0, 5, 5, None, 13, None),
    StoredStep("P6", 1, "reversed", "reversed", 6, 0, 0, 6, 6, None, 15, None),
)
REFUNDS = (StoredRefund("R4", "P4", 4, 4, 1, 11),)
ORDERS = {
    ("tea", "order-1"): (40, 40),
    ("tea", "order-2"): (10, 10),
    ("tea", "order-4"): (10, 8),
    ("tea", "order-5"): (5, 0),
    ("tea", "order-6"): (6, 0),
    ("tea", "order-7"): (3, 3),
}
SPENT = {("phone", 0): 40 + 10 + 9 + 0 + 0 + 3}
PROMISES = (
    Promise("till", "A1", 40, Told("P1", True), use="token 1"),
    Promise("till", "A2", 10, Told("P2", True), use="token 2"),
    Promise("till", "A3", 10, Told("P3", False, "order_already_paid"), use="token 2"),
    Promise("till", "A8", 10, refused=True),
    Promise("till", "A9", 10),
    Promise("till", "A4", 12, captured_minor=9, refunded_minor=4),
    Promise("till", "A5", 5, given_back=True),
    Promise("till", "A6", 6, Told("P6", True), given_back=True, refunded_minor=6),
    Promise("till", "A7", 3),
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
    open_until = {"P7": ("requires_confirmation", 400)}
    return Books(
        dict(model.accounts), groups, PAYMENTS, states, STEPS, REFUNDS, open_until, dict(ORDERS), dict(SPENT)
    )


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


def with_step(index: int, **changes: object) -> Callable[[Books], Books]:
    def change(books: Books) -> Books:
        steps = list(books.steps)
        steps[index] = replace(steps[index], **changes)
        return replace(books, steps=tuple(steps))

    return change


def with_refund(**changes: object) -> Callable[[Books], Books]:
    return lambda books: replace(books, refunds=(replace(books.refunds[0], **changes),))


def with_order(order_id: str, amount_minor: int, taken_minor: int) -> Callable[[Books], Books]:
    return lambda books: replace(
        books, orders={**books.orders, ("tea", order_id): (amount_minor, taken_minor)}
    )


def with_open(payment_id: str, state: str, due_ms: int) -> Callable[[Books], Books]:
    return lambda books: replace(books, open_until={**books.open_until, payment_id: (state, due_ms)})


def with_group(*legs: Leg, purpose: str = "transfer") -> Callable[[Books], Books]:
    def change(books: Books) -> Books:
        added = StoredGroup(len(books.groups) + 1, 11, Group(legs, purpose))
        return replace(books, groups=(*books.groups, added))

    return change


MUTANTS: dict[str, tuple[str, Callable[[Books], Books]]] = {
    "money out of nothing": ("money_not_conserved", with_account(ADA, credits_posted=101)),
    "a hold on one side only": ("money_not_conserved", with_account(SHOP, credits_pending=1)),
    "a counter below nothing": ("balance_too_low", with_account(ADA, debits_pending=-1)),
    "a wallet that owes": ("balance_too_low", with_account(ADA, debits_posted=120)),
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
    "an order paid twice": ("order_differs", with_payment(1, order_id="order-1")),
    "an order paid beyond what it is for": ("order_overpaid", with_order("order-2", 9, 10)),
    "an order that forgot what a void gave back": ("order_differs", with_order("order-5", 5, 5)),
    "an order of no payment": ("order_differs", with_order("order-9", 5, 0)),
    "a day that forgot a reversal": (
        "day_differs",
        lambda books: replace(books, spent={("phone", 0): SPENT["phone", 0] + 6}),
    ),
    "a day of no payment": ("day_differs", lambda books: replace(books, spent={**SPENT, ("phone", 1): 0})),
    "a capture of another amount": ("step_differs_from_group", with_step(0, charged_minor=8)),
    "a capture that moved nothing": ("charged_nothing", with_step(0, group_sequence=None)),
    "a void that names a capture's group": ("step_differs_from_group", with_step(1, group_sequence=10)),
    "a capture beyond the goods that were held": ("more_charged_than_held", with_payment(3, tip_max_minor=5)),
    "a tip beyond what was held for it": ("more_charged_than_held", with_step(0, tip_minor=3)),
    "a step that kept something of the order": ("step_amounts_differ", with_step(1, order_released_minor=4)),
    "a step that kept something of the day": ("step_amounts_differ", with_step(2, day_released_minor=0)),
    "a void after which money was charged": ("step_impossible", with_step(1, payment_id="P4", step_index=2)),
    "a state that its step does not lead to": ("step_impossible", with_step(1, state="expired")),
    "a step left out": ("step_impossible", with_step(0, step_index=2)),
    "a step of nobody": ("nobodys_payment", with_step(1, payment_id="P9")),
    "a receipt of a void": ("receipt_misplaced", with_step(1, receipt_number=5)),
    "a receipt of a hold": ("receipt_misplaced", with_payment(4, receipt_number=5)),
    "a capture without its receipt": ("receipt_gap", with_step(0, receipt_number=None)),
    "a decline called an approval": ("outcome_differs", with_payment(2, outcome="approved")),
    "a refund that its group did not move": ("refund_differs_from_group", with_refund(amount_minor=5)),
    "a refund to another total": ("refund_gap", with_refund(total_minor=5)),
    "a refund of more than was charged": ("refunded_too_much", with_refund(amount_minor=10, total_minor=10)),
    "a refund with another part of the fee": ("refund_fee_differs", with_refund(fee_minor=2)),
    "a refund of nobody": ("nobodys_payment", with_refund(payment_id="P9")),
    "a refund that was reversed too": ("reversal_differs", with_refund(payment_id="P6", amount_minor=6)),
    "a hold that nobody ends": ("open_differs", lambda books: replace(books, open_until={})),
    "a voided payment that is open": ("open_differs", with_open("P5", "authorised", 400)),
    "a waiting payment called a hold": ("open_differs", with_open("P7", "authorised", 400)),
    "an open payment that there is not": ("open_differs", with_open("P9", "authorised", 400)),
    "a receipt left out": ("receipt_gap", with_payment(1, receipt_number=3)),
    "a receipt given twice": ("receipt_gap", with_payment(1, receipt_number=1)),
}


def test_right_books_are_found_right() -> None:
    assert check_books(make_books()) == []
    assert check_promises(PROMISES, make_books()) == []
    assert check_limits(make_books(), {"phone": (40, 62)}) == []


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
        ("lost", [*PROMISES, Promise("till", "B6", 1, Told("Q6", False, "wallet_frozen"))]),
        ("taken_after_all", promise(0, given_back=True)),
        ("taken_after_all", promise(8, given_back=True)),
        ("other_capture", promise(5, captured_minor=12)),
        ("refund_lost", promise(5, refunded_minor=9)),
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


@pytest.mark.parametrize("limits", [(39, 62), (40, 61)])
def test_limits_that_were_passed_are_noticed(limits: tuple[int, int]) -> None:
    (finding,) = check_limits(make_books(), {"phone": limits})
    assert finding.code == "limit_passed"
    assert check_limits(make_books(), {"another": (1, 1)}) == []
