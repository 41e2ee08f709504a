"""The composition root: one gateway process, put together, started, and stopped without losing a request.

Clock and randomness come from the command line (gateway/cli.py), or from a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from gateway.cards.sessions import CardSessionService
from gateway.config import GatewayConfig
from gateway.entropy import Entropy
from gateway.errors import ConfigurationError
from gateway.http.admission import Admission
from gateway.http.authentication import Authenticator
from gateway.http.bodies import Intake
from gateway.http.desk import Desk
from gateway.http.door import Door, PaymentDesk
from gateway.http.exchange import RequestIds
from gateway.http.nonces import NonceWindow
from gateway.http.routes import make_application
from gateway.http.sessions import TerminalSessions
from gateway.logs import open_request_log
from gateway.merchants.shifts import ShiftService
from gateway.office import Office, open_office
from gateway.offline.service import OfflineService
from gateway.payments.bell import TerminalBell
from gateway.payments.events import TerminalEventService
from gateway.payments.intents import IntentService
from gateway.payments.life_service import PaymentLifeService
from gateway.payments.repair import RepairWorker
from gateway.payments.service import PaymentService
from gateway.payments.verify import Verifier
from gateway.receipts.names import ReceiptPages
from gateway.receipts.rate import PageRate

KEEPALIVE_S: Final = 75
"""How long an idle connection is kept; longer than a till's pause between two customers in a queue."""
LINGER_S: Final = 1
"""How long the rest of a refused body is read and dropped, so that its sender gets to read the refusal."""
BACKLOG_MAX: Final = 512
OBJECTS_PER_COLLECTION: Final = 10_000
"""Instead of 700: with hundreds of payments in flight, each look finds them all alive."""
WILDCARD_HOSTS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  named in order to be told apart

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ready:
    """What is announced once requests are accepted."""

    url: str
    """Where the gateway listens, which may differ from what terminals sign."""
    public_url: str
    worker_pids: tuple[int, ...] = ()
    """Of the processes that serve; none where the main process does."""


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that accepts requests."""

    url: str
    public_url: str
    intake: Intake


@contextlib.asynccontextmanager
async def start_gateway(
    config: GatewayConfig,
    env: Mapping[str, str],
    *,
    now_ms: Callable[[], int],
    entropy: Entropy,
) -> AsyncIterator[RunningGateway]:
    """Run a gateway while the block runs; on the way out it finishes what is in flight.

    Raises:
        ConfigurationError: as `open_office`; or the address can't be bound.
        StoreUnavailable: the database can't be used now.
    """
    async with open_office(config, env, entropy) as office:
        with contextlib.closing(bind_listener(config)) as listener:
            url = url_of(listener)
            public_url = config.listen.public_url or url
            desk = make_desk(config, office, public_url=public_url, now_ms=now_ms, entropy=entropy)
            async with serve_http(config, desk, listener), keep_repairing(config, desk):
                yield RunningGateway(url, public_url, desk.intake)


@contextlib.asynccontextmanager
async def keep_repairing(config: GatewayConfig, desk: Desk) -> AsyncIterator[None]:
    """End what is due while the block runs; one process of a gateway does so, and it may be done twice."""
    worker = RepairWorker(desk.store, desk.bell, sweep_ms=config.deadlines.sweep_ms, now_ms=desk.now_ms)
    task = asyncio.create_task(worker.run(), name="repair")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def run_gateway(
    config: GatewayConfig,
    env: Mapping[str, str],
    announce: Callable[[Ready], None],
    *,
    now_ms: Callable[[], int],
    entropy: Entropy,
) -> None:
    """Serve in this process until SIGTERM or SIGINT; `announce` is called once requests are accepted."""
    stop = stop_when_told()
    async with start_gateway(config, env, now_ms=now_ms, entropy=entropy) as gateway:
        log.info("ready", url=gateway.url, public_url=gateway.public_url)
        announce(Ready(gateway.url, gateway.public_url))
        tidy_up_for_serving()
        await stop.wait()
        log.info("stopping")
    log.info("stopped")


def stop_when_told() -> asyncio.Event:
    """Return what is set once this process gets SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def tidy_up_for_serving() -> None:
    """Spare the garbage collector what will live as long as the process: modules, classes, settings.

    It would go through all of it, 150,000 objects, each time that it looks for a request's leftovers. And it
    would look after every few payments, though these leave hardly anything behind that only it can clear.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_PER_COLLECTION)


def make_desk(
    config: GatewayConfig,
    office: Office,
    *,
    public_url: str,
    now_ms: Callable[[], int],
    entropy: Entropy,
    worker: int | None = None,
) -> Desk:
    """Wire the services to what the HTTP handlers work with; `worker` is the number its log lines carry."""
    sessions = TerminalSessions(office.vault)
    bell = TerminalBell()
    # Only where the operator has said what the world calls us: what is printed stays readable for years.
    pages = ReceiptPages(office.vault, config.listen.public_url)
    lives = _make_lives(config, office, bell, pages, entropy)
    return Desk(
        store=office.store,
        payments=PaymentService(
            office.store, office.vault, deadlines=config.deadlines, risk=config.risk, pages=pages
        ),
        lives=lives,
        intents=IntentService(
            office.store,
            Verifier(office.store, office.vault),
            bell,
            entropy,
            public_url=public_url,
            codes=config.codes,
            deadlines=config.deadlines,
        ),
        events=TerminalEventService(office.store, pages),
        offline=OfflineService(office.store, office.vault, config.offline, entropy),
        cards=_make_cards(config, office, lives, pages, entropy),
        bell=bell,
        merchants=office.merchants,
        holders=office.holders,
        staff=office.staff,
        shifts=ShiftService(office.store),
        receipt_pages=pages,
        page_rate=PageRate(),
        authenticator=_make_authenticator(config, office, sessions, public_url),
        sessions=sessions,
        intake=Intake(config.limits),
        admission=Admission(config.limits.payments_in_flight_max),
        request_ids=RequestIds(entropy),
        request_log=open_request_log(config.logging, now_ms, worker=worker),
        now_ms=now_ms,
        entropy=entropy,
    )


def _make_lives(
    config: GatewayConfig, office: Office, bell: TerminalBell, pages: ReceiptPages, entropy: Entropy
) -> PaymentLifeService:
    deadlines = config.deadlines
    return PaymentLifeService(
        office.store, office.staff, office.pins, bell, entropy, deadlines=deadlines, pages=pages
    )


def _make_cards(
    config: GatewayConfig, office: Office, lives: PaymentLifeService, pages: ReceiptPages, entropy: Entropy
) -> CardSessionService:
    link_base = config.cards.link_base
    return CardSessionService(
        office.store, office.vault, office.cards, lives, entropy, link_base=link_base, pages=pages
    )


def _make_authenticator(
    config: GatewayConfig, office: Office, sessions: TerminalSessions, public_url: str
) -> Authenticator:
    window_ms = config.clock.signature_window_ms
    # A signature made as far ahead as is allowed stays fresh for twice the window.
    nonces = NonceWindow(window_ms=2 * window_ms, nonces_max=config.limits.nonces_max)
    return Authenticator(office.store, nonces, sessions, public_url=public_url, window_ms=window_ms)


@contextlib.asynccontextmanager
async def serve_http(config: GatewayConfig, desk: Desk, listener: socket.socket) -> AsyncIterator[None]:
    """Accept requests while the block runs; on the way out, finish what is in flight."""
    limits = config.limits
    runner = web.AppRunner(
        make_application(desk, body_bytes_max=limits.body_bytes_max),
        shutdown_timeout=limits.shutdown_ms / 1000,
    )
    await runner.setup()
    assert runner.server is not None, "a runner that is set up has a server"
    door = partial(
        Door,
        runner.server,
        PaymentDesk(desk, body_bytes_max=limits.body_bytes_max),
        loop=asyncio.get_running_loop(),
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGER_S,
        # The digest is over the bytes as sent, and a small compressed body could unfold beyond its bound.
        auto_decompress=False,
    )
    try:
        accepting = await asyncio.get_running_loop().create_server(door, sock=listener, backlog=BACKLOG_MAX)
        try:
            yield
        finally:
            accepting.close()
    finally:
        desk.intake.drain()
        desk.bell.ring_all()
        await runner.cleanup()


def bind_listener(config: GatewayConfig, *, shared: bool = False, port: int | None = None) -> socket.socket:
    """Return a listening socket.

    Args:
        shared: whether other sockets of this user may listen on the same port; the kernel then deals
            connections out among them.
        port: instead of the configured one.

    Raises:
        ConfigurationError: the address can't be bound, or a wildcard has no public URL.
    """
    host, wanted = config.listen.host, config.listen.port if port is None else port
    if host in WILDCARD_HOSTS and config.listen.public_url is None:
        raise ConfigurationError(f"listen.public_url must be given when listen.host is {host}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, wanted), family=family, backlog=BACKLOG_MAX, reuse_port=shared)
    except OSError as error:
        raise ConfigurationError(
            f"listen.host {host} and listen.port {wanted} can't be bound: {error.strerror}"
        ) from None


def url_of(listener: socket.socket) -> str:
    """Return where a socket listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
