"""The model of what happens to payments later, by hand: what each change moves, and what it must refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulators.auditor.model.attempts import (
    ATTEMPT_REVERSED,
    Attempt,
    Instrument,
    Merchant,
    Payment,
    Terms,
    Tier,
    Token,
    TurnedAway,
    Wallet,
)
from simulators.auditor.model.changes import (
    Capture,
    Change,
    Confirm,
    Expire,
    Refund,
    Refuse,
    Reverse,
    Void,
    change_payment,
)
from simulators.auditor.model.ledger import Group, Leg
from simulators.auditor.model.payments import DAY_MS, WINDOW_MS, PaymentModel

SHOP, FEES, WALLET, OUTSIDE = b"shop", b"fees", b"wallet", b"outside"
HELD = Terms(manual=True, tip_minor=20, capture_by_ms=100)
WAITING = Terms(confirm_for="confirm_new_terminal", confirm_by_ms=50)
WAITING_HOLD = replace(HELD, confirm_for="confirm_new_terminal", confirm_by_ms=50)


@pytest.fixture
def model() -> PaymentModel:
    """One shop with a till, a wallet with 10.00 and a PIN, a phone and a watch."""
    model = PaymentModel()
    for name, limited in ((SHOP, False), (FEES, False), (WALLET, True), (OUTSIDE, False)):
        model.ledger.open_account(name, "EUR", limited=limited)
    funding = Group((Leg(b"funding", "single", OUTSIDE, WALLET, 1_000, "EUR"),))
    assert model.ledger.book_group(funding, 0).legs == ("booked",)
    model.merchants["tea"] = Merchant(SHOP, FEES, fee_basis_points=1_000, tip_basis_points=2_500)
    model.terminals |= {"till": ("tea", True), "other": ("books", True)}
    model.refund_limits["till"] = 150
    model.wallets["ada"] = Wallet(has_pin=True)
    phone = Instrument(WALLET, b"key", "code_numeric", 400, 900, wallet_id="ada", is_phone=True)
    model.instruments |= {"phone": phone, "watch": replace(phone, key_id=b"watch")}
    return model


def pay(model: PaymentModel, number: int, terms: Terms = HELD, **changes: object) -> Payment:
    fine = Attempt(
        payment_id=f"P{number}",
        attempt_id=f"A{number}",
        request_digest=b"%d" % number,
        terminal_id="till",
        order_id=f"order-{number}",
        amount_minor=120,
        currency="EUR",
        entry_mode="nfc_app",
        instrument_id="phone",
        use=Token(b"key", number, b"claims"),
        refused=None,
        now_ms=5,
        terms=terms,
    )
    answer = model.pay(replace(fine, **changes))
    assert isinstance(answer, Payment), answer
    return answer


def told(model: PaymentModel, *asked: Change, now_ms: int = 6) -> list[str]:
    answers = [change_payment(model, change, now_ms) for change in asked]
    return [answer.code if isinstance(answer, TurnedAway) else answer.state for answer in answers]


def left(model: PaymentModel) -> tuple[int, int]:
    """What the wallet may spend, and what the shop is owed."""
    return model.ledger.accounts[WALLET].available_minor, model.ledger.accounts[SHOP].available_minor


def test_hold_is_captured_once_with_its_tip_and_gives_the_rest_back(model: PaymentModel) -> None:
    pay(model, 1)
    assert (left(model), model.orders["tea", "order-1"]) == ((880, 0), (100, 100))
    capture = Capture("P1", "till", "C1", 60, 20)
    assert (
        told(model, replace(capture, goods_minor=101), replace(capture, tip_minor=21))
        == ["capture_exceeds_hold"] * 2
    )
    assert told(
        model, capture, capture, replace(capture, tip_minor=1), replace(capture, capture_id="C2")
    ) == [*("succeeded", "succeeded", "idempotency_conflict", "payment_not_open")]
    assert (left(model), model.orders["tea", "order-1"], model.spent["phone", 0]) == (
        (920, 72),
        (100, 60),
        80,
    )
    assert model.payments["P1"].payment.receipt_number == 1


def test_void_and_expiry_give_back_everything_and_end_it(model: PaymentModel) -> None:
    pay(model, 1)
    pay(model, 2)
    assert told(model, Expire("P1"), Void("P1", "till"), Void("P1", "till")) == [
        "authorised",
        *["voided"] * 2,
    ]
    assert told(model, Void("P2", "till"), Expire("P2"), Expire("P2"), now_ms=100) == [
        *("payment_not_open", "expired", "expired")
    ]
    assert (
        told(model, Capture("P1", "till", "C1", 1, 0), Capture("P2", "till", "C2", 1, 0))
        == ["payment_not_open"] * 2
    )
    assert (left(model), model.spent["phone", 0]) == ((1_000, 0), 0)
    assert model.told == (("till", "P2"),)


def test_hold_that_the_ledger_let_go_gives_back_order_and_day(model: PaymentModel) -> None:
    pay(model, 1)
    assert model.ledger.expire(100 + DAY_MS) == 1
    assert told(model, Expire("P1"), now_ms=100 + DAY_MS) == ["expired"]
    assert (left(model), model.orders["tea", "order-1"]) == ((1_000, 0), (100, 0))


def test_holder_agrees_refuses_or_comes_too_late(model: PaymentModel) -> None:
    for number in (1, 2, 3):
        pay(model, number, WAITING)
    pay(model, 4, WAITING_HOLD)
    by_pin, no = Confirm("P1", "pin", 90), Refuse("P2", "pin_locked")
    assert told(model, replace(by_pin, way="shout"), by_pin, by_pin) == [
        *("confirmation_way_not_allowed", "succeeded", "succeeded")
    ]
    assert told(model, no, no, Refuse("P2", "other"), Confirm("P2", "pin", 90)) == [
        *("declined", "declined", "payment_not_open", "payment_not_open")
    ]
    assert told(model, Confirm("P3", "pin", 90), now_ms=50) == ["expired"]
    assert told(model, Confirm("P4", "device", 9_000), Capture("P4", "till", "C4", 100, 0)) == [
        *("authorised", "succeeded")
    ]
    assert [payment_id for _, payment_id in model.told] == ["P1", "P2", "P3", "P4"]


def test_confirmed_hold_is_over_a_day_before_the_ledger_lets_go(model: PaymentModel) -> None:
    pay(model, 1, WAITING_HOLD)
    change_payment(model, Confirm("P1", "pin", 9_000), 6)
    assert model.payments["P1"].payment.due_ms == 100


def test_refunds_rise_to_a_total_within_the_days_limit(model: PaymentModel) -> None:
    pay(model, 1, Terms())
    refund = Refund("P1", "till", "R1", 50)
    assert told(model, refund, refund, replace(refund, refund_id="R2")) == ["succeeded"] * 3
    assert told(model, replace(refund, total_minor=51), replace(refund, refund_id="R3", total_minor=40)) == [
        *("idempotency_conflict", "refund_total_passed")
    ]
    assert told(model, replace(refund, refund_id="R4", total_minor=121)) == ["refund_exceeds_payment"]
    assert told(model, replace(refund, refund_id="R5", total_minor=120)) == ["succeeded"]
    # The fee of 12 cents went back with it, and nothing of the order.
    assert (left(model), model.orders["tea", "order-1"]) == ((1_000, 0), (120, 120))
    pay(model, 2, Terms())
    over = Refund("P2", "till", "R6", 31)
    assert told(model, over, Refund("P2", "till", "R1", 5)) == [
        "refund_limit_exceeded",
        "idempotency_conflict",
    ]
    assert told(model, over, now_ms=DAY_MS) == ["succeeded"]


@pytest.mark.parametrize("refunded", [0, 50, 120])
def test_reversal_leaves_nothing_charged(model: PaymentModel, refunded: int) -> None:
    pay(model, 1, Terms())
    if refunded:
        told(model, Refund("P1", "till", "R1", refunded))
    assert told(model, Reverse("P1", "till"), Reverse("P1", "till")) == ["reversed"] * 2
    assert (left(model), model.orders["tea", "order-1"], model.spent["phone", 0]) == ((1_000, 0), (120, 0), 0)
    assert told(model, Refund("P1", "till", "R2", 119)) == ["payment_not_open"]


def test_attempt_given_up_before_it_was_seen_stays_declined(model: PaymentModel) -> None:
    stone = pay(model, 1, request_digest=b"reversal", refused=ATTEMPT_REVERSED, use=None)
    assert stone.decline_code == ATTEMPT_REVERSED
    assert pay(model, 1, payment_id="P9") == stone
    assert told(model, Reverse("P1", "till")) == ["declined"]
    assert left(model) == (1_000, 0)


def test_only_an_active_till_of_the_merchant_asks(model: PaymentModel) -> None:
    pay(model, 1)
    asked = [Void("P1", "other"), Void("P1", "nowhere"), Void("P9", "till"), Expire("P9")]
    assert told(model, *asked) == ["not_found"] * 4
    model.set_terminal_active("till", False)
    assert told(model, Void("P1", "till")) == ["not_found"]


def test_orders_tips_and_tiers_decline(model: PaymentModel) -> None:
    split = Terms(order_minor=200)
    assert pay(model, 1, split).approved
    assert pay(model, 2, replace(split, order_minor=201), order_id="order-1").decline_code == (
        "order_amount_differs"
    )
    assert pay(model, 3, split, order_id="order-1").decline_code == "order_already_paid"
    assert pay(model, 4, Terms(order_minor=119)).decline_code == "order_amount_differs"
    assert pay(model, 5, replace(HELD, tip_minor=25)).decline_code == "tip_margin_exceeded"
    model.wallets["ada"] = Wallet(has_pin=True, tier=Tier(400, 400, 130, 240))
    assert pay(model, 6, Terms(), amount_minor=131).decline_code == "limit_identity_per_payment_exceeded"
    by_watch = {"instrument_id": "watch", "use": Token(b"watch", 1, b"claims")}
    assert pay(model, 7, Terms(), amount_minor=121, **by_watch).decline_code == (
        "limit_identity_per_day_exceeded"
    )


def test_limits_and_windows_ask_the_holder(model: PaymentModel) -> None:
    model.wallets["ada"] = Wallet(has_pin=True, tier=Tier(100, 110, 400, 900))
    above = pay(model, 1, Terms(confirm_by_ms=50))
    assert (above.outcome, above.confirm_code, above.ways) == (
        *("requires_confirmation", "confirm_above_limit"),
        frozenset({"device"}),
    )
    assert pay(model, 2, Terms(confirmed=True)).approved
    few = Terms(window_max=3, confirm_by_ms=2 * WINDOW_MS)
    answers = [pay(model, 3, few, amount_minor=10), pay(model, 4, few, amount_minor=10)]
    assert [one.confirm_code for one in answers] == [None, "confirm_velocity"]
    assert pay(model, 5, few, amount_minor=10, now_ms=WINDOW_MS).approved
    model.wallets["ada"] = Wallet()
    for name in ("phone", "watch"):
        model.instruments[name] = replace(model.instruments[name], is_phone=False)
    assert pay(model, 6, WAITING).decline_code == "confirmation_unavailable"
