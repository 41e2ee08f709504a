"""Power fails at every step of an unknown outcome's protocol: one end, and what was told holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from terminal.errors import TerminalError
from terminal.gateway_client.client import GatewayClient, GatewayTimings
from terminal.journal.journal import Journal
from terminal.journal.records import AttemptRecord, SettledRecord
from terminal.presentations import Presented, TermsSource
from terminal.sale.desk import SaleDesk
from terminal.sale.ports import SalePorts
from terminal.sale.resolver import AttemptResolver, UnknownTimes
from tests.terminal.conftest import ENROLMENT, make_presentation
from tests.terminal.crash_world import CrashDisk, CrashGateway, CrashTransport, Power, PowerLost
from wire.messages.till import AttemptStage, SaleEvent, SaleEventKind, SaleRequest, SaleState

TIMES = UnknownTimes(resend_ms=20_000, reverse_after_ms=60_000)
ROUND_MS = 5_000
ROUNDS_MAX = 60
KEY = ec.generate_private_key(ec.SECP256R1())
Loses = Callable[[str, str], str]


@dataclass
class Town:
    """What outlives a power loss: the disk's files, the gateway, the time, and what cashiers were told."""

    gateway: CrashGateway = field(default_factory=CrashGateway)
    files: dict[str, bytes] = field(default_factory=dict)
    now_ms: int = 1_800_000_000_000
    told: list[SaleEventKind] = field(default_factory=list)
    rng: Random = field(default_factory=lambda: Random(7))


class NoReaders:
    """Readers that present only what the test hands over."""

    def arm(self, terms: TermsSource) -> None:
        """Nothing to arm."""

    def disarm(self) -> None:
        """Nothing to disarm."""


class Life:
    """The terminal between two power losses."""

    def __init__(self, town: Town, power: Power, loses: Loses = lambda _, __: "") -> None:
        self.town = town
        self.power = power
        self.disk = CrashDisk(power, town.files)
        town.files = self.disk.files
        self.journal = Journal(self.disk)
        # One send per call: the second would wait for longer than the answer's deadline.
        timings = GatewayTimings(retry_delay_ms=60_000, retry_delay_ms_max=60_000)
        client = GatewayClient(
            "http://gateway",
            KEY,
            CrashTransport(power, town.gateway, loses),
            timings,
            now_ms=lambda: town.now_ms,
            entropy=town.rng.randbytes,
            jitter=town.rng.random,
        )
        ports = SalePorts(
            enrolment=ENROLMENT,
            readers=NoReaders(),
            journal=self.journal,
            gateway=client,
            publish=lambda event: self._publish(event, power),
            now_ms=lambda: town.now_ms,
            monotonic_ns=lambda: town.now_ms * 1_000_000,
            entropy=town.rng.randbytes,
            answer_deadline_ms=1,
            run_blocking=run_inline,
            times=TIMES,
        )
        self.desk = SaleDesk(ports, deadline_ms=60_000)
        self.resolver = AttemptResolver(
            self.journal,
            client,
            is_on_its_way=self.desk.is_on_its_way,
            on_answer=self.desk.settle_late,
            retry_delay_ms=1_000,
            retry_delay_ms_max=10_000,
            now_ms=ports.now_ms,
            monotonic_ns=ports.monotonic_ns,
            jitter=town.rng.random,
            run_blocking=run_inline,
            times=TIMES,
            on_given_up=self.desk.note_given_up,
        )

    async def sell(self) -> str:
        """Present something in a sale and wait for what comes of it; returns the sale's id."""
        sale = self.desk.start_sale(SaleRequest(amount_minor=1_250))
        moment_ns = self.town.now_ms * 1_000_000
        before = asyncio.all_tasks()
        self.desk.present(Presented("hand", make_presentation(), moment_ns, moment_ns, None))
        # The attempt, and not the wait for a holder that may follow it.
        await asyncio.gather(*(asyncio.all_tasks() - before))
        return sale.sale_id

    async def resolve(self) -> None:
        """Let time pass until nothing is open."""
        for _ in range(ROUNDS_MAX):
            await self.resolver.resolve_due()
            if not self.journal.unresolved():
                return
            self.town.now_ms += ROUND_MS

    def _publish(self, event: SaleEvent, power: Power) -> None:
        if not power.is_lost:
            self.town.told.append(event.kind)


async def run_inline(work: Callable[[], object]) -> None:
    work()


def lose_all_payments(kind: str) -> Loses:
    return lambda method, _: kind if method == "POST" else ""


async def live(town: Town, power: Power, lost: str, order: str) -> None:
    """One life: a payment whose request or answer is lost, an order of the cashier's, the repair."""
    is_losing = [True]
    life = Life(town, power, lambda method, path: lost if is_losing[0] and path == "/v1/payments" else "")
    sale_id = await life.sell()
    # A query finds nothing either while the cashier decides.
    if life.desk.find_sale(sale_id).state is SaleState.UNKNOWN:
        if order == "reverse":
            await life.desk.reverse_sale(sale_id)
        elif order == "keep":
            await life.desk.keep_sale(sale_id)
    is_losing[0] = False
    await life.resolve()


def word_on(journal: Journal, attempt_id: str) -> AttemptRecord | SettledRecord | None:
    return journal.find(attempt_id)


