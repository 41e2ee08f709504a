"""A payment's life that is in order passes, and each thing that can be wrong with one is named."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from simulators.auditor.books.books import StoredGroup
from simulators.auditor.model.attempts import Merchant
from simulators.auditor.model.ledger import Group, LedgerModel, Leg
from simulators.auditor.witness.dealings import DEVICE, PIN, Agreement, Dealings, Heard, HouseRules, WrongPin
from simulators.auditor.witness.evidence import Evidence, Payer
from simulators.auditor.witness.followed import Decision, Lives, Refund, Step
from simulators.auditor.witness.life_rules import (
    NO_NEWS,
    EventsAreTold,
    HeardIsSo,
    HoldsFollowTheirPayments,
    News,
    ReversedStaysReversed,
    StepsAreRight,
    SumsAreExact,
)

WALLET, SHOP, FEES, HOLD = (bytes((number,)) * 16 for number in range(1, 5))
RULES = HouseRules(confirm_ms=20_000, capture_ms=60_000, sweep_ms=1_000)
HELD = Decision(
    *("P", "A", "TILL", "SHOP", "tea", 1_200, "EUR", "PHONE", None, None, 1, 1_000_000),
    *("authorised", 200, 0, 1, "qr_consumer", None, None),
)
NOW_MS = 1_010_000


@dataclass
class Scene:
    """One payment, and what is known of it outside."""

    decision: Decision = HELD
    now_ms: int = NOW_MS
    evidence: Evidence = field(init=False)
    lives: Lives = field(default_factory=lambda: Lives(RULES))

    def __post_init__(self) -> None:
        self.evidence = Evidence(
            payers={"PHONE": Payer("PHONE", "WALLET", WALLET, 9_000, 9_000, frozenset(), has_pin=True)},
            merchants={"SHOP": Merchant(SHOP, FEES, 100)},
            dealings=Dealings(
                RULES,
                now_ms=lambda: self.now_ms,
                refund_limits={"TILL": 900},
                managers={("SHOP", "BOSS")},
            ),
        )
        self.steps = StepsAreRight(self.evidence, self.lives)
        self.heard = HeardIsSo(self.evidence, self.lives)
        self.lives.decide(self.decision, 0, HOLD, self.decision.decided_ms)

    @property
    def dealings(self) -> Dealings:
        return self.evidence.dealings

    def take(self, *happened: Step | Refund, legs: tuple[tuple[Any, ...], ...] = ()) -> set[str]:
        """Let something happen in one commit, with one group, and return what is wrong with it."""
        group = Group(
            tuple(
                Leg(b"%d" % index, kind, debit, credit, amount, "EUR", pending)
                for index, (kind, debit, credit, amount, pending) in enumerate(legs)
            )
        )
        news = News(
            {},
            (StoredGroup(2, self.now_ms, group),) if legs else (),
            (),
            steps=tuple(one for one in happened if isinstance(one, Step)),
            refunds=tuple(one for one in happened if isinstance(one, Refund)),
        )
        return {one.code for one in self.steps.see(news)}

    def hear(self, **heard: Any) -> set[str]:
        self.dealings.heard.append(Heard("P", **heard))
        return {one.code for one in self.heard.see(NO_NEWS)}


def step(name: str, state: str, **named: Any) -> Step:
    """Return the payment's first step."""
    fields: dict[str, Any] = {
        "code": None,
        "request_id": None,
        "charged_minor": 0,
        "tip_minor": 0,
        "fee_minor": 0,
        "receipt_number": None,
        "group_sequence": 2,
        "due_ms": None,
        "at_ms": NOW_MS,
        **named,
    }
    return Step("P", 1, name, state, **fields)


def captured(goods_minor: int, tip_minor: int) -> tuple[Step, tuple[tuple[Any, ...], ...]]:
    charged_minor = goods_minor + tip_minor
    fee_minor = round(charged_minor / 100)
    done = step(
        *("captured", "succeeded"),
        request_id="C",
        charged_minor=charged_minor,
        tip_minor=tip_minor,
        fee_minor=fee_minor,
    )
    return done, (("post", WALLET, SHOP, charged_minor, HOLD), ("single", SHOP, FEES, fee_minor, None))


def test_a_capture_within_the_hold_that_somebody_asked_for_is_in_order() -> None:
    scene = Scene()
    scene.dealings.captures["P", "C"] = 900, 200
    done, legs = captured(900, 200)
    assert scene.take(done, legs=legs) == set()
    assert scene.lives.taken_minor["SHOP", "tea"] == 900
    assert scene.lives.spent_minor["PHONE", 0] == 1_100
    assert scene.hear(state="succeeded", charged_minor=1_100, tip_minor=200, capture_id="C") == set()
    assert scene.hear(state="succeeded", charged_minor=1_100, tip_minor=200, capture_id="D") == {
        "told_another_capture"
    }
    assert scene.hear(state="authorised", charged_minor=0, sent_ms=NOW_MS + 1) == {"told_what_is_over"}
    assert scene.hear(state="voided", charged_minor=0) == {"told_what_never_was"}


@pytest.mark.parametrize(("goods", "tip"), [(1_001, 0), (900, 201)])
def test_no_capture_is_above_what_was_signed(goods: int, tip: int) -> None:
    scene = Scene()
    scene.dealings.captures["P", "C"] = goods, tip
    done, legs = captured(goods, tip)
    assert scene.take(done, legs=legs) == {"capture_above_hold"}


