"""What people do without a connection in a world, what their phones do about it, and what is noted of it.

What people do here is what they do; nothing of it is judged. Whatever was tapped, told and handed in goes
into the evidence as it happens.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import msgspec

from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from simulators.auditor.witness.offline.evidence import (
    Accepted,
    OfflineEvidence,
    OfflineHouse,
    SealedRecord,
    Vouched,
)
from simulators.errors import GatewaySilent
from simulators.seeds import make_rng
from tests.simulation.offline_house import UNIT
from tests.simulation.people import Thing, use_of
from wire import es256
from wire.errors import WireError
from wire.messages.base import parse_message
from wire.messages.offline import (
    BATCH_RECORDS_MAX,
    BATCHES_TARGET,
    ISSUER_TARGET,
    STATUS_LIST_TARGET,
    BatchRequest,
    CredentialRequest,
    IssuerAnswer,
    StatusListAnswer,
)
from wire.messages.payments import NfcAppPresentation
from wire.tokens.credential import parse_credential, read_credential
from wire.tokens.offline_record import link_of, parse_offline_record, read_offline_record
from wire.tokens.status_list import parse_status_list, verify_status_list

if TYPE_CHECKING:
    from tests.simulation.rogue import RogueTill
    from tests.simulation.till_node import TillNode
    from tests.simulation.world import World

ALLOWANCES_MINOR = (600, 1_200, 2_000, 2_500)
TRIES_MAX = 4
RENEW_BEFORE_MS = 5_000
TWINS_MAX = 2
STORMS_MAX = 2
RINGS = 0.4
"""The part of dishonest worlds that have one."""
RING_SHARE = 0.8
"""The part of what is tapped at an offline till that is the ring's."""
POOR = ("cho-phone", "ben-phone", "gil-phone")
BATCHES_KEPT_MAX = 6
INDEXES_MAX = 256
"""More credentials than this no world's phones get."""


def make_evidence(house: OfflineHouse | None) -> OfflineEvidence | None:
    """Return what is known before anything has happened."""
    if house is None:
        return None
    return OfflineEvidence(house, operator_account_id(AccountKind.LOSSES, "EUR"))


def read_sealed(terminal_id: str, sealed: bytes) -> SealedRecord:
    """Return what a sealed record says."""
    record = read_offline_record(parse_offline_record(sealed))
    return SealedRecord(
        terminal_id=terminal_id,
        sequence=record.sequence,
        link=link_of(sealed),
        previous_link=record.previous_link,
        attempt_id=record.attempt_id,
        order_id=record.order_id,
        amount_minor=record.amount.minor,
        accepted_ms=record.accepted_ms,
        clock_set_ms=record.clock_set_ms,
        list_issued_s=record.list_issued_s,
        use=use_of(NfcAppPresentation(token=record.token)),
        tag=read_credential(parse_credential(record.credential)).credential_id,
    )


def find_on_disk(content: bytes, terminal_id: str, attempt_id: str) -> SealedRecord | None:
    """Return the record of an attempt in the bytes of a till's queue, None if it is not there."""
    for line in content.split(b"\n")[:-1]:
        fields = msgspec.json.decode(line[9:])
        if fields["type"] != "sealed":
            continue
        record = read_sealed(terminal_id, base64.b64decode(fields["sealed"]))
        if record.attempt_id == attempt_id:
            return record
    return None


def _left_minor(thing: Thing) -> int:
    """Return what of its allowance a thing has not spent."""
    held = thing.card.allowance
    return 0 if held is None else held.claims.allowance.minor - held.spent_minor


