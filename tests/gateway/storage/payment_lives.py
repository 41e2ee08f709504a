"""Books in which something of everything became of payments, in a database of either kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.payments.life import Capture, Confirm, Expire, Refund, Refuse, Reverse, Void
from gateway.payments.model import Terms
from gateway.payments.settlement import HOLD_GRACE_MS
from wire.messages.payments import CaptureMode, ConfirmationWay

if TYPE_CHECKING:
    from tests.conftest import Shop
    from tests.databases import Database

TILL = "TERMNA01"
HOLD_MS = 3_600_000
CONFIRM_MS = 120_000
(
    REFUNDED,
    CAPTURED,
    VOIDED,
    CONFIRMED,
    REFUSED,
    REVERSED,
    HELD,
    WAITING,
    CONFIRMED_HOLD,
    LET_GO,
    GIVEN_BACK,
) = (f"0PAYMENT{number:018d}" for number in range(1, 12))
"""Payment ids, by what became of them; LET_GO: its hold was over in the ledger before it was ended,
GIVEN_BACK: refunded whole, then reversed."""
HALF, OTHER_HALF, DECLINED, CAPTURED_AND_REVERSED = (f"0PAYMENT{number:018d}" for number in range(12, 16))
FIRST_REFUND, SECOND_REFUND = "0REFVND0000000000000000001", "0REFVND0000000000000000002"


async def keep_lives(database: Database, shop: Shop) -> None:
    """Write the books: a funding is group 1, and then each payment in the order of their numbers."""
    store = await database.open_store()
    await shop.furnish(store)
    await store.set_tip_margin(shop.merchant.merchant_id, 2_000)
    await store.set_refund_limit(TILL, 10**6)
    await store.set_wallet_pin(shop.wallet.wallet_id, "argon2id")
    try:
        await _Lives(store, shop).live()
    finally:
        await store.close()


class _Lives:
    def __init__(self, store: Any, shop: Shop) -> None:
        self._store = store
        self._shop = shop
        self._now_ms = shop.now_ms
        self._refund_count = 0
        by_ms = {"confirm_by_ms": self._now_ms + CONFIRM_MS, "capture_by_ms": self._now_ms + HOLD_MS}
        self._held = Terms(CaptureMode.MANUAL, tip_max_minor=200, **by_ms)
        self._waiting = Terms(confirm_for="confirm_new_terminal", **by_ms)
        self._waiting_hold = msgspec.structs.replace(self._held, confirm_for="confirm_new_terminal")

    async def live(self) -> None:
        await self._refunds_and_captures()
        await self._confirmations()
        await self._pay(6)
        await self._refund(REVERSED, 300)
        await self._change(Reverse(REVERSED, TILL))
        await self._pay(7, self._held)
        await self._pay(8, self._waiting)
        await self._pay(9, self._waiting_hold)
        await self._change(Confirm(CONFIRMED_HOLD, ConfirmationWay.DEVICE, self._now_ms + HOLD_MS))
        await self._pay(10, msgspec.structs.replace(self._held, capture_by_ms=self._now_ms + 1))
        over_ms = self._now_ms + 1 + HOLD_GRACE_MS
        assert await self._store.expire_pendings(over_ms) == 1
        await self._store.change_payment(Expire(LET_GO), over_ms)
        await self._pay(11)
        await self._refund(GIVEN_BACK, 1_250)
        await self._change(Reverse(GIVEN_BACK, TILL))
        for number in (12, 13):
            await self._pay(number, Terms(order_amount_minor=2_500), order_id="shared")
        await self._pay(14, amount_minor=60_000)
        await self._pay(15, self._held)
        await self._change(Capture(CAPTURED_AND_REVERSED, TILL, "0CAPTVRE000000000000000015", 1_000, 200))
        await self._change(Reverse(CAPTURED_AND_REVERSED, TILL))

    async def _refunds_and_captures(self) -> None:
        await self._pay(1)
        await self._refund(REFUNDED, 333)
        await self._refund(REFUNDED, 800)
        await self._pay(2, self._held)
        await self._change(Capture(CAPTURED, TILL, "0CAPTVRE000000000000000002", 900, 150))
        await self._pay(3, self._held)
        await self._change(Void(VOIDED, TILL))

    async def _confirmations(self) -> None:
        await self._pay(4, self._waiting)
        await self._change(Confirm(CONFIRMED, ConfirmationWay.PIN, 0))
        await self._pay(5, self._waiting)
        await self._change(Refuse(REFUSED, "confirmation_refused"))

    async def _pay(self, number: int, terms: Terms | None = None, **changes: object) -> None:
        await self._store.book_payment(self._shop.booking(number, terms=terms or Terms(), **changes))

    async def _refund(self, payment_id: str, total_minor: int) -> None:
        self._refund_count += 1
        refund_id = f"0REFVND0{self._refund_count:018d}"
        await self._change(Refund(payment_id, TILL, refund_id, total_minor, "broken cup", "STAFF1"))

    async def _change(self, change: Any) -> None:
        await self._store.change_payment(change, self._now_ms)
