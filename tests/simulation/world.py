"""One world from one seed: a gateway, its network, a few tills, people who pay, and a witness of it all.

First everybody does business while things go wrong; then everything heals, and whatever is unknown must
become known within HEAL_S. The witness looks after every commit and after everything a till is told.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.http.answers import Answer
from gateway.http.calls import SignedCall
from simulators.auditor.books.snapshot import read_books
from simulators.auditor.findings import Finding
from simulators.auditor.promises import Promise, Told
from simulators.auditor.witness.dealings import Dealings, Heard, HouseRules
from simulators.auditor.witness.evidence import Asked, Evidence
from simulators.auditor.witness.life_rules import SWEEP_WORK_MS_MAX, SWEEPS_LATE_MAX
from simulators.auditor.witness.offline.evidence import OfflineHouse
from simulators.auditor.witness.witness import Witness
from simulators.disks.disk import PowerLost
from simulators.faults.dice import Dice
from simulators.faults.plan import FaultPlan
from simulators.networks.network import SimulatedNetwork
from simulators.seeds import make_rng
from terminal.journal.journal import ATTEMPTS_FILE, Journal
from terminal.offline.queue import OfflineQueue
from tests.simulation.business import Business
from tests.simulation.clerk import Clerk
from tests.simulation.counter import Counter as CounterMachine
from tests.simulation.gateway_node import RULES, GatewayNode
from tests.simulation.holders import Holders
from tests.simulation.offline_house import draw_house, make_house
from tests.simulation.offline_people import OfflinePeople, make_evidence
from tests.simulation.people import Hands, make_things, use_of
from tests.simulation.rogue import RogueTill
from tests.simulation.till_node import TillNode
from tests.simulation.town import (
    COUNTER_WALLETS,
    REFUND_LIMIT_MINOR,
    START_MS,
    TIP_MARGIN_BASIS_POINTS,
    Town,
)
from tests.simulation.trace import Trace
from wire.messages.base import parse_message
from wire.messages.payments import PaymentAnswer, PaymentRequest, ReversalRequest
from wire.messages.till import SaleEvent, SaleEventKind
from wire.notices import NOTICES, NoticeKind

HEAL_S = 150.0
"""From the end of all faults to the last word on every attempt: a resolver's longest pause, one send that
was on its way, and one sale's deadline; or a holder's last word, and the deadline of the hold it made."""
DAY_MS = 86_400_000
TILLS_MIN = 2


def make_dealings(town: Town, rules: HouseRules, now_ms: Callable[[], int]) -> Dealings:
    """Return what is known of payments' lives before anything has happened."""
    return Dealings(
        rules=rules,
        now_ms=now_ms,
        tip_margins={one.enrolment.merchant_id: TIP_MARGIN_BASIS_POINTS for one in town.tills},
        refund_limits={one.enrolment.terminal_id: REFUND_LIMIT_MINOR for one in town.tills},
        managers={(one.enrolment.merchant_id, one.manager_id) for one in town.tills},
    )


class Violation(Exception):
    """The witness objects; the run ends here."""


@dataclass
class Outcome:
    """What became of one world."""

    seed: int
    findings: list[Finding]
    payments: int
    faults: Counter[str]
    trace_hash: str
    lines: list[str] = field(default_factory=list)
    heal_s: float = 0.0
    """How long it took until everything was known."""
    offline_payments: int = 0
    """How many records came of payments without a connection."""
    offline_loss_minor: int = 0
    """What the operator paid of them."""
    told: Counter[str] = field(default_factory=Counter)
    """How often tills were told what."""


