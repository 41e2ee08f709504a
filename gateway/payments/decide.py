"""A batch of attempts, decided one after another in memory.

The order of what can be wrong, the first found being the answer: a copied key, a suspended merchant, what
verification refused, an order already paid, a second use, a suspended instrument, too weak an entry mode,
limits, a confirmation that nobody could give, and what the ledger says of the wallet.

What presented itself is spent before anything else is judged, and outside the part that a decline undoes:
so a declined attempt uses up its token, and nothing of an allowance, an order or a balance.

Nothing here is trusted: `PaymentChanges` says what a store has to check once more in the statements that
write it (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.errors import AuthenticationFailed, GatewayError, IdempotencyConflict
from gateway.holders.model import InstrumentStatus
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from gateway.ledger.outcomes import Outcome
from gateway.ledger.workbook import Workbook
from gateway.merchants.model import MerchantStatus, TerminalStatus
from gateway.payments.changes import (
    CardChange,
    CodeSpent,
    Draft,
    OrderChange,
    PaymentChanges,
    Ruling,
    SpendChange,
    TokenSpent,
)
from gateway.payments.facts import AttemptKey, OrderState, Payer, PaymentFacts, Site, Tier
from gateway.payments.model import (
    ATTEMPT_REVERSED,
    VELOCITY_WINDOW_MS,
    CardCounter,
    PaymentBooking,
    PaymentCodeUse,
    PaymentRecord,
    Refused,
    TokenUse,
    Verified,
)
from gateway.payments.settlement import fee_of, hold, settle, utc_day_of
from wire.messages.payments import CaptureMode, ConfirmationWay, EntryMode
from wire.money import AMOUNT_MINOR_MAX

WEAKNESS: Final[Mapping[EntryMode, int]] = {mode: place for place, mode in enumerate(EntryMode)}
"""How weak a proof each entry mode is, strongest first."""

_DECLINE_OF: Final = {
    Outcome.ACCOUNT_FROZEN: "wallet_frozen",
    Outcome.CURRENCY_MISMATCH: "currency_mismatch",
    Outcome.INSUFFICIENT_FUNDS: "insufficient_funds",
}

_APPROVED: Final = Ruling("approved")

Decision = Draft | PaymentRecord | GatewayError
"""A new decision, the one an attempt already got, or why it can't have one."""


