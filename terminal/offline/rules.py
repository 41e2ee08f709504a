"""May this tap be accepted without asking? Pure: the same facts give the same answer (docs/adr/0008).

Nothing here reads a clock, a file or a socket. What the gateway said is a `Trust`, what is stored on this
terminal an `Exposure` and a `DeviceMemory`; terminal/offline/acceptance.py puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from wire import es256
from wire.cards.payment_terms import PURCHASE
from wire.errors import TokenError
from wire.messages.offline import OfflineRules
from wire.money import Money
from wire.tokens.credential import LEEWAY_MS, CredentialClaims, parse_credential, verify_credential
from wire.tokens.nfc_token import NfcTokenClaims, verify_nfc_token
from wire.tokens.sign1 import NFC_TOKEN_TYPE, Sign1, parse_sign1_of
from wire.tokens.status_list import StatusList

TAP_AGE_MS_MAX: Final = 60_000
"""Oldest tap: its terms were made by this terminal at the SELECT, a second before the token came back."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the gateway has said, and when; empty on a terminal that has never been told."""

    issuer_keys: Mapping[bytes, es256.PublicKey]
    """By key id: who may sign credentials and status lists."""
    rules: OfflineRules | None
    """None where this terminal may accept nothing offline."""
    status_list: StatusList | None
    """The last good one, verified."""
    clock_set_ms: int | None
    """Unix milliseconds at which the gateway last confirmed this machine's clock."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is stored on this terminal and not yet handed in."""

    sum_minor: int
    count: int


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What this terminal last saw of one device's key."""

    counter: int
    running_total_minor: int
    credential_id: bytes
    credential_issued_s: int
    stored_minor: int
    """Sum of its payments that are stored here and not yet handed in."""


@dataclass(frozen=True, slots=True)
class OfflineSale:
    """What the tap must be about."""

    amount: Money
    merchant_id: str
    terminal_id: str


@dataclass(frozen=True, slots=True)
class AcceptableTap:
    """A tap that keeps every rule; it counts only once it is on disk."""

    clock_set_ms: int
    list_issued_s: int
    """The two facts of a `Trust` that the seal has to state."""


@dataclass(frozen=True, slots=True)
class RefusedTap:
    """A tap, or any tap at present, that must not be accepted."""

    code: str
    """A refusal of wire/notices.py."""


class _Broken(Exception):
    """A rule is broken; the text is the refusal's code."""


def judge_sale(sale: OfflineSale, trust: Trust, exposure: Exposure, *, now_ms: int) -> str | None:
    """Return why no tap whatever can be accepted for this sale now, or None if one may be.

    Args:
        now_ms: unix milliseconds by this machine's clock.

    Returns:
        A refusal code of wire/notices.py: `offline_not_ready`, `offline_clock_unsure`,
        `offline_list_too_old`, `offline_amount_too_high` or `offline_store_full`.
    """
    try:
        _check_sale(sale, trust, exposure, now_ms)
    except _Broken as broken:
        return str(broken)
    return None


def judge_tap(
    token: bytes,
    credential: bytes,
    sale: OfflineSale,
    trust: Trust,
    exposure: Exposure,
    device: DeviceMemory | None,
    *,
    now_ms: int,
) -> AcceptableTap | RefusedTap:
    """Judge one tap by every rule; the first that it breaks is its refusal.

    Args:
        token, credential: as the card gave them; nothing of them is believed before it is verified.
        exposure: of this terminal without this tap.
        device: what was seen of the key that `device_key_id_of(token)` names; None for nothing.
        now_ms: unix milliseconds by this machine's clock.
    """
    try:
        clock_set_ms, list_issued_s = _check_sale(sale, trust, exposure, now_ms)
        sealed = _parse_token(token)
        vouched = _verify_credential(credential, trust, now_ms)
        claims = _verify_token(sealed, vouched)
        _check_terms(claims, sale, now_ms)
        _check_credential(vouched, sale, trust)
        _check_totals(claims, vouched)
        if device is not None:
            _check_memory(claims, vouched, device)
        _check_device_total(sale, trust, device)
    except _Broken as broken:
        return RefusedTap(str(broken))
    return AcceptableTap(clock_set_ms, list_issued_s)


def device_key_id_of(token: bytes) -> bytes | None:
    """Return the id of the key a tap's token says it is signed by; None for what is no such token."""
    try:
        return _parse_token(token).key_id
    except _Broken:
        return None


