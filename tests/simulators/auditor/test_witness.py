"""The witness accepts a history that is in order, to the last cent, and names what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from simulators.auditor.model.attempts import Merchant
from simulators.auditor.promises import Promise, Told
from simulators.auditor.witness.evidence import Asked, Evidence, Payer, Presented
from simulators.auditor.witness.witness import Witness

WALLET, SHOP, FEES, FUNDING = (bytes((number,)) * 16 for number in range(1, 5))
PAYER = Payer("PHONE", "WALLET", WALLET, 5_000, 8_000, frozenset({"nfc_app", "qr_consumer"}))
MERCHANT = Merchant(SHOP, FEES, 100)
FUNDS = 20_000
NOW_MS = 1_000_000


@dataclass
class Scene:
    """A little gateway's rows, and what is known outside; each payment is a commit of its own."""

    evidence: Evidence = field(
        default_factory=lambda: Evidence(payers={"PHONE": PAYER}, merchants={"SHOP": MERCHANT})
    )
    counters: dict[bytes, list[int]] = field(
        default_factory=lambda: {one: [0, 0] for one in (WALLET, SHOP, FEES, FUNDING)}
    )
    groups: list[tuple[Any, ...]] = field(default_factory=list)
    transfers: list[tuple[Any, ...]] = field(default_factory=list)
    payments: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.book("funding", (FUNDING, WALLET, FUNDS))
        self.witness = Witness(self.ask, self.evidence)

    def ask(self, query: str, values: Sequence[Any]) -> Iterable[Sequence[Any]]:
        """Answer the witness's queries by their tables."""
        table = query.partition(" FROM ")[2].split()[0]
        if table == "accounts":
            return [
                (one, "EUR", one == WALLET, 0, 0, debits, 0, credits)
                for one, (debits, credits) in self.counters.items()
            ]
        if table == "ledger_groups":
            return [row for row in self.groups if row[0] > values[0]]
        if table == "transfers":
            return [row for row in self.transfers if row[0] > values[0]]
        if table == "payments":
            return [self.payments[values[0]]] if values else [(key,) for key in self.payments]
        return self.rows_of(table)

    def rows_of(self, table: str) -> list[tuple[Any, ...]]:
        """Return what payments hold and charge, by order and by day; nothing happens to them later."""
        if table == "orders":
            return [("SHOP", order, self.amounts[order], sum_) for order, sum_ in self.taken.items()]
        return [("PHONE", 0, sum(self.taken.values()))] if table == "spent_days" and self.taken else []

    def book(self, purpose: str, *moves: tuple[bytes, bytes, int]) -> int:
        """Book a group and return its place."""
        sequence = len(self.groups) + 1
        self.groups.append((sequence, NOW_MS, purpose))
        for index, (debit, credit, amount) in enumerate(moves):
            leg_id = bytes((sequence, index)) * 8
            self.transfers.append((sequence, leg_id, "single", debit, credit, amount, "EUR", None, None))
            self.counters[debit][0] += amount
            self.counters[credit][1] += amount
        return sequence

    def ask_for(self, name: str, amount: int, order: str | None = None, **shown: Any) -> None:
        """Let a till send an attempt for which the phone was tapped."""
        presented = Presented(f"use {name}", "PHONE", "nfc_app", counter=len(self.evidence.asked) + 1)
        presented = replace(presented, **shown)
        self.evidence.show(presented)
        promise = Promise("TILL", name, amount, use=presented.use)
        self.evidence.ask(Asked(promise, "SHOP", order or f"order {name}", NOW_MS, presented))

    def decide(self, name: str, amount: int, code: str | None = None, order: str | None = None) -> None:
        """Store a decision, with its group if it is an approval, and let the witness look."""
        sequence = None
        if code is None:
            sequence = self.book("payment", (WALLET, SHOP, amount), (SHOP, FEES, round(amount / 100)))
        self.store(name, amount, code, order or f"order {name}", sequence)
        self.witness.look()

    def store(self, name: str, amount: int, code: str | None, order: str, sequence: int | None) -> None:
        receipt = None if code else sequence
        self.payments[f"P {name}"] = (
            *(f"P {name}", name, "TILL", "SHOP", order, amount, "EUR"),
            *("PHONE", code, receipt, sequence, NOW_MS),
            *("approved" if code is None else "declined", 0, 0 if code else round(amount / 100)),
            *(0, "nfc_app", None, None),
        )
        if code is None:
            self.amounts.setdefault(order, amount)
            self.taken[order] += amount

    @property
    def codes(self) -> set[str]:
        return {finding.code for finding in self.witness.findings}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def pay(scene: Scene, name: str, amount: int, code: str | None = None, **asked: Any) -> None:
    scene.ask_for(name, amount, **asked)
    scene.decide(name, amount, code, asked.get("order"))


