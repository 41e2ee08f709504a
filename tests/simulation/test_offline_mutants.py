"""Mutants of payments without a connection: each breaks one promise, and the witness objects.

As in test_mutants.py, of which this is the third part. Where a phone would refuse before a till or a gateway
has to, the mutant takes the phone's refusal too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.offline import decide, rules, service
from gateway.offline import verify as offline_verify
from gateway.offline.groups import OfflineParts
from gateway.offline.issuer import Issuer
from gateway.payments import verify
from gateway.storage.sqlite import offline as stored
from gateway.storage.sqlite import payments
from simulators.cards.offline_allowance import OfflineAllowance
from simulators.faults.plan import DiskFaults, FaultPlan, LineFaults, NetworkFaults
from simulators.seeds import make_rng
from terminal.errors import GatewayUnreachable
from terminal.offline import queue, status_list, uploader
from terminal.offline import rules as till_rules
from terminal.sale import session
from tests.simulation.mutants import (
    Mutant,
    Patch,
    expect_objection,
    mutant,
    without_constraints,
    without_guard,
)
from tests.simulation.offline_house import make_house
from tests.simulation.rogue import RogueTill
from wire.messages.offline import RecordResult
from wire.tokens.status_list import StatusList

LINES = LineFaults(cut=0.02, cut_ms_max=60_000)
CUT = FaultPlan(lines=LINES)
DARK = FaultPlan(
    lines=LineFaults(cut=0.03, cut_ms_max=120_000), disks=DiskFaults(power_lost=0.15, off_ms_max=2_000)
)
"""Tills lose power while they are offline."""
LATE = FaultPlan(lines=LineFaults(cut=0.04, cut_ms_max=240_000))
"""Lines are away for longer than a list, a clock or a record is good for."""
DEAF = FaultPlan(lines=LINES, network=NetworkFaults(answer_lost=0.3))
SEEDS_MAX = 80
HOUSE = make_house(make_rng(0, "house of mutants"))


def without_limits_of_phones(patch: Patch) -> None:
    """Let phones sign whatever they are asked, and count it."""

    def add(self: Any, amount: Any) -> int:
        self._spent_minor += amount.minor
        return int(self._spent_minor)

    patch.setattr(OfflineAllowance, "add", add)


# Tills


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


# The gateway


def answer_repeats_as_conflicts(patch: Patch) -> None:
    settle = stored.settle_record

    def once(connection: Any, sealed: Any) -> Any:
        row = stored._find(connection, "find_record", stored.keys_of_record(sealed, None))
        word = settle(connection, sealed)
        if row is None:
            return word
        return msgspec.structs.replace(word, outcome="conflict", code=decide.CONFLICT)

    patch.setattr(stored, "settle_record", once)


def book_a_record_twice(patch: Patch) -> None:
    move = decide._Decision._move_money

    def again(self: Any, site: Any, claim: Any, credential: Any) -> Any:
        sealed = self._sealed
        self._sealed = msgspec.structs.replace(sealed, payment_id=sealed.attempt_id)
        move(self, site, claim, credential)
        self._sealed = sealed
        return move(self, site, claim, credential)

    patch.setattr(decide._Decision, "_move_money", again)


def charge_the_wallet_first(patch: Patch) -> None:
    def split(amount_minor: int, *, in_allowance_minor: int, in_wallet_minor: int) -> OfflineParts:
        wallet = min(amount_minor, in_wallet_minor)
        allowance = min(amount_minor - wallet, in_allowance_minor)
        return OfflineParts(allowance, wallet, amount_minor - wallet - allowance)

    patch.setattr(decide, "split_amount", split)


def leave_losses_to_nobody(patch: Patch) -> None:
    word = decide._Decision._word

    def shrug(self: Any, outcome: Any, code: Any, payment_id: Any, loss_minor: int, bearer: Any) -> Any:
        return word(self, outcome, code, payment_id, 0, None)

    patch.setattr(decide._Decision, "_word", shrug)


def let_the_operator_bear_declines(patch: Patch) -> None:
    word = decide._Decision._word

    def be_kind(self: Any, outcome: Any, code: Any, payment_id: Any, loss_minor: int, bearer: Any) -> Any:
        return word(self, outcome, code, payment_id, loss_minor, "operator" if bearer else None)

    patch.setattr(decide._Decision, "_word", be_kind)


def overlook_copies(patch: Patch) -> None:
    patch.setattr(decide._Decision, "_contradicts_itself", lambda self: False)


def suspect_everybody(patch: Patch) -> None:
    patch.setattr(decide._Decision, "_contradicts_itself", lambda self: self._sealed.claim is not None)


def reckon_with_what_a_till_made_up(patch: Patch) -> None:
    """Hold an amount that no device signed against the device's key."""
    believe = decide._Decision._contradicts_itself

    def credulous(self: Any) -> bool:
        sealed = self._sealed
        if sealed.refusal == rules.INVALID and sealed.claim is not None:
            self._sealed = msgspec.structs.replace(sealed, refusal=None)
        try:
            return believe(self)
        finally:
            self._sealed = sealed

    patch.setattr(decide._Decision, "_contradicts_itself", credulous)
    tell = RogueTill._lies_about
    patch.setattr(RogueTill, "_lies_about", lambda self, record: tell(self, record)[:1])


