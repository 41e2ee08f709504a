"""From what was presented to a verdict: is it authentic, whose is it, and does it fit this request?

Nothing is written here and nothing about money is judged. Only a presentation that proved authentic is
spent: a forged one consumes nothing, and is not laid at the door of the instrument it names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from gateway.holders.model import ENTRY_MODES_OF
from gateway.merchants.model import EnrolledTerminal
from gateway.payments.card_keys import CardKeyRing
from gateway.payments.instruments import InstrumentDirectory, KnownInstrument
from gateway.payments.model import (
    CardCounter,
    PaymentCodeUse,
    Refused,
    TokenUse,
    Verified,
)
from gateway.storage.store import HolderStore
from gateway.vault import Vault
from wire import es256
from wire.cards.ntag424.link import SunLink
from wire.cards.payment_terms import PURCHASE, PaymentTerms
from wire.codes.numeric import check_numeric_code
from wire.errors import PaymentCodeError, TokenError
from wire.messages.payments import (
    CodeNumericPresentation,
    EntryMode,
    NfcAppPresentation,
    NfcSdmPresentation,
    PaymentRequest,
    QrConsumerPresentation,
    entry_mode_of,
)
from wire.money import Money
from wire.tokens.bound_token import (
    BoundTokenClaims,
    check_bound_time,
    parse_bound_token,
    verify_bound_token,
)
from wire.tokens.nfc_token import verify_nfc_token
from wire.tokens.qr_token import QrTokenClaims, read_qr_claims, verify_qr_token
from wire.tokens.sign1 import Sign1, parse_sign1

TERMS_AGE_MS_MAX: Final = 300_000
"""How far the time a card signed may lie from ours, either way: a tap is sent when it is made, but a
till's clock may be off by as much as a request signature's may (protocol section 6)."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a bound token must say, and whose it must be."""

    instrument_id: str
    merchant_id: str
    attempt_id: str
    amount: Money


