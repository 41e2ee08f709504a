"""The main process of a gateway with workers: it holds the socket and the store, and serves nobody itself.

With a SQLite file, the store and its one writing thread live here, and workers book over links; with
PostgreSQL each worker has connections of its own. Each worker has a listening socket of its own on the one
port, and the kernel deals connections out among them: with one socket for all, whoever woke first took most
of a burst, and kept it for as long as those tills stayed connected. The main process keeps the sockets, so
what arrives for a worker that is being started again waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

import structlog

from gateway.app import Ready, bind_listener, stop_when_told, tidy_up_for_serving, url_of
from gateway.config import GatewayConfig
from gateway.entropy import Entropy
from gateway.office import open_office
from gateway.processes.supervisor import Supervisor, WorkerSetup
from gateway.storage.link.client import LinkedStore

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def run_main_process(
    config: GatewayConfig, env: Mapping[str, str], announce: Callable[[Ready], None], *, entropy: Entropy
) -> None:
    """Keep the workers until SIGTERM or SIGINT; `announce` is called once all of them accept requests.

    Raises:
        ConfigurationError: as `open_office`; the address can't be bound; or a worker can't serve.
        StoreUnavailable: the database can't be used now.
        WorkerLost: a worker dies as fast as it is started.
    """
    stop = stop_when_told()
    async with _open_store(config, env, entropy) as store:
        with contextlib.ExitStack() as sockets:
            listeners = _bind_listeners(config, sockets)
            url = url_of(listeners[0])
            public_url = config.listen.public_url or url
            setup = WorkerSetup(config, public_url, store, env)
            supervisors = [
                Supervisor(number, setup, listener) for number, listener in enumerate(listeners, start=1)
            ]
            try:
                await asyncio.gather(*(supervisor.start() for supervisor in supervisors))
                log.info("ready", url=url, public_url=public_url)
                announce(Ready(url, public_url, tuple(supervisor.pid for supervisor in supervisors)))
                tidy_up_for_serving()
                await _wait_until_stopped(stop, supervisors)
                log.info("stopping")
            finally:
                # Nobody new may queue up behind a socket that its worker is leaving.
                sockets.close()
                await asyncio.gather(*(supervisor.stop() for supervisor in supervisors))
    log.info("stopped")


def _bind_listeners(config: GatewayConfig, sockets: contextlib.ExitStack) -> list[socket.socket]:
    """Bind as many sockets as there are workers to one port."""
    # Sockets that share would also share with another gateway started by mistake; this one does not.
    bind_listener(config).close()
    first = sockets.enter_context(bind_listener(config, shared=True))
    port = first.getsockname()[1]
    others = range(config.processes.workers - 1)
    return [first, *(sockets.enter_context(bind_listener(config, shared=True, port=port)) for _ in others)]


@contextlib.asynccontextmanager
async def _open_store(
    config: GatewayConfig, env: Mapping[str, str], entropy: Entropy
) -> AsyncIterator[LinkedStore | None]:
    if config.database_url is not None:
        yield None
        return
    async with open_office(config, env, entropy) as office:
        # The SQLite store keeps the ledger's book as well.
        yield cast(LinkedStore, office.store)


async def _wait_until_stopped(stop: asyncio.Event, supervisors: list[Supervisor]) -> None:
    stopped = asyncio.ensure_future(stop.wait())
    given_up = [asyncio.ensure_future(supervisor.wait_until_given_up()) for supervisor in supervisors]
    done, pending = await asyncio.wait([stopped, *given_up], return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    for one in done:
        one.result()
