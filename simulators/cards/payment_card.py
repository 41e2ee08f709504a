"""The payment application as a card: a phone's NFC side or a JavaCard applet (protocol section 3a).

It refuses what the real one refuses. With an allowance it also pays where the terminal is offline: it adds
the amount to its running total, keeps that, and only then signs (docs/adr/0008), so a tear in between counts
a payment that nobody got and never misses one that somebody did. What can go wrong with a real one is data
here: a locked device, a blocked wallet, an amount that needs its holder, a tear, a relay that has another
amount signed.

An amount that the allowance does not cover is answered 6984, which our application alone gives that meaning:
6982 and 6985 are already "confirm" and "unlock", and a cashier must not be told to try those.
"""

from __future__ import annotations

import random
from typing import Final

from simulators.cards.apdu_card import ApduCard, refuse
from simulators.cards.offline_allowance import AllowanceExceeded, OfflineAllowance
from simulators.cards.transaction_counter import CounterExhausted, TransactionCounter
from wire import es256
from wire.application_id import PAYMENT_AID
from wire.cards.apdu import LE_MAX, CommandApdu, ResponseApdu
from wire.cards.payment_application import (
    CAPABILITY_CONFIRMS_ON_DEVICE,
    CAPABILITY_OFFLINE_CREDENTIAL,
    CAPABILITY_ONLINE,
    GET_CREDENTIAL,
    dump_application_answer,
    dump_credential_answer,
    dump_signing_answer,
    parse_signing_command,
)
from wire.cards.payment_terms import PaymentTerms, parse_payment_terms
from wire.cards.status_words import StatusWord
from wire.errors import EncodingError, WireError
from wire.tokens.nfc_token import RANDOMNESS_BYTES, mint_nfc_token

_SELECT: Final = (0x00, 0xA4)
_SIGN: Final = (0x80, 0xA8)
_GET_CREDENTIAL: Final = (0x80, 0xCA)
_BY_NAME: Final = (0x04, 0x00)
_NO_PARAMETERS: Final = (0x00, 0x00)
_SIGNING_DATA_BYTES: Final = 52
_AMOUNT_BYTES: Final = 6
_NONCE_AT, _MERCHANT_AT, _TERMINAL_AT, _DATE_AT = 8, 16, 31, 39
"""Where 9F37, 9F16, 9F1C and what follows it begin in the block (protocol section 3a)."""
_CAPABILITIES: Final = CAPABILITY_ONLINE | CAPABILITY_CONFIRMS_ON_DEVICE


