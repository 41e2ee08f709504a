"""An invariant that never bites is none: each mutant breaks the product on purpose, and the witness objects.

Some mutants take a check out together with the guard of the statement behind it, because the product has
both; some put back a mistake that these simulations found.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from functools import partial
from typing import Any

import msgspec
import pytest

from gateway.http import authentication
from gateway.ledger import rules
from gateway.payments import card_keys, decide, service, verify
from gateway.payments.model import Refused, Verified
from gateway.storage.sqlite import ledger, payments
from simulators.faults.plan import (
    ClockFaults,
    DatabaseFaults,
    DiskFaults,
    FaultPlan,
    GatewayFaults,
    NetworkFaults,
)
from terminal.gateway_client import client as gateway_client
from terminal.sale import attempt, resolver, session
from tests.simulation import inline_store
from tests.simulation.mutants import (
    Mutant,
    Patch,
    expect_objection,
    mutant,
    without_constraints,
    without_guard,
)
from wire.ids import make_ulid

SILENT = FaultPlan(network=NetworkFaults(request_lost=0.3, answer_lost=0.4))
"""A network that swallows: whoever takes silence for an answer is found out."""


def forget_orders(patch: Patch) -> None:
    patch.setattr(decide.Register, "_judge_order", lambda self, booking, site: None)
    guard = "AND taken_minor + excluded.taken_minor <= amount_minor"
    without_guard(patch, payments, "take_order", guard)
    without_constraints(patch)


def forget_card_counters(patch: Patch) -> None:
    raise_counter = decide.Register._raise_card_counter

    def forget(self: decide.Register, use: Any, payer: Any) -> None:
        payer.card_counter = min(payer.card_counter, use.counter - 1)
        assert raise_counter(self, use, payer) is None

    patch.setattr(decide.Register, "_raise_card_counter", forget)
    without_guard(patch, payments, "raise_card_counter", "AND card_counter < ?2", "AND ?2 = ?2")


def forget_limits(patch: Patch) -> None:
    judge = decide.Register._judge_allowance

    def forget(self: decide.Register, booking: Any, payer: Any) -> str | None:
        code = judge(self, booking, payer)
        return None if code == "limit_per_day_exceeded" else code

    patch.setattr(decide.Register, "_judge_allowance", forget)
    without_guard(patch, payments, "take_allowance", "AND ?3 <= i.per_day_minor", "")
    guard = "    <= (SELECT per_day_minor FROM instruments WHERE instrument_id = excluded.instrument_id)"
    without_guard(patch, payments, "take_allowance", guard, "    <= 1000000000")


def lend_limits(patch: Patch) -> None:
    """One cent too strict: a limit that is not exact."""
    judge = decide.Register._judge_allowance

    def strict(self: decide.Register, booking: Any, payer: Any) -> str | None:
        dearer = msgspec.structs.replace(booking, amount_minor=booking.amount_minor + 400)
        return judge(self, dearer, payer)

    patch.setattr(decide.Register, "_judge_allowance", strict)


def overdraw(patch: Patch) -> None:
    judge = rules.judge_accounts

    def lend(*arguments: Any, **named: Any) -> Any:
        outcome = judge(*arguments, **named)
        return rules.Outcome.BOOKED if outcome is rules.Outcome.INSUFFICIENT_FUNDS else outcome

    patch.setattr(rules, "judge_accounts", lend)
    guard = (
        "AND (NOT debits_must_not_exceed_credits OR credits_posted - debits_posted - debits_pending >= ?7)"
    )
    without_guard(patch, ledger, "change_account", guard, "AND ?7 = ?7")
    without_constraints(patch)


def book_declines(patch: Patch) -> None:
    rule = decide.Register._rule

    def book(self: decide.Register, booking: Any, site: Any, payer: Any) -> Any:
        ruling = rule(self, booking, site, payer)
        if ruling.decline_code == "order_already_paid":
            self._move_money(booking, site, payer, decide.Ruling("approved"))
        return ruling

    patch.setattr(decide.Register, "_rule", book)


def approve_suspended(patch: Patch) -> None:
    judge = decide.Register._judge_allowance

    def forgive(self: decide.Register, booking: Any, payer: Any) -> str | None:
        payer.status = decide.InstrumentStatus.ACTIVE
        return judge(self, booking, payer)

    patch.setattr(decide.Register, "_judge_allowance", forgive)
    without_guard(patch, payments, "take_allowance", "AND i.status = 'active'")


def forget_caps(patch: Patch) -> None:
    patch.setattr(verify, "_unfit_claims", lambda claims, request: None)


def forget_expiry(patch: Patch) -> None:
    patch.setattr(verify, "_unfit_terms", lambda *_: None)


def take_another_fee(patch: Patch) -> None:
    fee_of = decide.fee_of
    patch.setattr(decide, "fee_of", lambda amount, points: fee_of(amount, points) + 1)


def make_money(patch: Patch) -> None:
    write = ledger.write_changes

    def print_money(connection: sqlite3.Connection, *arguments: Any) -> None:
        write(connection, *arguments)
        connection.execute("UPDATE accounts SET credits_posted = credits_posted + 1 WHERE kind = 'merchant'")

    patch.setattr(ledger, "write_changes", print_money)


class Forgetful:
    """A connection that gives up every fifth commit and says nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._commit_count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        """Run a statement, or its opposite."""
        if statement == "COMMIT":
            self._commit_count += 1
            statement = "ROLLBACK" if self._commit_count % 5 == 0 else statement
        return self._connection.execute(statement, *values)


