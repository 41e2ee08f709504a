"""Books with something of everything that can become of payments without a connection, in any store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.payments.life import Refund, Reverse
from tests.offline_devices import DAY_MS, OfflineWorld
from wire.tokens.offline_record import FIRST_LINK

if TYPE_CHECKING:
    from gateway.offline.model import SealedPayment, TapClaim
    from tests.conftest import Shop
    from tests.databases import Database
    from tests.offline_devices import Till

PAID, DECLINED, LOST, ALL_LOST = (f"0SEA1ED0{number:018d}" for number in (1_001, 1_002, 3_001, 4_001))
"""Payments: from its allowance; none; from allowance, wallet and operator; from the operator alone."""
TILL: Final = "TERMNA01"
ONLINE: Final = "0PAYMENT000000000000000007"
"""One that a record found decided already."""
ENDED, LIVE = (f"0CREDENT000001{number:012d}" for number in (1, 2))
UNUSED: Final = "0CREDENT000002000000000001"
"""Credentials; the last one is another phone's of the same wallet, and nothing was taken from it."""
REFUND: Final = "0REFVND0000000000000000001"
"""Of LOST: all that the operator lost, and a part of what the payer paid."""


async def keep_offline_books(database: Database, shop: Shop) -> None:
    """Write the books: a funding is group 1, and the first allowance group 2."""
    store = await database.open_store()
    try:
        await shop.furnish(store)
        await store.set_refund_limit(shop.terminal.terminal_id, 10**6)
        await _Story(store, shop).tell()
    finally:
        await store.close()


class _Story:
    def __init__(self, store: Any, shop: Shop) -> None:
        self._store = store
        self._shop = shop
        self._now_ms = shop.now_ms
        self._world = OfflineWorld(store, shop)

    async def tell(self) -> None:
        phone, till = await self._world.device(), await self._world.till()
        await phone.get_credential(self._store, 5_000, self._now_ms)
        claim = phone.tap(1_000)
        await self._settle(till, claim, 1_000)
        await self._settle(till, phone.tap(600), 600, refusal="offline_record_too_old")
        # The same tap once more, an attempt that had arrived online, a record that never comes, a torn chain.
        await self._settle(till, claim, 1_000)
        booking = self._shop.booking(7)
        await self._store.book_payment(booking)
        await self._settle(
            till, phone.tap(1_250), 1_250, attempt_id=booking.attempt_id, order_id=booking.order_id
        )
        till.accept(phone.tap(100), 100)
        await self._settle(till, phone.tap(200), 200)
        await self._settle(till, phone.tap(300), 300, previous_link=FIRST_LINK)
        await phone.get_credential(self._store, 70_000, self._now_ms, number=2)
        await self._store.end_credential(ENDED, self._now_ms + 14 * DAY_MS)
        await (await self._world.device(2)).get_credential(self._store, 500, self._now_ms)
        await self._sign_thrice(phone.tap(69_000))
        await self._change(Refund(LOST, TILL, REFUND, 40_000, "", "STAFF1"))
        await self._change(Reverse(ALL_LOST, TILL))

    async def _sign_thrice(self, claim: TapClaim) -> None:
        """Have a copy of the phone sign under the same counter at two other tills."""
        for number, amount_minor in ((2, 69_000), (3, 60_000), (4, 500)):
            till = await self._world.till(number)
            signed = msgspec.structs.replace(claim, claims_digest=bytes([number]) * 32)
            await self._settle(till, signed, amount_minor)

    async def _settle(self, till: Till, claim: TapClaim, amount_minor: int, **changes: object) -> None:
        sealed: SealedPayment = till.accept(claim, amount_minor, **changes)
        await self._store.settle_record(sealed)

    async def _change(self, change: Any) -> None:
        await self._store.change_payment(change, self._now_ms)
