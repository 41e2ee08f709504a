"""A till with a cashier and a manager, and a person at its screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.terminal.conftest import GatewayStandIn, Till
from tests.terminal.people.persons import BO, BOS_PIN, MIRA, PIN, view_of
from wire.messages.staff import StaffRight


@pytest.fixture
async def till(start_till: Callable[..., Awaitable[Till]], gateway: GatewayStandIn) -> Till:
    """A till whose gateway knows a cashier and a manager."""
    gateway.staff = {
        MIRA.staff_id: (MIRA, PIN, [StaffRight.SELL, StaffRight.SHIFT]),
        BO.staff_id: (BO, BOS_PIN, list(StaffRight)),
    }
    till = await start_till()
    while len((await view_of(till)).members) < len(gateway.staff):
        pass
    return till
