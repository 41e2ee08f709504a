"""The model of payments, by hand: the order of what can be wrong, and what a decline leaves behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulators.auditor.model.attempts import (
    Attempt,
    CardTap,
    Code,
    Instrument,
    Merchant,
    Payment,
    Token,
    TurnedAway,
)
from simulators.auditor.model.ledger import Group, Leg
from simulators.auditor.model.payments import DAY_MS, PaymentModel

SHOP, FEES, WALLET, OUTSIDE = b"shop", b"fees", b"wallet", b"outside"


@pytest.fixture
def model() -> PaymentModel:
    """One shop with two tills, one wallet with 10.00, a phone with limits of 4.00 and 9.00, a card."""
    model = PaymentModel()
    for name, limited in ((SHOP, False), (FEES, False), (WALLET, True), (OUTSIDE, False)):
        model.ledger.open_account(name, "EUR", limited=limited)
    fund(model, b"funding", 1_000)
    model.merchants["tea"] = Merchant(SHOP, FEES, fee_basis_points=140)
    model.terminals |= {"till": ("tea", True), "other": ("tea", True)}
    model.instruments["phone"] = Instrument(WALLET, b"key", "code_numeric", 400, 900)
    model.instruments["card"] = Instrument(WALLET, b"card", "nfc_sdm", 400, 900)
    return model


def fund(model: PaymentModel, name: bytes, amount: int) -> None:
    answer = model.ledger.book_group(Group((Leg(name, "single", OUTSIDE, WALLET, amount, "EUR"),)), 0)
    assert answer.legs == ("booked",)


def attempt(number: int, **changes: object) -> Attempt:
    fine = Attempt(
        payment_id=f"P{number}",
        attempt_id=f"A{number}",
        request_digest=b"%d" % number,
        terminal_id="till",
        order_id=f"order-{number}",
        amount_minor=100,
        currency="EUR",
        entry_mode="nfc_app",
        instrument_id="phone",
        use=token(number),
        refused=None,
        now_ms=5,
    )
    return replace(fine, **changes)


def token(counter: int, digest: bytes = b"claims", nonce: bytes | None = None) -> Token:
    return Token(b"key", counter, digest, nonce if nonce is not None else b"nonce %d" % counter)


def codes(model: PaymentModel, *attempts: Attempt) -> list[str | None]:
    answers = [model.pay(one) for one in attempts]
    return [one.code if isinstance(one, TurnedAway) else one.decline_code for one in answers]


def test_approval_moves_the_amount_and_the_fee_rounded_half_to_even(model: PaymentModel) -> None:
    # 1.4 % of 1.25 is 1.75 cents; halves are 1 % of 1.50 and of 2.50, and both go to 2.
    assert model.pay(attempt(1, amount_minor=125)) == Payment(
        "P1", "approved", "succeeded", "phone", charged_minor=125, fee_minor=2, receipt_number=1
    )
    assert model.ledger.accounts[SHOP].available_minor == 123
    model.merchants["tea"] = replace(model.merchants["tea"], fee_basis_points=100)
    model.pay(attempt(2, amount_minor=150))
    model.pay(attempt(3, amount_minor=250))
    assert model.ledger.accounts[FEES].available_minor == 2 + 2 + 2
    assert model.ledger.accounts[WALLET].available_minor == 1_000 - 125 - 150 - 250


def test_repeat_gets_the_first_decision_and_another_request_is_a_conflict(model: PaymentModel) -> None:
    first = model.pay(attempt(1))
    model.set_terminal_active("till", False)
    assert model.pay(attempt(1, payment_id="P2", now_ms=99)) == first
    assert model.pay(attempt(1, request_digest=b"other")) == TurnedAway("idempotency_conflict")
    assert model.pay(attempt(2)) == TurnedAway("terminal_revoked")
    assert model.pay(attempt(2, terminal_id="nowhere")) == TurnedAway("terminal_unknown")
    # An attempt id is the terminal's own: another till's is another attempt.
    elsewhere = attempt(1, terminal_id="other", use=token(7), order_id="other", payment_id="P7")
    assert codes(model, elsewhere) == [None]


def test_what_is_turned_away_spends_nothing(model: PaymentModel) -> None:
    model.set_terminal_active("till", False)
    assert codes(model, attempt(1), attempt(1, instrument_id="nobody")) == ["terminal_revoked"] * 2
    model.set_terminal_active("till", True)
    assert codes(model, attempt(1, instrument_id="nobody")) == ["internal"]
    assert codes(model, attempt(1), attempt(2, payment_id="P1"), attempt(2)) == [None, "internal", None]


def test_decline_spends_what_was_presented_and_nothing_else(model: PaymentModel) -> None:
    before = dict(model.ledger.accounts)
    assert codes(model, attempt(1, amount_minor=401)) == ["limit_per_payment_exceeded"]
    assert (model.ledger.accounts, model.spent, model.orders) == (before, {}, {})
    assert codes(model, attempt(2, use=token(1)), attempt(3, order_id="order-1")) == ["token_replayed", None]
    assert model.merchants["tea"].receipts == 1


def test_second_claims_under_one_counter_suspend_the_key(model: PaymentModel) -> None:
    clone = attempt(2, use=token(1, b"forged"), refused="amount_mismatch")
    assert codes(model, attempt(1), clone, attempt(3)) == [None, "instrument_cloned", "instrument_suspended"]


def test_nonce_of_a_terminal_is_good_once_there(model: PaymentModel) -> None:
    same = token(2, nonce=b"nonce 1")
    assert codes(model, attempt(1), attempt(2, use=same), attempt(3, use=same)) == [
        None,
        "token_replayed",
        "token_replayed",
    ]
    elsewhere = attempt(4, use=token(4, nonce=b"nonce 1"), terminal_id="other")
    assert codes(model, elsewhere) == [None]
    # On the day after it is still known, and two days later what carries it is refused for its age.
    later = [attempt(5 + day, use=token(5 + day, nonce=b"nonce 1"), now_ms=day * DAY_MS) for day in (1, 2)]
    assert codes(model, *later) == ["token_replayed", None]


def test_card_counter_rises_and_code_is_used_once_in_its_time(model: PaymentModel) -> None:
    taps = [
        attempt(number, instrument_id="card", entry_mode="nfc_sdm", use=CardTap(counter))
        for number, counter in enumerate((5, 5, 4, 6))
    ]
    assert codes(model, *taps) == [None, "card_counter_old", "card_counter_old", None]
    assert model.add_code(b"code", "phone", 60, 0)
    assert not model.add_code(b"code", "card", 60, 0)
    presented = {"use": Code(b"code"), "entry_mode": "code_numeric"}
    late, first, second = (attempt(10, now_ms=60), attempt(11), attempt(12))
    assert codes(model, *(replace(one, **presented) for one in (late, first, second))) == [
        "payment_code_invalid",
        None,
        "payment_code_invalid",
    ]
    # Used, it stays taken until its time is over; unused, a fresh one of the same phone withdraws it.
    assert not model.add_code(b"code", "phone", 90, 5)
    assert model.add_code(b"code", "card", 90, 60)
    assert model.add_code(b"other", "card", 90, 60)
    assert set(model.codes) == {b"other"}


def test_limits_are_reached_exactly_and_begin_anew_each_day(model: PaymentModel) -> None:
    fund(model, b"more", 1_000)
    amounts = (400, 400, 101, 100, 1)
    day = [attempt(number, amount_minor=amount) for number, amount in enumerate(amounts)]
    assert codes(model, *day) == [None, None, "limit_per_day_exceeded", None, "limit_per_day_exceeded"]
    assert codes(model, attempt(9, now_ms=DAY_MS)) == [None]


def test_faults_are_answered_in_their_order(model: PaymentModel) -> None:
    """Everything is wrong at once; one thing after another is put right."""
    model.pay(attempt(1, order_id="paid"))
    model.ledger.set_frozen(WALLET, True)
    model.set_instrument_active("phone", False)
    model.merchants["tea"] = replace(model.merchants["tea"], active=False)
    model.instruments["phone"] = replace(model.instruments["phone"], weakest_entry_mode="nfc_app")
    wrong: dict[str, object] = {
        "use": token(1, b"forged"),
        "refused": "amount_mismatch",
        "order_id": "paid",
        "entry_mode": "qr_consumer",
        "amount_minor": 2_000,
        "currency": "USD",
    }
    right = {
        "instrument_cloned": lambda: wrong.update(use=token(1)),
        "merchant_suspended": lambda: model.merchants.update(
            tea=replace(model.merchants["tea"], active=True)
        ),
        "amount_mismatch": lambda: wrong.update(refused=None),
        "order_already_paid": lambda: wrong.update(order_id="unpaid"),
        "token_replayed": lambda: wrong.update(use=None),
        "instrument_suspended": lambda: model.set_instrument_active("phone", True),
        "entry_mode_not_allowed": lambda: wrong.update(entry_mode="nfc_app"),
        "limit_per_payment_exceeded": lambda: limit(model, 5_000, 900),
        "limit_per_day_exceeded": lambda: limit(model, 5_000, 5_000),
        "wallet_frozen": lambda: model.ledger.set_frozen(WALLET, False),
        "currency_mismatch": lambda: wrong.update(currency="EUR"),
        "insufficient_funds": lambda: wrong.update(amount_minor=900),
    }
    for number, (code, put_right) in enumerate(right.items(), start=10):
        assert codes(model, attempt(number, **wrong)) == [code]
        put_right()
    assert codes(model, attempt(99, **wrong)) == [None]


def limit(model: PaymentModel, per_payment: int, per_day: int) -> None:
    phone = model.instruments["phone"]
    model.instruments["phone"] = replace(phone, per_payment_minor=per_payment, per_day_minor=per_day)


def test_fork_goes_its_own_way(model: PaymentModel) -> None:
    other = model.fork()
    assert codes(other, attempt(1)) == [None]
    assert codes(model, attempt(2, order_id="order-1"), attempt(1)) == [None, "order_already_paid"]
