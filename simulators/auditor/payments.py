"""A model of payments: which attempt must be approved, and what declines every other.

The first of these that applies decides: a known attempt, a terminal that may not ask, a copied key, a
suspended merchant, what verification refused, an order already paid, a second use, a suspended instrument,
too weak an entry mode, the limits, and last what the ledger says. What was presented is spent before any
of it is judged, so also by a decline; nothing else is changed by one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from simulators.auditor.ledger import Group, LedgerModel, Leg

DAY_MS: Final = 86_400_000
WEAKNESS: Final = ("nfc_app", "qr_consumer", "nfc_sdm", "code_numeric")
"""Entry modes, the strongest first."""
BASIS_POINTS: Final = 10_000

_DECLINE_OF: Final = {
    "account_frozen": "wallet_frozen",
    "currency_mismatch": "currency_mismatch",
    "insufficient_funds": "insufficient_funds",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token: one use of a key's counter, perhaps bound to a terminal's nonce."""

    key_id: bytes
    counter: int
    claims_digest: bytes
    nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class CardTap:
    """A tap of a card whose counter must rise."""

    counter: int


@dataclass(frozen=True, slots=True)
class Code:
    """A numeric code, hashed."""

    code_hash: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as it reaches the books, with the verdict of verification."""

    payment_id: str
    attempt_id: str
    request_digest: bytes
    terminal_id: str
    order_id: str
    amount_minor: int
    currency: str
    entry_mode: str
    instrument_id: str | None
    use: Token | CardTap | Code | None
    refused: str | None
    """The decline code of verification; None if the presentation is authentic and fits."""
    now_ms: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What an attempt got, for ever."""

    payment_id: str
    decline_code: str | None
    receipt_number: int | None
    instrument_id: str | None

    @property
    def approved(self) -> bool:
        """Say whether money moved."""
        return self.decline_code is None


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """An attempt that was not decided at all; it changes nothing."""

    code: str


@dataclass(frozen=True, slots=True)
class Merchant:
    """A shop."""

    account_id: bytes
    fees_account_id: bytes
    fee_basis_points: int
    active: bool = True
    receipts: int = 0


@dataclass(frozen=True, slots=True)
class Instrument:
    """Something that pays from a wallet's account."""

    account_id: bytes
    key_id: bytes
    weakest_entry_mode: str
    per_payment_minor: int
    per_day_minor: int
    active: bool = True
    card_counter: int = 0


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """A numeric code of an instrument."""

    instrument_id: str
    expires_ms: int
    used: bool = False


