"""A model of payments: which attempt is charged, held or asked about, and what declines every other.

The first of these that applies decides: a known attempt, a terminal that may not ask, one given up before it
was seen, a copied key, a suspended merchant, what verification refused, a tip beyond the merchant's margin,
an order of another amount or that is paid already, a second use, a suspended instrument, too weak an entry
mode, the instrument's limits, the wallet's, a confirmation that nobody could give, and last what the ledger
says.
What was presented is spent before any of it is judged, so also by a decline; nothing else is changed by one.
What happens to payments later is in changes.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from simulators.auditor.model.attempts import (
    ATTEMPT_REVERSED,
    WEAKNESS,
    Attempt,
    CardTap,
    Code,
    Instrument,
    IssuedCode,
    Merchant,
    Payment,
    Token,
    TurnedAway,
    Wallet,
)
from simulators.auditor.model.ledger import Group, LedgerModel, Leg

DAY_MS: Final = 86_400_000
WINDOW_MS: Final = 600_000
GRACE_MS: Final = DAY_MS
"""How much longer than its payment's deadline a hold stands in the ledger."""
BASIS_POINTS: Final = 10_000

_DECLINE_OF: Final = {
    "account_frozen": "wallet_frozen",
    "currency_mismatch": "currency_mismatch",
    "insufficient_funds": "insufficient_funds",
}