class World:
    """Everything of one run; made inside the virtual loop that runs it."""

    def __init__(
        self,
        town: Town,
        seed: int,
        plan: FaultPlan,
        *,
        show: Callable[[str], None] | None = None,
        clerks_only: bool = False,
        offline: OfflineHouse | bool | None = None,
        honest: bool | None = None,
        **options: Any,
    ) -> None:
        """Make the world of a seed.

        Args:
            plan: what may go wrong.
            show: told every line of the trace.
            clerks_only: nobody sells at tills, and clerks have more to do.
            offline: whether tills accept without a connection, or by what rules; drawn from the seed if None.
            honest: whether nobody copies phones or sends batches again; drawn if None.
            options: `disk_keeps_promises=False` for disks that lie.
        """
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._take_exception)
        self.seed = seed
        self.rng = make_rng(seed, "world")
        self.town = town
        self.dice = Dice(seed)
        self.trace = Trace(self._loop.time, show)
        self._begin_ms = self._draw_beginning()
        self.plan = plan
        # In some worlds the second payment of an instrument within ten minutes needs its holder.
        self.rules = replace(RULES, payments_per_window_max=self.rng.choice((0, 0, 0, 1)))
        self.has_cashiers = not clerks_only
        self.house = draw_house(seed) if offline is None and not clerks_only else None
        if offline:
            is_given = isinstance(offline, OfflineHouse)
            self.house = offline if is_given else make_house(make_rng(seed, "offline house"))
        self.evidence = Evidence(
            payers={one.payer.instrument_id: one.payer for one in town.things},
            merchants={one.enrolment.merchant_id: one.merchant for one in town.tills},
            dealings=make_dealings(town, self.rules, self.true_ms),
            offline=make_evidence(self.house),
        )
        self.told: Counter[str] = Counter()
        self._attempts: dict[str, list[str]] = {}
        self._sent: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """The attempts that a till's own machine has sent, by terminal."""
        self._heal_s = 0.0
        self._witness: Witness | None = None
        self.gateway = GatewayNode(
            self.town,
            seed,
            plan,
            self.dice,
            self.trace,
            rules=self.rules,
            house=self.house,
            now_ms=self.true_ms,
            on_commit=self.look,
            on_crash=self._forget_copies,
        )
        self._witness = Witness(self.gateway.ask, self.evidence)
        self.network = SimulatedNetwork(
            self.gateway.deliver,
            plan.network,
            self.dice,
            may_repeat=lambda answer: answer.status < 300,
            lines=plan.lines,
        )
        self.tills = [
            TillNode(
                f"till-{number}",
                facts,
                seed,
                plan,
                self.dice,
                self.trace,
                self.network,
                true_ms=self.true_ms,
                on_sent=self._note_sent,
                on_event=self._note_event,
                on_heard=self._note_heard,
                accepts_offline=self.house is not None,
                **options,
            )
            for number, facts in enumerate(
                self.town.tills[: self.rng.randint(TILLS_MIN, len(self.town.tills))]
            )
        ]
        hands = Hands(
            self.evidence,
            plan,
            self.dice,
            true_ms=self.true_ms,
            monotonic_ns=lambda: int(self._loop.time() * 1e9),
        )
        things = self.things = make_things(self.town, seed)
        self.pin_wallets: dict[str, str] = {}
        """Whose PIN is typed for a payment at a till."""
        self.holders = Holders(self, plan, things)
        self.counter_orders: dict[str, list[tuple[str, int]]] = {}
        """Orders that clerks began, by merchant: several may be paid at several counters."""
        shoppers = [one for one in things if one.facts is not None and one.facts.owner in COUNTER_WALLETS]
        self.clerks = [Clerk(self, CounterMachine(self, till), shoppers, hands) for till in self.tills]
        self.clerks_at_work: list[asyncio.Task[None]] = []
        self.offline: OfflinePeople | None = None
        if self.evidence.offline is not None:
            self.offline = OfflinePeople(self, self.evidence.offline, honest)
            has_free_till = len(self.tills) < len(town.tills)
            if has_free_till and not self.offline.is_honest:
                self.offline.rogue = RogueTill(self, self.evidence.offline, town.tills[-1], hands)
        self.business = Business(self, plan, hands, things)

    @property
    def findings(self) -> list[Finding]:
        """What the witness objects to."""
        assert self._witness is not None
        return self._witness.findings

    def true_ms(self) -> int:
        """Unix milliseconds by the gateway's clock, which is right."""
        return self._begin_ms + int(self._loop.time() * 1000)

    async def run(self) -> Outcome:
        """Do business, heal, and close the books; end at the first violation."""
        self.clerks_at_work = [asyncio.create_task(clerk.work()) for clerk in self.clerks]
        listening = [asyncio.create_task(clerk.listen()) for clerk in self.clerks]
        if self.offline is not None:
            listening += self.offline.start()
        try:
            await self.business.run()
            await self._heal()
            for task in listening:
                task.cancel()
            await self._read_last_events()
            self._read_tills()
            await self._outlast_credentials()
            self._close()
        except Violation:
            pass
        for till in self.tills:
            till.stop()
        assert self._witness is not None
        return Outcome(
            self.seed,
            self.findings,
            self._witness.payment_count,
            self.dice.counts,
            self.trace.hash,
            list(self.trace.lines),
            self._heal_s,
            told=self.told,
            offline_payments=self._witness.offline_count,
            offline_loss_minor=self._witness.offline_loss_minor,
        )

    def look(self) -> None:
        """Let the witness look at what is committed."""
        if self._witness is not None:
            self._witness.look()

    def check(self) -> None:
        """End the run if the witness objects.

        Raises:
            Violation: it does.
        """
        if self.findings:
            raise Violation

    # What the world sees

    def _note_sent(self, till: TillNode, call: SignedCall) -> None:
        self.trace.note(till.name, f"sends {call.method} {call.raw_path[:40]}")
        if (call.method, call.raw_path) == ("POST", "/v1/reversals"):
            self._note_reversal(till, parse_message(call.body, ReversalRequest))
        if call.method == "POST" and call.raw_path.endswith("/confirmations"):
            payment_id = call.raw_path.split("/")[-2]
            self.evidence.dealings.pin_sends[self.pin_wallets[payment_id]] += 1
        if self.offline is not None:
            self.offline.note_sent(till, call.method, call.raw_path, call.body)
        if (call.method, call.raw_path) != ("POST", "/v1/payments"):
            return
        request = parse_message(call.body, PaymentRequest)
        self._sent[till.terminal_id][request.attempt_id] = None
        if self.evidence.offline is not None:
            self.evidence.offline.online_attempts.add((till.terminal_id, request.attempt_id))
        use = use_of(request.presentation)
        promise = Promise(till.terminal_id, request.attempt_id, request.amount_minor, use=use)
        self.evidence.ask(
            Asked(
                promise,
                till.enrolment.merchant_id,
                request.order_id,
                self.true_ms(),
                self.evidence.presented.get(use),
            )
        )
        if request.attempt_id.encode() not in till.disk.synced(ATTEMPTS_FILE):
            self._object("sent_unstored", request.attempt_id)

    def _note_reversal(self, till: TillNode, reversal: ReversalRequest) -> None:
        promise = Promise(till.terminal_id, reversal.attempt_id, reversal.amount_minor)
        self.evidence.take_back(
            Asked(promise, till.enrolment.merchant_id, reversal.order_id, self.true_ms(), None)
        )

    def _note_heard(self, till: TillNode, call: SignedCall, answer: Answer) -> None:
        if self.offline is not None:
            self.offline.note_heard(till, call.raw_path, answer.status, answer.body)

    def _note_event(self, till: TillNode, event: SaleEvent) -> None:
        self.told[event.kind.value] += 1
        match event.kind:
            case SaleEventKind.SUBMITTING:
                self._attempts.setdefault(event.sale.sale_id, []).append(till.attempt_in_hand())
            case SaleEventKind.APPROVED | SaleEventKind.DECLINED:
                self._note_word(till, event)
            case SaleEventKind.CONFIRMING | SaleEventKind.CLOSED:
                self._hear(event.sale.answer)
            case SaleEventKind.ACCEPTED_OFFLINE:
                self._note_accepted(till, event)
            case SaleEventKind.CANCELLED | SaleEventKind.TIMED_OUT:
                self._note_closed(till, event)
        if self._witness is not None:
            self._witness.listen()

    def _note_word(self, till: TillNode, event: SaleEvent) -> None:
        is_approved = event.kind is SaleEventKind.APPROVED
        code = None if is_approved or event.decline is None else event.decline.code
        if code is not None and NOTICES[code].kind is NoticeKind.PROBLEM:
            self.evidence.refuse(till.terminal_id, self._attempts[event.sale.sale_id][-1])
            return
        answer = event.sale.answer
        if answer is None:
            self._object("told_without_an_answer", event.sale.order_id)
            return
        self.evidence.tell(till.terminal_id, answer.attempt_id, Told(answer.payment_id, is_approved, code))

    def _note_accepted(self, till: TillNode, event: SaleEvent) -> None:
        told = event.sale.offline
        assert self.offline is not None
        if told is None:
            self._object("told_without_a_record", event.sale.order_id)
        elif not self.offline.note_accepted(till, told.attempt_id):
            self._object("accepted_unstored", told.attempt_id)

    def _note_closed(self, till: TillNode, event: SaleEvent) -> None:
        """A sale that ended without a payment has left nothing open behind it."""
        for attempt_id in self._attempts.get(event.sale.sale_id, ()):
            promise = self.evidence.asked[till.terminal_id, attempt_id].promise
            if not promise.refused and (promise.told is None or promise.told.approved):
                self._object("closed_with_an_open_attempt", attempt_id)

    def _hear(self, answer: PaymentAnswer | None) -> None:
        if answer is None:
            self._object("told_without_an_answer", "")
            return
        self.evidence.dealings.heard.append(
            Heard(
                answer.payment_id,
                answer.state.value,
                answer.charged_minor,
                answer.tip_minor,
                answer.refunded_minor,
                is_fresh=False,
            )
        )

    def _forget_copies(self) -> None:
        """What relays were about to send again dies with their connections to the gateway."""
        self.network.forget_copies()

    def _object(self, code: str, where: str) -> None:
        assert self._witness is not None
        self._witness.object(code, where)

    def _take_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, PowerLost):
            self._object("unexpected_exception", f"{context.get('message')}: {error!r}")

    # The end

    async def _heal(self) -> None:
        self.trace.note("world", "heals")
        self.dice.is_healed = True
        self.gateway.heal()
        self.network.mend()
        for till in self.tills:
            till.heal()
        self.evidence.dealings.healed_ms = self.true_ms()
        began_s = self._loop.time()
        while any(till.has_unknowns() for till in self.tills) or self._has_open_business():
            if self._loop.time() - began_s > HEAL_S:
                break
            await asyncio.sleep(0.25)
            self.check()
        self._heal_s = self._loop.time() - began_s
        # What is still on its way must find nothing left to do.
        await self.network.settle()

    def _has_open_business(self) -> bool:
        """Say whether a clerk waits for a word, or a payment for its deadline."""
        assert self._witness is not None
        for task in self.clerks_at_work:
            if task.done():
                task.result()
        return bool(self._witness.lives.open_ids) or not all(task.done() for task in self.clerks_at_work)

    async def _read_last_events(self) -> None:
        for clerk, task in zip(self.clerks, self.clerks_at_work, strict=True):
            if not task.done():
                self._object("clerk_without_an_answer", clerk.counter.name)
                task.cancel()
            await clerk.counter.poll_events()

    def _read_tills(self) -> None:
        for till in self.tills:
            self._compare_journal(till)
            if self.offline is not None:
                self._read_words(till)

    async def _outlast_credentials(self) -> None:
        """Let time pass without tills until every allowance has gone back; only the gateway sweeps."""
        if self.offline is None:
            return
        for till in self.tills:
            till.stop()
        (ends_ms,) = next(iter(self.gateway.ask("SELECT coalesce(max(ends_ms), 0) FROM credentials")))
        sweeps_ms = self.rules.sweep_ms * (SWEEPS_LATE_MAX + 1) + SWEEP_WORK_MS_MAX
        await asyncio.sleep(max(0, ends_ms + sweeps_ms - self.true_ms()) / 1000)

    def _close(self) -> None:
        assert self._witness is not None
        self._witness.close(read_books(self.gateway.ask))
        self.check()

    def _compare_journal(self, till: TillNode) -> None:
        """Everything that was sent is in the journal on the disk, with the word that stands."""
        journal = Journal(till.disk)
        known = set()
        for record in journal.unresolved():
            known.add(record.request.attempt_id)
            self._object("unresolved", record.request.attempt_id)
        for settled in journal._settled.values():
            known.add(settled.attempt_id)
            if settled.answer is None:
                self.evidence.refuse(till.terminal_id, settled.attempt_id)
            else:
                answer = settled.answer
                self._hear(answer)
                decline = None if answer.decline is None else answer.decline.code
                told = Told(answer.payment_id, answer.outcome == "approved", decline)
                if (settled.outcome, settled.code) != (answer.outcome, decline or ""):
                    self._object("journal_contradicts_itself", settled.attempt_id)
                key = till.terminal_id, settled.attempt_id
                if key in self.evidence.dealings.reversing and answer.outcome != "approved":
                    self.evidence.dealings.reversed.add(key)
                if answer.outcome != "closed":
                    self.evidence.tell(*key, told)
        for attempt_id in self._sent[till.terminal_id]:
            if attempt_id not in known:
                self._object("forgotten", attempt_id)

    def _read_words(self, till: TillNode) -> None:
        """Note what a till's disk says about what it accepted, and that nothing waits there any more."""
        offline = self.evidence.offline
        assert offline is not None
        queue = OfflineQueue(till.disk, till.facts.private_key)
        for stored in queue.waiting():
            self._object("not_handed_in", stored.record.attempt_id)
        for one in queue.settled():
            word = one.outcome, one.code, one.payment_id, one.loss_minor, one.loss_bearer
            offline.words[till.terminal_id, one.sequence] = word
        if till.life is not None and till.life.offline is not None:
            view = till.life.offline.desk.describe()
            shown = view.conflict_count, view.declined_count, view.merchant_loss_minor
            offline.shown[till.terminal_id] = shown

    def _draw_beginning(self) -> int:
        """Some worlds begin in the day, some a minute before the limits of a new day."""
        if self.rng.random() < 0.7:
            return START_MS + self.rng.randrange(DAY_MS // 4)
        midnight_ms = START_MS // DAY_MS * DAY_MS + DAY_MS
        return midnight_ms - self.rng.randint(1_000, 60_000)
