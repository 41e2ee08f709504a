"""From sealed bytes to what can be said of a record without the store's facts about it.

The seal comes first, since it says who claims all the rest; then the credential by its issuer's key at the
sealed time, then the tap by the key that the credential names, which must be that of an instrument we know.
About 300 µs a record, of three signatures.
"""

from __future__ import annotations

import hashlib

from gateway.merchants.model import EnrolledTerminal
from gateway.offline.issuer import Issuer
from gateway.offline.model import SealedPayment, TapClaim
from gateway.offline.rules import BROKEN, INVALID, judge_record
from gateway.payments.instruments import InstrumentDirectory
from gateway.storage.store import HolderStore
from wire import es256
from wire.errors import TokenError
from wire.messages.offline import OfflineRules
from wire.tokens.credential import CredentialClaims, parse_credential, read_credential, verify_credential
from wire.tokens.nfc_token import NfcTokenClaims, verify_nfc_token
from wire.tokens.offline_record import OfflineRecord, link_of, parse_offline_record, verify_offline_record
from wire.tokens.sign1 import NFC_TOKEN_TYPE, parse_sign1_of


class RecordVerifier:
    """Verifies records against the issuer's keys and those of enrolled instruments."""

    def __init__(self, store: HolderStore, issuer: Issuer) -> None:
        self._issuer = issuer
        self._instruments = InstrumentDirectory(store)

    async def verify(
        self,
        sealed: bytes,
        terminal: EnrolledTerminal,
        rules: OfflineRules,
        *,
        payment_id: str,
        now_ms: int,
    ) -> SealedPayment | None:
        """Return what a record says, with the refusal it deserves already; None if this till did not seal it.

        Raises:
            StoreUnavailable, GatewayBusy: retryable.
        """
        record = _open_seal(sealed, terminal)
        if record is None:
            return None
        terminal_id, merchant_id = terminal.terminal.terminal_id, terminal.merchant.merchant_id
        refusal: str | None = INVALID
        claim: TapClaim | None = None
        try:
            vouched, expiry_refusal = self._verify_credential(record)
            tap, claim = await self._verify_tap(record, vouched)
            refusal = (
                judge_record(
                    record,
                    tap,
                    vouched,
                    rules,
                    merchant_id=merchant_id,
                    terminal_id=terminal_id,
                    now_ms=now_ms,
                )
                or expiry_refusal
            )
        except TokenError:
            # What is not authentic proves nothing, and is laid at nobody's door but the till's.
            pass
        return SealedPayment(
            payment_id=payment_id,
            terminal_id=terminal_id,
            merchant_id=merchant_id,
            sequence=record.sequence,
            link=link_of(sealed),
            previous_link=record.previous_link,
            sealed=sealed,
            attempt_id=record.attempt_id,
            order_id=record.order_id,
            amount_minor=record.amount.minor,
            currency=record.amount.currency.code,
            accepted_ms=record.accepted_ms,
            list_issued_s=record.list_issued_s,
            refusal=refusal,
            claim=claim,
            now_ms=now_ms,
        )

    def _verify_credential(self, record: OfflineRecord) -> tuple[CredentialClaims, str | None]:
        """Return what the issuer said, and the refusal if that was over, or not yet so, at the sealed time.

        Raises:
            TokenError: no issuer of ours said it.
        """
        sealed = parse_credential(record.credential)
        key = self._issuer.find_key(sealed.key_id)
        if key is None:
            raise TokenError("the credential is not of our issuer")
        try:
            return verify_credential(sealed, key, now_ms=record.accepted_ms), None
        except TokenError as error:
            if error.code not in ("token_expired", "token_not_yet_valid"):
                raise
            # Times are judged after the signature, so this is what the issuer said.
            return read_credential(sealed), BROKEN

    async def _verify_tap(
        self, record: OfflineRecord, vouched: CredentialClaims
    ) -> tuple[NfcTokenClaims, TapClaim]:
        """Return what the device signed.

        Raises:
            TokenError: not the device that the credential is about, or none that is registered.
        """
        token = parse_sign1_of(record.token, NFC_TOKEN_TYPE)
        instrument = await self._instruments.find(token.key_id)
        key = None if instrument is None else instrument.public_key
        if instrument is None or key is None or es256.dump_public_key(key) != vouched.device_public_key:
            raise TokenError("the credential is about no registered device")
        tap = verify_nfc_token(token, key)
        if tap.running_total_minor is None:
            raise TokenError("the tap was not made for a payment without a connection")
        claim = TapClaim(
            instrument_id=instrument.instrument_id,
            key_id=token.key_id,
            counter=tap.counter,
            claims_digest=hashlib.sha256(token.payload).digest(),
            running_total_minor=tap.running_total_minor,
            credential_tag=vouched.credential_id,
        )
        return tap, claim


def _open_seal(sealed: bytes, terminal: EnrolledTerminal) -> OfflineRecord | None:
    assert terminal.terminal.public_key is not None, "who has signed the request has a key"
    try:
        token = parse_offline_record(sealed)
        if token.key_id != terminal.terminal.key_id:
            return None
        return verify_offline_record(token, es256.load_public_key(terminal.terminal.public_key))
    except TokenError:
        return None
