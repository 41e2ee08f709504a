"""The composition root of the terminal: only here are clock and randomness read, and parts put together."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from terminal.cards.gateway import CardGateway
from terminal.config import LoggingSettings, TerminalConfig, check_gateway_url
from terminal.data_folder import DaemonLock, prepare_folder
from terminal.disk import Disk, FolderDisk
from terminal.enrolment import enrol_terminal
from terminal.gateway_client.client import GatewayClient, GatewayTimings
from terminal.gateway_client.events import EventFollower
from terminal.gateway_client.http_transport import HttpTransport
from terminal.identity import Identity, load_identity
from terminal.journal.journal import Journal
from terminal.offline.desk import OfflineDesk
from terminal.offline.gateway import OfflineGatewayClient
from terminal.offline.opening import OfflineSurroundings, OfflineWork, open_offline
from terminal.payment_desk import PaymentDesk
from terminal.people.opening import People, PeopleSurroundings, open_people
from terminal.presentations import PresentationEvent, TermsSource
from terminal.receipts.desk import ReceiptDesk
from terminal.sale.desk import SaleDesk
from terminal.sale.events import EventBoard
from terminal.sale.ports import SalePorts
from terminal.sale.resolver import AttemptResolver, UnknownTimes
from terminal.sale.till_codes import TillCodes
from terminal.till_api.listening import listen
from terminal.till_api.people_routes import PeopleApi
from terminal.till_api.routes import TillApi
from terminal.till_page.opening import open_pages
from wire import es256
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.enrolment import EnrolmentAnswer
from wire.messages.payments import PaymentAnswer
from wire.messages.till import DaemonEvent, DaemonEventKind, DaemonView, OfflineView, ReaderView, SaleEvent
from wire.messages.till_page import PageLink, PageLinkRequest

PROBE_INTERVAL_MS: Final = 15_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Clock and randomness of this process."""

    now_ms: Callable[[], int]
    """Unix milliseconds."""
    monotonic_ns: Callable[[], int]
    entropy: Callable[[int], bytes]
    """That many bytes nobody can guess: ids, nonces."""
    jitter: Callable[[], float]
    """In [0, 1), to spread resends; nothing secret hangs on it."""


SURROUNDINGS: Final = Surroundings(
    now_ms=lambda: time.time_ns() // 1_000_000,
    monotonic_ns=time.monotonic_ns,
    entropy=os.urandom,
    jitter=random.Random().random,  # noqa: S311 -- spreads resends; nothing secret hangs on it
)


class ReaderSet(Protocol):
    """All readers and scanners of this till (terminal/supervision/)."""

    def start(self) -> None:
        """Start one owner thread per device."""

    def arm(self, terms: TermsSource) -> None:
        """Let every device accept presentations."""

    def disarm(self) -> None:
        """Let none accept anything."""

    def views(self) -> list[ReaderView]:
        """Return every device's health."""

    def stop(self) -> None:
        """End the threads and give the devices back; blocks until that is done."""


MakeReaders = Callable[[Callable[[PresentationEvent], None]], ReaderSet]
"""From what presentations are delivered to, called in the devices' threads, to the set of readers."""


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """A daemon that is ready."""

    url: str
    """Where its till API listens."""
    describe: Callable[[], DaemonView]
    make_page_link: Callable[[], PageLink]
    """A link to the till page that is good once."""