def test_every_step_has_a_cause_and_its_own_money() -> None:
    done, legs = captured(1_000, 0)
    assert Scene().take(done, legs=legs) == {"capture_nobody_asked"}
    void = ("void", WALLET, SHOP, 1_200, HOLD)
    assert Scene().take(step("voided", "voided"), legs=(void,)) == {"void_nobody_asked"}
    scene = Scene()
    scene.dealings.voids.add("P")
    assert scene.take(step("voided", "voided"), legs=(void,)) == set()
    scene = Scene()
    scene.dealings.voids.add("P")
    assert scene.take(step("voided", "voided"), legs=((*void[:3], 1_199, HOLD),)) == {"moved_wrongly"}
    assert Scene().take(step("expired", "expired"), legs=(void,)) == {"expired_too_early"}
    assert "step_not_in_table" in Scene().take(step("reversed", "reversed"))


def test_a_holder_agrees_to_one_amount_at_one_merchant_and_in_time() -> None:
    waiting = replace(HELD, outcome="requires_confirmation", confirm_code="confirm_above_limit")
    done = step("confirmed_hold", "authorised", group_sequence=None, due_ms=1_060_000)
    for way, amount, shop, codes in (
        (DEVICE, 1_200, "SHOP", set()),
        (PIN, 1_200, "SHOP", set()),
        (DEVICE, 1_199, "SHOP", {"confirmed_without_agreement"}),
        (DEVICE, 1_200, "OTHER", {"confirmed_without_agreement"}),
    ):
        scene = Scene(waiting)
        scene.dealings.agreements["P"].append(Agreement(way, True, amount, shop, NOW_MS))
        assert scene.take(done) == codes
    scene = Scene(waiting)
    scene.dealings.agreements["P"].append(Agreement(DEVICE, True, 1_200, "SHOP", NOW_MS))
    assert scene.take(replace(done, at_ms=1_020_000)) == {"moved_after_its_deadline"}


def test_refunds_reach_each_total_once_and_stay_within_charge_limit_and_right() -> None:
    scene = Scene(replace(HELD, outcome="approved", is_manual=0, tip_max_minor=0, fee_minor=12))
    refund = Refund("P", 600, "R", "TILL", 600, 6, "BOSS", 2, NOW_MS)
    scene.dealings.refunds |= {("P", "R", 600, "BOSS"), ("P", "S", 1_300, "CLERK")}
    back = (("single", FEES, SHOP, 6, None), ("single", SHOP, WALLET, 600, None))
    assert scene.take(refund, legs=back) == set()
    wrong = replace(refund, refund_id="S", total_minor=1_300, amount_minor=600, staff_id="CLERK")
    assert scene.take(wrong, legs=back) == {
        *("refunded_above_charge", "refund_total_gap", "refund_by_no_manager", "refund_limit_passed"),
        "moved_wrongly",
    }


def test_orders_days_and_open_rows_hold_what_payments_hold() -> None:
    scene = Scene()
    exact, holds = (
        SumsAreExact(scene.lives),
        HoldsFollowTheirPayments(scene.evidence, scene.lives, LedgerModel()),
    )
    right = News(
        *({}, (), ()),
        open_rows=(("P", "authorised", 1_060_000),),
        order_rows=(("SHOP", "tea", 1_000, 1_000),),
        day_rows=(("PHONE", 0, 1_200),),
    )
    assert not [*exact.see(right), *holds.see(right)]
    wrong = replace(right, open_rows=(), order_rows=(("SHOP", "tea", 1_000, 0),), day_rows=(("PHONE", 0, 1),))
    codes = {one.code for one in (*exact.see(wrong), *holds.see(wrong))}
    assert codes == {"order_sum_differs", "day_sum_differs", "open_differs"}
    scene.dealings.healed_ms, scene.now_ms = NOW_MS, 1_080_000
    assert {one.code for one in holds.see(right)} == {"not_ended"}


def test_what_a_till_was_told_to_be_reversed_leaves_nothing() -> None:
    scene = Scene()
    rule = ReversedStaysReversed(scene.evidence, scene.lives)
    assert not list(rule.see(replace(NO_NEWS, payments=(HELD,))))
    scene.dealings.reversed |= {("TILL", "A"), ("TILL", "never seen")}
    assert {one.code for one in rule.see(NO_NEWS)} == {"charged_after_reversal", "reversal_lost"}


def test_a_pin_is_wrong_twice_at_most() -> None:
    scene = Scene()
    for number in range(3):
        scene.dealings.wrong_pins.append(WrongPin("WALLET", NOW_MS + number, is_locked=False))
        assert {one.code for one in scene.heard.see(NO_NEWS)} == (
            {"pin_not_locked"} if number == 2 else set()
        )


def test_a_terminal_hears_of_what_it_did_not_ask_for() -> None:
    scene = Scene()
    rule = EventsAreTold(scene.evidence, scene.lives)
    assert not list(rule.see(replace(NO_NEWS, steps=(step("expired", "expired"),))))
    scene.dealings.events["TILL"] = []
    assert {one.code for one in rule.close()} == {"event_missing"}
    scene.dealings.events["TILL"] = [(2, "P"), (1, "P")]
    assert not list(rule.close())
    assert {one.code for one in rule.see(NO_NEWS)} == {"events_out_of_order"}
