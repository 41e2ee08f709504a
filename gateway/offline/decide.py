"""What becomes of one sealed record, decided in memory against everything that is stored about it.

A store reads `RecordFacts` under its lock, has `decide_record` judge the record, and writes the
`RecordChanges` in the same transaction. The order of what can be the case, the first found being the answer:

1. the record was taken before: its word again; another one has its number: a conflict, nothing is booked
2. its attempt was decided before: settled if that paid the same, a conflict if not; never charged twice
3. its tap was a payment before: a conflict
4. it broke a rule, or contradicts what the same till holds: declined, and the merchant's
5. its order is paid: declined, and the merchant's
6. else it is paid: by its allowance, then the wallet, then the operator

A key that signed two claims under one counter, or a running total that misses a payment, is suspended,
whatever becomes of the record: only the key itself can contradict itself, and no till could know.

Limits of the day, a frozen wallet, a suspended instrument don't stop a record: the money was set aside when
nothing of this was so, and the goods are gone (docs/adr/0008). What it spends is counted into the day all
the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway.errors import AuthenticationFailed, GatewayError, PaymentRefused
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from gateway.ledger.outcomes import Outcome
from gateway.ledger.workbook import Workbook
from gateway.merchants.model import MerchantStatus, TerminalStatus
from gateway.offline.groups import OfflineParts, settle_offline, split_amount
from gateway.offline.model import (
    AlarmKind,
    Credential,
    LossBearer,
    OfflineAlarm,
    RecordOutcome,
    SealedPayment,
    SettledRecord,
    TapClaim,
)
from gateway.offline.rules import BROKEN, CONFLICT, INVALID
from gateway.payments.changes import Draft, OrderChange, PaymentChanges, Ruling, TokenSpent
from gateway.payments.facts import DayKey, PaymentFacts, Site
from gateway.payments.model import PaymentBooking, PaymentRecord, Refused, TokenUse, Verified
from gateway.payments.settlement import fee_of, utc_day_of
from wire.messages.payments import EntryMode, PaymentState
from wire.tokens.offline_record import FIRST_LINK

COPIED: Final = "instrument_cloned"
ORDER_PAID: Final = "order_already_paid"


class Seen(msgspec.Struct, frozen=True):
    """What a key signed in another record."""

    counter: int
    running_total_minor: int
    amount_minor: int


@dataclass(slots=True)
class RecordFacts:
    """What is stored about everything a record names; what is missing does not exist."""

    payments: PaymentFacts = field(default_factory=PaymentFacts)
    known: SettledRecord | None = None
    """What has its number already."""
    link_before: bytes | None = None
    """Of the record numbered one lower."""
    link_expected_after: bytes | None = None
    """What the record numbered one higher holds of the one before it."""
    credential: Credential | None = None
    below: Seen | None = None
    above: Seen | None = None
    """The nearest claims of the key under the same credential, by counter."""
    till_before: Seen | None = None
    till_after: Seen | None = None
    """The nearest claims of the key under the same credential that this terminal got settled, by sequence.
    Those that were declined can't stand between: what is settled rises from one to the next, so all together
    is no more than the allowance, whatever software the terminal runs."""
    used_by: str | None = None
    """The payment that has used the key's counter."""


@dataclass(slots=True)
class RecordChanges:
    """What a record changes beside the ledger; of one that was taken before, nothing but an alarm."""

    answer: SettledRecord
    is_new: bool
    has_payment: bool = False
    credential_id: str | None = None
    suspended_key_id: bytes | None = None
    counted: tuple[DayKey, int] | None = None
    """Into which day and instrument how much is counted."""
    alarms: list[OfflineAlarm] = field(default_factory=list)
    payments: PaymentChanges = field(default_factory=PaymentChanges)