@asynccontextmanager
async def run_daemon(
    config: TerminalConfig,
    *,
    make_readers: MakeReaders | None = None,
    surroundings: Surroundings = SURROUNDINGS,
) -> AsyncIterator[RunningDaemon]:
    """Run a daemon in the current event loop; it is ready inside the block and stopped after it.

    Args:
        make_readers: builds the readers; by default a supervisor over the configured device paths.

    Raises:
        NotEnrolled, ConfigurationError, JournalUnwritable: it can't start like this.
    """
    folder = prepare_folder(config.data_path)
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(DaemonLock(folder))
        identity = load_identity(folder)
        disk = FolderDisk(folder)
        journal = Journal(disk)
        stack.callback(journal.close)
        exchanges = _ExchangeRelay()
        gateway = await stack.enter_async_context(make_client(config, identity, surroundings, exchanges.note))
        parts = _Parts(config, identity, disk, journal, gateway, surroundings)
        offline = parts.open_offline()
        if offline is not None:
            exchanges.tell_to(offline.desk.note_exchange)
            stack.callback(offline.queue.close)
            for work in (offline.desk.uploader.run(), offline.keep_in_sync()):
                _start_task(work, stack)
        readers = (make_readers or _supervise(config, surroundings))(parts.deliver)
        desk = parts.open_desk(readers)
        stack.push_async_callback(asyncio.to_thread, readers.stop)
        stack.push_async_callback(parts.receipts.stop)
        readers.start()
        people = parts.open_people(desk)
        stack.callback(people.staff.stop)
        api = parts.make_api(desk, people, readers)
        around = surroundings
        page = open_pages(
            config, identity.enrolment, desk, parts.board, now_ms=around.now_ms, entropy=around.entropy
        )
        url, *_ = await listen(config, api, page, stack)
        stack.callback(parts.board.close)
        resolver = parts.make_resolver(desk)
        follower = parts.make_follower(resolver, api.payments)
        for work in (parts.codes.run(), people.roster.run(), people.shifts.run()):
            _start_task(work, stack)
        for work in (resolver.run(), follower.run(), parts.probe_forever(), gateway.keep_session()):
            _start_task(work, stack)
        stack.push_async_callback(desk.stop)
        lock.publish_address(url)
        yield RunningDaemon(url, lambda: parts.describe(readers), lambda: page.make_link(PageLinkRequest()))


async def serve(config: TerminalConfig, on_ready: Callable[[RunningDaemon], None]) -> None:
    """Run a daemon until SIGTERM or SIGINT; an attempt in flight is finished or left in the journal.

    Raises:
        NotEnrolled, ConfigurationError, JournalUnwritable: it can't start like this.
    """
    stopped = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stopped.set)
    async with run_daemon(config) as daemon:
        on_ready(daemon)
        await stopped.wait()
        log.info("daemon_stopping")


async def enrol(
    config: TerminalConfig, gateway_url: str | None, code: str, *, again: bool
) -> EnrolmentAnswer:
    """Enrol this terminal, as terminal/enrolment.py does, with this process's clock and randomness."""
    return await enrol_terminal(
        config,
        gateway_url,
        code,
        lambda url, key: _make_client_for(config, url, key, SURROUNDINGS),
        idempotency_key=make_ulid(SURROUNDINGS.now_ms(), SURROUNDINGS.entropy(ENTROPY_BYTES)),
        again=again,
    )


