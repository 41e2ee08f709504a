"""What phones and terminals ask about payments without a connection, from request to answer."""

from __future__ import annotations

import hashlib
from typing import Final

import structlog

from gateway.config import OfflineSettings
from gateway.entropy import Entropy, draw_ulid
from gateway.errors import AuthenticationFailed, GatewayError, PaymentRefused
from gateway.holders.model import Instrument, InstrumentStatus
from gateway.merchants.model import EnrolledTerminal, MerchantStatus
from gateway.offline.issuer import Issuer
from gateway.offline.model import CredentialWish, SettledRecord
from gateway.offline.rules import INVALID, rules_for
from gateway.offline.verify import RecordVerifier
from gateway.storage.store import Store
from gateway.vault import Vault
from wire.errors import MoneyError, WireError
from wire.messages.base import dump_message
from wire.messages.offline import (
    BatchAnswer,
    BatchRequest,
    CredentialAnswer,
    CredentialRequest,
    IssuerAnswer,
    OfflineRules,
    RecordResult,
    StatusListAnswer,
)
from wire.money import find_currency
from wire.tokens.credential import CREDENTIAL_ID_BYTES, LEEWAY_MS

END_GRACE_MS: Final = LEEWAY_MS + 60_000
"""How much longer than a record may take a credential's money stays set aside: a credential may be shown this
little after its expiry, and gateways' clocks may differ by a minute."""
UNREADABLE: Final = RecordResult(sequence=0, outcome="declined", code=INVALID, loss_bearer="merchant")
"""The word on bytes that the terminal did not seal: they prove nothing, not even a number."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class OfflineService:
    """Issues credentials, says whom to believe, and gives every sealed record its word."""

    def __init__(self, store: Store, vault: Vault, settings: OfflineSettings, entropy: Entropy) -> None:
        self._store = store
        self._settings = settings
        self._entropy = entropy
        self._issuer = Issuer(vault, settings.issuer_key_number)
        self._verifier = RecordVerifier(store, self._issuer)

    async def issue(
        self, request: CredentialRequest, instrument: Instrument, *, now_ms: int
    ) -> CredentialAnswer:
        """Set an allowance aside for a phone; when this returns, it is on disk.

        Raises:
            AuthenticationFailed: `device_suspended`. MoneyError: `amount_invalid`; more than is allowed.
            PaymentRefused: `offline_not_offered`, `allowance_not_covered`, `payer_wallet_frozen`.
            IdempotencyConflict: the id was used for another request.
        """
        settings = self._settings
        if not settings.enabled:
            raise PaymentRefused(code="offline_not_offered")
        if instrument.status is not InstrumentStatus.ACTIVE:
            raise AuthenticationFailed("this device is suspended", code="device_suspended")
        currency, limits = await self._currency_of(instrument), instrument.limits
        rules = rules_for(settings, currency)
        unit = 10 ** find_currency(currency).exponent
        if request.allowance_minor > min(settings.allowance_units_max * unit, limits.per_day_minor):
            raise MoneyError("the allowance is above what is offered", code="amount_invalid")
        wanted_minor = request.per_payment_minor or request.allowance_minor
        per_payment_minor = min(
            wanted_minor, request.allowance_minor, rules.floor_minor, limits.per_payment_minor
        )
        if per_payment_minor <= 0:
            raise PaymentRefused(code="offline_not_offered")
        issued_ms = now_ms // 1000 * 1000
        expires_ms = issued_ms + settings.credential_life_ms // 1000 * 1000
        issued = await self._store.issue_credential(
            CredentialWish(
                credential_id=request.credential_id,
                request_digest=hashlib.sha256(dump_message(request)).digest(),
                instrument_id=instrument.instrument_id,
                tag=self._entropy(CREDENTIAL_ID_BYTES),
                allowance_minor=request.allowance_minor,
                per_payment_minor=per_payment_minor,
                issued_ms=issued_ms,
                expires_ms=expires_ms,
                ends_ms=expires_ms + settings.record_age_ms + END_GRACE_MS,
            )
        )
        assert instrument.public_key is not None, "who has signed has a key"
        return CredentialAnswer(
            credential=self._issuer.mint(issued, instrument.public_key),
            expires_ms=issued.expires_ms,
            allowance_minor=issued.allowance_minor,
        )

    def describe_issuer(self, terminal: EnrolledTerminal, *, now_ms: int) -> IssuerAnswer:
        """Say whom a terminal is to believe, and how far it may go; no rules where it may not accept."""
        is_offered = self._settings.enabled and terminal.merchant.status is MerchantStatus.ACTIVE
        return IssuerAnswer(
            keys=self._issuer.keys,
            gateway_time_ms=now_ms,
            rules=rules_for(self._settings, terminal.merchant.currency) if is_offered else None,
        )

    async def read_status_list(self, known_etag: str | None, *, now_ms: int) -> StatusListAnswer:
        """Return the list of suspended credentials, without its bytes where the caller has it already."""
        refresh_ms = self._settings.list_refresh_ms
        suspended = await self._store.list_suspended(now_ms)
        etag = self._issuer.tag_list(suspended, now_ms=now_ms, refresh_ms=refresh_ms)
        if etag == known_etag:
            return StatusListAnswer(etag=etag)
        listed = self._issuer.mint_list(suspended, now_ms=now_ms, refresh_ms=refresh_ms)
        return StatusListAnswer(etag=etag, status_list=listed)

    async def take_batch(
        self, batch: BatchRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> BatchAnswer:
        """Give each record its word; what was answered is on disk, record by record.

        Whatever is raised, those that have their word have it, and get it again when they come again.

        Raises:
            AuthenticationFailed: `terminal_revoked`. PaymentRefused: `offline_not_offered`; its merchant is
                suspended. StoreUnavailable, GatewayBusy: send the batch again.
            WireError: `malformed`; one of them breaks us. A terminal finds which by halving the batch, and
                goes on with the others.
        """
        rules = rules_for(self._settings, terminal.merchant.currency)
        terminal_id = terminal.terminal.terminal_id
        results: list[RecordResult] = []
        for sealed in batch.records:
            try:
                results.append(await self._settle(sealed, terminal, rules, now_ms))
            except GatewayError as error:
                if error.retryable or error.code != GatewayError.code:
                    raise
                log.error("offline_record_not_settled", terminal_id=terminal_id, reason=str(error))
            except Exception as error:  # noqa: BLE001  one poisoned record must not stop the others
                log.error("offline_record_not_settled", terminal_id=terminal_id, reason=type(error).__name__)
        if len(results) < len(batch.records):
            raise WireError("a record of this batch can't be settled")
        last = await self._store.find_last_sequence(terminal_id)
        return BatchAnswer(results=results, next_sequence=last + 1)

    async def _settle(
        self, sealed: bytes, terminal: EnrolledTerminal, rules: OfflineRules, now_ms: int
    ) -> RecordResult:
        payment_id = draw_ulid(self._entropy, now_ms)
        payment = await self._verifier.verify(sealed, terminal, rules, payment_id=payment_id, now_ms=now_ms)
        if payment is None:
            log.error("offline_record_unreadable", terminal_id=terminal.terminal.terminal_id)
            return UNREADABLE
        word = await self._store.settle_record(payment)
        _log_unless_plain(word)
        return _result_of(word)

    async def _currency_of(self, instrument: Instrument) -> str:
        held = await self._store.find_wallet(instrument.wallet_id)
        assert held is not None, "an instrument has a wallet"
        return held.wallet.currency


def _result_of(word: SettledRecord) -> RecordResult:
    return RecordResult(
        sequence=word.sequence,
        outcome=word.outcome,
        code=word.code,
        payment_id=word.payment_id,
        loss_minor=word.loss_minor,
        loss_bearer=word.loss_bearer,
    )


def _log_unless_plain(word: SettledRecord) -> None:
    if word.outcome == "settled" and not word.code and not word.loss_minor:
        return
    log.warning(
        "offline_record_not_plainly_settled",
        terminal_id=word.terminal_id,
        sequence=word.sequence,
        outcome=word.outcome,
        code=word.code,
        payment_id=word.payment_id,
        loss_minor=word.loss_minor,
        loss_bearer=word.loss_bearer,
    )