def booking_of(sealed: SealedPayment) -> PaymentBooking:
    """Return a record as an attempt; its digest is its link, so no online request is a repeat of it."""
    claim = sealed.claim
    use = None if claim is None else _use_of(claim)
    verdict: Verified | Refused
    if claim is None or use is None:
        verdict = Refused(sealed.refusal or INVALID)
    elif sealed.refusal is None:
        verdict = Verified(claim.instrument_id, use)
    else:
        verdict = Refused(sealed.refusal, claim.instrument_id, use)
    return PaymentBooking(
        payment_id=sealed.payment_id,
        attempt_id=sealed.attempt_id,
        request_digest=sealed.link,
        terminal_id=sealed.terminal_id,
        merchant_id=sealed.merchant_id,
        order_id=sealed.order_id,
        amount_minor=sealed.amount_minor,
        currency=sealed.currency,
        entry_mode=EntryMode.NFC_APP,
        presented_ms=sealed.accepted_ms,
        card_exchange_ms=None,
        verdict=verdict,
        now_ms=sealed.now_ms,
    )


def decide_record(facts: RecordFacts, sealed: SealedPayment, workbook: Workbook) -> RecordChanges:
    """Judge a record, book its money in the workbook, and return what else has to be written.

    Raises:
        AuthenticationFailed: `terminal_unknown`, `terminal_revoked`.
        PaymentRefused: `offline_not_offered`; the merchant is suspended now, and the record waits.
        GatewayError: `internal`, our own bug.
    """
    return _Decision(facts, sealed, workbook).run()