def configure_logging(settings: LoggingSettings) -> None:
    """Send log lines to standard error, as JSON or for people; never tokens, codes, links or keys."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        # Plain traces: the pretty ones print local variables, and those may hold a token.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if settings.format == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # It quotes what it could not parse; what matters of it reaches our own log as a problem.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


class _Parts:
    """What is shared while the daemon is put together."""

    def __init__(
        self,
        config: TerminalConfig,
        identity: Identity,
        disk: Disk,
        journal: Journal,
        gateway: GatewayClient,
        surroundings: Surroundings,
    ) -> None:
        self._config = config
        self._identity = identity
        self._enrolment = identity.enrolment
        self._disk = disk
        self._journal = journal
        self._gateway = gateway
        self._surroundings = surroundings
        self._desk: SaleDesk | None = None
        self._resolver: AttemptResolver | None = None
        self.offline: OfflineDesk | None = None
        self._times = UnknownTimes(
            resend_ms=config.unknown.resend_ms, reverse_after_ms=config.unknown.reverse_after_ms
        )
        self.board = EventBoard(first_sequence=surroundings.now_ms())
        self.codes = TillCodes(
            gateway,
            journal,
            disk,
            on_counter_payment=self._tell_counter_payment,
            retry_delay_ms=config.resolver.retry_delay_ms,
            now_ms=surroundings.now_ms,
            entropy=surroundings.entropy,
        )
        headings = (self._enrolment.merchant_name, self._enrolment.location_name)
        self.receipts = ReceiptDesk(config.language, config.printer, headings)
        self._people: People | None = None

    def deliver(self, event: PresentationEvent) -> None:
        """Take what a device's thread has; before the desk is open there is no sale to take it to."""
        if self._desk is not None:
            self._desk.present_from_thread(event)

    def open_offline(self) -> OfflineWork | None:
        """Open what payments without a connection need; None where they are switched off."""
        if not self._config.offline.enabled:
            return None
        around = self._surroundings
        work = open_offline(
            self._config.offline,
            self._identity,
            self._disk,
            OfflineGatewayClient(self._gateway),
            OfflineSurroundings(around.now_ms, around.entropy, around.jitter),
            self.board.publish,
        )
        self.offline = work.desk
        return work

    async def probe_forever(self) -> None:
        """Ask now and again whether the gateway is there; more often while payments are judged here."""
        changed = asyncio.Event() if self.offline is None else self.offline.mode_changed
        while True:
            changed.clear()
            await self._gateway.probe()
            is_offline = self.offline is not None and self.offline.is_offline
            pause_ms = self._config.offline.probe_interval_ms if is_offline else PROBE_INTERVAL_MS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_ms / 1000):
                    await changed.wait()

    def open_desk(self, readers: ReaderSet) -> SaleDesk:
        """Make the desk over these readers."""
        ports = SalePorts(
            enrolment=self._enrolment,
            readers=readers,
            journal=self._journal,
            gateway=self._gateway,
            publish=self._publish,
            now_ms=self._surroundings.now_ms,
            monotonic_ns=self._surroundings.monotonic_ns,
            entropy=self._surroundings.entropy,
            answer_deadline_ms=self._config.sale.answer_deadline_ms,
            times=self._times,
            offline=self.offline,
            codes=self.codes if self._config.codes.enabled else None,
            cards=CardGateway(
                self._gateway, now_ms=self._surroundings.now_ms, entropy=self._surroundings.entropy
            ),
        )
        self._desk = SaleDesk(ports, deadline_ms=self._config.sale.deadline_ms)
        return self._desk

    def open_people(self, desk: SaleDesk) -> People:
        """Open what the people at this till are asked and told."""
        self._people = open_people(
            PeopleSurroundings(
                gateway=self._gateway,
                disk=self._disk,
                journal=self._journal,
                desk=desk,
                currency=self._enrolment.currency,
                idle_ms=self._config.staff.idle_ms,
                publish=self.board.publish,
                describe_offline=self._describe_offline,
                now_ms=self._surroundings.now_ms,
                entropy=self._surroundings.entropy,
            )
        )
        return self._people

    def make_api(self, desk: SaleDesk, people: People, readers: ReaderSet) -> TillApi:
        """Make what the till's interface stands on."""
        return TillApi(
            desk,
            self.board,
            self.receipts.makers,
            lambda: self.describe(readers),
            PaymentDesk(self._gateway, self._journal, now_ms=self._surroundings.now_ms),
            PeopleApi(people.staff, people.tags, people.shifts),
            self.offline,
        )

    def make_resolver(self, desk: SaleDesk) -> AttemptResolver:
        """Make what asks about attempts whose outcome is unknown."""
        self._resolver = AttemptResolver(
            self._journal,
            self._gateway,
            is_on_its_way=desk.is_on_its_way,
            on_answer=desk.settle_late,
            retry_delay_ms=self._config.resolver.retry_delay_ms,
            retry_delay_ms_max=self._config.resolver.retry_delay_ms_max,
            now_ms=self._surroundings.now_ms,
            monotonic_ns=self._surroundings.monotonic_ns,
            jitter=self._surroundings.jitter,
            times=self._times,
            on_given_up=desk.note_given_up,
        )
        desk.tell_orders_to(self._resolver.wake)
        return self._resolver

    def make_follower(self, resolver: AttemptResolver, payments: PaymentDesk) -> EventFollower:
        """Make what hears of payments that their holders confirmed or that ended by themselves."""

        async def take(answer: PaymentAnswer) -> None:
            if not await self.codes.hear(answer) and not await resolver.hear(answer):
                await payments.hear(answer)

        return EventFollower(
            self._gateway,
            self._disk,
            terminal_id=self._enrolment.terminal_id,
            on_payment=take,
            poll_ms=self._config.gateway.event_poll_ms,
            poll_ms_max=self._config.gateway.event_poll_ms_max,
            jitter=self._surroundings.jitter,
        )

    def describe(self, readers: ReaderSet) -> DaemonView:
        """Say who this daemon is and whether it can sell."""
        return DaemonView(
            terminal_id=self._enrolment.terminal_id,
            merchant_name=self._enrolment.merchant_name,
            location_name=self._enrolment.location_name,
            currency=self._enrolment.currency,
            gateway_reachable=self._gateway.is_reachable,
            unresolved_attempt_count=len(self._journal.unresolved()),
            readers=readers.views(),
            unresolved=[] if self._resolver is None else self._resolver.describe(),
            offline=self._describe_offline(),
            staff=None if self._people is None else self._people.staff.state,
            shift=None if self._people is None else self._people.shifts.mark,
        )

    def _describe_offline(self) -> OfflineView | None:
        return None if self.offline is None else self.offline.describe(with_results=False)

    def _tell_counter_payment(self, answer: PaymentAnswer) -> None:
        self.board.publish(
            DaemonEvent(
                sequence=0,
                at_ms=self._surroundings.now_ms(),
                kind=DaemonEventKind.COUNTER_PAYMENT,
                payment=answer,
            )
        )

    def _publish(self, event: SaleEvent) -> None:
        self.receipts.take(self.board.publish(event))


