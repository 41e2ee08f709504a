"""Two ends of a link in one process, and a store behind it that a test can hold up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.storage.link.client import LinkedStore, open_linked_store
from gateway.storage.link.server import StoreServer, serve_store

OpenLink = Callable[..., Awaitable[tuple[LinkedStore, StoreServer]]]


class HeldStore:
    """Answers calls when the test says so, in the order it says; knows no payments, only what it was told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: list[asyncio.Future[Any]] = []
        self._arrived = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Callable[..., asyncio.Future[Any]]:
        if name.startswith("_") or name == "submit_booking":
            raise AttributeError(name)

        def method(*args: Any) -> asyncio.Future[Any]:
            self.asked.append((name, *args))
            self.answers.append(asyncio.get_running_loop().create_future())
            notice = asyncio.ensure_future(self._notify())
            self._notices.add(notice)
            notice.add_done_callback(self._notices.discard)
            return self.answers[-1]

        return method

    async def until_asked(self, count: int) -> None:
        """Wait until that many calls have arrived."""
        async with asyncio.timeout(10):
            async with self._arrived:
                await self._arrived.wait_for(lambda: len(self.asked) >= count)

    async def _notify(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()


@pytest.fixture
def held() -> HeldStore:
    return HeldStore()


@pytest.fixture
async def open_link(held: HeldStore) -> AsyncIterator[OpenLink]:
    """Opens links to the held store, and closes them."""
    async with AsyncExitStack() as stack:

        async def open_one(**settings: Any) -> tuple[LinkedStore, StoreServer]:
            ours, theirs = socket.socketpair()
            server = await serve_store(held, theirs)  # type: ignore[arg-type]
            store = await open_linked_store(ours, **settings)
            stack.push_async_callback(server.close)
            stack.push_async_callback(store.close)
            return store, server

        yield open_one
        for answer in held.answers:
            if not answer.done():
                answer.set_result(None)