def lose_commits(patch: Patch) -> None:
    run = inline_store.InlineWriter._run_in_transaction

    def forget(self: Any, connection: sqlite3.Connection, batch: Any) -> None:
        self.forgetful = getattr(self, "forgetful", None) or Forgetful(connection)
        run(self, self.forgetful, batch)

    patch.setattr(inline_store.InlineWriter, "_run_in_transaction", forget)


def book_under_another_id(patch: Patch) -> None:
    pay = service.PaymentService.pay

    async def rename(self: Any, request: Any, terminal: Any, *, payment_id: str, now_ms: int) -> Any:
        renamed = msgspec.structs.replace(request, attempt_id=payment_id)
        return await pay(self, renamed, terminal, payment_id=payment_id, now_ms=now_ms)

    patch.setattr(service.PaymentService, "pay", rename)


def decline_for_nothing(patch: Patch) -> None:
    verify_code = verify.Verifier._verify_code_numeric

    async def refuse(self: Any, presentation: Any, now_ms: int) -> Any:
        verdict = await verify_code(self, presentation, now_ms)
        return Refused("payment_code_invalid") if isinstance(verdict, Verified) else verdict

    patch.setattr(verify.Verifier, "_verify_code_numeric", refuse)


def rename_resends(patch: Patch) -> None:
    """Make an id anew for every send: the mistake that charges twice."""
    call = gateway_client.GatewayClient.call
    rng = random.Random(1)

    async def rename(self: Any, method: str, target: str, body: bytes = b"", key: str | None = None) -> Any:
        if method == "POST" and target == "/v1/payments" and getattr(self, "sent", None) == key:
            fresh = make_ulid(self._now_ms(), rng.randbytes(10))
            body, key = body.replace(key.encode(), fresh.encode()), fresh
        self.sent = key
        return await call(self, method, target, body, key)

    patch.setattr(gateway_client.GatewayClient, "call", rename)


def send_unstored(patch: Patch) -> None:
    async def send_first(request: Any, journal: Any, gateway: Any, **named: Any) -> Any:
        outcome = await attempt.run_attempt(request, NoJournal(), gateway, **named)
        journal.record_attempt(request, at_ms=named["now_ms"]())
        return outcome

    patch.setattr(session, "run_attempt", send_first)


class NoJournal:
    """Stores nothing."""

    def record_attempt(self, request: Any, *, at_ms: int, sale_id: str) -> None:
        """Forget it."""

    def record_refusal(self, attempt_id: str, code: str, *, at_ms: int) -> None:
        """Forget it."""


def tell_otherwise(patch: Patch) -> None:
    patch.setattr(
        session.SaleSession,
        "_take_answer",
        lambda self, answer, details: (
            setattr(self, "_answer", answer),
            self._step(session.SaleStep.APPROVED, session.SaleEventKind.APPROVED, **details),
        ),
    )


def never_ask(patch: Patch) -> None:
    async def rest(self: Any) -> None:
        await asyncio.sleep(0)

    patch.setattr(resolver.AttemptResolver, "resolve_due", rest)


def take_silence_for_no(patch: Patch) -> None:
    refusal = partial(gateway_client.GatewayRefused, "gateway_busy", retryable=True)
    patch.setattr(gateway_client._Delivery, "give_up", lambda self: refusal())


def believe_any_answer(patch: Patch) -> None:
    patch.setattr(
        gateway_client,
        "believe_answer",
        lambda reply, request: gateway_client.read_reply(reply, gateway_client.PaymentAnswer),
    )


# Mistakes that were found here, put back


def tell_refusals_before_storing_them(patch: Patch) -> None:
    async def store_later(journal: Any, attempt_id: str, code: str, at_ms: int, run_blocking: Any) -> Any:
        async def store() -> None:
            try:
                await run_blocking(partial(journal.record_refusal, attempt_id, code, at_ms=at_ms))
            except attempt.JournalUnwritable:
                return

        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(store()))
        return attempt.Refused(code)

    patch.setattr(attempt, "_store_refusal", store_later)


def believe_a_lost_store(patch: Patch) -> None:
    patch.setattr(gateway_client, "UNCERTAIN_REFUSALS", frozenset())