class PaymentCard(ApduCard):
    """A card that signs a terminal's terms, once per counter value.

    What stands between it and its signature (`locked`, `blocked`, `confirmation_above_minor`), what a relay
    does to it (`tamper_amount_minor`, `relayed_terminal_id`) and `allowance` may be changed at any time, as
    their causes can.
    """

    def __init__(
        self,
        private_key: es256.PrivateKey,
        *,
        rng: random.Random,
        counter: int | TransactionCounter = 0,
        locked: bool = False,
        blocked: bool = False,
        confirmation_above_minor: int | None = None,
        currencies: frozenset[str] | None = None,
        tear_at_apdu: int | None = None,
        tear_after_processing: bool = False,
        tamper_amount_minor: int | None = None,
        allowance: OfflineAllowance | None = None,
    ) -> None:
        """Make a card that lies in no field.

        Args:
            private_key: what it signs with.
            rng: seeded; token ids and the UID it shows come from it.
            counter: the value last used, or a counter shared with whoever else signs with this key.
            locked: the device answers 6985 until it is unlocked.
            blocked: the wallet answers 6983.
            confirmation_above_minor: above this amount it answers 6982 until `confirm` is called.
            currencies: ISO 4217 codes it pays in; None for every one.
            tear_at_apdu, tear_after_processing: see `ApduCard`.
            tamper_amount_minor: a relay between terminal and card replaces the amount by this one, so
                the card signs another amount than the terminal sent.
            allowance: what it may spend offline; None for a card that only pays online. May be shared with
                whoever else signs with this key.
        """
        super().__init__(
            uid=None, rng=rng, tear_at_apdu=tear_at_apdu, tear_after_processing=tear_after_processing
        )
        self.locked = locked
        self.blocked = blocked
        self.confirmation_above_minor = confirmation_above_minor
        self.currencies = currencies
        self.tamper_amount_minor = tamper_amount_minor
        self.relayed_terminal_id: str | None = None
        """A relay between terminal and card has the card sign for the terminal of this id."""
        self.has_forged_signature = False
        """It is no card of ours: it names a key that it does not have."""
        self.answers_stale_nonce = False
        """Somebody plays back what a card answered another terminal."""
        self.allowance = allowance
        self._private_key = private_key
        self._counter = counter if isinstance(counter, TransactionCounter) else TransactionCounter(counter)
        self._selected = False
        self._confirmed = False
        self._has_signed_offline = False

    @property
    def counter(self) -> int:
        """The counter value last signed under."""
        return self._counter.value

    @property
    def public_key(self) -> es256.PublicKey:
        """What its tokens are verified with."""
        return self._private_key.public_key()

    def confirm(self) -> None:
        """Let the holder agree, on the device, to the next payment whatever its amount."""
        self._confirmed = True

    def clone(self) -> PaymentCard:
        """Copy the card as an attacker who read out its memory would: key, settings, counters as of now.

        The copy has counter and running total of its own from here on, which is what gives it away.
        """
        return PaymentCard(
            self._private_key,
            rng=self._split_rng(),
            counter=self.counter,
            locked=self.locked,
            blocked=self.blocked,
            confirmation_above_minor=self.confirmation_above_minor,
            currencies=self.currencies,
            tamper_amount_minor=self.tamper_amount_minor,
            allowance=None if self.allowance is None else self.allowance.copy(),
        )

    def _forget(self) -> None:
        self._selected = False
        self._has_signed_offline = False

    def _answer(self, command: CommandApdu) -> ResponseApdu:
        response = self._dispatch(command)
        if response.status_word != StatusWord.SUCCESS:
            # After any error the terminal starts over with SELECT and a new nonce (section 3a).
            self._selected = False
        return response

    def _reject_malformed(self) -> ResponseApdu:
        self._selected = False
        return super()._reject_malformed()

    def _dispatch(self, command: CommandApdu) -> ResponseApdu:
        instruction = (command.cla, command.ins)
        if command.cla not in (0x00, 0x80):
            return refuse(StatusWord.CLASS_UNKNOWN)
        if instruction == _SELECT:
            return self._select(command)
        if instruction == _SIGN:
            return self._sign(command)
        if instruction == _GET_CREDENTIAL:
            return self._show_credential(command)
        return refuse(StatusWord.INSTRUCTION_UNKNOWN)

    def _select(self, command: CommandApdu) -> ResponseApdu:
        if (command.p1, command.p2) != _BY_NAME:
            return refuse(StatusWord.WRONG_P1_P2)
        if command.le != LE_MAX:
            return refuse(StatusWord.WRONG_LENGTH)
        if command.data != PAYMENT_AID:
            # The last byte of the AID is the major version; another one is ours, but not spoken here.
            other_version = command.data[:-1] == PAYMENT_AID[:-1]
            return refuse(StatusWord.FUNCTION_NOT_SUPPORTED if other_version else StatusWord.FILE_NOT_FOUND)
        self._selected = True
        self._has_signed_offline = False
        offline = 0 if self.allowance is None else CAPABILITY_OFFLINE_CREDENTIAL
        return ResponseApdu(dump_application_answer(_CAPABILITIES | offline), StatusWord.SUCCESS)

    def _sign(self, command: CommandApdu) -> ResponseApdu:
        if (command.p1, command.p2) != _NO_PARAMETERS:
            return refuse(StatusWord.WRONG_P1_P2)
        if len(command.data) != _SIGNING_DATA_BYTES or command.le != LE_MAX:
            return refuse(StatusWord.WRONG_LENGTH)
        if not self._selected:
            return refuse(StatusWord.CONDITIONS_NOT_SATISFIED)
        try:
            block = self._as_relayed(parse_signing_command(command))
            terms = parse_payment_terms(block)
        except WireError:
            return refuse(StatusWord.WRONG_DATA)
        refusal = self._refusal_of(terms)
        return refuse(refusal) if refusal else self._sign_block(block, terms)

    def _refusal_of(self, terms: PaymentTerms) -> StatusWord | None:
        if self.blocked:
            return StatusWord.AUTHENTICATION_BLOCKED
        if self.locked:
            return StatusWord.CONDITIONS_NOT_SATISFIED
        if self.currencies is not None and terms.amount.currency.code not in self.currencies:
            return StatusWord.WRONG_DATA
        limit_minor = self.confirmation_above_minor
        if limit_minor is not None and terms.amount.minor > limit_minor and not self._confirmed:
            return StatusWord.SECURITY_STATUS_NOT_SATISFIED
        return self._offline_refusal_of(terms) if terms.is_offline else None

    def _offline_refusal_of(self, terms: PaymentTerms) -> StatusWord | None:
        if self.allowance is None:
            return StatusWord.FUNCTION_NOT_SUPPORTED
        currency = self.allowance.claims.allowance.currency
        return None if terms.amount.currency == currency else StatusWord.WRONG_DATA

    def _sign_block(self, block: bytes, terms: PaymentTerms) -> ResponseApdu:
        # Total and counter rise before the signature exists: a tear in between loses a value and counts an
        # amount, and never reuses the one or misses the other.
        try:
            total_minor = self._add_to_total(terms)
            counter = self._counter.rise()
        except AllowanceExceeded:
            return refuse(StatusWord.ALLOWANCE_EXCEEDED)
        except CounterExhausted:
            return refuse(StatusWord.AUTHENTICATION_BLOCKED)
        self._confirmed = False
        if self.answers_stale_nonce:
            other = bytes(byte ^ 0xFF for byte in block[_NONCE_AT:_MERCHANT_AT])
            block = block[:_NONCE_AT] + other + block[_MERCHANT_AT:]
        token = mint_nfc_token(
            block,
            counter,
            self._rng.randbytes(RANDOMNESS_BYTES),
            self._private_key,
            running_total_minor=total_minor,
        )
        if self.has_forged_signature:
            token = token[:-1] + bytes((token[-1] ^ 1,))
        # One signature per SELECT: the next one needs a new nonce, so it needs a new SELECT.
        self._selected = False
        self._has_signed_offline = terms.is_offline
        return ResponseApdu(dump_signing_answer(counter, token), StatusWord.SUCCESS)

    def _add_to_total(self, terms: PaymentTerms) -> int | None:
        if not terms.is_offline:
            return None
        assert self.allowance is not None, "refused before"
        return self.allowance.add(terms.amount)

    def _show_credential(self, command: CommandApdu) -> ResponseApdu:
        if self.allowance is None:
            return refuse(StatusWord.FUNCTION_NOT_SUPPORTED)
        if (command.p1, command.p2) != (GET_CREDENTIAL.p1, GET_CREDENTIAL.p2):
            return refuse(StatusWord.WRONG_P1_P2)
        if command.data or command.le != LE_MAX:
            return refuse(StatusWord.WRONG_LENGTH)
        # Only to a terminal that has just paid offline: the credential names the key and its days, and a
        # reader in a crowd that collects those could follow a holder around.
        if not self._has_signed_offline:
            return refuse(StatusWord.CONDITIONS_NOT_SATISFIED)
        return ResponseApdu(dump_credential_answer(self.allowance.credential), StatusWord.SUCCESS)

    def _as_relayed(self, block: bytes) -> bytes:
        if self.relayed_terminal_id is not None:
            block = block[:_TERMINAL_AT] + self.relayed_terminal_id.encode("ascii") + block[_DATE_AT:]
        if self.tamper_amount_minor is None:
            return block
        digits = f"{self.tamper_amount_minor:0{2 * _AMOUNT_BYTES}d}"
        if len(digits) != 2 * _AMOUNT_BYTES:
            raise EncodingError("9F02 holds 12 digits")
        return bytes.fromhex(digits) + block[_AMOUNT_BYTES:]
