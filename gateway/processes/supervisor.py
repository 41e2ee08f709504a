"""Starts workers, starts them again when they die, and stops them when told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

import gateway
from gateway.config import GatewayConfig
from gateway.errors import ConfigurationError, GatewayError
from gateway.processes.control import Orders, Refused, dump_message, read_report
from gateway.storage.link.client import LinkedStore
from gateway.storage.link.server import StoreServer, serve_store

START_S_MAX: Final = 60.0
"""How long a worker may take until it accepts requests."""
KILL_GRACE_S: Final = 5.0
"""How much longer than its own requests may take a worker may take to end, before it is killed."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How a worker that died is started again."""

    restarts_max: int = 8
    """In a row, none of them a steady while apart; then the gateway gives up and stops."""
    steady_s: float = 5.0
    """A worker that lived this long did not die of how it was started, and is started again for ever."""
    delay_s: float = 0.1
    """Before the first restart in a row; it doubles from there on."""
    delay_s_max: float = 10.0


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What every worker is given."""

    config: GatewayConfig
    public_url: str
    store: LinkedStore | None
    """Served to each worker; None where workers open their own."""
    env: Mapping[str, str]
    restarts: RestartPolicy = RestartPolicy()


class WorkerLost(GatewayError):
    """Workers die as fast as they are started."""


class Supervisor:
    """One worker's life after life; see `start` and `stop`."""

    def __init__(self, number: int, setup: WorkerSetup, listener: socket.socket) -> None:
        self.number = number
        self._listener = listener
        self._setup = setup
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """The process that is there now, or was last."""
        assert self._process is not None, "a worker was started"
        return self._process.pid

    async def start(self) -> None:
        """Return once the worker accepts requests.

        Raises:
            ConfigurationError: it can't serve like this; says why.
        """
        accepting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.ensure_future(self._keep(accepting))
        await asyncio.wait([accepting, self._keeping], return_when=asyncio.FIRST_COMPLETED)
        if not accepting.done():
            self._keeping.result()

    async def wait_until_given_up(self) -> None:
        """Return only by raising: WorkerLost after too many deaths in a row."""
        assert self._keeping is not None, "a worker was started"
        await asyncio.shield(self._keeping)

    async def stop(self) -> None:
        """Let the worker answer what it has in flight, and return when it is gone; kill it if it lingers."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            grace_s = self._setup.config.limits.shutdown_ms / 1000 + KILL_GRACE_S
            try:
                await asyncio.wait_for(self._process.wait(), grace_s)
            except TimeoutError:
                log.error("worker_killed", worker=self.number, pid=self._process.pid)
                self._process.kill()
                await self._process.wait()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def _keep(self, accepting: asyncio.Future[None]) -> None:
        loop, policy = asyncio.get_running_loop(), self._setup.restarts
        deaths = 0
        while True:
            started_s = loop.time()
            await self._live(accepting)
            if self._stopping:
                return
            deaths = 1 if loop.time() - started_s >= policy.steady_s else deaths + 1
            if deaths > policy.restarts_max:
                raise WorkerLost(f"worker {self.number} died {deaths} times in a row")
            delay_s = min(policy.delay_s * 2 ** (deaths - 1), policy.delay_s_max)
            log.error(
                "worker_lost", worker=self.number, pid=self.pid, status=self._status(), again_in_s=delay_s
            )
            await asyncio.sleep(delay_s)

    async def _live(self, accepting: asyncio.Future[None]) -> None:
        """Start a worker, and return when it is gone."""
        async with contextlib.AsyncExitStack() as stack:
            process, reader = await self._spawn(stack)
            self._process = process
            if self._stopping:
                process.terminate()
            try:
                report = await asyncio.wait_for(read_report(reader), START_S_MAX)
            except TimeoutError:
                process.kill()
                report = None
            if isinstance(report, Refused) and not accepting.done():
                await process.wait()
                raise ConfigurationError(report.detail)
            if report is not None:
                log.info("worker_accepting", worker=self.number, pid=process.pid)
                if not accepting.done():
                    accepting.set_result(None)
            await process.wait()

    async def _spawn(
        self, stack: contextlib.AsyncExitStack
    ) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
        setup = self._setup
        control, their_control = socket.socketpair()
        theirs = [their_control, self._listener]
        names = ["--control-fd", "--listener-fd"]
        if setup.store is not None:
            link, their_link = socket.socketpair()
            theirs.append(their_link)
            names.append("--link-fd")
            server = await serve_store(setup.store, link)
            stack.push_async_callback(_close_server, server)
        arguments = [
            text for name, one in zip(names, theirs, strict=True) for text in (name, str(one.fileno()))
        ]
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "gateway.cli", "worker", *arguments),
                pass_fds=[one.fileno() for one in theirs],
                env=_environment_of(setup.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Ctrl-C in a terminal is for the main process, which then tells its workers.
                start_new_session=True,
            )
        finally:
            for one in theirs:
                if one is not self._listener:
                    one.close()
        stack.push_async_callback(_end_process, process)
        reader, writer = await asyncio.open_connection(sock=control)
        stack.callback(writer.close)
        writer.write(dump_message(Orders(self.number, setup.config, setup.public_url)))
        return process, reader

    def _status(self) -> int | None:
        return None if self._process is None else self._process.returncode


def _environment_of(env: Mapping[str, str]) -> dict[str, str]:
    # A worker must be this very program, wherever it was started and whatever lies in that folder.
    program = str(Path(gateway.__file__).parents[1])
    earlier = env.get("PYTHONPATH")
    return {**env, "PYTHONPATH": program if not earlier else program + os.pathsep + earlier}


async def _end_process(process: asyncio.subprocess.Process) -> None:
    """Leave no process behind whose supervisor has gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _close_server(server: StoreServer) -> None:
    await server.close()
