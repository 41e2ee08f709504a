"""Mutants of what happens to payments after their decision: each breaks one promise, and the witness objects.

As in test_mutants.py, of which this is the second part: where the product has a check and a guard behind it,
a mutant takes both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.merchants.staff import StaffService
from gateway.payments import decide, life, life_service, settlement
from gateway.payments.life_service import PaymentLifeService
from gateway.payments.model import STATE_WHEN_DECIDED
from gateway.payments.repair import RepairWorker
from gateway.payments.states import PaymentStep
from gateway.pins import PinHasher
from gateway.storage import policies
from gateway.storage.sqlite import life as stored_life
from gateway.storage.sqlite import payments as stored_payments
from tests.simulation.mutants import (
    Mutant,
    Patch,
    expect_objection,
    mutant,
    without_constraints,
    without_guard,
)
from wire.messages.payments import CaptureMode, ConfirmationWay, PaymentAnswer, PaymentState
from wire.messages.staff import StaffRight

_Decision = life._Decision
SEEDS_MAX = 150


def without_statement(patch: Patch, is_left_out: Callable[[Any, str], bool]) -> None:
    """Leave statements of steps out."""
    statements = stored_life.statements_of_step

    def fewer(record: Any, step: Any, sequence: int) -> Any:
        return [one for one in statements(record, step, sequence) if not is_left_out(step, one[0])]

    patch.setattr(stored_life, "statements_of_step", fewer)


def keep_the_day_of_voids(patch: Patch) -> None:
    without_statement(patch, lambda step, name: step.step == PaymentStep.VOIDED and name == "release_day")


def keep_the_order_of_voids(patch: Patch) -> None:
    without_statement(patch, lambda step, name: step.step == PaymentStep.VOIDED and name == "release_order")


def keep_the_day_of_what_expires(patch: Patch) -> None:
    without_statement(patch, lambda step, name: step.step == PaymentStep.EXPIRED and name == "release_day")


def keep_the_rest_of_partial_captures(patch: Patch) -> None:
    without_statement(
        patch, lambda step, name: step.step == PaymentStep.CAPTURED and name.startswith("release")
    )


def leave_ended_payments_open(patch: Patch) -> None:
    without_statement(patch, lambda step, name: name == "end_open")


def capture_more_than_held(patch: Patch) -> None:
    capture = _Decision.capture

    def lax(self: Any, change: Any) -> None:
        record = self._record
        self._record = msgspec.structs.replace(record, tip_max_minor=record.tip_max_minor + 10)
        capture(self, change)
        self._record = record

    patch.setattr(_Decision, "capture", lax)
    without_constraints(patch)


def let_two_captures_win(patch: Patch) -> None:
    capture = _Decision.capture

    def yes(self: Any, change: Any) -> None:
        if self._life.state is not PaymentState.SUCCEEDED:
            capture(self, change)

    patch.setattr(_Decision, "capture", yes)


def refund_more_than_charged(patch: Patch) -> None:
    refund = _Decision.refund

    def lax(self: Any, change: Any) -> None:
        most = max(self._life.charged_minor, change.total_minor)
        self._life = msgspec.structs.replace(self._life, charged_minor=most)
        refund(self, change)

    patch.setattr(_Decision, "refund", lax)


def add_refunds_up_by_their_ids(patch: Patch) -> None:
    refund = _Decision.refund

    def add_up(self: Any, change: Any) -> None:
        if all(one.refund_id != change.refund_id for one in self._facts.refunds):
            total_minor = self._life.refunded_minor + change.total_minor
            change = msgspec.structs.replace(change, total_minor=total_minor)
        refund(self, change)

    patch.setattr(_Decision, "refund", add_up)


def forget_refund_limits(patch: Patch) -> None:
    refund = _Decision.refund

    def lax(self: Any, change: Any) -> None:
        object.__setattr__(self._facts, "refund_limit_minor", 1 << 50)
        refund(self, change)

    patch.setattr(_Decision, "refund", lax)
    without_guard(patch, stored_life, "add_refund", ") <= t.refund_limit_minor", ") <= 1000000000")


def let_cashiers_refund(patch: Patch) -> None:
    prove = StaffService.prove

    async def lax(self: Any, proof: Any, merchant_id: str, needed: StaffRight, *, entry_id: str) -> Any:
        return await prove(self, proof, merchant_id, StaffRight.SELL, entry_id=entry_id)

    patch.setattr(StaffService, "prove", lax)


def keep_the_fee_of_refunds(patch: Patch) -> None:
    patch.setattr(life, "fee_returned", lambda *_: 0)
    patch.setattr(settlement, "fee_returned", lambda *_: 0)


def write_no_tombstones(patch: Patch) -> None:
    reverse = PaymentLifeService.reverse

    async def forget(self: Any, request: Any, terminal: Any, *, now_ms: int) -> Any:
        known = await self._store.find_payment_by_attempt(terminal.terminal.terminal_id, request.attempt_id)
        if known is not None:
            return await reverse(self, request, terminal, now_ms=now_ms)
        return PaymentAnswer(
            payment_id=self._tombstone(request, terminal, now_ms).payment_id,
            attempt_id=request.attempt_id,
            order_id=request.order_id,
            outcome="declined",
            state=PaymentState.DECLINED,
            amount_minor=request.amount_minor,
            currency=request.currency,
            entry_mode=request.entry_mode,
            terminal_id=terminal.terminal.terminal_id,
            decided_ms=now_ms,
        )

    patch.setattr(PaymentLifeService, "reverse", forget)


def reverse_only_what_is_open(patch: Patch) -> None:
    reverse = _Decision.reverse

    def only_open(self: Any) -> None:
        if self._life.state is not PaymentState.SUCCEEDED:
            reverse(self)

    patch.setattr(_Decision, "reverse", only_open)


def accept_confirmations_of_another_amount(patch: Patch) -> None:
    decide_by_device = PaymentLifeService.decide_by_device

    async def lax(self: Any, decision: Any, instrument: Any, *, now_ms: int) -> Any:
        payment = await self._store.find_payment_of_wallet(instrument.wallet_id, decision.payment_id)
        if payment is not None:
            decision = msgspec.structs.replace(decision, amount_minor=payment.amount_minor)
        return await decide_by_device(self, decision, instrument, now_ms=now_ms)

    patch.setattr(PaymentLifeService, "decide_by_device", lax)


def let_anybody_confirm(patch: Patch) -> None:
    async def find_any(self: Any, wallet_id: str, payment_id: str) -> Any:
        return await self._readers.read(lambda c: _find_of_anybody(c, payment_id))

    patch.setattr(policies.PolicyQueries, "find_payment_of_wallet", find_any)


def _find_of_anybody(connection: Any, payment_id: str) -> Any:
    statement = "SELECT terminal_id FROM payments WHERE payment_id = ?"
    row = connection.execute(statement, (payment_id,)).fetchone()
    return None if row is None else stored_payments.find_payment(connection, row["terminal_id"], payment_id)


def take_no_for_yes(patch: Patch) -> None:
    def agree(self: Any, code: str) -> None:
        self.confirm(life.Confirm(self._record.payment_id, ConfirmationWay.DEVICE, self._now_ms + 60_000))

    patch.setattr(_Decision, "refuse", agree)


def take_any_pin(patch: Patch) -> None:
    async def matches(self: Any, pin: str, pin_hash: str) -> bool:
        return True

    patch.setattr(PinHasher, "matches", matches)


def never_lock_a_pin(patch: Patch) -> None:
    patch.setattr(policies, "PIN_TRIES_MAX", 1_000)
    patch.setattr(life_service, "PIN_TRIES_MAX", 1_000)


def take_tips_beyond_the_margin(patch: Patch) -> None:
    judge = decide.Register._judge_order

    def lax(self: Any, booking: Any, site: Any) -> str | None:
        code = judge(self, booking, site)
        return None if code == "tip_margin_exceeded" else code

    patch.setattr(decide.Register, "_judge_order", lax)


def forget_holds_of_orders(patch: Patch) -> None:
    take = decide.Register._take_order

    def only_sales(self: Any, booking: Any) -> None:
        if booking.terms.capture is CaptureMode.AUTOMATIC:
            take(self, booking)

    patch.setattr(decide.Register, "_take_order", only_sales)


def forget_what_orders_are_for(patch: Patch) -> None:
    judge = decide.Register._judge_order

    def lax(self: Any, booking: Any, site: Any) -> str | None:
        code = judge(self, booking, site)
        return None if code == "order_amount_differs" else code

    patch.setattr(decide.Register, "_judge_order", lax)
    without_guard(patch, stored_payments, "take_order", "amount_minor = excluded.amount_minor AND ")


def ask_nobody_to_confirm(patch: Patch) -> None:
    code_of = decide.Register._confirmation_code

    def lax(self: Any, booking: Any, payer: Any) -> str | None:
        code = code_of(self, booking, payer)
        return None if code == "confirm_above_limit" else code

    patch.setattr(decide.Register, "_confirmation_code", lax)
    guards = "    AND ?5 <= coalesce(i.confirm_above_minor, ?5)\n"
    without_guard(patch, stored_payments, "take_allowance", guards, "    AND ?5 = ?5\n")
    without_guard(patch, stored_payments, "take_allowance", " AND ?5 <= t.confirm_above_minor")


def forget_velocity(patch: Patch) -> None:
    patch.setattr(decide.Register, "_recent_of", lambda self, booking, payer: (-1, 0))
    guard = "recent_count <= coalesce(?10, recent_count)"
    without_guard(patch, stored_payments, "take_allowance", guard, "coalesce(?10, 0) < 1000000")


def forget_limits_of_wallets(patch: Patch) -> None:
    patch.setattr(decide.Register, "_judge_tier", lambda *_: None)
    without_guard(patch, stored_payments, "take_allowance", "?4 <= t.per_payment_minor AND ")
    overspent = stored_payments.SQL["list_overspent_wallets"] + " AND 1 = 0"
    patch.setattr(stored_payments, "SQL", {**stored_payments.SQL, "list_overspent_wallets": overspent})


def sweep_nothing(patch: Patch) -> None:
    async def rest(self: Any) -> int:
        return 0

    patch.setattr(RepairWorker, "sweep", rest)


def expire_too_early(patch: Patch) -> None:
    guard, early = "due_ms <= :now_ms", "due_ms <= :now_ms + 12000"
    without_guard(patch, stored_life, "list_due_payments", guard, early)

    def is_over(self: Any) -> bool:
        return self._life.due_ms is not None and self._life.due_ms <= self._now_ms + 12_000

    patch.setattr(_Decision, "_is_over", property(is_over))


def know_no_deadline(patch: Patch) -> None:
    patch.setattr(_Decision, "_is_over", property(lambda self: False))


def tell_terminals_nothing(patch: Patch) -> None:
    silent = "SELECT :terminal_id, :payment_id, :at_ms"
    patch.setattr(stored_life, "SQL", {**stored_life.SQL, "add_terminal_event": silent})


def tell_what_was_decided(patch: Patch) -> None:
    """Answer by the decision, whatever has become of it."""
    answer_of = life_service.answer_of

    def old_news(record: Any, pages: Any = None) -> Any:
        state = STATE_WHEN_DECIDED[record.outcome]
        charged_minor = record.amount_minor if record.outcome == "approved" else 0
        before = msgspec.structs.replace(
            record.life, state=state, code=None, charged_minor=charged_minor, tip_minor=0
        )
        return answer_of(msgspec.structs.replace(record, life=before), pages)

    patch.setattr(life_service, "answer_of", old_news)


def of_life(breaks: Callable[[Patch], None], *codes: str, first_seed: int = 0) -> Any:
    """Return a mutant for worlds in which clerks have all the customers."""
    return mutant(breaks, *codes, seeds_max=SEEDS_MAX, first_seed=first_seed, options={"clerks_only": True})


MUTANTS = [
    of_life(keep_the_day_of_voids, "day_sum_differs"),
    of_life(keep_the_order_of_voids, "order_sum_differs"),
    of_life(keep_the_day_of_what_expires, "day_sum_differs"),
    of_life(keep_the_rest_of_partial_captures, "day_sum_differs", "order_sum_differs"),
    of_life(leave_ended_payments_open, "open_differs"),
    of_life(capture_more_than_held, "capture_above_hold", first_seed=23),
    of_life(let_two_captures_win, "told_another_capture"),
    of_life(refund_more_than_charged, "refunded_above_charge"),
    of_life(add_refunds_up_by_their_ids, "refund_nobody_asked"),
    of_life(forget_refund_limits, "refund_limit_passed"),
    of_life(let_cashiers_refund, "refund_by_no_manager"),
    of_life(keep_the_fee_of_refunds, "moved_wrongly"),
    of_life(write_no_tombstones, "reversal_lost", "lost"),
    of_life(reverse_only_what_is_open, "told_ended_though_open", "charged_after_reversal"),
    of_life(accept_confirmations_of_another_amount, "confirmed_without_agreement", first_seed=50),
    of_life(let_anybody_confirm, "confirmed_without_agreement", first_seed=19),
    of_life(take_no_for_yes, "confirmed_without_agreement"),
    of_life(take_any_pin, "confirmed_without_agreement"),
    of_life(never_lock_a_pin, "pin_not_locked", first_seed=41),
    of_life(take_tips_beyond_the_margin, "tip_above_margin"),
    of_life(forget_holds_of_orders, "order_sum_differs"),
    of_life(forget_what_orders_are_for, "other_order_amount", "order_sum_differs", first_seed=14),
    of_life(ask_nobody_to_confirm, "not_confirmed"),
    of_life(forget_velocity, "not_confirmed", first_seed=29),
    of_life(forget_limits_of_wallets, "wallet_limit_passed"),
    of_life(sweep_nothing, "not_ended"),
    of_life(expire_too_early, "expired_too_early"),
    of_life(know_no_deadline, "moved_after_its_deadline", "not_ended"),
    of_life(tell_terminals_nothing, "event_missing"),
    of_life(tell_what_was_decided, "told_what_is_over", "told_ended_though_open"),
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_witness_objects_to(mutant: Mutant, monkeypatch: Patch) -> None:
    expect_objection(mutant, monkeypatch)
