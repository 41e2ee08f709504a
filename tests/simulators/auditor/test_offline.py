"""Books of payments accepted without a connection: right ones pass, and each mutant is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from simulators.auditor.books.books import Books, StoredGroup, check_books, check_limits
from simulators.auditor.books.histories import StoredPayment, StoredRecord, StoredRefund
from simulators.auditor.model.ledger import Group, LedgerModel, Leg

OUTSIDE, ADA, SHOP, FEES, LOSSES, ASIDE = b"outside", b"ada", b"shop", b"fees", b"losses", b"aside"
HISTORY = (
    Group((Leg(b"t1", "single", OUTSIDE, ADA, 100, "EUR"),), "funding"),
    Group((Leg(b"a1", "single", ADA, ASIDE, 70, "EUR"),), "allowance"),
    Group(
        (Leg(b"p1", "single", ASIDE, SHOP, 60, "EUR"), Leg(b"f1", "single", SHOP, FEES, 2, "EUR")), "offline"
    ),
    Group(
        (
            Leg(b"p2", "single", ASIDE, SHOP, 10, "EUR"),
            Leg(b"q2", "single", ADA, SHOP, 30, "EUR"),
            Leg(b"l2", "single", LOSSES, SHOP, 5, "EUR"),
            Leg(b"f2", "single", SHOP, FEES, 1, "EUR"),
        ),
        "offline",
    ),
    Group(
        (
            Leg(b"g2", "single", FEES, SHOP, 1, "EUR"),
            Leg(b"r2", "single", SHOP, LOSSES, 5, "EUR"),
            Leg(b"s2", "single", SHOP, ADA, 40, "EUR"),
        ),
        "refund",
    ),
)
PAYMENTS = (
    StoredPayment("P1", "A1", "till", "tea", "order-1", 60, "EUR", "phone", None, 1, 3, 5, fee_minor=2),
    StoredPayment("P2", "A2", "till", "tea", "order-2", 45, "EUR", "phone", None, 2, 4, 5, fee_minor=1),
    StoredPayment("P3", "A3", "till", "tea", "order-3", 9, "EUR", "phone", "old", None, None, 5, "declined"),
)
RECORDS = (
    StoredRecord("P1", "settled", 60, 0, ASIDE),
    StoredRecord("P2", "settled", 45, 5, ASIDE),
    StoredRecord("P3", "declined", 9, 9, None),
)


def make_books(history: tuple[Group, ...] = HISTORY) -> Books:
    """Return books in which everything is right, written by the model itself."""
    model = LedgerModel()
    for name in (OUTSIDE, ADA, SHOP, FEES, LOSSES, ASIDE):
        model.open_account(name, "EUR", limited=name in (ADA, ASIDE))
    for group in history:
        assert set(model.book_group(group, 5).legs) == {"booked"}
    return Books(
        dict(model.accounts),
        tuple(StoredGroup(sequence, 5, group) for sequence, group in enumerate(history, start=1)),
        PAYMENTS,
        {},
        refunds=(StoredRefund("R2", "P2", 45, 45, 1, 5),),
        orders={("tea", "order-1"): (60, 60), ("tea", "order-2"): (45, 45)},
        spent={("phone", 0): 105},
        records=RECORDS,
        allowances={ASIDE: (70, "ended")},
    )


def with_record(index: int, **changes: object) -> Callable[[], Books]:
    def changed() -> Books:
        records = list(RECORDS)
        records[index] = replace(records[index], **changes)
        return replace(make_books(), records=tuple(records))

    return changed


def with_amounts(sequence: int, *amounts: int) -> Callable[[], Books]:
    """Books in which a group moved other amounts, each account being what that leaves it."""

    def changed() -> Books:
        history = list(HISTORY)
        legs = zip(history[sequence - 1].legs, amounts, strict=True)
        moved = tuple(replace(leg, amount_minor=amount) for leg, amount in legs if amount)
        history[sequence - 1] = replace(history[sequence - 1], legs=moved)
        return make_books(tuple(history))

    return changed


def with_purpose(sequence: int, purpose: str) -> Callable[[], Books]:
    def changed() -> Books:
        history = list(HISTORY)
        history[sequence - 1] = replace(history[sequence - 1], purpose=purpose)
        return make_books(tuple(history))

    return changed


MUTANTS: dict[str, tuple[str, Callable[[], Books]]] = {
    "the wallet paid what was set aside": ("paid_by_the_wrong_one", with_amounts(4, 9, 30, 6, 1)),
    "the wallet paid, and nothing that was set aside": (
        "paid_by_the_wrong_one",
        with_amounts(4, 0, 30, 15, 1),
    ),
    "the operator paid what the wallet had": ("paid_by_the_wrong_one", with_amounts(4, 10, 25, 10, 1)),
    "more than the amount": ("payment_differs_from_group", with_amounts(4, 10, 30, 6, 1)),
    "another fee": ("payment_differs_from_group", with_amounts(3, 60, 1)),
    "a loss that nobody moved": ("payment_differs_from_group", with_record(1, loss_minor=4)),
    "the payer got what the operator lost": ("payment_differs_from_group", with_amounts(4, 10, 30, 0, 1)),
    "refunded to the payer alone": ("refund_differs_from_group", with_amounts(5, 1, 4, 41)),
    "a sale": ("payment_differs_from_group", with_purpose(3, "payment")),
    "no record": ("payment_differs_from_group", lambda: replace(make_books(), records=RECORDS[1:])),
    "a record of nobody": ("record_differs", with_record(0, payment_id="P9")),
    "a decline called settled": ("record_differs", with_record(2, outcome="settled")),
    "a record of another amount": ("record_differs", with_record(0, amount_minor=61)),
    "a merchant spared its loss": ("record_differs", with_record(2, loss_minor=0)),
    "less set aside": ("allowance_differs", lambda: replace(make_books(), allowances={ASIDE: (69, "live")})),
    "set aside where nothing is": (
        "allowance_differs",
        lambda: replace(make_books(), allowances={b"nowhere": (70, "live")}),
    ),
    "not given back": ("allowance_differs", with_amounts(3, 59, 2)),
}


def test_right_books_pass() -> None:
    assert check_books(make_books()) == []


@pytest.mark.parametrize(("kind", "mutate"), MUTANTS.values(), ids=MUTANTS)
def test_each_mutant_is_seen(kind: str, mutate: Callable[[], Books]) -> None:
    assert kind in {finding.code for finding in check_books(mutate())}


def test_limits_count_what_was_accepted_offline_and_do_not_stop_it() -> None:
    assert check_limits(make_books(), {"phone": (10, 20)}) == []
    later = replace(PAYMENTS[0], payment_id="P4", attempt_id="A4", amount_minor=1, group_sequence=9)
    books = replace(make_books(), payments=(*PAYMENTS, later))
    assert [finding.code for finding in check_limits(books, {"phone": (10, 105)})] == ["limit_passed"]