class _Decision:
    """One record."""

    def __init__(self, facts: RecordFacts, sealed: SealedPayment, workbook: Workbook) -> None:
        self._facts = facts
        self._sealed = sealed
        self._workbook = workbook
        self._booking = booking_of(sealed)
        self._alarms: list[OfflineAlarm] = []

    def run(self) -> RecordChanges:
        """Return what the record changes."""
        sealed, known = self._sealed, self._facts.known
        if known is not None and known.link == sealed.link:
            return RecordChanges(known, is_new=False)
        site = self._find_site()
        if known is not None:
            self._raise_alarm("sequence_conflict", known.payment_id)
            answer = self._word("conflict", CONFLICT, None, sealed.amount_minor, "merchant")
            return RecordChanges(answer, is_new=False, alarms=self._alarms)
        self._check_chain()
        is_suspect = self._contradicts_itself()
        changes = self._judge(site, is_suspect)
        credential = self._facts.credential
        changes.credential_id = None if credential is None else credential.credential_id
        if is_suspect and sealed.claim is not None:
            changes.suspended_key_id = sealed.claim.key_id
        changes.alarms = self._alarms
        return changes

    def _find_site(self) -> Site:
        site = self._facts.payments.sites.get(self._sealed.terminal_id)
        if site is None:
            raise AuthenticationFailed("there is no such terminal", code="terminal_unknown")
        if site.terminal_status is not TerminalStatus.ACTIVE:
            raise AuthenticationFailed("the terminal was withdrawn", code="terminal_revoked")
        if site.merchant_status is not MerchantStatus.ACTIVE:
            # A word is for ever, and a suspension is not: what was accepted before it waits at the till.
            raise PaymentRefused("the merchant is suspended", code="offline_not_offered")
        return site

    # What somebody should look at

    def _check_chain(self) -> None:
        facts, sealed = self._facts, self._sealed
        before = FIRST_LINK if sealed.sequence == 1 else facts.link_before
        after = facts.link_expected_after
        if before is None:
            self._raise_alarm("gap")
        elif before != sealed.previous_link:
            self._raise_alarm("chain_broken")
        if after is not None and after != sealed.link:
            self._raise_alarm("chain_broken")

    def _contradicts_itself(self) -> bool:
        """Say whether the key signed what no single device signs, and raise the alarm."""
        claim = self._sealed.claim
        if claim is None:
            return False
        mine = self._seen(claim)
        used = self._used_claims(claim)
        is_copied = used is not None and used != claim.claims_digest
        below, above = self._facts.below, self._facts.above
        if self._sealed.refusal == INVALID:
            # The amount is the till's word, not what the device signed: it must not tell against the key.
            below = above = None
        is_forked = (below is not None and not _follows(mine, below)) or (
            above is not None and not _follows(above, mine)
        )
        if is_copied:
            self._raise_alarm("key_copied", self._facts.used_by)
        if is_forked:
            self._raise_alarm("total_forked")
        return is_copied or is_forked

    def _contradicts_till(self, claim: TapClaim) -> bool:
        """Say whether this terminal itself holds what it should have refused this tap for."""
        mine = self._seen(claim)
        before, after = self._facts.till_before, self._facts.till_after
        return (before is not None and not _rises(mine, before)) or (
            after is not None and not _rises(after, mine)
        )

    # What becomes of the record

    def _judge(self, site: Site, is_suspect: bool) -> RecordChanges:
        sealed, claim = self._sealed, self._sealed.claim
        known = self._facts.payments.attempts.get((sealed.attempt_id, sealed.terminal_id))
        if known is not None:
            return self._follow_attempt(known.record)
        if claim is None:
            return self._decline(site, sealed.refusal or INVALID)
        if self._used_claims(claim) == claim.claims_digest:
            self._raise_alarm("tap_repeated", self._facts.used_by)
            answer = self._word("conflict", CONFLICT, self._facts.used_by, sealed.amount_minor, "merchant")
            return RecordChanges(answer, is_new=True)
        credential = self._facts.credential
        refusal = sealed.refusal or self._refusal_by_what_is_stored(claim)
        if refusal is not None or credential is None:
            return self._decline(site, refusal or INVALID)
        return self._pay(site, claim, credential, COPIED if is_suspect else "")

    def _follow_attempt(self, record: PaymentRecord) -> RecordChanges:
        """Answer by what the attempt was decided to be; whatever was tapped is charged once."""
        sealed = self._sealed
        wanted = (PaymentState.SUCCEEDED, sealed.amount_minor, sealed.currency, sealed.order_id)
        paid = (record.life.state, record.life.charged_minor, record.currency, record.order_id)
        if paid == wanted:
            answer = self._word("settled", "", record.payment_id, 0, None)
        else:
            self._raise_alarm("attempt_conflict", record.payment_id)
            answer = self._word("conflict", CONFLICT, record.payment_id, sealed.amount_minor, "merchant")
        return RecordChanges(answer, is_new=True)

    def _refusal_by_what_is_stored(self, claim: TapClaim) -> str | None:
        sealed, credential = self._sealed, self._facts.credential
        if credential is None or credential.instrument_id != claim.instrument_id:
            # Signed by our key, and never issued by us to this device.
            return INVALID
        listed_ms = credential.listed_ms
        if listed_ms is not None and sealed.list_issued_s > listed_ms // 1000:
            return BROKEN
        if self._contradicts_till(claim):
            return BROKEN
        order = self._facts.payments.orders.get((sealed.order_id, sealed.merchant_id))
        is_covered = order is None or order.taken_minor + sealed.amount_minor <= order.amount_minor
        return None if is_covered else ORDER_PAID

    def _decline(self, site: Site, code: str) -> RecordChanges:
        sealed = self._sealed
        answer = self._word("declined", code, sealed.payment_id, sealed.amount_minor, "merchant")
        changes = RecordChanges(answer, is_new=True, has_payment=True)
        self._draft(changes, site, Ruling("declined", code), None)
        return changes

    def _pay(self, site: Site, claim: TapClaim, credential: Credential, code: str) -> RecordChanges:
        sealed = self._sealed
        parts, fee_minor = self._move_money(site, claim, credential)
        bearer: LossBearer | None = "operator" if parts.losses_minor else None
        answer = self._word("settled", code, sealed.payment_id, parts.losses_minor, bearer)
        changes = RecordChanges(answer, is_new=True, has_payment=True)
        self._draft(changes, site, Ruling("approved", fee_minor=fee_minor), self._workbook.group_count - 1)
        changes.payments.receipts[site.merchant_id] = 1
        key = (sealed.order_id, sealed.merchant_id)
        changes.payments.orders[key] = OrderChange(sealed.amount_minor, sealed.amount_minor)
        order = self._facts.payments.orders.get(key)
        if order is not None:
            changes.payments.orders[key].amount_minor = order.amount_minor
        changes.counted = (utc_day_of(sealed.now_ms), claim.instrument_id), sealed.amount_minor
        return changes

    def _move_money(self, site: Site, claim: TapClaim, credential: Credential) -> tuple[OfflineParts, int]:
        sealed, workbook = self._sealed, self._workbook
        payer = self._facts.payments.payers[claim.instrument_id]
        parts = split_amount(
            sealed.amount_minor,
            in_allowance_minor=workbook.available_minor(credential.account_id),
            in_wallet_minor=workbook.available_minor(payer.wallet_account_id),
        )
        fee_minor = fee_of(sealed.amount_minor, site.fee_basis_points)
        group = settle_offline(
            sealed.payment_id,
            parts,
            sealed.currency,
            allowance_account_id=credential.account_id,
            wallet_account_id=payer.wallet_account_id,
            losses_account_id=operator_account_id(AccountKind.LOSSES, sealed.currency),
            merchant_account_id=site.merchant_account_id,
            fees_account_id=operator_account_id(AccountKind.FEES, sealed.currency),
            fee_minor=fee_minor,
        )
        outcome = workbook.book_group(group, sealed.now_ms).outcome
        if outcome is not Outcome.BOOKED:
            raise GatewayError(f"the ledger answered {outcome.name} to a payment accepted offline")
        return parts, fee_minor

    def _draft(self, changes: RecordChanges, site: Site, ruling: Ruling, group_index: int | None) -> None:
        claim = self._sealed.claim
        payer = None if claim is None else self._facts.payments.payers.get(claim.instrument_id)
        receipt_index = 1 if ruling.outcome == "approved" else None
        changes.payments.drafts.append(Draft(self._booking, site, payer, ruling, group_index, receipt_index))
        if claim is not None and self._used_claims(claim) is None:
            # The nonce stays unused: the terminal saw by itself that it was fresh, and its day is long over.
            spent = TokenSpent(_use_of(claim), self._sealed.terminal_id, None, None, self._sealed.payment_id)
            changes.payments.tokens.append(spent)

    def _used_claims(self, claim: TapClaim) -> bytes | None:
        return self._facts.payments.token_uses.get((claim.key_id, claim.counter))

    def _seen(self, claim: TapClaim) -> Seen:
        return Seen(claim.counter, claim.running_total_minor, self._sealed.amount_minor)

    def _word(
        self,
        outcome: RecordOutcome,
        code: str,
        payment_id: str | None,
        loss_minor: int,
        loss_bearer: LossBearer | None,
    ) -> SettledRecord:
        sealed = self._sealed
        return SettledRecord(
            terminal_id=sealed.terminal_id,
            sequence=sealed.sequence,
            link=sealed.link,
            outcome=outcome,
            code=code,
            payment_id=payment_id,
            amount_minor=sealed.amount_minor,
            currency=sealed.currency,
            loss_minor=loss_minor,
            loss_bearer=loss_bearer,
            accepted_ms=sealed.accepted_ms,
            received_ms=sealed.now_ms,
        )

    def _raise_alarm(self, kind: AlarmKind, payment_id: str | None = None) -> None:
        sealed = self._sealed
        if any(alarm.kind == kind for alarm in self._alarms):
            return
        instrument_id = None if sealed.claim is None else sealed.claim.instrument_id
        place = (sealed.terminal_id, sealed.sequence, sealed.link)
        self._alarms.append(OfflineAlarm(kind, *place, payment_id, instrument_id, sealed.now_ms))


def _follows(later: Seen, earlier: Seen) -> bool:
    """Say whether a running total counts what was spent since an earlier one under the same credential."""
    return later.running_total_minor - earlier.running_total_minor >= later.amount_minor


def _rises(later: Seen, earlier: Seen) -> bool:
    """Say whether a terminal that had accepted the earlier claim could accept the later one."""
    return later.counter > earlier.counter and _follows(later, earlier)


def _use_of(claim: TapClaim) -> TokenUse:
    return TokenUse(claim.key_id, claim.counter, claim.claims_digest, None)
