"""The gateway is killed while an attempt is on its way: what the till says in the end is what was charged.

Three moments take turns: before the attempt arrives, while it is decided, and before its answer arrives.
Every other time the gateway comes back only when the cashier was told "unknown", and the till finds out by
itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, Final

from simulators.fields.udp_radio import UdpRadio
from simulators.networks.gateway_line import Moment
from tests.acceptance.faults.shopfront import Shopfront, open_shopfront
from tests.acceptance.faults.till_process import until
from wire.messages.till import SaleState

AMOUNT_MINOR: Final = 100
KNOWN_S: Final = 60
TILL_SETTINGS: Final = """
[sale]
answer_deadline_ms = 4000
[resolver]
retry_delay_ms = 100
retry_delay_ms_max = 500
"""


async def run_gateway_kill(folder: Path, seed: int, kills: int) -> dict[str, Any]:
    """Sell one order for each kill, and return what was told and what was charged."""
    radio = UdpRadio()
    radio.start()
    try:
        async with open_shopfront(
            folder, seed, [radio.reader_path], till_settings=TILL_SETTINGS
        ) as shopfront:
            told: dict[str, SaleState] = {}
            for number in range(kills):
                told[f"order-{number}"] = await _sell_under_fire(shopfront, radio, number)
            await _wait_until_known(shopfront)
            return await _look(shopfront, told)
    finally:
        radio.stop()


async def _sell_under_fire(shopfront: Shopfront, radio: UdpRadio, number: int) -> SaleState:
    """Kill the gateway at a moment of the sale's attempt, and return what the cashier was told first."""
    moment = list(Moment)[number % len(Moment)]
    killed = asyncio.Event()

    def kill() -> None:
        shopfront.gateway.kill()
        killed.set()

    shopfront.line.strike_once(moment, kill)
    sale = await shopfront.till.start_sale(AMOUNT_MINOR, f"order-{number}")
    radio.present(shopfront.phone.payment_card())
    async with asyncio.timeout(KNOWN_S):
        await killed.wait()
    await shopfront.gateway.wait_for_end()
    if number % 2:
        ended = await shopfront.till.wait_for_sale(sale.sale_id)
        await shopfront.start_gateway()
    else:
        await shopfront.start_gateway()
        ended = await shopfront.till.wait_for_sale(sale.sale_id)
    radio.remove()
    return ended.state


async def _wait_until_known(shopfront: Shopfront) -> None:
    """Return once the till knows what became of everything."""
    await until(shopfront.till.find_daemon, lambda seen: not seen.unresolved_attempt_count)


async def _look(shopfront: Shopfront, told: dict[str, SaleState]) -> dict[str, Any]:
    books = await shopfront.read_books()
    charges = Counter(payment.order_id for payment in books.payments if payment.approved)
    listed = await shopfront.till.read_json("/v1/payments")
    known = {payment["order_id"]: payment["state"] for payment in listed}
    return {
        "sales": len(told),
        "told_at_once": dict(sorted(Counter(state.value for state in told.values()).items())),
        "charges": sum(charges.values()),
        "doubled": sum(count - 1 for count in charges.values()),
        "contradicted": sum((known.get(order) == "succeeded") != (order in charges) for order in told),
        "findings": [f"{one.code}: {one.where}" for one in await shopfront.findings()],
    }
