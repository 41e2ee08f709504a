"""The rules of payments without a connection: what terminals are told, and whether a record kept them.

Pure: the same record under the same rules gets the same word. What was stored at a terminal when it accepted
(its sum, its count, what it had of one device) leaves no trace in a seal and is not judged here; the
gateway's own bounds are in gateway/offline/decide.py.
"""

from __future__ import annotations

from typing import Final

from gateway.config import OfflineSettings
from wire.cards.payment_terms import PURCHASE
from wire.messages.offline import OfflineRules
from wire.money import find_currency
from wire.tokens.credential import LEEWAY_MS, CredentialClaims
from wire.tokens.nfc_token import NfcTokenClaims
from wire.tokens.offline_record import OfflineRecord

TAP_AGE_MS_MAX: Final = 60_000
"""How far the tap's time may lie from its acceptance, both by the terminal's clock; its own rule too."""
INVALID: Final = "offline_record_invalid"
TOO_OLD: Final = "offline_record_too_old"
BROKEN: Final = "offline_rules_broken"
CONFLICT: Final = "offline_record_conflict"


def rules_for(settings: OfflineSettings, currency: str) -> OfflineRules:
    """Return what terminals of a merchant of this currency may accept."""
    unit = 10 ** find_currency(currency).exponent
    return OfflineRules(
        currency=currency,
        floor_minor=settings.floor_units * unit,
        device_total_minor=settings.device_total_units * unit,
        stored_sum_minor=settings.stored_sum_units * unit,
        stored_count=settings.stored_count,
        list_age_ms=settings.list_age_ms,
        clock_age_ms=settings.clock_age_ms,
        record_age_ms=settings.record_age_ms,
    )


def judge_record(
    record: OfflineRecord,
    tap: NfcTokenClaims,
    vouched: CredentialClaims,
    rules: OfflineRules,
    *,
    merchant_id: str,
    terminal_id: str,
    now_ms: int,
) -> str | None:
    """Return the decline a record deserves, None if it kept every rule.

    Args:
        record: as its terminal sealed it.
        tap, vouched: what the device and the issuer signed; that they did is verified.
        merchant_id, terminal_id: who uploads it.
        now_ms: unix milliseconds of the upload.
    """
    terms = tap.terms
    signed = (terms.amount, terms.merchant_id, terms.terminal_id, terms.transaction_type, terms.is_offline)
    if signed != (record.amount, merchant_id, terminal_id, PURCHASE, True):
        return INVALID
    if vouched.allowance.currency != record.amount.currency:
        return INVALID
    if now_ms - record.accepted_ms > rules.record_age_ms:
        return TOO_OLD
    is_kept = _keeps_times(record, terms.at_s * 1000, rules, now_ms) and _keeps_limits(
        record, tap, vouched, rules
    )
    return None if is_kept else BROKEN


def _keeps_times(record: OfflineRecord, tapped_ms: int, rules: OfflineRules, now_ms: int) -> bool:
    accepted_ms = record.accepted_ms
    list_age_ms = accepted_ms - record.list_issued_s * 1000
    return (
        accepted_ms <= now_ms + LEEWAY_MS
        and 0 <= accepted_ms - record.clock_set_ms <= rules.clock_age_ms
        and -LEEWAY_MS <= list_age_ms <= rules.list_age_ms
        and abs(accepted_ms - tapped_ms) <= TAP_AGE_MS_MAX
    )


def _keeps_limits(
    record: OfflineRecord, tap: NfcTokenClaims, vouched: CredentialClaims, rules: OfflineRules
) -> bool:
    amount_minor, total_minor = record.amount.minor, tap.running_total_minor
    assert total_minor is not None, "offline terms carry one, and these are offline"
    return (
        record.amount.currency.code == rules.currency
        and amount_minor <= min(rules.floor_minor, vouched.per_payment_minor)
        and amount_minor <= total_minor <= vouched.allowance.minor
    )
