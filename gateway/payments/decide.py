"""A batch of attempts, decided one after another in memory.

The order of what can be wrong, the first found being the answer: a copied key, a suspended merchant, what
verification refused, an order already paid, a second use, a suspended instrument, too weak an entry mode,
limits, and what the ledger says of the wallet.

What presented itself is spent before anything else is judged, and outside the part that a decline undoes:
so a declined attempt uses up its token, and nothing of an allowance, an order or a balance.

Nothing here is trusted: `PaymentChanges` says what a store has to check once more in the statements that
write it (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
    SpendChange,
    TokenSpent,
)
from gateway.payments.facts import AttemptKey, OrderState, Payer, PaymentFacts, Site
from gateway.payments.model import (
    CardCounter,
    PaymentBooking,
    PaymentCodeUse,
    PaymentRecord,
    Refused,
    TokenUse,
    Verified,
)
from gateway.payments.settlement import settle, utc_day_of
from wire.messages.payments import EntryMode

WEAKNESS: Final[Mapping[EntryMode, int]] = {mode: place for place, mode in enumerate(EntryMode)}
"""How weak a proof each entry mode is, strongest first."""

_DECLINE_OF: Final = {
    Outcome.ACCOUNT_FROZEN: "wallet_frozen",
    Outcome.CURRENCY_MISMATCH: "currency_mismatch",
    Outcome.INSUFFICIENT_FUNDS: "insufficient_funds",
}

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
            _require_same(booking, draft.booking.request_digest)
            return draft
        if known is not None:
            _require_same(booking, known.request_digest)
            return known.record
        return None

    def _decide_new(self, booking: PaymentBooking, site: Site) -> Draft:
        payer = self._find_payer(booking)
        code = self._decline_code(booking, site, payer)
        draft = Draft(
            booking=booking,
            site=site,
            payer=payer,
            decline_code=code,
            group_index=None if code else self._workbook.group_count - 1,
            receipt_index=None if code else self._take_receipt(site),
        )
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

    def _decline_code(self, booking: PaymentBooking, site: Site, payer: Payer | None) -> str | None:
        spending = self._spend(booking, payer)
        if spending == "instrument_cloned":
            return spending
        if site.merchant_status is not MerchantStatus.ACTIVE:
            return "merchant_suspended"
        if isinstance(booking.verdict, Refused):
            return booking.verdict.code
        assert payer is not None, "a verified payer was found"
        code = (
            self._judge_order(booking)
            or spending
            or self._judge_allowance(booking, payer)
            or self._move_money(booking, site, payer)
        )
        if code is None:
            self._take_order(booking)
            self._take_allowance(booking, payer)
        return code

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

    def _judge_order(self, booking: PaymentBooking) -> str | None:
        order = self._facts.orders.get((booking.order_id, booking.merchant_id))
        if order is None or order.approved_minor + booking.amount_minor <= order.amount_minor:
            return None
        return "order_already_paid"

    def _judge_allowance(self, booking: PaymentBooking, payer: Payer) -> str | None:
        if payer.status is not InstrumentStatus.ACTIVE:
            return "instrument_suspended"
        if WEAKNESS[booking.entry_mode] > WEAKNESS[payer.weakest_entry_mode]:
            return "entry_mode_not_allowed"
        if booking.amount_minor > payer.per_payment_minor:
            return "limit_per_payment_exceeded"
        spent_minor = self._facts.spent_minor.get((utc_day_of(booking.now_ms), payer.instrument_id), 0)
        if spent_minor + booking.amount_minor > payer.per_day_minor:
            return "limit_per_day_exceeded"
        return None

    def _move_money(self, booking: PaymentBooking, site: Site, payer: Payer) -> str | None:
        group = settle(
            booking,
            wallet_account_id=payer.wallet_account_id,
            merchant_account_id=site.merchant_account_id,
            fees_account_id=operator_account_id(AccountKind.FEES, booking.currency),
            fee_basis_points=site.fee_basis_points,
        )
        outcome = self._workbook.book_group(group, booking.now_ms).outcome
        if outcome is Outcome.BOOKED:
            return None
        if outcome not in _DECLINE_OF:
            raise GatewayError(f"the ledger answered {outcome.name} to a payment")
        return _DECLINE_OF[outcome]

    def _take_order(self, booking: PaymentBooking) -> None:
        key, amount_minor = (booking.order_id, booking.merchant_id), booking.amount_minor
        order = self._facts.orders.setdefault(key, OrderState(amount_minor, 0))
        order.approved_minor += amount_minor
        change = self.changes.orders.setdefault(key, OrderChange(order.amount_minor, 0))
        change.approved_minor += amount_minor

    def _take_allowance(self, booking: PaymentBooking, payer: Payer) -> None:
        key, amount_minor = (utc_day_of(booking.now_ms), payer.instrument_id), booking.amount_minor
        self._facts.spent_minor[key] = self._facts.spent_minor.get(key, 0) + amount_minor
        change = self.changes.spent_days.get(key)
        if change is None:
            self.changes.spent_days[key] = SpendChange(amount_minor, amount_minor, booking.entry_mode)
            return
        change.spent_minor += amount_minor
        change.largest_minor = max(change.largest_minor, amount_minor)
        change.weakest_entry_mode = max(
            change.weakest_entry_mode, booking.entry_mode, key=WEAKNESS.__getitem__
        )

    def _take_receipt(self, site: Site) -> int:
        count = self.changes.receipts.get(site.merchant_id, 0) + 1
        self.changes.receipts[site.merchant_id] = count
        return count


def _require_same(booking: PaymentBooking, request_digest: bytes) -> None:
    if booking.request_digest != request_digest:
        raise IdempotencyConflict("the attempt id was used for another request")