def ask_about_the_refused(patch: Patch) -> None:
    async def resolve_stale(self: Any) -> None:
        for record in self._journal.unresolved():
            schedule = self._schedule_of(record)
            if not self._is_on_its_way(record.attempt_id) and self._monotonic_ns() >= schedule.due_ns:
                await self._resolve(record, schedule)

    patch.setattr(resolver.AttemptResolver, "resolve_due", resolve_stale)
    patch.setattr(resolver.AttemptResolver, "_may_be_sent", lambda *_: True)


def keep_a_wrong_session(patch: Patch) -> None:
    patch.setattr(gateway_client, "SESSION_REFUSALS", frozenset({"session_unknown"}))


def take_early_requests_later(patch: Patch) -> None:
    patch.setattr(authentication.Authenticator, "_spend_early", lambda *_: None)


def lose_the_second_first_tap(patch: Patch) -> None:
    async def verify_tap(self: Any, link: Any) -> Any:
        tap = card_keys._find_tap(self._keys, link)
        if tap is not None:
            return tap
        stored = await self._store.list_card_key_batches()
        if len(stored) == len(self._keys):
            return None
        self._keys = tuple(map(self._open, stored))
        return card_keys._find_tap(self._keys, link)

    patch.setattr(card_keys.CardKeyRing, "verify_tap", verify_tap)


def lying_disks(patch: Patch) -> None:
    """The product is whole; its disks say that they have synced, and have not."""


MUTANTS = [
    mutant(forget_orders, "order_over_paid"),
    mutant(forget_card_counters, "used_twice", seeds_max=100, first_seed=11),
    mutant(forget_limits, "limit_passed", first_seed=8),
    mutant(lend_limits, "declined_without_reason"),
    mutant(overdraw, "could_not_be_booked"),
    mutant(book_declines, "group_not_of_one_payment"),
    mutant(approve_suspended, "approved_though_suspended"),
    mutant(forget_caps, "cap_passed"),
    mutant(
        forget_expiry,
        "charged_another_amount",
        "approved_out_of_time",
        plan=FaultPlan(
            clocks=ClockFaults(skewed=1.0, skew_ms_max=295_000),
            network=NetworkFaults(request_lost=0.6, answer_lost=0.3),
        ),
        first_seed=7,
    ),
    mutant(take_another_fee, "moved_wrongly"),
    mutant(make_money, "counters_differ"),
    mutant(lose_commits, "lost"),
    mutant(book_under_another_id, "nobody_asked"),
    mutant(decline_for_nothing, "declined_without_reason"),
    mutant(rename_resends, "sent_unstored", plan=SILENT),
    mutant(send_unstored, "sent_unstored"),
    mutant(lying_disks, "sent_unstored", options={"disk_keeps_promises": False}),
    mutant(tell_otherwise, "other_decision"),
    mutant(never_ask, "unresolved", plan=SILENT),
    mutant(take_silence_for_no, "refused_but_booked", "told_after_a_refusal", plan=SILENT),
    mutant(
        believe_any_answer,
        "told_otherwise_before",
        "other_decision",
        "closed_with_an_open_attempt",
        plan=FaultPlan(network=NetworkFaults(answer_repeated=0.3)),
    ),
    mutant(
        tell_refusals_before_storing_them,
        "refused_but_booked",
        "told_after_a_refusal",
        plan=FaultPlan(
            disks=DiskFaults(power_lost=0.05, off_ms_max=5_000),
            clocks=ClockFaults(skewed=1.0, skew_ms_max=400_000),
        ),
        seeds_max=100,
        first_seed=9,
    ),
    mutant(
        believe_a_lost_store,
        "refused_but_booked",
        "told_after_a_refusal",
        plan=FaultPlan(database=DatabaseFaults(commit_uncertain=0.4, unavailable=0.2, outage_ms_max=30_000)),
    ),
    mutant(
        ask_about_the_refused,
        "sent_unstored",
        plan=FaultPlan(
            network=NetworkFaults(request_lost=0.5, request_delayed=0.7, delay_ms_max=6_000),
            clocks=ClockFaults(skewed=1.0, skew_ms_max=3_000_000),
        ),
    ),
    mutant(
        keep_a_wrong_session,
        "unresolved",
        "refused_but_booked",
        "told_after_a_refusal",
        plan=FaultPlan(network=NetworkFaults(answer_repeated=0.5, answer_lost=0.3)),
        seeds_max=100,
        first_seed=88,
    ),
    mutant(
        take_early_requests_later,
        "refused_but_booked",
        plan=FaultPlan(
            clocks=ClockFaults(skewed=1.0, skew_ms_max=320_000),
            network=NetworkFaults(request_duplicated=0.8, delay_ms_max=30_000),
        ),
        seeds_max=100,
    ),
    mutant(
        lose_the_second_first_tap,
        "declined_without_reason",
        plan=FaultPlan(gateway=GatewayFaults(crash_after_commit=0.3, down_ms_max=6_000)),
        seeds_max=150,
        first_seed=99,
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_witness_objects_to(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    expect_objection(mutant, monkeypatch)
