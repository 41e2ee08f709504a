"""The offline queue drains through a bad line into a till that is killed: N orders are N charges.

The line is cut, N orders are accepted offline, each with a tap of its own. Then the line carries requests and
loses answers, and the daemon is killed while it hands in, again and again; at last it is left alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from simulators.fields.udp_radio import UdpRadio
from simulators.networks.gateway_line import LineState
from simulators.phones.wallet_app import WalletApp, exchange_over
from tests.acceptance.faults.shopfront import FUNDS_MINOR, Shopfront, open_shopfront
from tests.acceptance.faults.till_process import until
from wire.messages.offline import CredentialRequest
from wire.messages.till import SaleState

AMOUNT_MINOR: Final = 100
ALLOWANCE_MINOR: Final = 5_000
ANSWERS_LOST_PER_KILL: Final = 2
DRAINED_S: Final = 120
TILL_SETTINGS: Final = """
[offline]
enabled = true
bad_exchanges_to_leave = 1
good_exchanges_to_return = 1
slow_ms = 1000
probe_interval_ms = 200
sync_interval_ms = 1000
upload_retry_delay_ms = 50
upload_retry_delay_ms_max = 200
"""
GATEWAY_SETTINGS: Final = """
[offline]
enabled = true
device_total_units = 50
"""


async def run_drain(folder: Path, seed: int, orders: int, kills: int) -> dict[str, Any]:
    """Accept orders offline, hand them in under fire, and return what was charged.

    Args:
        kills: how often the daemon is killed while it hands in.
    """
    radio = UdpRadio()
    radio.start()
    try:
        async with open_shopfront(
            folder,
            seed,
            [radio.reader_path],
            gateway_settings=GATEWAY_SETTINGS,
            till_settings=TILL_SETTINGS,
        ) as shopfront:
            await _give_allowance(shopfront)
            await _wait_for_sync(shopfront)
            shopfront.line.set(LineState.CUT)
            await _until_offline(shopfront, lambda seen: seen["mode"] == "offline")
            await _sell_offline(shopfront, radio, orders)
            await _hand_in_under_fire(shopfront, kills)
            return await _look(shopfront, orders)
    finally:
        radio.stop()


async def _give_allowance(shopfront: Shopfront) -> None:
    """Let the holder's phone get its credential while there is a connection."""
    wallet = WalletApp(
        exchange_over(shopfront.http),
        shopfront.line.url,
        shopfront.phone_key,
        now_ms=shopfront.now_ms,
        entropy=shopfront.rng.randbytes,
    )
    request = CredentialRequest(credential_id=wallet.new_id(), allowance_minor=ALLOWANCE_MINOR)
    shopfront.phone.hold_credential((await wallet.ask_credential(request)).credential)


async def _wait_for_sync(shopfront: Shopfront) -> None:
    """Return once the till knows whom to believe and how far."""
    await _until_offline(shopfront, lambda seen: seen.get("synced_ms") is not None)


async def _until_offline(shopfront: Shopfront, is_so: Callable[[Any], bool]) -> None:
    """Return once the till says so of its payments without a connection."""
    await until(lambda: shopfront.till.read_json("/v1/offline"), is_so, within_s=DRAINED_S)


async def _sell_offline(shopfront: Shopfront, radio: UdpRadio, orders: int) -> None:
    for number in range(orders):
        sale = await shopfront.till.start_sale(AMOUNT_MINOR, f"order-{number}")
        radio.present(shopfront.phone.payment_card())
        ended = await shopfront.till.wait_for_sale(sale.sale_id)
        radio.remove()
        assert ended.state is SaleState.ACCEPTED_OFFLINE, (ended, shopfront.till.log_tail())


async def _hand_in_under_fire(shopfront: Shopfront, kills: int) -> None:
    """Lose answers and kill the daemon while it hands in, then leave it alone."""
    shopfront.line.set(LineState.LOSES_ANSWERS)
    for _ in range(kills):
        async with asyncio.timeout(DRAINED_S):
            await shopfront.line.wait_for_losses(ANSWERS_LOST_PER_KILL)
        await shopfront.till.kill()
        await shopfront.till.start()
    shopfront.line.set(LineState.CARRIES)
    await _until_offline(shopfront, lambda seen: not seen["waiting_count"])


async def _look(shopfront: Shopfront, orders: int) -> dict[str, Any]:
    books = await shopfront.read_books()
    charges = Counter(payment.order_id for payment in books.payments if payment.approved)
    offline = await shopfront.till.read_json("/v1/offline")
    return {
        "orders": orders,
        "charges": sum(charges.values()),
        "doubled": sum(count - 1 for count in charges.values()),
        "missing": orders - len(charges),
        "answers_lost": shopfront.line.lost_count,
        "conflicts": offline.get("conflict_count", 0),
        "beyond_allowance_minor": FUNDS_MINOR - ALLOWANCE_MINOR - await shopfront.balance_minor(),
        "findings": [f"{one.code}: {one.where}" for one in await shopfront.findings()],
    }
