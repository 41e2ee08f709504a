"""Mutants of the gateway's word on what tills accepted without a connection: each breaks one promise, and the
witness objects.

As in test_mutants.py. Where a till would refuse before the gateway has to, it is a till that lies.
"""

from __future__ import annotations

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
from simulators.auditor.witness.offline import records as offline_records
from simulators.auditor.witness.offline import tills as offline_tills
from terminal.offline import rules as till_rules
from tests.simulation.mutants import Mutant, Patch, expect_objection, without_constraints, without_guard
from tests.simulation.offline_mutants import DEAF, LATE, of_offline
from tests.simulation.rogue import RogueTill


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


def bound_no_loss(patch: Patch) -> None:
    """Let one till take a key's allowance again and again; what the witness sees sooner, it overlooks."""
    let_a_till_contradict_itself(patch)
    patch.setattr(till_rules, "_check_memory", lambda *_: None)
    patch.setattr(offline_records.RecordsAreRight, "_till_is_contradicted", lambda *_: False)
    patch.setattr(offline_tills.TillsKeepRules, "_held_against", lambda *_: iter(()))


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


MUTANTS = [
    of_offline(answer_repeats_as_conflicts, "told_another_word", plan=DEAF),
    of_offline(book_a_record_twice, "group_not_of_one_payment"),
    of_offline(charge_the_wallet_first, "paid_by_the_wrong_one"),
    of_offline(leave_losses_to_nobody, "borne_by_another", "paid_by_the_wrong_one"),
    of_offline(let_the_operator_bear_declines, "borne_by_another"),
    of_offline(overlook_copies, "copy_not_suspended", honest=False),
    of_offline(suspect_everybody, "suspended_for_nothing", "called_a_copy_for_no_reason"),
    of_offline(reckon_with_what_a_till_made_up, "suspended_for_nothing", honest=False, first_seed=6),
    of_offline(believe_every_amount, "settled_against_the_rules", honest=False),
    of_offline(believe_every_time, "settled_against_the_rules", honest=False),
    of_offline(pay_a_tap_under_two_numbers, "tap_paid_twice", honest=False),
    of_offline(let_a_till_contradict_itself, "till_took_more_than_a_device_has", honest=False),
    of_offline(bound_no_loss, "loss_above_its_bound", honest=False, first_seed=34),
    of_offline(call_paid_what_was_not, "settled_without_payment", honest=False, first_seed=4),
    of_offline(ignore_the_age_of_records, "settled_against_the_rules", plan=LATE),
    of_offline(pay_orders_again, "order_over_paid"),
    of_offline(decline_what_kept_the_rules, "declined_without_reason", first_seed=11),
    of_offline(pay_offline_taps_online, "approved_an_offline_tap"),
    of_offline(name_nobody_in_the_list, "list_forgets", "accepted_after_the_bound", first_seed=5),
    of_offline(keep_what_is_left, "allowance_differs"),
    of_offline(give_back_at_expiry, "ended_too_early"),
    of_offline(set_less_aside, "allowance_moved_wrongly"),
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_witness_objects_to(mutant: Mutant, monkeypatch: Patch) -> None:
    expect_objection(mutant, monkeypatch)
