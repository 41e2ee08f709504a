"""Mutants of tills that accept without a connection: each breaks one promise, and the witness objects.

As in test_mutants.py. Where a phone would refuse sooner than a till, the mutant takes its refusal too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from simulators.faults.plan import DiskFaults, FaultPlan
from terminal.errors import GatewayUnreachable
from terminal.offline import queue, status_list, uploader
from terminal.offline import rules as till_rules
from terminal.sale import session
from tests.simulation.mutants import Mutant, Patch, expect_objection
from tests.simulation.offline_mutants import (
    CUT,
    DARK,
    DEAF,
    LATE,
    LINES,
    of_offline,
    without_limits_of_phones,
)
from wire.messages.offline import RecordResult
from wire.tokens.status_list import StatusList


def forget_what_waits_at_a_restart(patch: Patch) -> None:
    load, exposure = queue.OfflineQueue._load, queue.OfflineQueue.exposure

    def load_and_forget(self: Any) -> None:
        load(self)
        self.old = set(self._waiting)

    def lax(self: Any) -> Any:
        old = [one for number, one in self._waiting.items() if number in self.old]
        full = exposure(self)
        sum_minor = full.sum_minor - sum(one.record.amount.minor for one in old)
        return till_rules.Exposure(sum_minor=sum_minor, count=full.count - len(old))

    patch.setattr(queue.OfflineQueue, "_load", load_and_forget)
    patch.setattr(queue.OfflineQueue, "exposure", lax)


def accept_before_it_is_stored(patch: Patch) -> None:
    """Write every record only when the next one comes."""
    store = queue.OfflineQueue.store

    def later(self: Any, payment: Any) -> Any:
        before, self.unwritten = getattr(self, "unwritten", None), payment
        if before is not None:
            store(self, before)
        record = queue._next_record(payment, self._head)
        return queue._as_stored(record, queue.seal_offline_record(record, self._terminal_key))

    patch.setattr(queue.OfflineQueue, "store", later)


def tell_of_a_payment_that_found_no_room(patch: Patch) -> None:
    accept = session.accept_offline

    async def lie(presented: Any, door: Any, **named: Any) -> Any:
        answer = await accept(presented, door, **named)
        if answer != "journal_unwritable":
            return answer
        amount, enrolment = named["amount"], named["enrolment"]
        return session.OfflinePayment(
            attempt_id=named["attempt_id"],
            order_id=named["order_id"],
            amount_minor=amount.minor,
            currency=amount.currency.code,
            accepted_ms=1,
            sequence=1,
            terminal_id=enrolment.terminal_id,
            merchant_name=enrolment.merchant_name,
            location_name=enrolment.location_name,
        )

    patch.setattr(session, "accept_offline", lie)


def ignore_the_floor(patch: Patch) -> None:
    check = till_rules._check_sale

    def lax(sale: Any, trust: Any, exposure: Any, now_ms: int) -> Any:
        high = msgspec.structs.replace(trust.rules, floor_minor=1 << 30) if trust.rules else None
        return check(sale, replace(trust, rules=high), exposure, now_ms)

    patch.setattr(till_rules, "_check_sale", lax)
    patch.setattr(till_rules, "_check_totals", lambda *_: None)
    without_limits_of_phones(patch)


def ignore_what_is_left_of_allowances(patch: Patch) -> None:
    patch.setattr(till_rules, "_check_totals", lambda *_: None)
    without_limits_of_phones(patch)


def ignore_the_sum_of_one_device(patch: Patch) -> None:
    patch.setattr(till_rules, "_check_device_total", lambda *_: None)


def ignore_the_list(patch: Patch) -> None:
    check = till_rules._check_credential

    def lax(vouched: Any, sale: Any, trust: Any) -> None:
        clear = StatusList(trust.status_list.issued_s, 1, bytes(8192))
        check(vouched, sale, replace(trust, status_list=clear))

    patch.setattr(till_rules, "_check_credential", lax)


def ignore_the_age_of_lists(patch: Patch) -> None:
    with_list_age(patch, list_age_ms=1 << 40)


def ignore_the_age_of_clocks(patch: Patch) -> None:
    with_list_age(patch, clock_age_ms=1 << 40)


def with_list_age(patch: Patch, **ages: int) -> None:
    check = till_rules._check_sale

    def lax(sale: Any, trust: Any, exposure: Any, now_ms: int) -> Any:
        patient = msgspec.structs.replace(trust.rules, **ages) if trust.rules else None
        return check(sale, replace(trust, rules=patient), exposure, now_ms)

    patch.setattr(till_rules, "_check_sale", lax)


def believe_any_clock(patch: Patch) -> None:
    patch.setattr(status_list, "CLOCK_SKEW_MS_MAX", 1 << 40)
    patch.setattr(till_rules, "LEEWAY_MS", 1 << 40)


def ignore_what_devices_said_before(patch: Patch) -> None:
    patch.setattr(till_rules, "_check_memory", lambda *_: None)


def drop_what_had_no_answer(patch: Patch) -> None:
    hand_in = uploader.OfflineUploader._hand_in

    async def drop(self: Any, batch: Any) -> None:
        try:
            await hand_in(self, batch)
        except GatewayUnreachable:
            results = [(one, RecordResult(sequence=one.record.sequence, outcome="settled")) for one in batch]
            await self._run_blocking(lambda: self._queue.settle(results, at_ms=self._now_ms()))

    patch.setattr(uploader.OfflineUploader, "_hand_in", drop)


def number_anew_after_a_restart(patch: Patch) -> None:
    """Let the chain begin at 1 whenever nothing waits."""
    load = queue.OfflineQueue._load

    def restart(self: Any) -> None:
        load(self)
        if not self._waiting:
            self._head = queue._START

    patch.setattr(queue.OfflineQueue, "_load", restart)
    patch.setattr(queue.OfflineQueue, "advance_to", lambda *_: None)


def show_no_declines(patch: Patch) -> None:
    settle = queue.OfflineQueue.settle

    def please(self: Any, results: Any, *, at_ms: int) -> None:
        pleasing = [(one, msgspec.structs.replace(word, outcome="settled")) for one, word in results]
        settle(self, pleasing, at_ms=at_ms)

    patch.setattr(queue.OfflineQueue, "settle", please)


MUTANTS = [
    of_offline(
        forget_what_waits_at_a_restart, "stored_sum_passed", "stored_count_passed", plan=DARK, stored_count=1
    ),
    of_offline(accept_before_it_is_stored, "accepted_unstored"),
    of_offline(
        tell_of_a_payment_that_found_no_room,
        "accepted_unstored",
        plan=FaultPlan(lines=LINES, disks=DiskFaults(full=0.2, full_ms_max=10_000)),
    ),
    of_offline(ignore_the_floor, "till_broke_rules", honest=True, first_seed=5),
    of_offline(ignore_what_is_left_of_allowances, "till_broke_rules", honest=True, first_seed=13),
    of_offline(ignore_the_sum_of_one_device, "device_total_passed", device_total_minor=600),
    of_offline(ignore_the_list, "accepted_though_listed", honest=False, first_seed=22),
    of_offline(ignore_the_age_of_lists, "till_broke_rules", plan=LATE),
    of_offline(ignore_the_age_of_clocks, "till_broke_rules", plan=LATE),
    of_offline(
        believe_any_clock,
        "accepted_with_a_wrong_clock",
        plan=FaultPlan(
            lines=LINES, clocks=msgspec.convert({"skewed": 1.0, "skew_ms_max": 200_000}, type(CUT.clocks))
        ),
        first_seed=10,
    ),
    of_offline(ignore_what_devices_said_before, "till_took_a_contradiction", honest=False, first_seed=13),
    of_offline(drop_what_had_no_answer, "accepted_lost", "told_another_word", plan=DEAF),
    of_offline(number_anew_after_a_restart, "number_given_twice", plan=DARK),
    of_offline(show_no_declines, "told_another_word"),
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_witness_objects_to(mutant: Mutant, monkeypatch: Patch) -> None:
    expect_objection(mutant, monkeypatch)
