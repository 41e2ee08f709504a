"""One counter for all browser tests of a process; each test gets it settled, and leaves it so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.acceptance.browser.counter import CHROMIUM, Counter, open_counter


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_counter(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Counter]:
    """A counter with everything running."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: scripts/setup.sh tests, as root or with sudo")
    async with open_counter(tmp_path_factory.mktemp("counter")) as counter:
        yield counter


@pytest_asyncio.fixture(loop_scope="session")
async def counter(running_counter: Counter) -> AsyncIterator[Counter]:
    """The counter as a test finds it; afterwards no page may have broken, or asked anybody but the till."""
    yield running_counter
    complaints, foreign = list(running_counter.complaints), list(running_counter.foreign_requests)
    running_counter.complaints.clear()
    running_counter.foreign_requests.clear()
    await running_counter.settle()
    assert complaints == []
    assert foreign == []