class Register:
    """Decides attempts one after another, against the facts and against what it decided itself."""

    def __init__(self, facts: PaymentFacts, workbook: Workbook) -> None:
        """Begin a batch; the workbook books its money, and has let go of what is due already."""
        self._facts = facts
        self._workbook = workbook
        self._decided: dict[AttemptKey, Draft] = {}
        self.changes = PaymentChanges()

    def decide(self, booking: PaymentBooking) -> Decision:
        """Decide an attempt, or find the decision it got before.

        What is returned as an error is this attempt's alone, and has changed nothing.

        Raises:
            GatewayError: `internal`, our own bug; the batch is spoilt, and this attempt must be left out.
        """
        try:
            repeat = self._find_repeat(booking)
            if repeat is not None:
                return repeat
            site = self._find_site(booking)
        except (IdempotencyConflict, AuthenticationFailed) as error:
            return error
        return self._decide_new(booking, site)

    def _find_repeat(self, booking: PaymentBooking) -> Draft | PaymentRecord | None:
        key = (booking.attempt_id, booking.terminal_id)
        draft, known = self._decided.get(key), self._facts.attempts.get(key)
        if draft is not None:
            _require_same(booking, draft.booking.request_digest, draft.ruling.decline_code)
            return draft
        if known is not None:
            _require_same(booking, known.request_digest, known.record.decline_code)
            return known.record
        return None

    def _decide_new(self, booking: PaymentBooking, site: Site) -> Draft:
        payer = self._find_payer(booking)
        ruling = self._rule(booking, site, payer)
        draft = Draft(
            booking=booking,
            site=site,
            payer=payer,
            ruling=ruling,
            group_index=None if ruling.outcome == "declined" else self._workbook.group_count - 1,
            receipt_index=self._take_receipt(site) if ruling.outcome == "approved" else None,
        )
        if ruling.due_ms is not None:
            # No receipt yet, but its merchant must be active all the same.
            self.changes.receipts.setdefault(site.merchant_id, 0)
        self._decided[booking.attempt_id, booking.terminal_id] = draft
        self.changes.drafts.append(draft)
        return draft

    def _find_site(self, booking: PaymentBooking) -> Site:
        site = self._facts.sites.get(booking.terminal_id)
        if site is None:
            raise AuthenticationFailed("there is no such terminal", code="terminal_unknown")
        if site.terminal_status is not TerminalStatus.ACTIVE:
            raise AuthenticationFailed("the terminal was withdrawn", code="terminal_revoked")
        assert site.merchant_id == booking.merchant_id, "a terminal never changes its merchant"
        return site

    def _find_payer(self, booking: PaymentBooking) -> Payer | None:
        instrument_id = booking.verdict.instrument_id
        payer = None if instrument_id is None else self._facts.payers.get(instrument_id)
        if payer is None and isinstance(booking.verdict, Verified):
            raise GatewayError("the verified instrument does not exist")
        return payer

    def _rule(self, booking: PaymentBooking, site: Site, payer: Payer | None) -> Ruling:
        if isinstance(booking.verdict, Refused) and booking.verdict.code == ATTEMPT_REVERSED:
            return _declined(ATTEMPT_REVERSED)
        spending = self._spend(booking, payer)
        if spending == "instrument_cloned":
            return _declined(spending)
        if site.merchant_status is not MerchantStatus.ACTIVE:
            return _declined("merchant_suspended")
        if isinstance(booking.verdict, Refused):
            return _declined(booking.verdict.code)
        assert payer is not None, "a verified payer was found"
        code = self._judge_order(booking, site) or spending or self._judge_allowance(booking, payer)
        if code is not None:
            return _declined(code)
        ruling = self._judge_confirmation(booking, payer)
        if ruling.outcome == "declined":
            return ruling
        ruling = self._move_money(booking, site, payer, ruling)
        if ruling.outcome != "declined":
            self._take_order(booking)
            self._take_allowance(booking, payer, is_confirmed=_is_confirmed(booking, ruling))
        return ruling

    # Single use

    def _spend(self, booking: PaymentBooking, payer: Payer | None) -> str | None:
        """Use up what was presented; return the decline code if it was used before."""
        use = booking.single_use
        if isinstance(use, TokenUse):
            return self._spend_token(booking, use)
        if isinstance(use, CardCounter):
            return self._raise_card_counter(use, payer)
        if isinstance(use, PaymentCodeUse):
            return self._use_code(booking, use)
        return None

    def _spend_token(self, booking: PaymentBooking, use: TokenUse) -> str | None:
        facts, key = self._facts, (use.key_id, use.counter)
        earlier = facts.token_uses.get(key)
        if earlier is not None:
            if earlier == use.claims_digest:
                return "token_replayed"
            self._suspend(use.key_id)
            return "instrument_cloned"
        nonce = use.terminal_nonce
        # Where only the terminal's nonce was seen before: the token is refused, and spent like any other.
        is_repeated = nonce is not None and (nonce, booking.terminal_id) in facts.terminal_nonces
        facts.token_uses[key] = use.claims_digest
        if nonce is not None:
            facts.terminal_nonces.add((nonce, booking.terminal_id))
        stored_nonce = None if is_repeated else nonce
        day = None if stored_nonce is None else utc_day_of(booking.now_ms)
        self.changes.tokens.append(
            TokenSpent(use, booking.terminal_id, stored_nonce, day, booking.payment_id)
        )
        return "token_replayed" if is_repeated else None

    def _suspend(self, key_id: bytes) -> None:
        self.changes.suspended_key_ids.add(key_id)
        for payer in self._facts.payers.values():
            if payer.key_id == key_id:
                payer.status = InstrumentStatus.SUSPENDED

    def _raise_card_counter(self, use: CardCounter, payer: Payer | None) -> str | None:
        if payer is None or use.counter <= payer.card_counter:
            return "card_counter_old"
        payer.card_counter = use.counter
        change = self.changes.cards.setdefault(payer.instrument_id, CardChange(use.counter, use.counter))
        change.last = use.counter
        return None

    def _use_code(self, booking: PaymentBooking, use: PaymentCodeUse) -> str | None:
        code = self._facts.codes.get(use.code_hash)
        if code is None or code.is_used or code.expires_ms <= booking.now_ms:
            return "payment_code_invalid"
        code.is_used = True
        self.changes.codes.append(CodeSpent(use.code_hash, booking.payment_id, booking.now_ms))
        return None

    # What an approval takes: judged first, taken only when the money has moved

    def _judge_order(self, booking: PaymentBooking, site: Site) -> str | None:
        if booking.terms.tip_max_minor > fee_of(booking.goods_minor, site.tip_margin_basis_points):
            return "tip_margin_exceeded"
        order = self._facts.orders.get((booking.order_id, booking.merchant_id))
        if order is None:
            # One that is larger than the order it begins.
            return "order_amount_differs" if booking.goods_minor > booking.order_amount_minor else None
        if booking.terms.order_amount_minor not in (0, order.amount_minor):
            return "order_amount_differs"
        is_covered = order.taken_minor + booking.goods_minor <= order.amount_minor
        return None if is_covered else "order_already_paid"

    def _judge_allowance(self, booking: PaymentBooking, payer: Payer) -> str | None:
        if payer.status is not InstrumentStatus.ACTIVE:
            return "instrument_suspended"
        if WEAKNESS[booking.entry_mode] > WEAKNESS[payer.weakest_entry_mode]:
            return "entry_mode_not_allowed"
        if booking.amount_minor > payer.per_payment_minor:
            return "limit_per_payment_exceeded"
        day = utc_day_of(booking.now_ms)
        spent_minor = self._facts.spent_minor.get((day, payer.instrument_id), 0)
        if spent_minor + booking.amount_minor > payer.per_day_minor:
            return "limit_per_day_exceeded"
        return None if payer.tier is None else self._judge_tier(booking, payer, payer.tier, day)

    def _judge_tier(self, booking: PaymentBooking, payer: Payer, tier: Tier, day: int) -> str | None:
        if booking.amount_minor > tier.per_payment_minor:
            return "limit_identity_per_payment_exceeded"
        spent_minor = self._facts.wallet_spent_minor.get((day, payer.wallet_id), 0)
        if spent_minor + booking.amount_minor > tier.per_day_minor:
            return "limit_identity_per_day_exceeded"
        return None

    def _judge_confirmation(self, booking: PaymentBooking, payer: Payer) -> Ruling:
        """Return what an attempt is if its money can be moved: charged, held, or held until agreed to."""
        terms = booking.terms
        code = None if terms.confirmed else self._confirmation_code(booking, payer)
        if code is None:
            if terms.capture is CaptureMode.MANUAL:
                return Ruling("authorised", due_ms=terms.capture_by_ms)
            return _APPROVED
        ways = _ways_to_confirm(booking, payer)
        if not ways:
            return _declined("confirmation_unavailable")
        return Ruling(
            "requires_confirmation", confirm_code=code, confirm_ways=ways, due_ms=terms.confirm_by_ms
        )

    def _confirmation_code(self, booking: PaymentBooking, payer: Payer) -> str | None:
        if booking.amount_minor > unconfirmed_max(payer):
            return "confirm_above_limit"
        if booking.terms.confirm_for is not None:
            return booking.terms.confirm_for
        most = booking.terms.payments_per_window_max
        window, count = self._recent_of(booking, payer)
        return "confirm_velocity" if most and window == _window_of(booking) and count >= most else None

    def _recent_of(self, booking: PaymentBooking, payer: Payer) -> tuple[int, int]:
        return self._facts.recent.get((utc_day_of(booking.now_ms), payer.instrument_id), (-1, 0))

    def _move_money(self, booking: PaymentBooking, site: Site, payer: Payer, ruling: Ruling) -> Ruling:
        """Book what a ruling moves or holds, and return the ruling; or the decline the ledger makes of it."""
        fee_minor = 0
        if ruling.due_ms is None:
            fee_minor = fee_of(booking.amount_minor, site.fee_basis_points)
            group = settle(
                booking,
                wallet_account_id=payer.wallet_account_id,
                merchant_account_id=site.merchant_account_id,
                fees_account_id=operator_account_id(AccountKind.FEES, booking.currency),
                fee_minor=fee_minor,
            )
        else:
            group = hold(
                booking,
                wallet_account_id=payer.wallet_account_id,
                merchant_account_id=site.merchant_account_id,
                # One that is agreed to and then captured stands until then.
                due_ms=max(ruling.due_ms, booking.terms.capture_by_ms),
            )
        outcome = self._workbook.book_group(group, booking.now_ms).outcome
        if outcome is Outcome.BOOKED:
            return msgspec.structs.replace(ruling, fee_minor=fee_minor) if fee_minor else ruling
        if outcome not in _DECLINE_OF:
            raise GatewayError(f"the ledger answered {outcome.name} to a payment")
        return _declined(_DECLINE_OF[outcome])

    def _take_order(self, booking: PaymentBooking) -> None:
        key, goods_minor = (booking.order_id, booking.merchant_id), booking.goods_minor
        order = self._facts.orders.setdefault(key, OrderState(booking.order_amount_minor, 0))
        order.taken_minor += goods_minor
        change = self.changes.orders.get(key)
        if change is None:
            change = OrderChange(order.amount_minor, 0, booking.terms.order_details)
            self.changes.orders[key] = change
        change.taken_minor += goods_minor

    def _take_allowance(self, booking: PaymentBooking, payer: Payer, *, is_confirmed: bool) -> None:
        facts, amount_minor, day = self._facts, booking.amount_minor, utc_day_of(booking.now_ms)
        key, wallet_key = (day, payer.instrument_id), (day, payer.wallet_id)
        facts.spent_minor[key] = facts.spent_minor.get(key, 0) + amount_minor
        if payer.tier is not None:
            facts.wallet_spent_minor[wallet_key] = facts.wallet_spent_minor.get(wallet_key, 0) + amount_minor
            self.changes.wallet_days.add(wallet_key)
        change = self.changes.spent_days.get(key)
        if change is None:
            change = SpendChange(0, 0, 0, booking.entry_mode, 0, _window_of(booking), 0)
            self.changes.spent_days[key] = change
        self._count_recent(booking, payer, change, is_confirmed=is_confirmed)
        change.spent_minor += amount_minor
        change.largest_minor = max(change.largest_minor, amount_minor)
        if not is_confirmed:
            change.largest_unconfirmed_minor = max(change.largest_unconfirmed_minor, amount_minor)
        if WEAKNESS[booking.entry_mode] > WEAKNESS[change.weakest_entry_mode]:
            change.weakest_entry_mode = booking.entry_mode
        change.payment_count += 1

    def _count_recent(
        self, booking: PaymentBooking, payer: Payer, change: SpendChange, *, is_confirmed: bool
    ) -> None:
        window, most = _window_of(booking), booking.terms.payments_per_window_max
        last_window, count = self._recent_of(booking, payer)
        key = (utc_day_of(booking.now_ms), payer.instrument_id)
        self._facts.recent[key] = (window, count + 1 if window == last_window else 1)
        if change.recent_window != window:
            change.recent_window, change.recent_count, change.recent_before_max = window, 0, None
        if most and not is_confirmed:
            before_max = most - 1 - change.recent_count
            known_max = change.recent_before_max
            change.recent_before_max = before_max if known_max is None else min(known_max, before_max)
        change.recent_count += 1

    def _take_receipt(self, site: Site) -> int:
        count = self.changes.receipts.get(site.merchant_id, 0) + 1
        self.changes.receipts[site.merchant_id] = count
        return count