def believe_every_amount(patch: Patch) -> None:
    """Charge what a till says, whatever the device signed."""
    judge = offline_verify.judge_record

    def believe(record: Any, tap: Any, *rest: Any, **named: Any) -> Any:
        return judge(replace(record, amount=tap.terms.amount), tap, *rest, **named)

    patch.setattr(offline_verify, "judge_record", believe)


def believe_every_time(patch: Patch) -> None:
    patch.setattr(rules, "_keeps_times", lambda *_: True)


def pay_a_tap_under_two_numbers(patch: Patch) -> None:
    """Hold the same tap for one of a copy, which is paid, and overlook that one till says it had both."""
    used = decide._Decision._used_claims
    patch.setattr(
        decide._Decision, "_used_claims", lambda self, claim: used(self, claim) and b"of another payment"
    )
    let_a_till_contradict_itself(patch)


def let_a_till_contradict_itself(patch: Patch) -> None:
    patch.setattr(decide._Decision, "_contradicts_till", lambda *_: False)


def call_paid_what_was_not(patch: Patch) -> None:
    """Call every attempt paid that has a payment, whatever its amount."""
    follow = decide._Decision._follow_attempt

    def please(self: Any, record: Any) -> Any:
        changes = follow(self, record)
        changes.answer = msgspec.structs.replace(
            changes.answer, outcome="settled", code="", loss_minor=0, loss_bearer=None
        )
        return changes

    patch.setattr(decide._Decision, "_follow_attempt", please)


def ignore_the_age_of_records(patch: Patch) -> None:
    judge = service.rules_for

    def patient(settings: Any, currency: str) -> Any:
        return msgspec.structs.replace(judge(settings, currency), record_age_ms=1 << 31)

    patch.setattr(service, "rules_for", patient)


def pay_orders_again(patch: Patch) -> None:
    refusal = decide._Decision._refusal_by_what_is_stored

    def forgive(self: Any, claim: Any) -> Any:
        code = refusal(self, claim)
        return None if code == decide.ORDER_PAID else code

    patch.setattr(decide._Decision, "_refusal_by_what_is_stored", forgive)
    guard = "AND taken_minor + excluded.taken_minor <= amount_minor"
    without_guard(patch, payments, "take_order", guard)
    without_constraints(patch)


def decline_what_kept_the_rules(patch: Patch) -> None:
    keeps = rules._keeps_limits

    def strict(record: Any, tap: Any, vouched: Any, limits: Any) -> bool:
        return keeps(record, tap, vouched, limits) and record.amount.minor < limits.floor_minor // 2

    patch.setattr(rules, "_keeps_limits", strict)


def pay_offline_taps_online(patch: Patch) -> None:
    """Without the sentence that keeps them for their record."""
    read = verify.verify_nfc_token

    class Terms:
        is_offline = False

        def __init__(self, terms: Any) -> None:
            self._terms = terms

        def __getattr__(self, name: str) -> Any:
            return getattr(self._terms, name)

    def forget(token: Any, key: Any) -> Any:
        claims = read(token, key)
        return msgspec.structs.replace(claims, terms=Terms(claims.terms))

    patch.setattr(verify, "verify_nfc_token", forget)


def name_nobody_in_the_list(patch: Patch) -> None:
    mint, tag = Issuer.mint_list, Issuer.tag_list
    patch.setattr(Issuer, "mint_list", lambda self, suspended, **named: mint(self, [], **named))
    patch.setattr(Issuer, "tag_list", lambda self, suspended, **named: tag(self, [], **named))