class Verifier:
    """Verifies presentations against the keys of enrolled instruments."""

    def __init__(self, store: HolderStore, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._card_keys = CardKeyRing(store, vault)
        self._instruments = InstrumentDirectory(store)

    async def verify(
        self, request: PaymentRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> Verified | Refused:
        """Return the verdict on a request's presentation.

        Raises:
            StoreUnavailable, GatewayBusy: retryable. SealBroken: card keys do not open with this vault.
        """
        presentation = request.presentation
        if isinstance(presentation, NfcAppPresentation):
            return await self._verify_nfc_app(presentation, request, terminal, now_ms)
        if isinstance(presentation, QrConsumerPresentation):
            return await self._verify_qr_consumer(presentation, request, now_ms)
        if isinstance(presentation, NfcSdmPresentation):
            return await self._verify_nfc_sdm(presentation)
        return await self._verify_code_numeric(presentation, now_ms)

    async def _verify_nfc_app(
        self,
        presentation: NfcAppPresentation,
        request: PaymentRequest,
        terminal: EnrolledTerminal,
        now_ms: int,
    ) -> Verified | Refused:
        try:
            token = parse_sign1(presentation.token)
            instrument, public_key = await self._find_signer(token)
            claims = verify_nfc_token(token, public_key)
        except TokenError as error:
            return Refused(error.code)
        except _InstrumentUnknown:
            return Refused("instrument_unknown")
        if claims.terms.is_offline:
            # It belongs into a batch, which may still bring it and charge what was set aside: not spent here.
            return Refused("token_offline_only", instrument.instrument_id)
        use = TokenUse(token.key_id, claims.counter, _digest(token), claims.terms.nonce)
        code = _unfit_for(instrument, request) or _unfit_terms(claims.terms, request, terminal, now_ms)
        return _verdict(code, instrument, use)

    async def _verify_qr_consumer(
        self, presentation: QrConsumerPresentation, request: PaymentRequest, now_ms: int
    ) -> Verified | Refused:
        try:
            token = parse_sign1(presentation.token)
            instrument, public_key = await self._find_signer(token)
            claims, code = _verify_qr_token(token, public_key, now_ms)
        except TokenError as error:
            return Refused(error.code)
        except _InstrumentUnknown:
            return Refused("instrument_unknown")
        use = TokenUse(token.key_id, claims.counter, _digest(token), None)
        code = _unfit_for(instrument, request) or code or _unfit_claims(claims, request)
        return _verdict(code, instrument, use)

    async def verify_bound(self, token: bytes, expected: Bound, *, now_ms: int) -> Verified | Refused:
        """Return the verdict on a token with which a phone pays a till's code.

        Args:
            expected: what it must be bound to, and whose key must have made it.
        """
        try:
            parsed = parse_bound_token(token)
            instrument, public_key = await self._find_signer(parsed)
            claims = verify_bound_token(parsed, public_key)
        except TokenError as error:
            return Refused(error.code)
        except _InstrumentUnknown:
            return Refused("instrument_unknown")
        use = TokenUse(parsed.key_id, claims.counter, _digest(parsed), None)
        return _verdict(_unfit_binding(claims, instrument, expected, now_ms), instrument, use)

    async def _verify_nfc_sdm(self, presentation: NfcSdmPresentation) -> Verified | Refused:
        link = SunLink(bytes.fromhex(presentation.picc_data_hex), bytes.fromhex(presentation.mac_hex))
        tap = await self._card_keys.verify_tap(link)
        if tap is None:
            return Refused("token_invalid")
        instrument = await self._instruments.find(tap.key_id)
        # A card of one batch proves nothing about an instrument registered under another; of which keys it is
        # the key id says.
        if instrument is None or instrument.card_key_batch != tap.batch_number:
            return Refused("instrument_unknown")
        return Verified(instrument.instrument_id, CardCounter(tap.counter))

    async def _verify_code_numeric(
        self, presentation: CodeNumericPresentation, now_ms: int
    ) -> Verified | Refused:
        try:
            code_hash = self._vault.hash_code(check_numeric_code(presentation.code))
        except PaymentCodeError:
            return Refused("payment_code_invalid")
        instrument = await self._store.find_payment_code(code_hash, now_ms)
        if instrument is None:
            return Refused("payment_code_invalid")
        use = PaymentCodeUse(code_hash)
        if EntryMode.CODE_NUMERIC not in ENTRY_MODES_OF[instrument.kind]:
            return Refused("entry_mode_not_allowed", instrument.instrument_id, use)
        return Verified(instrument.instrument_id, use)

    async def _find_signer(self, token: Sign1) -> tuple[KnownInstrument, es256.PublicKey]:
        instrument = await self._instruments.find(token.key_id)
        if instrument is None or instrument.public_key is None:
            raise _InstrumentUnknown
        return instrument, instrument.public_key


class _InstrumentUnknown(Exception):
    """The token names a key of no instrument."""


def _verify_qr_token(
    token: Sign1, public_key: es256.PublicKey, now_ms: int
) -> tuple[QrTokenClaims, str | None]:
    """Return the authentic claims and, if only their time is wrong, the code for that."""
    try:
        return verify_qr_token(token, public_key, now_ms=now_ms), None
    except TokenError as error:
        if error.code not in ("token_expired", "token_not_yet_valid"):
            raise
        # Time is judged after the signature, so these claims are the device's own and are spent.
        return read_qr_claims(token), error.code


def _unfit_binding(
    claims: BoundTokenClaims, instrument: KnownInstrument, expected: Bound, now_ms: int
) -> str | None:
    """Return why a token is not bound to just this payment, now; None if it is."""
    if instrument.instrument_id != expected.instrument_id:
        return "token_invalid"
    if EntryMode.QR_MERCHANT not in ENTRY_MODES_OF[instrument.kind]:
        return "entry_mode_not_allowed"
    if (claims.merchant_id, claims.attempt_id) != (expected.merchant_id, expected.attempt_id):
        return "terminal_mismatch"
    if claims.amount.currency != expected.amount.currency:
        return "currency_mismatch"
    if claims.amount.minor != expected.amount.minor:
        return "amount_mismatch"
    try:
        check_bound_time(claims, now_ms=now_ms)
    except TokenError as error:
        return error.code
    return None


def _unfit_for(instrument: KnownInstrument, request: PaymentRequest) -> str | None:
    mode = entry_mode_of(request.presentation)
    return None if mode in ENTRY_MODES_OF[instrument.kind] else "entry_mode_not_allowed"


def _unfit_terms(
    terms: PaymentTerms, request: PaymentRequest, terminal: EnrolledTerminal, now_ms: int
) -> str | None:
    """Return why what the card signed is not this request at this terminal, now; None if it is."""
    here = (terminal.terminal.terminal_id, terminal.merchant.merchant_id)
    if (terms.terminal_id, terms.merchant_id) != here:
        return "terminal_mismatch"
    if terms.amount.currency.code != request.currency:
        return "currency_mismatch"
    if terms.amount.minor != request.amount_minor:
        return "amount_mismatch"
    if terms.transaction_type != PURCHASE:
        return "token_invalid"
    age_ms = now_ms - terms.at_s * 1000
    if age_ms > TERMS_AGE_MS_MAX:
        return "token_expired"
    return "token_not_yet_valid" if age_ms < -TERMS_AGE_MS_MAX else None


def _unfit_claims(claims: QrTokenClaims, request: PaymentRequest) -> str | None:
    if claims.cap.currency.code != request.currency:
        return "currency_mismatch"
    return "amount_above_token_cap" if request.amount_minor > claims.cap.minor else None


def _verdict(code: str | None, instrument: KnownInstrument, use: TokenUse) -> Verified | Refused:
    if code is None:
        return Verified(instrument.instrument_id, use)
    return Refused(code, instrument.instrument_id, use)


def _digest(token: Sign1) -> bytes:
    # Of the payload, not of the token: a signature has two spellings, what it says has one.
    return hashlib.sha256(token.payload).digest()
