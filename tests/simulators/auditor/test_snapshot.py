"""Rows of a database become books; bytes may come as any buffer, flags as any number."""

from __future__ import annotations

from simulators.auditor.books import snapshot
from simulators.auditor.books.books import check_books
from simulators.auditor.books.histories import StoredPayment
from simulators.auditor.model.ledger import Account, Leg

ROWS: dict[str, list[tuple[object, ...]]] = {
    snapshot.ACCOUNTS: [
        (memoryview(b"out"), "EUR", 0, 0, 7, 40, 0, 40),
        (memoryview(b"shop"), "EUR", True, False, 0, 40, 7, 40),
    ],
    snapshot.GROUPS: [(1, 5, "payment"), (2, 6, "transfer"), (3, 7, "refund")],
    snapshot.TRANSFERS: [
        (1, memoryview(b"t"), "single", b"out", b"shop", 40, "EUR", None, None),
        (2, memoryview(b"h"), "pending", b"out", b"shop", 7, "EUR", None, 9),
        (3, memoryview(b"r"), "single", b"shop", b"out", 40, "EUR", None, None),
    ],
    snapshot.PENDINGS: [(memoryview(b"h"), "open")],
    snapshot.PAYMENTS: [
        ("P", "A", "till", "tea", "order", 40, "EUR", "phone", None, 1, 1, 5, "approved", 0, 0)
    ],
    snapshot.STEPS: [("P", 1, "reversed", "reversed", 40, 0, 0, 40, 40, None, 3, None)],
    snapshot.REFUNDS: [],
    snapshot.OPEN_PAYMENTS: [],
    snapshot.ORDERS: [("tea", "order", 40, 0)],
    snapshot.DAYS: [("phone", 0, 0)],
    snapshot.RECORDS: [],
    snapshot.CREDENTIALS: [],
}


def test_rows_become_books() -> None:
    books = snapshot.read_books(ROWS.__getitem__)
    assert books.accounts[b"shop"] == Account("EUR", True, False, 0, 40, 7, 40)
    assert books.groups[1].group.legs == (Leg(b"h", "pending", b"out", b"shop", 7, "EUR", expires_ms=9),)
    assert books.payments == (
        StoredPayment("P", "A", "till", "tea", "order", 40, "EUR", "phone", None, 1, 1, 5),
    )
    assert books.pending_states == {b"h": "open"}
    assert books.steps[0].step == "reversed"
    assert books.orders == {("tea", "order"): (40, 0)}
    assert check_books(books) == []