@dataclass(slots=True)
class PaymentModel:
    """Payments over a model of the ledger; whoever reads the dictionaries must not change them."""

    ledger: LedgerModel = field(default_factory=LedgerModel)
    merchants: dict[str, Merchant] = field(default_factory=dict)
    terminals: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Its merchant, and whether it may ask."""
    instruments: dict[str, Instrument] = field(default_factory=dict)
    codes: dict[bytes, IssuedCode] = field(default_factory=dict)
    tokens: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    """The claims under which a key's counter was used."""
    nonces: set[tuple[str, bytes, int]] = field(default_factory=set)
    """By terminal, each with the day of UTC on which it was used; on the next day it is still known."""
    paid_orders: set[tuple[str, str]] = field(default_factory=set)
    spent: dict[tuple[str, int], int] = field(default_factory=dict)
    """Minor units by instrument and day of UTC."""
    decided: dict[tuple[str, str], tuple[bytes, Decision]] = field(default_factory=dict)
    """Request digest and decision by terminal and attempt id."""

    def fork(self) -> PaymentModel:
        """Return a model that goes its own way from here."""
        return PaymentModel(
            self.ledger.fork(),
            dict(self.merchants),
            dict(self.terminals),
            dict(self.instruments),
            dict(self.codes),
            dict(self.tokens),
            set(self.nonces),
            set(self.paid_orders),
            dict(self.spent),
            dict(self.decided),
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

    def pay(self, attempt: Attempt) -> Decision | TurnedAway:
        """Decide an attempt, or repeat what was decided."""
        key = (attempt.terminal_id, attempt.attempt_id)
        if key in self.decided:
            digest, decision = self.decided[key]
            return decision if digest == attempt.request_digest else TurnedAway("idempotency_conflict")
        if attempt.terminal_id not in self.terminals:
            return TurnedAway("terminal_unknown")
        merchant_id, may_ask = self.terminals[attempt.terminal_id]
        if not may_ask:
            return TurnedAway("terminal_revoked")
        if self._is_our_bug(attempt):
            return TurnedAway("internal")
        code = self._decline(attempt, merchant_id, self._spend(attempt))
        decision = Decision(
            payment_id=attempt.payment_id,
            decline_code=code,
            receipt_number=None if code else self._take_receipt(merchant_id),
            instrument_id=attempt.instrument_id if attempt.instrument_id in self.instruments else None,
        )
        self.decided[key] = (attempt.request_digest, decision)
        return decision

    def _is_our_bug(self, attempt: Attempt) -> bool:
        """Say whether no sound gateway could have sent this: a verified nobody, or an id used before."""
        is_nobodys = attempt.refused is None and attempt.instrument_id not in self.instruments
        return is_nobodys or attempt.payment_id in {one.payment_id for _, one in self.decided.values()}

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

    def _decline(self, attempt: Attempt, merchant_id: str, misuse: str | None) -> str | None:
        """Say why an attempt is declined, or charge it and return None."""
        if misuse == "instrument_cloned":
            return misuse
        if not self.merchants[merchant_id].active:
            return "merchant_suspended"
        if attempt.refused is not None:
            return attempt.refused
        self.ledger.expire(attempt.now_ms)
        if (merchant_id, attempt.order_id) in self.paid_orders:
            return "order_already_paid"
        return misuse or self._decline_of_instrument(attempt) or self._charge(attempt, merchant_id)

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

    def _charge(self, attempt: Attempt, merchant_id: str) -> str | None:
        """Move the money and count it, unless the ledger says no."""
        assert attempt.instrument_id is not None
        group = self._settlement(attempt, merchant_id)
        fault = next(
            (one for one in self.ledger.book_group(group, attempt.now_ms).legs if one != "booked"), None
        )
        if fault == "linked_failed":
            raise AssertionError("the fee of a payment can always be taken from it")
        if fault is not None:
            return _DECLINE_OF[fault]
        self.paid_orders.add((merchant_id, attempt.order_id))
        day = (attempt.instrument_id, attempt.now_ms // DAY_MS)
        self.spent[day] = self.spent.get(day, 0) + attempt.amount_minor
        return None

    def _settlement(self, attempt: Attempt, merchant_id: str) -> Group:
        merchant = self.merchants[merchant_id]
        wallet_account_id = self.instruments[attempt.instrument_id or ""].account_id
        amount, currency = attempt.amount_minor, attempt.currency
        legs = [Leg(_leg_id(attempt, 0), "single", wallet_account_id, merchant.account_id, amount, currency)]
        fee = round(Fraction(amount * merchant.fee_basis_points, BASIS_POINTS))
        if fee:
            accounts = merchant.account_id, merchant.fees_account_id
            legs.append(Leg(_leg_id(attempt, 1), "single", *accounts, fee, currency))
        return Group(tuple(legs), "payment")

    def _take_receipt(self, merchant_id: str) -> int:
        merchant = self.merchants[merchant_id]
        self.merchants[merchant_id] = replace(merchant, receipts=merchant.receipts + 1)
        return merchant.receipts + 1


def _leg_id(attempt: Attempt, leg_index: int) -> bytes:
    # The model's own: only that ids of payments differ matters here, not what they look like.
    return hashlib.sha256(f"{attempt.payment_id}/{leg_index}".encode()).digest()[:16]