def _supervise(config: TerminalConfig, surroundings: Surroundings) -> MakeReaders:
    # Imported here, so that no other command pays for reader and camera libraries.
    from terminal.devices.paths import make_device
    from terminal.supervision.supervisor import Supervisor

    devices = [make_device(path) for path in config.devices]
    return lambda deliver: Supervisor(devices, deliver, now_ms=surroundings.now_ms)


class _ExchangeRelay:
    """Hands on how exchanges went to whoever is there by then; the client is made before all others."""

    def __init__(self) -> None:
        self._take: Callable[[int | None], None] = lambda _: None

    def note(self, duration_ms: int | None) -> None:
        """Hand on one exchange's duration, None for no answer."""
        self._take(duration_ms)

    def tell_to(self, take: Callable[[int | None], None]) -> None:
        """Hand on to this from now on."""
        self._take = take


def make_client(
    config: TerminalConfig,
    identity: Identity,
    surroundings: Surroundings,
    on_exchange: Callable[[int | None], None] = lambda _: None,
) -> GatewayClient:
    """Return an enrolled terminal's way to its gateway; ConfigurationError if its address is none."""
    url = check_gateway_url(
        config.gateway.url or identity.gateway_url,
        plain_http_allowed=config.gateway.plain_http_allowed,
    )
    return _make_client_for(config, url, identity.private_key, surroundings, on_exchange)


def _make_client_for(
    config: TerminalConfig,
    url: str,
    key: es256.PrivateKey,
    surroundings: Surroundings,
    on_exchange: Callable[[int | None], None] = lambda _: None,
) -> GatewayClient:
    transport = HttpTransport(
        connect_timeout_ms=config.gateway.connect_timeout_ms, try_timeout_ms=config.gateway.try_timeout_ms
    )
    timings = GatewayTimings(
        retry_delay_ms=config.gateway.retry_delay_ms,
        retry_delay_ms_max=config.gateway.retry_delay_ms_max,
    )
    return GatewayClient(
        url,
        key,
        transport,
        timings,
        now_ms=surroundings.now_ms,
        entropy=surroundings.entropy,
        jitter=surroundings.jitter,
        on_exchange=on_exchange,
    )


def _start_task(work: Coroutine[None, None, None], stack: AsyncExitStack) -> None:
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)