def test_a_history_up_to_the_last_cent_of_every_limit_is_in_order(scene: Scene) -> None:
    pay(scene, "a", 5_000)
    pay(scene, "b", 3_000)
    pay(scene, "c", 1, "limit_per_day_exceeded")
    pay(scene, "d", 5_001, "limit_per_payment_exceeded")
    scene.evidence.tell("TILL", "a", Told("P a", True))
    scene.evidence.tell("TILL", "c", Told("P c", False, "limit_per_day_exceeded"))
    scene.witness.look()
    assert scene.codes == set()


def test_a_cent_above_a_limit_is_too_much_and_a_cent_below_no_reason(scene: Scene) -> None:
    pay(scene, "a", 5_001)
    assert scene.codes == {"limit_passed"}
    pay(scene, "b", 2_999, "limit_per_day_exceeded")
    assert scene.codes == {"limit_passed", "declined_without_reason"}


def test_a_wallet_that_is_empty_declines_and_one_that_is_not_must_not(scene: Scene) -> None:
    scene.evidence.payers["PHONE"] = replace(PAYER, per_payment_minor=90_000, per_day_minor=90_000)
    pay(scene, "a", FUNDS + 1, "insufficient_funds")
    assert scene.codes == set()
    pay(scene, "b", FUNDS, "insufficient_funds")
    assert scene.codes == {"declined_without_reason"}


def test_an_order_is_not_paid_beyond_what_its_shop_asked(scene: Scene) -> None:
    pay(scene, "a", 100, order="tea")
    pay(scene, "b", 100, "order_already_paid", order="tea")
    assert scene.codes == set()
    pay(scene, "c", 100, order="tea")
    assert scene.codes == {"order_over_paid"}


def test_a_use_pays_once_and_a_copy_is_declined_with_reason(scene: Scene) -> None:
    pay(scene, "a", 100, use="token", counter=9)
    pay(scene, "b", 100, "token_replayed", use="token", counter=9)
    assert scene.codes == set()
    pay(scene, "c", 100, use="token", counter=9)
    assert scene.codes == {"used_twice"}


@pytest.mark.parametrize(
    ("shown", "objection"),
    [
        ({"cap_minor": 99}, "cap_passed"),
        ({"amount_minor": 99}, "charged_another_amount"),
        ({"valid_until_ms": NOW_MS - 1}, "approved_out_of_time"),
        ({"valid_from_ms": NOW_MS + 1}, "approved_out_of_time"),
        ({"entry_mode": "code_numeric"}, "approved_entry_mode"),
        ({"instrument_id": None}, "charged_somebody_else"),
    ],
)
def test_an_approval_that_something_forbids_is_objected_to(
    scene: Scene, shown: dict[str, Any], objection: str
) -> None:
    pay(scene, "a", 100, **shown)
    assert scene.codes == {objection}


def test_who_was_surely_suspended_before_must_not_pay(scene: Scene) -> None:
    scene.evidence.suspending["PHONE"] = scene.evidence.suspended["PHONE"] = NOW_MS - 10
    pay(scene, "a", 100, "instrument_suspended")
    assert scene.codes == set()
    pay(scene, "b", 100)
    assert scene.codes == {"approved_though_suspended"}


def test_what_was_told_must_stand_and_a_refusal_must_stay_one(scene: Scene) -> None:
    pay(scene, "a", 100)
    scene.evidence.tell("TILL", "a", Told("P a", False, "wallet_frozen"))
    scene.witness.look()
    assert scene.codes == {"other_decision"}
    scene.ask_for("b", 100)
    scene.evidence.tell("TILL", "b", Told("P b", True))
    scene.witness.look()
    assert scene.codes == {"other_decision", "lost"}
    scene.ask_for("c", 100)
    scene.evidence.refuse("TILL", "c")
    scene.decide("c", 100)
    assert "refused_but_booked" in scene.codes


def test_money_that_comes_from_nowhere_is_seen(scene: Scene) -> None:
    scene.counters[SHOP][1] += 1
    scene.witness.look()
    assert scene.codes == {"counters_differ", "money_not_conserved"}


def test_a_wrong_fee_a_decline_that_books_and_a_payment_nobody_asked_for_are_seen(scene: Scene) -> None:
    scene.ask_for("a", 1_000)
    scene.store("a", 1_000, None, "order a", scene.book("payment", (WALLET, SHOP, 1_000)))
    scene.witness.look()
    assert scene.codes == {"moved_wrongly"}
    scene.book("payment", (WALLET, SHOP, 1_000))
    scene.witness.look()
    assert "group_not_of_one_payment" in scene.codes
    scene.decide("z", 100)
    assert "nobody_asked" in scene.codes


def test_one_till_is_not_told_two_things(scene: Scene) -> None:
    pay(scene, "a", 100)
    scene.evidence.tell("TILL", "a", Told("P a", True))
    scene.evidence.refuse("TILL", "a")
    scene.evidence.tell("TILL", "q", Told("P q", True))
    scene.witness.look()
    assert {"refused_after_an_approval", "told_about_nothing"} <= scene.codes