def unconfirmed_max(payer: Payer) -> int:
    """Return the largest amount that this payer may pay without confirming it."""
    own, tier = payer.confirm_above_minor, payer.tier
    most = AMOUNT_MINOR_MAX if own is None else own
    return most if tier is None else min(most, tier.confirm_above_minor)


def _declined(code: str) -> Ruling:
    return Ruling("declined", code)


def _is_confirmed(booking: PaymentBooking, ruling: Ruling) -> bool:
    return booking.terms.confirmed or ruling.confirm_code is not None


def _ways_to_confirm(booking: PaymentBooking, payer: Payer) -> tuple[ConfirmationWay, ...]:
    pin_max_minor = AMOUNT_MINOR_MAX if payer.tier is None else payer.tier.pin_max_minor
    is_small = booking.amount_minor <= pin_max_minor
    # A link card can be challenged. It proves that it is there, not who holds it: no more than a PIN may do.
    by_card = booking.entry_mode is EntryMode.NFC_SDM and is_small
    ways = (
        (payer.has_pin and is_small, ConfirmationWay.PIN),
        (payer.has_phone, ConfirmationWay.DEVICE),
        (by_card, ConfirmationWay.CARD),
    )
    return tuple(way for is_open, way in ways if is_open)


def _window_of(booking: PaymentBooking) -> int:
    return booking.now_ms // VELOCITY_WINDOW_MS


def _require_same(booking: PaymentBooking, request_digest: bytes, decline_code: str | None) -> None:
    # A reversal decides an attempt without having seen its request: whatever arrives late is answered by it.
    if booking.request_digest != request_digest and decline_code != ATTEMPT_REVERSED:
        raise IdempotencyConflict("the attempt id was used for another request")
