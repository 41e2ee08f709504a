"""One terminal of a world: the real sale desk, client, journal and resolver, on a machine that loses power.

A `Life` is all that runs between two losses of power. What belonged to an earlier life may still be called,
by timers and by answers that come late; it then finds itself dead and does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from gateway.http.answers import Answer
from gateway.http.calls import SignedCall
from simulators.disks.disk import DiskStep, PowerLost, SimulatedDisk
from simulators.faults.dice import Dice
from simulators.faults.plan import FaultKind, FaultPlan
from simulators.networks.network import ConnectionBroken, SimulatedNetwork
from simulators.seeds import make_rng
from terminal.errors import GatewayUnreachable, JournalUnwritable
from terminal.gateway_client.client import GatewayClient, GatewayTimings
from terminal.gateway_client.events import EventFollower
from terminal.gateway_client.transport import Reply
from terminal.identity import Identity
from terminal.journal.journal import Journal
from terminal.offline.gateway import OfflineGatewayClient
from terminal.offline.opening import OfflineSurroundings, OfflineWork, open_offline
from terminal.offline.queue import QUEUE_FILE
from terminal.presentations import PresentationEvent, TermsSource
from terminal.sale.desk import SaleDesk
from terminal.sale.resolver import AttemptResolver, UnknownTimes
from terminal.sale.session import SalePorts
from tests.simulation.offline_house import TILL, probe_forever
from tests.simulation.town import GATEWAY_URL, TillFacts
from tests.simulation.trace import Trace
from wire import es256
from wire.messages.payments import PaymentAnswer
from wire.messages.till import DaemonEvent, SaleEvent

TRY_TIMEOUT_S = 5.0
ANSWER_DEADLINE_MS = 12_000
SALE_DEADLINE_MS = 40_000
RESOLVER_DELAY_MS = 2_000
RESOLVER_DELAY_MS_MAX = 20_000
UNKNOWN_TIMES = UnknownTimes(resend_ms=15_000, reverse_after_ms=30_000)
EVENT_POLL_MS, EVENT_POLL_MS_MAX = 8_000, 20_000
BOOT_S = 2.0
EVENTS_KEPT_MAX = 64


class TillNode:
    """A terminal's machine: its key and its disk stay, what runs on it comes and goes."""

    def __init__(
        self,
        name: str,
        facts: TillFacts,
        seed: int,
        plan: FaultPlan,
        dice: Dice,
        trace: Trace,
        network: SimulatedNetwork[SignedCall, Answer],
        *,
        true_ms: Callable[[], int],
        on_sent: Callable[[TillNode, SignedCall], None],
        on_event: Callable[[TillNode, SaleEvent], None],
        on_heard: Callable[[TillNode, SignedCall, Answer], None],
        accepts_offline: bool = False,
        disk_keeps_promises: bool = True,
    ) -> None:
        self.name = name
        self.facts = facts
        self.enrolment = facts.enrolment
        self.plan = plan
        self.dice = dice
        self.trace = trace
        self.network = network
        self.on_sent = on_sent
        self.on_event = on_event
        self.on_heard = on_heard
        self.accepts_offline = accepts_offline
        self.queue_file = f"{QUEUE_FILE}-{es256.key_id_of(facts.private_key.public_key()).hex()}.records"
        self.rng = make_rng(seed, "till", name)
        self._true_ms = true_ms
        self._full_until_s = 0.0
        self._loop = asyncio.get_running_loop()
        self.skew_ms = self._draw_skew()
        self.disk = SimulatedDisk(
            make_rng(seed, "disk", name),
            on_step=self._meet_step,
            has_room=self._has_room,
            keeps_promises=disk_keeps_promises,
        )
        self.life: Life | None = None
        self._stirred = asyncio.Event()
        self.waiting_for_ever: list[asyncio.Future[None]] = []
        """What parts of dead lives wait for, until the world ends."""
        self.events: deque[SaleEvent] = deque(maxlen=EVENTS_KEPT_MAX)
        self._start()

    @property
    def terminal_id(self) -> str:
        """Who the gateway says this is."""
        return self.enrolment.terminal_id

    def now_ms(self) -> int:
        """Unix milliseconds by this machine's clock."""
        return self._true_ms() + self.skew_ms

    def attempt_in_hand(self) -> str:
        """Return the id of the attempt that the open sale has just stored."""
        assert self.life is not None
        return self.life.desk._open._attempt_id

    def has_unknowns(self) -> bool:
        """Say whether something is on its way, or its outcome unknown; also of a machine that is off."""
        if self.life is None:
            return True
        is_selling = self.life.desk._open is not None and self.life.desk._open.is_open
        offline = self.life.offline
        is_waiting = offline is not None and offline.queue.depth > 0
        return is_selling or is_waiting or bool(self.life.journal.unresolved())

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Return when something is so, or the time is over; looked at whenever something happens here."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._stirred.clear()
                    await self._stirred.wait()

    def heal(self) -> None:
        """Have power, room and the right time from now on."""
        self._full_until_s = 0.0
        self.skew_ms = 0
        if self.life is None:
            self._start()

    def stop(self) -> None:
        """End what runs, in an orderly way."""
        if self.life is not None:
            self.life.end()
            self.life = None
            self._stirred.set()

    def note_event(self, event: SaleEvent) -> None:
        """Take what this life's desk published."""
        decline = "" if event.decline is None else f" {event.decline.code}"
        refusal = "" if event.refusal is None else f" {event.refusal.code}"
        self.trace.note(self.name, f"{event.kind.value}{decline}{refusal}")
        self.events.append(event)
        self.on_event(self, event)
        self._stirred.set()

    def note_daemon_event(self, event: DaemonEvent) -> None:
        """Take what this life's offline desk published."""
        self.trace.note(self.name, event.kind.value)
        self._stirred.set()

    def _start(self) -> None:
        if self.life is not None:
            return
        try:
            self.life = Life(self)
        except PowerLost:
            return
        except JournalUnwritable:
            # A daemon that can't write its journal does not start; whoever watches it tries again.
            self._loop.call_later(BOOT_S, self._start)

    def _meet_step(self, step: DiskStep) -> None:
        """Lose power at this very step of a write, or not."""
        if not self.dice.happens(FaultKind.POWER_LOST, self.plan.disks.power_lost, self.name):
            return
        self.trace.note(self.name, f"loses power when a write was {step.value}")
        self.stop()
        torn_before = self.disk.torn_count
        self.disk.lose_power()
        for _ in range(self.disk.torn_count - torn_before):
            self.dice.note(FaultKind.WRITE_TORN)
        off_ms = self.dice.duration_ms(self.name, self.plan.disks.off_ms_max)
        self._loop.call_later(BOOT_S + off_ms / 1000, self._start)
        raise PowerLost

    def _has_room(self) -> bool:
        if self._loop.time() < self._full_until_s:
            return False
        if not self.dice.happens(FaultKind.DISK_FULL, self.plan.disks.full, self.name):
            return True
        self._full_until_s = (
            self._loop.time() + self.dice.duration_ms(self.name, self.plan.disks.full_ms_max) / 1000
        )
        return False

    def _draw_skew(self) -> int:
        clocks = self.plan.clocks
        if not self.dice.happens(FaultKind.CLOCK_SKEWED, clocks.skewed, self.name):
            return 0
        return self.dice.below(self.name, 2 * clocks.skew_ms_max + 1) - clocks.skew_ms_max


