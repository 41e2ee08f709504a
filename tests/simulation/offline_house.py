"""The rules of a world's payments without a connection, and the settings of everybody who keeps to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from gateway.config import OfflineSettings as GatewaySettings
from simulators.auditor.witness.offline.evidence import OfflineHouse
from simulators.seeds import make_rng
from terminal.config import OfflineSettings as TillSettings

UNIT = 100
ONE_WORLD_IN = 3
TILL = TillSettings(
    enabled=True,
    bad_exchanges_to_leave=2,
    good_exchanges_to_return=2,
    slow_ms=2_500,
    probe_interval_ms=4_000,
    sync_interval_ms=20_000,
    upload_retry_delay_ms=500,
    upload_retry_delay_ms_max=8_000,
)
TILL_PROBE_MS = 15_000
"""As the daemon: how often the gateway is asked for while it seems to be there."""


def draw_house(seed: int) -> OfflineHouse | None:
    """Return the rules of a world's payments without a connection; None where there are none."""
    rng = make_rng(seed, "offline house")
    if rng.randrange(ONE_WORLD_IN):
        return None
    return make_house(rng)


def make_house(rng: random.Random) -> OfflineHouse:
    """Draw rules tight enough to be met, and times short enough to pass, while there is business."""
    floor_units = rng.choice((7, 10, 15))
    return OfflineHouse(
        allowance_max_minor=25 * UNIT,
        floor_minor=floor_units * UNIT,
        device_total_minor=rng.choice((10, 15, 25)) * UNIT,
        stored_sum_minor=rng.choice((20, 30, 60)) * UNIT,
        stored_count=rng.choice((3, 5, 8)),
        list_age_ms=rng.choice((25_000, 60_000, 120_000)),
        list_refresh_ms=rng.choice((5_000, 15_000)),
        clock_age_ms=rng.choice((25_000, 60_000, 120_000)),
        record_age_ms=rng.choice((30_000, 90_000, 240_000)),
        credential_life_ms=rng.choice((50_000, 120_000, 180_000)),
    )


def gateway_settings(house: OfflineHouse | None) -> GatewaySettings:
    """Return the gateway's settings for these rules; times are shorter than its file may say."""
    if house is None:
        return GatewaySettings()
    return GatewaySettings(
        enabled=True,
        allowance_units_max=house.allowance_max_minor // UNIT,
        floor_units=house.floor_minor // UNIT,
        device_total_units=house.device_total_minor // UNIT,
        stored_sum_units=house.stored_sum_minor // UNIT,
        stored_count=house.stored_count,
        list_age_ms=house.list_age_ms,
        list_refresh_ms=house.list_refresh_ms,
        clock_age_ms=house.clock_age_ms,
        record_age_ms=house.record_age_ms,
        credential_life_ms=house.credential_life_ms,
    )


async def probe_forever(probe: Callable[[], Awaitable[object]], is_offline: Callable[[], bool]) -> None:
    """Ask now and again whether the gateway is there, as the daemon does."""
    while True:
        await probe()
        pause_ms = TILL.probe_interval_ms if is_offline() else TILL_PROBE_MS
        await asyncio.sleep(pause_ms / 1000)