def keep_what_is_left(patch: Patch) -> None:
    end = stored.end_credential

    def keep(connection: Any, credential_id: str, now_ms: int) -> int:
        statement = stored.SQL["find_ending"]
        patched = statement.replace("a.credits_posted - a.debits_posted - a.debits_pending", "0")
        stored.SQL = {**stored.SQL, "find_ending": patched}  # type: ignore[misc]
        try:
            return end(connection, credential_id, now_ms)
        finally:
            stored.SQL = {**stored.SQL, "find_ending": statement}  # type: ignore[misc]

    patch.setattr(stored, "end_credential", keep)


def give_back_at_expiry(patch: Patch) -> None:
    patch.setattr(service, "END_GRACE_MS", -(1 << 40))
    issue = stored.issue_credential

    def early(connection: Any, wish: Any) -> Any:
        return issue(connection, msgspec.structs.replace(wish, ends_ms=wish.expires_ms))

    patch.setattr(stored, "issue_credential", early)


def set_less_aside(patch: Patch) -> None:
    reserve = stored.reserve

    def half(credential_id: str, *, amount_minor: int, **named: Any) -> Any:
        return reserve(credential_id, amount_minor=amount_minor // 2, **named)

    patch.setattr(stored, "reserve", half)


def of_offline(
    breaks: Callable[[Patch], None],
    *codes: str,
    plan: FaultPlan = CUT,
    honest: bool | None = None,
    seeds_max: int = SEEDS_MAX,
    **limits: int,
) -> Any:
    """Return a mutant for worlds with payments without a connection, by rules as tight as it needs."""
    options = {"offline": replace(HOUSE, **limits) if limits else True, "honest": honest}
    return mutant(breaks, *codes, plan=plan, seeds_max=seeds_max, options=options)


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
    of_offline(ignore_the_floor, "till_broke_rules", honest=True),
    of_offline(ignore_what_is_left_of_allowances, "till_broke_rules", honest=True),
    of_offline(ignore_the_sum_of_one_device, "device_total_passed", device_total_minor=600),
    of_offline(ignore_the_list, "accepted_though_listed", honest=False),
    of_offline(ignore_the_age_of_lists, "till_broke_rules", plan=LATE),
    of_offline(ignore_the_age_of_clocks, "till_broke_rules", plan=LATE),
    of_offline(
        believe_any_clock,
        "accepted_with_a_wrong_clock",
        plan=FaultPlan(
            lines=LINES, clocks=msgspec.convert({"skewed": 1.0, "skew_ms_max": 200_000}, type(CUT.clocks))
        ),
    ),
    of_offline(ignore_what_devices_said_before, "till_took_a_contradiction", honest=False),
    of_offline(drop_what_had_no_answer, "accepted_lost", "told_another_word", plan=DEAF),
    of_offline(number_anew_after_a_restart, "number_given_twice", plan=DARK),
    of_offline(show_no_declines, "told_another_word"),
    of_offline(answer_repeats_as_conflicts, "told_another_word", plan=DEAF),
    of_offline(book_a_record_twice, "group_not_of_one_payment"),
    of_offline(charge_the_wallet_first, "paid_by_the_wrong_one"),
    of_offline(leave_losses_to_nobody, "borne_by_another", "paid_by_the_wrong_one"),
    of_offline(let_the_operator_bear_declines, "borne_by_another"),
    of_offline(overlook_copies, "copy_not_suspended", honest=False),
    of_offline(suspect_everybody, "suspended_for_nothing", "called_a_copy_for_no_reason"),
    of_offline(reckon_with_what_a_till_made_up, "suspended_for_nothing", honest=False),
    of_offline(believe_every_amount, "settled_against_the_rules", honest=False),
    of_offline(believe_every_time, "settled_against_the_rules", honest=False),
    of_offline(pay_a_tap_under_two_numbers, "tap_paid_twice", honest=False),
    of_offline(let_a_till_contradict_itself, "till_took_more_than_a_device_has", honest=False),
    of_offline(call_paid_what_was_not, "settled_without_payment", honest=False),
    of_offline(ignore_the_age_of_records, "settled_against_the_rules", plan=LATE),
    of_offline(pay_orders_again, "order_over_paid"),
    of_offline(decline_what_kept_the_rules, "declined_without_reason"),
    of_offline(pay_offline_taps_online, "approved_an_offline_tap"),
    of_offline(name_nobody_in_the_list, "list_forgets", "accepted_after_the_bound"),
    of_offline(keep_what_is_left, "allowance_differs"),
    of_offline(give_back_at_expiry, "ended_too_early"),
    of_offline(set_less_aside, "allowance_moved_wrongly"),
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_witness_objects_to(mutant: Mutant, monkeypatch: Patch) -> None:
    expect_objection(mutant, monkeypatch)