def _check_sale(sale: OfflineSale, trust: Trust, exposure: Exposure, now_ms: int) -> tuple[int, int]:
    rules, status_list = trust.rules, trust.status_list
    if rules is None or status_list is None or not trust.issuer_keys:
        raise _Broken("offline_not_ready")
    if sale.amount.currency.code != rules.currency:
        raise _Broken("offline_not_ready")
    clock_set_ms = trust.clock_set_ms
    # A clock that reads less than when it was set has been turned back: no age means anything then.
    if clock_set_ms is None or not 0 <= now_ms - clock_set_ms <= rules.clock_age_ms:
        raise _Broken("offline_clock_unsure")
    list_age_ms = now_ms - status_list.issued_s * 1000
    if list_age_ms < -LEEWAY_MS:
        raise _Broken("offline_clock_unsure")
    if list_age_ms > rules.list_age_ms:
        raise _Broken("offline_list_too_old")
    if not 0 < sale.amount.minor <= rules.floor_minor:
        raise _Broken("offline_amount_too_high")
    if exposure.count >= rules.stored_count:
        raise _Broken("offline_store_full")
    if exposure.sum_minor + sale.amount.minor > rules.stored_sum_minor:
        raise _Broken("offline_store_full")
    return clock_set_ms, status_list.issued_s


def _parse_token(token: bytes) -> Sign1:
    try:
        return parse_sign1_of(token, NFC_TOKEN_TYPE)
    except TokenError:
        raise _Broken("offline_token_invalid") from None


def _verify_credential(credential: bytes, trust: Trust, now_ms: int) -> CredentialClaims:
    try:
        sealed = parse_credential(credential)
        issuer_key = trust.issuer_keys.get(sealed.key_id)
        if issuer_key is None:
            raise _Broken("offline_credential_invalid")
        return verify_credential(sealed, issuer_key, now_ms=now_ms)
    except TokenError as error:
        is_over = error.code == "token_expired"
        raise _Broken("offline_credential_expired" if is_over else "offline_credential_invalid") from None


def _verify_token(sealed: Sign1, vouched: CredentialClaims) -> NfcTokenClaims:
    if sealed.key_id != vouched.device_key_id:
        raise _Broken("offline_credential_invalid")
    try:
        return verify_nfc_token(sealed, vouched.load_device_key())
    except TokenError:
        raise _Broken("offline_token_invalid") from None


def _check_terms(claims: NfcTokenClaims, sale: OfflineSale, now_ms: int) -> None:
    terms = claims.terms
    signed = (terms.amount, terms.merchant_id, terms.terminal_id, terms.transaction_type)
    if signed != (sale.amount, sale.merchant_id, sale.terminal_id, PURCHASE):
        raise _Broken("offline_token_invalid")
    if not terms.is_offline or abs(now_ms - terms.at_s * 1000) > TAP_AGE_MS_MAX:
        raise _Broken("offline_token_invalid")


def _check_credential(vouched: CredentialClaims, sale: OfflineSale, trust: Trust) -> None:
    if vouched.allowance.currency != sale.amount.currency:
        raise _Broken("offline_credential_invalid")
    assert trust.status_list is not None, "checked with the sale"
    if trust.status_list.is_suspended(vouched.status_index):
        raise _Broken("offline_credential_suspended")


def _check_totals(claims: NfcTokenClaims, vouched: CredentialClaims) -> None:
    amount_minor, total_minor = claims.terms.amount.minor, claims.running_total_minor
    assert total_minor is not None, "offline terms carry one, and these are offline"
    if total_minor < amount_minor:
        # The total includes this payment: below it, no honest card has counted.
        raise _Broken("card_copy_suspected")
    if amount_minor > vouched.per_payment_minor or total_minor > vouched.allowance.minor:
        raise _Broken("card_allowance_exceeded")


def _check_memory(claims: NfcTokenClaims, vouched: CredentialClaims, device: DeviceMemory) -> None:
    """Hold the tap to what the same key said here before: counters only rise, and totals by what was paid."""
    if claims.counter <= device.counter or vouched.issued_s < device.credential_issued_s:
        raise _Broken("card_copy_suspected")
    if vouched.credential_id != device.credential_id:
        # A new credential begins with nothing spent.
        return
    assert claims.running_total_minor is not None, "checked with the totals"
    if claims.running_total_minor - device.running_total_minor < claims.terms.amount.minor:
        raise _Broken("card_copy_suspected")


def _check_device_total(sale: OfflineSale, trust: Trust, device: DeviceMemory | None) -> None:
    assert trust.rules is not None, "checked with the sale"
    stored_minor = 0 if device is None else device.stored_minor
    if stored_minor + sale.amount.minor > trust.rules.device_total_minor:
        raise _Broken("offline_device_limit_reached")