@dataclass(frozen=True, slots=True)
class RefundMade:
    """One refund, up to a total."""

    refund_id: str
    total_minor: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A payment with everything that later changes of it need."""

    attempt: Attempt
    merchant_id: str
    payment: Payment
    hold: Leg | None = None
    capture_id: str | None = None
    refunds: tuple[RefundMade, ...] = ()


@dataclass(slots=True)
class PaymentModel:
    """Payments over a model of the ledger; whoever reads the dictionaries must not change them."""

    ledger: LedgerModel = field(default_factory=LedgerModel)
    merchants: dict[str, Merchant] = field(default_factory=dict)
    terminals: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Its merchant, and whether it may ask."""
    refund_limits: dict[str, int] = field(default_factory=dict)
    """What a terminal may refund on a day, in minor units."""
    wallets: dict[str, Wallet] = field(default_factory=dict)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    codes: dict[bytes, IssuedCode] = field(default_factory=dict)
    tokens: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    """The claims under which a key's counter was used."""
    nonces: set[tuple[str, bytes, int]] = field(default_factory=set)
    """By terminal, each with the day of UTC on which it was used; on the next day it is still known."""
    orders: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """By merchant and order id: what it is for, and what of it is charged and held."""
    spent: dict[tuple[str, int], int] = field(default_factory=dict)
    """Minor units by instrument and day of UTC."""
    recent: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """By the same: the ten minutes of the last payment, and how many fell into them."""
    decided: dict[tuple[str, str], str] = field(default_factory=dict)
    """Payment ids by terminal and attempt id."""
    payments: dict[str, Kept] = field(default_factory=dict)
    refunded: dict[tuple[str, int], int] = field(default_factory=dict)
    """Minor units by terminal and day of UTC."""
    told: tuple[tuple[str, str], ...] = ()
    """Terminals and payments of which they did not ask what happened."""

    def fork(self) -> PaymentModel:
        """Return a model that goes its own way from here."""
        return replace(
            self,
            ledger=self.ledger.fork(),
            merchants=dict(self.merchants),
            terminals=dict(self.terminals),
            instruments=dict(self.instruments),
            codes=dict(self.codes),
            tokens=dict(self.tokens),
            nonces=set(self.nonces),
            orders=dict(self.orders),
            spent=dict(self.spent),
            recent=dict(self.recent),
            decided=dict(self.decided),
            payments=dict(self.payments),
            refunded=dict(self.refunded),
        )

    def set_terminal_active(self, terminal_id: str, active: bool) -> None:
        """Let a terminal ask, or withdraw it."""
        self.terminals[terminal_id] = (self.terminals[terminal_id][0], active)

    def set_instrument_active(self, instrument_id: str, active: bool) -> None:
        """Reactivate or suspend an instrument."""
        self.instruments[instrument_id] = replace(self.instruments[instrument_id], active=active)

    def add_code(self, code_hash: bytes, instrument_id: str, expires_ms: int, now_ms: int) -> bool:
        """Issue a code, withdrawing the instrument's unused ones; False if another one's is in use."""
        own_unused = {
            known
            for known, code in self.codes.items()
            if code.instrument_id == instrument_id and not code.used
        }
        standing = self.codes.get(code_hash)
        if standing is not None and code_hash not in own_unused and standing.expires_ms > now_ms:
            return False
        self.codes = {known: code for known, code in self.codes.items() if known not in own_unused}
        self.codes[code_hash] = IssuedCode(instrument_id, expires_ms)
        return True

    def pay(self, attempt: Attempt) -> Payment | TurnedAway:
        """Decide an attempt, or repeat what was decided and say what became of it since."""
        known = self.decided.get((attempt.terminal_id, attempt.attempt_id))
        if known is not None:
            kept = self.payments[known]
            is_given_up = kept.payment.decline_code == ATTEMPT_REVERSED
            is_same = kept.attempt.request_digest == attempt.request_digest
            return kept.payment if is_same or is_given_up else TurnedAway("idempotency_conflict")
        if attempt.terminal_id not in self.terminals:
            return TurnedAway("terminal_unknown")
        merchant_id, may_ask = self.terminals[attempt.terminal_id]
        if not may_ask:
            return TurnedAway("terminal_revoked")
        if self._is_our_bug(attempt):
            return TurnedAway("internal")
        kept = self._decide(attempt, merchant_id)
        self.decided[attempt.terminal_id, attempt.attempt_id] = attempt.payment_id
        self.payments[attempt.payment_id] = kept
        if attempt.entry_mode == "qr_merchant":
            # The payer's own device asked, so the till does not know.
            self.told += ((attempt.terminal_id, attempt.payment_id),)
        return kept.payment

    def take_receipt(self, merchant_id: str) -> int:
        """Give a merchant's next receipt its number."""
        merchant = self.merchants[merchant_id]
        self.merchants[merchant_id] = replace(merchant, receipts=merchant.receipts + 1)
        return merchant.receipts + 1

    def fee_of(self, amount_minor: int, merchant_id: str) -> int:
        """Return what the operator keeps of an amount, rounded half to even."""
        return round(Fraction(amount_minor * self.merchants[merchant_id].fee_basis_points, BASIS_POINTS))

    def _is_our_bug(self, attempt: Attempt) -> bool:
        """Say whether no sound gateway could have sent this: a verified nobody, or an id used before."""
        is_nobodys = attempt.refused is None and attempt.instrument_id not in self.instruments
        return is_nobodys or attempt.payment_id in self.payments

    def _decide(self, attempt: Attempt, merchant_id: str) -> Kept:
        declined = Payment(
            attempt.payment_id,
            "declined",
            "declined",
            attempt.instrument_id if attempt.instrument_id in self.instruments else None,
        )
        code = self._decline(attempt, merchant_id)
        if code is not None:
            return Kept(attempt, merchant_id, replace(declined, decline_code=code))
        why, ways = self._confirmation(attempt), self._ways(attempt)
        if why is not None and not ways:
            return Kept(attempt, merchant_id, replace(declined, decline_code="confirmation_unavailable"))
        group = self._group(attempt, merchant_id, why)
        fault = self._book(group, attempt.now_ms)
        if fault is not None:
            return Kept(attempt, merchant_id, replace(declined, decline_code=_DECLINE_OF[fault]))
        self._take(attempt, merchant_id)
        return self._kept(attempt, merchant_id, group, why, ways)

    def _kept(
        self, attempt: Attempt, merchant_id: str, group: Group, why: str | None, ways: frozenset[str]
    ) -> Kept:
        """Return what an attempt came to be: charged, held, or held until its holder agrees."""
        terms, ids = attempt.terms, (attempt.payment_id, attempt.instrument_id)
        if why is None and not terms.manual:
            payment = Payment(
                ids[0],
                "approved",
                "succeeded",
                ids[1],
                charged_minor=attempt.amount_minor,
                fee_minor=self.fee_of(attempt.amount_minor, merchant_id),
                receipt_number=self.take_receipt(merchant_id),
            )
            return Kept(attempt, merchant_id, payment)
        if why is None:
            payment = Payment(ids[0], "authorised", "authorised", ids[1], due_ms=terms.capture_by_ms)
        else:
            waiting = "requires_confirmation"
            payment = Payment(
                ids[0], waiting, waiting, ids[1], confirm_code=why, ways=ways, due_ms=terms.confirm_by_ms
            )
        return Kept(attempt, merchant_id, payment, hold=group.legs[0])

    # What was presented

    def _spend(self, attempt: Attempt) -> str | None:
        """Use up what was presented; return what is wrong with using it."""
        use = attempt.use
        if isinstance(use, Token):
            return self._spend_token(use, attempt.terminal_id, attempt.now_ms // DAY_MS)
        if isinstance(use, CardTap):
            return self._spend_tap(use, attempt.instrument_id)
        if isinstance(use, Code):
            return self._spend_code(use, attempt.now_ms)
        return None

    def _spend_token(self, token: Token, terminal_id: str, day: int) -> str | None:
        used_for = self.tokens.get((token.key_id, token.counter))
        if used_for is not None and used_for != token.claims_digest:
            for instrument_id, instrument in self.instruments.items():
                if instrument.key_id == token.key_id:
                    self.set_instrument_active(instrument_id, False)
            return "instrument_cloned"
        if used_for is not None:
            return "token_replayed"
        self.tokens[token.key_id, token.counter] = token.claims_digest
        if token.nonce is None:
            return None
        if not self.nonces.isdisjoint({(terminal_id, token.nonce, day), (terminal_id, token.nonce, day - 1)}):
            return "token_replayed"
        self.nonces.add((terminal_id, token.nonce, day))
        return None

    def _spend_tap(self, tap: CardTap, instrument_id: str | None) -> str | None:
        card = self.instruments.get(instrument_id or "")
        if instrument_id is None or card is None or tap.counter <= card.card_counter:
            return "card_counter_old"
        self.instruments[instrument_id] = replace(card, card_counter=tap.counter)
        return None

    def _spend_code(self, use: Code, now_ms: int) -> str | None:
        code = self.codes.get(use.code_hash)
        if code is None or code.used or code.expires_ms <= now_ms:
            return "payment_code_invalid"
        self.codes[use.code_hash] = replace(code, used=True)
        return None

    # What declines

    def _decline(self, attempt: Attempt, merchant_id: str) -> str | None:
        """Say why an attempt is declined, before anybody is asked and before its money is moved."""
        if attempt.refused == ATTEMPT_REVERSED:
            return ATTEMPT_REVERSED
        misuse = self._spend(attempt)
        if misuse == "instrument_cloned":
            return misuse
        if not self.merchants[merchant_id].active:
            return "merchant_suspended"
        if attempt.refused is not None:
            return attempt.refused
        self.ledger.expire(attempt.now_ms)
        return (
            self._decline_of_order(attempt, merchant_id)
            or misuse
            or self._decline_of_instrument(attempt)
            or self._decline_of_wallet(attempt)
        )

    def _decline_of_order(self, attempt: Attempt, merchant_id: str) -> str | None:
        margin = self.merchants[merchant_id].tip_basis_points
        if attempt.terms.tip_minor > round(Fraction(attempt.goods_minor * margin, BASIS_POINTS)):
            return "tip_margin_exceeded"
        order_minor, taken_minor = self.orders.get((merchant_id, attempt.order_id), (attempt.order_minor, 0))
        if attempt.terms.order_minor and attempt.terms.order_minor != order_minor:
            return "order_amount_differs"
        if taken_minor + attempt.goods_minor <= order_minor:
            return None
        is_known = (merchant_id, attempt.order_id) in self.orders
        return "order_already_paid" if is_known else "order_amount_differs"

    def _decline_of_instrument(self, attempt: Attempt) -> str | None:
        assert attempt.instrument_id is not None
        instrument = self.instruments[attempt.instrument_id]
        spent = self.spent.get((attempt.instrument_id, attempt.now_ms // DAY_MS), 0)
        if not instrument.active:
            return "instrument_suspended"
        if WEAKNESS.index(attempt.entry_mode) > WEAKNESS.index(instrument.weakest_entry_mode):
            return "entry_mode_not_allowed"
        if attempt.amount_minor > instrument.per_payment_minor:
            return "limit_per_payment_exceeded"
        if spent + attempt.amount_minor > instrument.per_day_minor:
            return "limit_per_day_exceeded"
        return None

    def _decline_of_wallet(self, attempt: Attempt) -> str | None:
        wallet_id = self.instruments[attempt.instrument_id or ""].wallet_id
        tier = self._wallet_of(attempt).tier
        if tier is None:
            return None
        if attempt.amount_minor > tier.per_payment:
            return "limit_identity_per_payment_exceeded"
        day = attempt.now_ms // DAY_MS
        spent = sum(
            minor
            for (name, of_day), minor in self.spent.items()
            if of_day == day and self.instruments[name].wallet_id == wallet_id
        )
        return "limit_identity_per_day_exceeded" if spent + attempt.amount_minor > tier.per_day else None

    # What needs its holder

    def _confirmation(self, attempt: Attempt) -> str | None:
        """Say why the holder of what pays has to agree; None if nobody has to, or did already."""
        if attempt.terms.confirmed:
            return None
        instrument, tier = self.instruments[attempt.instrument_id or ""], self._wallet_of(attempt).tier
        limits = [instrument.confirm_above_minor, None if tier is None else tier.confirm_above]
        if any(limit is not None and attempt.amount_minor > limit for limit in limits):
            return "confirm_above_limit"
        if attempt.terms.confirm_for is not None:
            return attempt.terms.confirm_for
        window, count = self.recent.get((attempt.instrument_id or "", attempt.now_ms // DAY_MS), (-1, 0))
        is_many = window == attempt.now_ms // WINDOW_MS and count >= attempt.terms.window_max
        return "confirm_velocity" if attempt.terms.window_max and is_many else None

    def _ways(self, attempt: Attempt) -> frozenset[str]:
        instrument, wallet = self.instruments[attempt.instrument_id or ""], self._wallet_of(attempt)
        is_small = wallet.tier is None or attempt.amount_minor <= wallet.tier.pin_max
        by_pin = {"pin"} if wallet.has_pin and is_small else set()
        has_phone = any(
            one.is_phone and one.active
            for one in self.instruments.values()
            if one.wallet_id == instrument.wallet_id
        )
        by_card = {"card"} if attempt.entry_mode == "nfc_sdm" and is_small else set()
        return frozenset(by_pin | by_card | ({"device"} if has_phone else set()))

    def _wallet_of(self, attempt: Attempt) -> Wallet:
        return self.wallets.get(self.instruments[attempt.instrument_id or ""].wallet_id, Wallet())

    # What is taken

    def _group(self, attempt: Attempt, merchant_id: str, why: str | None) -> Group:
        merchant = self.merchants[merchant_id]
        wallet_account_id = self.instruments[attempt.instrument_id or ""].account_id
        amount, currency = attempt.amount_minor, attempt.currency
        parties = (wallet_account_id, merchant.account_id, amount, currency)
        if attempt.terms.manual or why is not None:
            # What is agreed to and then captured is held until then.
            over_ms = max(attempt.terms.capture_by_ms, 0 if why is None else attempt.terms.confirm_by_ms)
            leg_id = leg_id_of(attempt.payment_id, 0)
            return Group((Leg(leg_id, "pending", *parties, expires_ms=over_ms + GRACE_MS),), "hold")
        legs = [Leg(leg_id_of(attempt.payment_id, 0), "single", *parties)]
        fee = self.fee_of(amount, merchant_id)
        if fee:
            accounts = merchant.account_id, merchant.fees_account_id
            legs.append(Leg(leg_id_of(attempt.payment_id, 1), "single", *accounts, fee, currency))
        return Group(tuple(legs), "payment")

    def _book(self, group: Group, now_ms: int) -> str | None:
        """Move or hold the money; return what the ledger says against it."""
        legs = self.ledger.book_group(group, now_ms).legs
        fault = next((one for one in legs if one not in ("booked", "linked_failed")), None)
        if fault is not None and legs[0] == "linked_failed":
            raise AssertionError("the fee of a payment can always be taken from it")
        return fault

    def _take(self, attempt: Attempt, merchant_id: str) -> None:
        """Count what is charged or held: of the order, of the day, of the ten minutes."""
        assert attempt.instrument_id is not None
        order = (merchant_id, attempt.order_id)
        order_minor, taken_minor = self.orders.get(order, (attempt.order_minor, 0))
        self.orders[order] = (order_minor, taken_minor + attempt.goods_minor)
        day = (attempt.instrument_id, attempt.now_ms // DAY_MS)
        self.spent[day] = self.spent.get(day, 0) + attempt.amount_minor
        window = attempt.now_ms // WINDOW_MS
        last_window, count = self.recent.get(day, (-1, 0))
        self.recent[day] = (window, count + 1 if window == last_window else 1)


def leg_id_of(name: str, leg_index: int) -> bytes:
    """Return the id of a transfer: only that they differ matters here, not what they look like."""
    return hashlib.sha256(f"{name}/{leg_index}".encode()).digest()[:16]