@pytest.mark.parametrize("order", ["reverse", "keep", "none"])
@pytest.mark.parametrize("lost", ["request", "answer", ""])
@pytest.mark.parametrize("off_ms", [0, 10 * TIMES.reverse_after_ms])
async def test_power_loss_at_any_step_leads_to_one_end(lost: str, order: str, off_ms: int) -> None:
    step = 0
    while True:
        step += 1
        town, power = Town(), Power(step)
        with suppress(PowerLost):
            await live(town, power, lost, order)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        town.now_ms += off_ms
        again = Life(town, Power())
        stages = {one.attempt_id: one.stage for one in again.journal.unresolved()}
        sends_before = len(town.gateway.sends)
        await again.resolve()
        check_end(town, again.journal, stages, town.gateway.sends[sends_before:], f"step {step}")
        if not power.is_lost:
            assert step > 10, "there are steps to lose power at"
            return


def check_end(
    town: Town, journal: Journal, stages: dict[str, AttemptStage], sends: list[str], where: str
) -> None:
    assert journal.unresolved() == [], where
    assert town.gateway.charge_count <= 1, where
    for entry in journal.list():
        answer = town.gateway.decided[entry.attempt_id]
        assert entry.outcome == answer.outcome, where
        if SaleEventKind.APPROVED in town.told:
            assert entry.outcome == "approved", where
        if SaleEventKind.REVERSING in town.told:
            assert entry.outcome in ("declined", "closed"), where
        if stages.get(entry.attempt_id) is AttemptStage.REVERSING:
            assert "pay" not in sends, where
        if SaleEventKind.KEPT in town.told:
            # Nobody gave the goods away for nothing: it was charged in the end.
            assert entry.outcome == "approved", where


async def test_unknown_for_too_long_is_taken_back_without_an_order() -> None:
    town = Town()
    is_losing = [True]
    life = Life(town, Power(), lambda _, __: "answer" if is_losing[0] else "")
    sale_id = await life.sell()
    view = life.desk.find_sale(sale_id)
    assert view.state is SaleState.UNKNOWN
    assert view.reverses_ms == town.now_ms + TIMES.reverse_after_ms
    for _ in range(20):
        await life.resolver.resolve_due()
        town.now_ms += ROUND_MS
    assert life.desk.find_sale(sale_id).state is SaleState.REVERSING
    is_losing[0] = False
    await life.resolve()
    closed = life.desk.find_sale(sale_id)
    assert closed.state is SaleState.CLOSED
    assert closed.answer is not None
    assert closed.answer.decline is not None
    assert closed.answer.decline.code == "payment_reversed"
    assert town.gateway.sends.count("pay") == 1


async def test_never_seen_attempt_is_sent_again_only_for_so_long() -> None:
    town = Town()
    reaches = [False]
    life = Life(town, Power(), lambda method, _: "request" if method == "POST" and not reaches[0] else "")
    sale_id = await life.sell()
    town.now_ms += TIMES.resend_ms - 1
    await life.resolver.resolve_due()
    assert life.desk.find_sale(sale_id).state is SaleState.UNKNOWN
    town.now_ms += ROUND_MS
    reaches[0] = True
    await life.resolver.resolve_due()
    assert town.gateway.sends == ["reverse"]
    assert life.desk.find_sale(sale_id).state is SaleState.DECLINED


async def test_kept_attempt_is_never_taken_back_by_itself_and_can_be_by_order() -> None:
    town = Town()
    life = Life(town, Power(), lambda _, __: "answer")
    sale_id = await life.sell()
    await life.desk.keep_sale(sale_id)
    assert life.desk.find_sale(sale_id).reverses_ms is None
    for _ in range(40):
        town.now_ms += ROUND_MS
        await life.resolver.resolve_due()
    assert "reverse" not in town.gateway.sends
    (waiting,) = life.resolver.describe()
    assert (waiting.stage, waiting.reverses_ms) == (AttemptStage.KEPT, None)
    assert waiting.failure_count > 5
    assert waiting.trouble == "gateway_unreachable"
    await life.desk.reverse_sale(sale_id)
    with pytest.raises(TerminalError) as refused:
        await life.desk.keep_sale(sale_id)
    assert refused.value.code == "attempt_reversing"


async def test_word_that_comes_after_the_order_to_take_it_back_does_not_stand() -> None:
    town = Town()
    life = Life(town, Power(), lambda method, _: "answer" if method == "POST" else "")
    sale_id = await life.sell()
    await life.desk.reverse_sale(sale_id)
    (attempt,) = life.journal.unresolved()
    late = town.gateway.decided[attempt.attempt_id]
    assert late.outcome == "approved"
    assert not await life.resolver.take(late)
    assert life.desk.find_sale(sale_id).state is SaleState.REVERSING


@pytest.mark.parametrize("off_ms", [0, 10 * TIMES.reverse_after_ms])
@pytest.mark.parametrize("ends", ["cancelled", "agreed", "nobody cares"])
async def test_power_loss_while_a_holder_is_waited_for_leads_to_one_end(ends: str, off_ms: int) -> None:
    step = 0
    power = Power()
    while not step or power.is_lost:
        step += 1
        town, power = Town(), Power(step)
        town.gateway.asks_holder = True
        with suppress(PowerLost):
            life = Life(town, power)
            sale_id = await life.sell()
            assert life.desk.find_sale(sale_id).state is SaleState.CONFIRMING
            if ends == "cancelled":
                await life.desk.give_up_sale(sale_id)
            elif ends == "agreed":
                town.gateway.agree()
            await life.resolve()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        told_waiting = SaleEventKind.CONFIRMING in town.told
        if ends == "agreed":
            town.gateway.agree()
        town.now_ms += off_ms
        again = Life(town, Power())
        stages = {one.attempt_id: one.stage for one in again.journal.unresolved()}
        sends_before = len(town.gateway.sends)
        await again.resolve()
        check_end(town, again.journal, stages, town.gateway.sends[sends_before:], f"step {step}")
        if told_waiting and ends == "agreed":
            assert [entry.outcome for entry in again.journal.list()] == ["approved"], step
