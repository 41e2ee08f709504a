"""A worker: a process that serves requests for as long as the main process lives and wants it to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import structlog

from gateway.app import keep_repairing, make_desk, serve_http, stop_when_told, tidy_up_for_serving
from gateway.entropy import Entropy
from gateway.errors import GatewayError
from gateway.office import make_office
from gateway.processes.control import Accepting, Orders, Refused, dump_message
from gateway.storage.link.client import open_linked_store
from gateway.storage.opening import open_store
from gateway.storage.store import Store

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The sockets a worker is born with."""

    control: socket.socket
    listener: socket.socket
    link: socket.socket | None
    """Leads to the store of the main process; None where a worker opens its own."""


async def run_worker(
    orders: Orders,
    inheritance: Inheritance,
    env: Mapping[str, str],
    *,
    now_ms: Callable[[], int],
    entropy: Entropy,
) -> None:
    """Serve until SIGTERM, until the main process is gone, or until the store's link is.

    Raises:
        GatewayError: it can't serve; the main process was told.
    """
    stop = stop_when_told()
    reader, writer = await asyncio.open_connection(sock=inheritance.control)
    watching = asyncio.ensure_future(_stop_at_end(reader, stop))
    try:
        async with _open(orders, inheritance, stop) as store:
            office = await make_office(store, orders.config, env, entropy)
            desk = make_desk(
                orders.config,
                office,
                public_url=orders.public_url,
                now_ms=now_ms,
                entropy=entropy,
                worker=orders.number,
            )
            async with contextlib.AsyncExitStack() as serving:
                await serving.enter_async_context(serve_http(orders.config, desk, inheritance.listener))
                if orders.number == 1:
                    await serving.enter_async_context(keep_repairing(orders.config, desk))
                writer.write(dump_message(Accepting()))
                tidy_up_for_serving()
                await stop.wait()
                log.info("worker_stopping")
    except GatewayError as error:
        if not writer.is_closing():
            writer.write(dump_message(Refused(str(error))))
        raise
    finally:
        watching.cancel()
        writer.close()
    log.info("worker_stopped")


@contextlib.asynccontextmanager
async def _open(orders: Orders, inheritance: Inheritance, stop: asyncio.Event) -> AsyncIterator[Store]:
    limits = orders.config.limits
    store: Store
    if inheritance.link is None:
        store = await open_store(orders.config.storage.database, queue_max=limits.write_queue_max)
    else:
        store = await open_linked_store(
            inheritance.link, in_flight_max=limits.write_queue_max, on_lost=stop.set
        )
    try:
        yield store
    finally:
        await store.close()


async def _stop_at_end(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    # Nothing is ever said after the orders: whatever this returns, the main process is gone.
    with contextlib.suppress(OSError):
        await reader.read(1)
    log.warning("main_process_gone")
    stop.set()
