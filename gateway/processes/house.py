"""The main process of a gateway with workers: it holds the socket and the store, and serves nobody itself.

With a SQLite file, the store and its one writing thread live here, and workers book over links; with
PostgreSQL each worker has connections of its own. All workers accept on the one listening socket, so a worker
that dies loses only the connections it had.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

import structlog

from gateway.app import Ready, bind_listener, stop_when_told, tidy_up_for_serving, url_of
from gateway.config import GatewayConfig
from gateway.entropy import Entropy
from gateway.office import open_office
from gateway.processes.supervisor import Household, Supervisor
from gateway.storage.link.client import LinkedStore

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def run_house(
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
        with contextlib.closing(bind_listener(config)) as listener:
            url = url_of(listener)
            public_url = config.listen.public_url or url
            household = Household(config, public_url, listener, store, env)
            supervisors = [Supervisor(number + 1, household) for number in range(config.processes.workers)]
            try:
                await asyncio.gather(*(supervisor.start() for supervisor in supervisors))
                log.info("ready", url=url, public_url=public_url)
                announce(Ready(url, public_url, tuple(supervisor.pid for supervisor in supervisors)))
                tidy_up_for_serving()
                await _wait_until_stopped(stop, supervisors)
                log.info("stopping")
            finally:
                # Nobody new may queue up behind a socket that its workers are leaving.
                listener.close()
                await asyncio.gather(*(supervisor.stop() for supervisor in supervisors))
    log.info("stopped")


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