class Life:
    """What runs on a terminal's machine until its power goes."""

    def __init__(self, till: TillNode) -> None:
        self.till = till
        self.is_on = True
        self.armed: TermsSource | None = None
        self._tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        self.journal = Journal(till.disk)
        client = GatewayClient(
            GATEWAY_URL,
            till.facts.private_key,
            SimulatedTransport(self),
            GatewayTimings(retry_delay_ms=200, retry_delay_ms_max=3_000, session_pause_ms=20_000),
            now_ms=till.now_ms,
            entropy=till.rng.randbytes,
            jitter=till.rng.random,
            on_exchange=self._note_exchange,
        )
        self.offline = self._open_offline(client) if till.accepts_offline else None
        ports = SalePorts(
            enrolment=till.enrolment,
            readers=self,
            journal=self.journal,
            gateway=client,
            publish=self._publish,
            now_ms=till.now_ms,
            monotonic_ns=lambda: int(loop.time() * 1e9),
            entropy=till.rng.randbytes,
            answer_deadline_ms=ANSWER_DEADLINE_MS,
            run_blocking=self.run_blocking,
            times=UNKNOWN_TIMES,
            offline=None if self.offline is None else self.offline.desk,
        )
        self.desk = SaleDesk(ports, deadline_ms=SALE_DEADLINE_MS)
        self.resolver = AttemptResolver(
            self.journal,
            client,
            is_on_its_way=self.desk.is_on_its_way,
            on_answer=self.desk.settle_late,
            retry_delay_ms=RESOLVER_DELAY_MS,
            retry_delay_ms_max=RESOLVER_DELAY_MS_MAX,
            now_ms=till.now_ms,
            monotonic_ns=ports.monotonic_ns,
            jitter=till.rng.random,
            run_blocking=self.run_blocking,
            times=UNKNOWN_TIMES,
            on_given_up=self.desk.note_given_up,
        )
        self.desk.tell_orders_to(self.resolver.wake)
        follower = EventFollower(
            client,
            till.disk,
            terminal_id=till.terminal_id,
            on_payment=self._hear,
            poll_ms=EVENT_POLL_MS,
            poll_ms_max=EVENT_POLL_MS_MAX,
            jitter=till.rng.random,
            run_blocking=self.run_blocking,
        )
        works: list[Callable[[], Awaitable[None]]] = [self.resolver.run, follower.run, client.keep_session]
        if self.offline is not None:
            desk = self.offline.desk
            probing = partial(probe_forever, client.probe, lambda: desk.is_offline)
            works += [desk.uploader.run, self.offline.keep_in_sync, probing]
        for work in works:
            self._tasks.append(asyncio.create_task(self._run(work)))

    @property
    def is_offline(self) -> bool:
        """Whether payments are judged here."""
        return self.offline is not None and self.offline.desk.is_offline

    # The readers, as a sale sees them

    def arm(self, terms: TermsSource) -> None:
        """Let presentations be taken."""
        self.armed = terms

    def disarm(self) -> None:
        """Let none be taken."""
        self.armed = None

    def present(self, event: PresentationEvent) -> None:
        """Hand on what a reader of this life tells."""
        if self.is_on and self.armed is not None:
            self.desk.present(event)

    async def run_blocking(self, work: Callable[[], None]) -> None:
        """Run what waits for the disk, which takes no time here; a dead machine runs nothing."""
        await self.be_alive()
        work()

    async def be_alive(self) -> None:
        """Return at once, or never: on a dead machine nothing goes on."""
        if not self.is_on:
            never = asyncio.get_running_loop().create_future()
            # Kept, or the collector would find a task that nobody waits for, whenever it happens to look.
            self.till.waiting_for_ever.append(never)
            await never

    def end(self) -> None:
        """Stop everything of this life; nothing of it is told anybody any more."""
        self.is_on = False
        self.armed = None
        current = asyncio.current_task()
        submission = None if self.desk._open is None else self.desk._open._submission
        for task in (*self._tasks, *([] if submission is None else [submission])):
            if task is not current:
                task.cancel()

    def _open_offline(self, client: GatewayClient) -> OfflineWork:
        till = self.till
        return open_offline(
            TILL,
            Identity(till.facts.private_key, GATEWAY_URL, till.enrolment),
            till.disk,
            OfflineGatewayClient(client),
            OfflineSurroundings(till.now_ms, till.rng.randbytes, till.rng.random, self.run_blocking),
            self._publish_of_daemon,
        )

    def _note_exchange(self, duration_ms: int | None) -> None:
        if self.is_on and self.offline is not None:
            self.offline.desk.note_exchange(duration_ms)

    def _publish(self, event: SaleEvent) -> None:
        if self.is_on:
            self.till.note_event(event)

    def _publish_of_daemon(self, event: DaemonEvent) -> None:
        if self.is_on:
            self.till.note_daemon_event(event)

    async def _hear(self, answer: PaymentAnswer) -> None:
        await self.resolver.hear(answer)

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(PowerLost):
            await work()


class SimulatedTransport:
    """A terminal's way to the gateway, over the world's network."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def exchange(self, method: str, uri: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """As terminal.gateway_client.transport.Transport."""
        till = self._life.till
        await self._life.be_alive()
        call = SignedCall(method, uri.removeprefix(GATEWAY_URL), headers, body)
        till.on_sent(till, call)
        try:
            async with asyncio.timeout(TRY_TIMEOUT_S):
                answer = await till.network.exchange(till.name, call)
        except (TimeoutError, ConnectionBroken) as error:
            raise GatewayUnreachable(f"no answer from the gateway ({type(error).__name__})") from None
        await self._life.be_alive()
        till.on_heard(till, call, answer)
        fields = {name.lower(): value for name, value in answer.fields}
        till.trace.note(till.name, f"hears {answer.status} to {method} {call.raw_path[:40]}")
        return Reply(answer.status, answer.content_type, answer.body, fields)

    async def close(self) -> None:
        """There is nothing open."""