class OfflinePeople:
    """Phones that get credentials, people who copy phones, and somebody who sends batches twice."""

    def __init__(self, world: World, evidence: OfflineEvidence, is_honest: bool | None) -> None:
        """Draw who takes part.

        Args:
            is_honest: whether nobody copies phones or sends batches again; drawn if None.
        """
        self._world = world
        self._evidence = evidence
        self._rng = make_rng(world.seed, "offline people")
        self.is_honest = self._rng.random() < 0.5 if is_honest is None else is_honest
        self.phones = [one for one in world.holders.phones if self._rng.random() < 0.7]
        self.twins: list[Thing] = []
        """Copies of phones, with the credential they held when they were copied."""
        self._ring = make_rng(world.seed, "ring of thieves")
        self._is_ring = not self.is_honest and self._ring.random() < RINGS
        self._stolen: Thing | None = None
        """What a ring of thieves has copied, as it was when they did."""
        self._ring_copies: dict[str, Thing] = {}
        """The ring's, one for each till."""
        self.rogue: RogueTill | None = None
        self._batches: list[tuple[TillNode, list[bytes]]] = []
        self._issuer_key: es256.PublicKey | None = None

    def start(self) -> list[asyncio.Task[None]]:
        """Begin with everything that goes on until the world heals."""
        works: list[Awaitable[None]] = [self._keep_credentials(phone) for phone in self.phones]
        if self._world.plan.lines.cut:
            works.append(self._cut_lines())
        if not self.is_honest:
            works += [self._copy_phones(), self._send_again()]
        if self._is_ring:
            works.append(self._steal())
        if self.rogue is not None:
            works.append(self.rogue.work(self._draw_for_rogue))
        return [asyncio.ensure_future(work) for work in works]

    def draw_thing(self, till_name: str, amount_minor: int, rng: random.Random) -> Thing | None:
        """Return something that may pay at a till that is offline, if there is anything.

        Holders see on their phones what is left, and mostly look.
        """
        if self._stolen is not None and rng.random() < RING_SHARE:
            copy = self._ring_copies.get(till_name) or self._copy(self._stolen, till_name)
            self._ring_copies[till_name] = copy
            if _left_minor(copy) >= amount_minor:
                return copy
        ready = [one for one in self.phones + self.twins * 2 if _left_minor(one) >= amount_minor]
        if not ready or rng.random() < 0.1:
            ready = self.phones
        return rng.choice(ready) if ready else None

    # What is noted

    def note_sent(self, till: TillNode, method: str, path: str, body: bytes) -> None:
        """Note what a till sends."""
        if (method, path) != ("POST", BATCHES_TARGET):
            return
        records = parse_message(body, BatchRequest).records
        self.note_batch(till.terminal_id, records)
        self._batches.append((till, records))
        del self._batches[:-BATCHES_KEPT_MAX]

    def note_batch(self, terminal_id: str, records: list[bytes]) -> None:
        """Note what leaves a till in one batch."""
        for sealed in records:
            self._evidence.hand_in(read_sealed(terminal_id, sealed))

    def note_heard(self, till: TillNode, path: str, status: int, body: bytes) -> None:
        """Note what a till is told about whom to believe, whatever it makes of it."""
        # An answer may come in the place of the one to another question.
        if status != 200 or not path.startswith((ISSUER_TARGET, STATUS_LIST_TARGET)):
            return
        with contextlib.suppress(WireError):
            issuer = parse_message(body, IssuerAnswer)
            self._issuer_key = es256.load_public_key(issuer.keys[0].public_key)
            self._evidence.set_clocks[till.terminal_id].append((till.now_ms(), issuer.gateway_time_ms))
        with contextlib.suppress(WireError):
            listed = parse_message(body, StatusListAnswer).status_list
            if listed is not None and self._issuer_key is not None:
                read = verify_status_list(parse_status_list(listed), self._issuer_key)
                named = frozenset(index for index in range(INDEXES_MAX) if read.is_suspended(index))
                self._evidence.hear_list(till.terminal_id, read.issued_s, named)

    def note_accepted(self, till: TillNode, attempt_id: str) -> bool:
        """Note that a cashier was told "accepted"; False if the record is not surely on the disk."""
        record = find_on_disk(till.disk.synced(till.queue_file), till.terminal_id, attempt_id)
        if record is None:
            return False
        self._evidence.accept(Accepted(record, till.now_ms(), self._world.true_ms()))
        return True

    # What people do

    async def _keep_credentials(self, phone: Thing) -> None:
        """Have a credential while there is a line, and another one when it is spent or soon over."""
        world, rng = self._world, make_rng(self._world.seed, "allowance", phone.name)
        while not world.dice.is_healed:
            await asyncio.sleep(rng.uniform(0.2, 6))
            if self._needs_one(phone) and not await self._ask_credential(phone, rng):
                # Its wallet does not cover one now, or too many are open.
                await asyncio.sleep(rng.uniform(8, 25))

    def _needs_one(self, phone: Thing) -> bool:
        held = phone.card.allowance
        if held is None:
            return True
        believed_ms = self._world.true_ms() + self._world.holders.skew_of(phone)
        return _left_minor(phone) < UNIT or held.claims.expires_s * 1000 < believed_ms + RENEW_BEFORE_MS

    async def _ask_credential(self, phone: Thing, rng: random.Random) -> bool:
        assert phone.facts is not None
        assert phone.phone is not None
        app = self._world.holders.app_of(phone)
        allowances = [one for one in ALLOWANCES_MINOR if one <= phone.facts.payer.per_day_minor]
        request = CredentialRequest(credential_id=app.new_id(), allowance_minor=rng.choice(allowances))
        instrument_id = phone.facts.payer.instrument_id
        self._evidence.wishes[request.credential_id] = instrument_id, request.allowance_minor
        for _ in range(TRIES_MAX):
            try:
                answer = await app.ask_credential(request)
            except GatewaySilent:
                await asyncio.sleep(rng.uniform(0.5, 5))
                continue
            claims = read_credential(parse_credential(answer.credential))
            self._evidence.vouched.setdefault(
                claims.credential_id,
                Vouched(
                    claims.credential_id,
                    instrument_id,
                    claims.status_index,
                    claims.allowance.minor,
                    claims.per_payment_minor,
                    claims.issued_s * 1000,
                    claims.expires_s * 1000,
                ),
            )
            phone.card.allowance = phone.phone.hold_credential(answer.credential)
            return True
        return False

    async def _cut_lines(self) -> None:
        """Let the street's lines go away for all tills together, as they do when somebody digs there."""
        world, rng = self._world, make_rng(self._world.seed, "digging")
        for _ in range(rng.randint(1, STORMS_MAX)):
            await asyncio.sleep(rng.uniform(8, 40))
            cut_ms = rng.randint(world.plan.lines.cut_ms_max // 3, world.plan.lines.cut_ms_max)
            world.trace.note("world", f"cuts all lines for {cut_ms} ms")
            for till in world.tills:
                world.network.cut(till.name, cut_ms)

    async def _copy_phones(self) -> None:
        """Copy a phone or two as they are at some moment, and go shopping with the copies."""
        for _ in range(self._rng.randint(1, TWINS_MAX)):
            await asyncio.sleep(self._rng.uniform(3, 25))
            ready = [one for one in self.phones if one.card.allowance is not None]
            if ready:
                phone = self._rng.choice(ready)
                self.twins.append(self._copy(phone, "twin"))
                self._world.trace.note(phone.name, "is copied")

    async def _steal(self) -> None:
        """Copy a phone that has just got its allowance, rather one whose wallet covers little beside it."""
        while self._stolen is None and not self._world.dice.is_healed:
            await asyncio.sleep(self._ring.uniform(0.5, 2))
            fresh = [one for one in self.phones if one.card.allowance and not one.card.allowance.spent_minor]
            if fresh:
                phone = min(fresh, key=lambda one: POOR.index(one.name) if one.name in POOR else len(POOR))
                self._stolen = self._copy(phone, "ring")
                self._world.trace.note(phone.name, "is copied by a ring")

    @staticmethod
    def _copy(thing: Thing, name: str) -> Thing:
        return Thing(f"{thing.name} {name}", thing.facts, thing.card.clone(), is_copy=True)

    def _draw_for_rogue(self) -> Thing | None:
        return self.draw_thing("rogue", 0, self._rng)

    async def _send_again(self) -> None:
        """Hand in again what was handed in before, in other batches, in the till's own name."""
        while not self._world.dice.is_healed:
            await asyncio.sleep(self._rng.uniform(4, 15))
            if not self._batches:
                continue
            till, records = self._rng.choice(self._batches)
            records = self._rng.sample(records, self._rng.randint(1, len(records)))
            counter = next(one.counter for one in self._world.clerks if one.counter.till is till)
            batch = BatchRequest(batch_id=counter.new_id(), records=records[:BATCH_RECORDS_MAX])
            await counter.hand_in(batch)
