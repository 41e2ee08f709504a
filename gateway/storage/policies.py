"""Limits and PINs, and what tills ask for by code: one statement each, the same for every store.

A store says how a statement of its queries/policy.sql is run; what it means is here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.errors import IdempotencyConflict
from gateway.holders.model import Habit, IdentityLevel, LimitTier, PinTry
from gateway.merchants.model import Intent, MerchantStatus
from gateway.payments.model import PaymentRecord
from gateway.storage.records import read_intent, read_limit_tier, read_payment
from gateway.storage.statements import StatementRunner, Values
from gateway.storage.store import HABIT_DAYS_MAX, PAGE_ROWS_MAX, PIN_TRIES_MAX, StoredReceipt


class PolicyQueries(StatementRunner):
    """The methods of PolicyStore and IntentStore."""

    # What is allowed to whom

    async def set_merchant_status(self, merchant_id: str, status: MerchantStatus) -> None:
        await self._set("set_merchant_status", merchant_id=merchant_id, status=status.value)

    async def set_tip_margin(self, merchant_id: str, basis_points: int) -> None:
        await self._set("set_tip_margin", merchant_id=merchant_id, basis_points=basis_points)

    async def set_refund_limit(self, terminal_id: str, limit_minor: int) -> None:
        await self._set("set_refund_limit", terminal_id=terminal_id, limit_minor=limit_minor)

    async def set_confirm_above(self, instrument_id: str, confirm_above_minor: int | None) -> None:
        await self._set(
            "set_confirm_above", instrument_id=instrument_id, confirm_above_minor=confirm_above_minor
        )

    async def set_identity_level(self, wallet_id: str, level: IdentityLevel) -> None:
        await self._set("set_identity_level", wallet_id=wallet_id, identity_level=level.value)

    async def set_limit_tier(self, tier: LimitTier) -> None:
        await self._set("set_limit_tier", **values_of_tier(tier))

    async def list_limit_tiers(self) -> list[LimitTier]:
        return [read_limit_tier(row) for row in await self._list("list_limit_tiers")]

    async def set_wallet_pin(self, wallet_id: str, pin_hash: str | None) -> None:
        await self._set("set_wallet_pin", wallet_id=wallet_id, pin_hash=pin_hash)

    async def take_pin_try(self, payment_id: str, entry_mark: bytes) -> PinTry | None:
        row = await self._take(
            "take_pin_try", payment_id=payment_id, entry_mark=entry_mark, tries_max=PIN_TRIES_MAX
        )
        return None if row is None else PinTry(row["pin_hash"], row["pin_tries"])

    async def read_habit(self, instrument_id: str, days: Sequence[int]) -> Habit:
        assert len(days) <= HABIT_DAYS_MAX, "a habit is looked for on so many days"
        rows = await self._list_habit(instrument_id, days)
        return Habit(sum(row["payment_count"] for row in rows), sum(row["spent_minor"] for row in rows))

    # What tills ask for by code

    async def add_intent(self, intent: Intent) -> None:
        if await self._add("add_intent", values_of_intent(intent)):
            return
        known = await self.find_intent(intent.intent_id)
        if known is None or replace(known, created_ms=0, expires_ms=0) != replace(
            intent, created_ms=0, expires_ms=0
        ):
            raise IdempotencyConflict("the intent id was used for something else")

    async def find_intent(self, intent_id: str) -> Intent | None:
        rows = await self._list("find_intent", intent_id=intent_id)
        return read_intent(rows[0]) if rows else None

    async def find_open_intent(self, terminal_id: str, now_ms: int) -> Intent | None:
        rows = await self._list("find_open_intent", terminal_id=terminal_id, now_ms=now_ms)
        return read_intent(rows[0]) if rows else None

    async def list_waiting_payments(self, wallet_id: str, now_ms: int) -> list[PaymentRecord]:
        values = {"wallet_id": wallet_id, "now_ms": now_ms, "rows_max": PAGE_ROWS_MAX}
        return [read_payment(row) for row in await self._list("list_waiting_payments", **values)]

    async def find_receipt(self, payment_id: str) -> StoredReceipt | None:
        rows = await self._list("find_receipt", payment_id=payment_id)
        return StoredReceipt(read_payment(rows[0]), rows[0]["order_details"]) if rows else None

    async def find_payment_of_wallet(self, wallet_id: str, payment_id: str) -> PaymentRecord | None:
        rows = await self._list("find_payment_of_wallet", wallet_id=wallet_id, payment_id=payment_id)
        return read_payment(rows[0]) if rows else None


def values_of_tier(tier: LimitTier) -> dict[str, Any]:
    """Return a row of limit_tiers."""
    return {
        "currency": tier.currency,
        "identity_level": tier.identity_level.value,
        "confirm_above_minor": tier.confirm_above_minor,
        "pin_max_minor": tier.pin_max_minor,
        "per_payment_minor": tier.per_payment_minor,
        "per_day_minor": tier.per_day_minor,
    }


def values_of_intent(intent: Intent) -> Values:
    """Return a row of intents."""
    return {
        "intent_id": intent.intent_id,
        "terminal_id": intent.terminal_id,
        "merchant_id": intent.merchant_id,
        "order_id": intent.order_id,
        "amount_minor": intent.amount_minor,
        "currency": intent.currency,
        "order_amount_minor": intent.order_amount_minor,
        "order_details": intent.order_details,
        "created_ms": intent.created_ms,
        "expires_ms": intent.expires_ms,
    }
