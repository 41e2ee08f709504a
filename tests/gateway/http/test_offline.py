"""Payments without a connection from end to end: a phone's permit, tills that are offline, and their uploads.

The card, the till's rules, queue and uploader are the product's own; the gateway is real, on a real port.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import GatewayConfig, OfflineSettings
from gateway.holders.model import InstrumentStatus
from gateway.holders.service import NewInstrument
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from gateway.offline.service import OfflineService
from simulators.errors import GatewaySilent
from simulators.phones.phone import Phone
from simulators.phones.wallet_app import WalletApp, exchange_over
from terminal.disk import FolderDisk
from terminal.gateway_client.client import GatewayClient, GatewayTimings
from terminal.gateway_client.http_transport import HttpTransport
from terminal.offline.acceptance import AcceptedOffline, OfflineAcceptance, RefusedOffline
from terminal.offline.gateway import OfflineGatewayClient
from terminal.offline.queue import OfflineQueue
from terminal.offline.status_list import TrustStore
from terminal.offline.uploader import OfflineUploader
from wire import es256
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_terms import QUALIFIERS_OFFLINE, QUALIFIERS_ONLINE, PaymentTerms
from wire.cards.presentation_dialogue import OfflineTap, read_presentation
from wire.errors import CardError
from wire.ids import make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.offline import (
    BatchAnswer,
    BatchRequest,
    CredentialRequest,
    IssuerAnswer,
    StatusListAnswer,
)
from wire.messages.payments import NfcAppPresentation
from wire.money import Money, find_currency
from wire.tokens.offline_record import OfflineRecord, seal_offline_record
from wire.tokens.status_list import parse_status_list, verify_status_list

NOW_MS = 1_767_225_600_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
EUR = find_currency("EUR")
TOKEN_PAN = "4111111111111111"
SETTINGS = OfflineSettings(enabled=True)


@pytest.fixture
def config(config: GatewayConfig) -> GatewayConfig:
    return msgspec.structs.replace(config, offline=SETTINGS)


class Till:
    """One enrolled till with everything it needs while it is offline."""

    def __init__(self, world: World, key: es256.PrivateKey, terminal: Any, folder: Path, seed: int) -> None:
        rng = random.Random(seed)
        self.key, self.terminal, self._rng, self._clock = key, terminal, rng, world.clock
        transport = HttpTransport(connect_timeout_ms=2_000, try_timeout_ms=20_000)
        timings = GatewayTimings(retry_delay_ms=1, retry_delay_ms_max=2)
        self.client = GatewayClient(
            world.shop.gateway.url,
            key,
            transport,
            timings,
            now_ms=world.clock,
            entropy=rng.randbytes,
            jitter=rng.random,
        )
        self.gateway = OfflineGatewayClient(self.client)
        self.queue = OfflineQueue(FolderDisk(folder), key)
        self.trust = TrustStore(FolderDisk(folder), world.clock, _at_once)
        self.results: list[Any] = []
        self._sale_number = 0
        self.acceptance = OfflineAcceptance(
            self.queue,
            lambda: self.trust.trust,
            merchant_id=terminal.merchant_id,
            terminal_id=terminal.terminal_id,
            now_ms=world.clock,
        )
        self.uploader = OfflineUploader(
            self.queue,
            self.gateway,
            on_progress=lambda _: None,
            on_result=lambda _, result: self.results.append(result),
            retry_delay_ms=1,
            retry_delay_ms_max=4,
            now_ms=world.clock,
            entropy=rng.randbytes,
            jitter=rng.random,
            run_blocking=_at_once,
        )

    def tap(self, card: Any, amount_minor: int, qualifiers: bytes = QUALIFIERS_OFFLINE) -> Any:
        """Let a card sign for an amount; CardError if it refuses."""
        terms = PaymentTerms(
            amount=Money(amount_minor, EUR),
            nonce=self._rng.randbytes(8),
            merchant_id=self.terminal.merchant_id,
            terminal_id=self.terminal.terminal_id,
            at_s=self._clock() // 1000,
            qualifiers=qualifiers,
        )
        card.power_on()
        return hold_dialogue(read_presentation(lambda: terms), card.transmit)

    def sell(self, card: Any, amount_minor: int = 1_000, order_id: str | None = None) -> Any:
        """Accept a tap offline, or return the code of what refused it."""
        self._sale_number += 1
        try:
            tap = self.tap(card, amount_minor)
        except CardError as error:
            return error.code
        assert isinstance(tap, OfflineTap)
        verdict = self.acceptance.accept(
            tap.token,
            tap.credential,
            attempt_id=make_ulid(self._clock(), self._rng.randbytes(10)),
            order_id=order_id or f"{self.terminal.terminal_id}-{self._sale_number}",
            amount=Money(amount_minor, EUR),
        )
        return verdict.code if isinstance(verdict, RefusedOffline) else verdict

    async def upload(self, records: list[bytes]) -> BatchAnswer:
        """Hand in these very bytes, whatever the queue says."""
        batch = BatchRequest(batch_id=make_ulid(self._clock(), self._rng.randbytes(10)), records=records)
        return await self.gateway.upload(batch)

    async def drain(self) -> list[Any]:
        """Hand in what waits; return the words that came back."""
        self.results.clear()
        await self.uploader.drain()
        return list(self.results)

    async def close(self) -> None:
        self.queue.close()
        await self.client.close()


@dataclass
class World:
    """The shop's phone with 50 of 100 euros set aside, and tills that have synced."""

    shop: Any
    clock: Any
    folder: Path
    phone: Phone
    app: WalletApp
    tills: list[Till] = field(default_factory=list)

    async def open_till(self) -> Till:
        number = len(self.tills) + 1
        merchants, pending = self.shop.office.merchants, self.shop.pending
        if number > 1:
            terminal = self.shop.pending.terminal
            pending = await merchants.add_terminal(terminal.merchant_id, terminal.location_id, now_ms=NOW_MS)
        key = ec.derive_private_key(0x7E21 + number, ec.SECP256R1())
        caller = self.shop.caller(0x7E21 + number)
        answer = await caller.enrol(pending.enrolment_code)
        assert answer.status == 200, answer.body
        folder = self.folder / str(number)
        folder.mkdir()
        till = Till(self, key, pending.terminal, folder, number)
        self.tills.append(till)
        await till.trust.sync(till.gateway)
        return till

    async def get_credential(self, allowance_minor: int = 5_000, **fields: Any) -> Any:
        request = CredentialRequest(
            credential_id=self.app.new_id(), allowance_minor=allowance_minor, **fields
        )
        answer = await self.app.ask_credential(request)
        self.phone.hold_credential(answer.credential)
        return request, answer

    async def balance_minor(self) -> int:
        return int(await self.shop.balance_minor())

    async def earned_minor(self) -> int:
        """What the merchant has, its fees put back."""
        merchant = await self.shop.office.store.list_merchants()
        accounts = [merchant[0].account_id, operator_account_id(AccountKind.FEES, "EUR")]
        found = [await self.shop.office.store.find_account(one) for one in accounts]
        return sum(one.available_minor for one in found)

    async def lost_minor(self) -> int:
        account_id = operator_account_id(AccountKind.LOSSES, "EUR")
        return -(await self.shop.office.store.find_account(account_id)).available_minor

    async def left_minor(self) -> int:
        return sum(one.left_minor for one in await self.shop.office.store.list_credentials())


async def _at_once(work: Callable[[], None]) -> None:
    work()


@pytest.fixture
async def world(shop: Any, clock: Any, tmp_path: Path) -> AsyncIterator[World]:
    rng = random.Random(77)
    phone = Phone(shop.phone_key, rng=rng, token_pan=TOKEN_PAN)
    app = WalletApp(
        exchange_over(shop.http), shop.gateway.url, shop.phone_key, now_ms=clock, entropy=rng.randbytes
    )
    made = World(shop, clock, tmp_path, phone, app)
    yield made
    for till in made.tills:
        await till.close()


@pytest.fixture
async def till(world: World) -> Till:
    return await world.open_till()


# Permits ----------------------------------------------------------------------------------------------------


class TestCredentials:
    async def test_the_money_leaves_the_wallet_once_and_the_answer_is_repeated(self, world: World) -> None:
        request, first = await world.get_credential()
        again = await world.app.ask_credential(request)
        assert again == first
        assert (await world.balance_minor(), await world.left_minor()) == (5_000, 5_000)
        assert first.expires_ms == NOW_MS + SETTINGS.credential_life_ms
        assert world.phone.allowance is not None
        # The floor is the most of one payment, whatever a phone asks for.
        assert world.phone.allowance.claims.per_payment_minor == 1_500

    async def test_an_id_that_is_used_for_another_allowance_is_a_conflict(self, world: World) -> None:
        request, _ = await world.get_credential()
        with pytest.raises(GatewaySilent, match="idempotency_conflict"):
            await world.app.ask_credential(msgspec.structs.replace(request, allowance_minor=4_000))

    @pytest.mark.parametrize(
        ("allowance_minor", "code"), [(5_001, "amount_invalid"), (5_000, "allowance_not_covered")]
    )
    async def test_what_is_not_offered_or_not_covered_is_refused(
        self, world: World, allowance_minor: int, code: str
    ) -> None:
        await world.get_credential(3_000)
        await world.get_credential(3_000)
        with pytest.raises(GatewaySilent, match=code):
            await world.get_credential(allowance_minor)
        assert await world.balance_minor() == 4_000

    async def test_a_suspended_phone_gets_none(self, world: World) -> None:
        await world.shop.office.holders.set_instrument_status(
            world.shop.phone.instrument_id, InstrumentStatus.SUSPENDED
        )
        with pytest.raises(GatewaySilent, match="device_suspended"):
            await world.get_credential()

    async def test_what_is_left_goes_back_when_nothing_can_arrive_any_more(
        self, world: World, till: Till
    ) -> None:
        await world.get_credential()
        assert isinstance(till.sell(world.phone.payment_card(), 700), AcceptedOffline)
        await till.drain()
        world.clock.ms = NOW_MS + SETTINGS.credential_life_ms + SETTINGS.record_age_ms + HOUR_MS
        async with asyncio.timeout(20):
            while await world.left_minor():
                continue
        assert await world.balance_minor() == 10_000 - 700


class TestTrust:
    async def test_a_till_learns_keys_rules_and_list(self, world: World, till: Till) -> None:
        caller = world.shop.caller(0x7E22)
        answer = await caller.call("GET", "/v1/offline/issuer")
        issuer = parse_message(answer.body, IssuerAnswer)
        assert issuer.rules is not None
        assert (issuer.rules.floor_minor, issuer.rules.stored_sum_minor) == (1_500, 50_000)
        first = await till.gateway.fetch_status_list(None)
        assert first.status_list is not None
        assert await till.gateway.fetch_status_list(first.etag) == StatusListAnswer(etag=first.etag)
        # In time it is issued anew though nothing has changed: its age counts from its issue.
        world.clock.ms = caller.now_ms = NOW_MS + SETTINGS.list_refresh_ms
        later = await till.gateway.fetch_status_list(first.etag)
        assert later.status_list is not None
        (key,) = [es256.load_public_key(one.public_key) for one in issuer.keys]
        listed = verify_status_list(parse_status_list(later.status_list), key)
        assert listed.issued_s == world.clock.ms // 1000
        assert not any(listed.bits)

    async def test_a_suspended_phone_is_on_the_next_list_and_gets_nothing_there(
        self, world: World, till: Till
    ) -> None:
        await world.get_credential()
        await world.shop.office.holders.set_instrument_status(
            world.shop.phone.instrument_id, InstrumentStatus.SUSPENDED
        )
        card = world.phone.payment_card()
        assert isinstance(till.sell(card), AcceptedOffline)
        await till.trust.sync(till.gateway)
        assert till.sell(card) == "offline_credential_suspended"
        # Accepted before the till could know: paid.
        assert [one.outcome for one in await till.drain()] == ["settled"]

    async def test_strangers_and_malformed_questions_get_nothing(self, world: World, till: Till) -> None:
        answer = await world.shop.caller(99).call("GET", "/v1/offline/status-list")
        assert (answer.status, answer.code) == (401, "terminal_unknown")
        answer = await world.shop.caller(0x7E22).call("GET", "/v1/offline/status-list?since=1")
        assert (answer.status, answer.code) == (400, "malformed")


async def test_a_gateway_that_offers_none_says_so_and_settles_all_the_same(world: World, till: Till) -> None:
    await world.get_credential()
    accepted = till.sell(world.phone.payment_card())
    # As after a restart with `enabled = false`.
    desk_settings = msgspec.structs.replace(SETTINGS, enabled=False)
    office = world.shop.office
    service = OfflineService(office.store, office.vault, desk_settings, random.Random(1).randbytes)
    terminal = await office.store.find_terminal_by_key(es256.key_id_of(till.key.public_key()))
    assert service.describe_issuer(terminal, now_ms=NOW_MS).rules is None
    batch = BatchRequest(batch_id=make_ulid(NOW_MS, bytes(10)), records=[accepted.payment.sealed])
    answer = await service.take_batch(batch, terminal, now_ms=NOW_MS)
    assert answer.results[0].outcome == "settled"


# Uploads ----------------------------------------------------------------------------------------------------


async def test_taps_of_an_outage_are_settled_by_what_was_set_aside(world: World, till: Till) -> None:
    await world.get_credential()
    card = world.phone.payment_card()
    accepted = [till.sell(card, amount_minor) for amount_minor in (1_000, 250, 999)]
    assert all(isinstance(one, AcceptedOffline) for one in accepted)
    world.clock.ms += 5 * HOUR_MS
    results = await till.drain()
    assert [(one.sequence, one.outcome, one.loss_minor) for one in results] == [
        (1, "settled", 0),
        (2, "settled", 0),
        (3, "settled", 0),
    ]
    assert (await world.balance_minor(), await world.left_minor()) == (5_000, 5_000 - 2_249)
    assert await world.earned_minor() == 2_249
    # The till finds the payment under the attempt id it sealed.
    caller = world.shop.caller(0x7E22)
    caller.now_ms = world.clock.ms
    attempt_id = accepted[0].payment.record.attempt_id
    found = await caller.call("GET", f"/v1/payments?attempt_id={attempt_id}")
    assert (found.json["payment_id"], found.json["outcome"]) == (results[0].payment_id, "approved")
    assert found.json["receipt"]["receipt_number"] == "000001"


async def test_records_come_again_in_other_batches_and_get_the_same_word(world: World, till: Till) -> None:
    await world.get_credential()
    card = world.phone.payment_card()
    sealed = [till.sell(card, 100 + number).payment.sealed for number in range(6)]
    first = await till.upload(sealed[:4])
    second = await till.upload([*sealed[2:], sealed[0]])
    assert second.results[:2] == first.results[2:]
    assert second.results[-1] == first.results[0]
    assert (first.next_sequence, second.next_sequence) == (5, 7)
    assert await world.earned_minor() == sum(100 + number for number in range(6))
    assert await world.shop.office.store.list_offline_alarms() == []


async def test_bytes_that_nobody_sealed_get_no_number_and_stop_nothing(world: World, till: Till) -> None:
    await world.get_credential()
    other = await world.open_till()
    card = world.phone.payment_card()
    good = till.sell(card).payment.sealed
    foreign = other.sell(card).payment.sealed
    spoilt = good[:-1] + bytes((good[-1] ^ 1,))
    answer = await till.upload([b"noise", spoilt, foreign, good])
    assert [(one.sequence, one.outcome, one.code) for one in answer.results] == [
        (0, "declined", "offline_record_invalid"),
        (0, "declined", "offline_record_invalid"),
        (0, "declined", "offline_record_invalid"),
        (1, "settled", ""),
    ]
    assert await world.earned_minor() == 1_000


RULE_BREAKS: list[tuple[str, dict[str, Any], str]] = [
    ("over the floor", {"amount_minor": 1_501}, "offline_rules_broken"),
    ("a list that is too old", {"list_issued_s": (NOW_MS - DAY_MS) // 1000 - 1}, "offline_rules_broken"),
    ("a clock unsure for too long", {"clock_set_ms": NOW_MS - DAY_MS - 1}, "offline_rules_broken"),
    ("accepted before the clock was set", {"clock_set_ms": NOW_MS + 1}, "offline_rules_broken"),
    ("accepted long before the tap", {"accepted_ms": NOW_MS - 2 * MINUTE_MS}, "offline_rules_broken"),
    ("accepted after the upload", {"later_ms": -HOUR_MS}, "offline_rules_broken"),
    ("another amount than was tapped", {"sealed_minor": 900}, "offline_record_invalid"),
    ("too late", {"later_ms": SETTINGS.record_age_ms + 1}, "offline_record_too_old"),
    ("an online tap", {"qualifiers": QUALIFIERS_ONLINE}, "offline_record_invalid"),
]


@pytest.mark.parametrize(("changes", "code"), [pytest.param(*one[1:], id=one[0]) for one in RULE_BREAKS])
async def test_a_till_that_breaks_a_rule_is_declined_and_bears_it(
    world: World, till: Till, changes: dict[str, Any], code: str
) -> None:
    amount_minor = changes.get("amount_minor", 1_000)
    world.clock.ms = NOW_MS
    await world.get_credential()
    card = world.phone.payment_card()
    assert world.phone.allowance is not None
    credential = world.phone.allowance.credential
    if amount_minor > 1_500:
        # The card keeps the limit too, so a till with another floor needs a card that does not.
        world.phone.allowance.claims = replace(world.phone.allowance.claims, per_payment_minor=5_000)
    presented = till.tap(card, amount_minor, changes.get("qualifiers", QUALIFIERS_OFFLINE))
    record = OfflineRecord(
        sequence=1,
        previous_link=bytes(32),
        attempt_id=make_ulid(NOW_MS, bytes(10)),
        order_id="order-1",
        amount=Money(changes.get("sealed_minor", amount_minor), EUR),
        accepted_ms=changes.get("accepted_ms", NOW_MS),
        clock_set_ms=changes.get("clock_set_ms", NOW_MS - 3 * MINUTE_MS),
        list_issued_s=changes.get("list_issued_s", NOW_MS // 1000 - 600),
        token=presented.token,
        credential=credential,
    )
    world.clock.ms = NOW_MS + changes.get("later_ms", HOUR_MS)
    sealed = seal_offline_record(record, till.key)
    for _ in range(2):
        (result,) = (await till.upload([sealed])).results
        assert (result.sequence, result.outcome, result.code) == (1, "declined", code)
        assert (result.loss_minor, result.loss_bearer) == (record.amount.minor, "merchant")
    assert await world.earned_minor() == 0


async def test_a_batch_must_be_signed_by_the_tills_own_key_under_its_own_id(world: World, till: Till) -> None:
    await world.get_credential()
    sealed = till.sell(world.phone.payment_card()).payment.sealed
    batch = BatchRequest(batch_id=make_ulid(NOW_MS, bytes(10)), records=[sealed])
    caller = world.shop.caller(0x7E22)
    answer = await caller.call("POST", "/v1/offline/batches", dump_message(batch))
    assert (answer.status, answer.code) == (400, "malformed")
    answer = await world.shop.caller(99).call(
        "POST", "/v1/offline/batches", dump_message(batch), idempotency_key=batch.batch_id
    )
    assert (answer.status, answer.code) == (401, "terminal_unknown")


async def test_a_batch_sent_many_times_at_once_is_settled_once(world: World, till: Till) -> None:
    await world.get_credential()
    card = world.phone.payment_card()
    sealed = [till.sell(card, 300).payment.sealed for _ in range(8)]
    answers = await asyncio.gather(*(till.upload(sealed) for _ in range(6)))
    assert all(answer.results == answers[0].results for answer in answers)
    assert (await world.earned_minor(), await world.left_minor()) == (2_400, 2_600)


# What must not be charged twice -----------------------------------------------------------------------------


async def test_an_offline_tap_is_declined_online_and_its_record_is_paid_all_the_same(
    world: World, till: Till
) -> None:
    await world.get_credential()
    accepted = till.sell(world.phone.payment_card())
    caller = world.shop.caller(0x7E22)
    request = world.shop.request(1_000, presentation=NfcAppPresentation(token=accepted.payment.record.token))
    answer = await caller.pay(request)
    assert answer.json["decline"]["code"] == "token_offline_only"
    assert await world.balance_minor() == 5_000
    assert [one.outcome for one in await till.drain()] == ["settled"]
    assert await world.earned_minor() == 1_000


async def test_an_attempt_that_went_online_too_is_charged_once(world: World, till: Till) -> None:
    await world.get_credential()
    accepted = till.sell(world.phone.payment_card(), order_id="order-both")
    caller = world.shop.caller(0x7E22)
    request = world.shop.request(1_000, attempt_id=accepted.payment.record.attempt_id, order_id="order-both")
    online = await caller.pay(request)
    assert online.json["outcome"] == "approved"
    (result,) = await till.drain()
    assert (result.outcome, result.payment_id) == ("settled", online.json["payment_id"])
    assert (await world.earned_minor(), await world.left_minor()) == (1_000, 5_000)


async def test_a_settled_attempt_can_not_be_paid_online(world: World, till: Till) -> None:
    await world.get_credential()
    accepted = till.sell(world.phone.payment_card())
    await till.drain()
    request = world.shop.request(1_000, attempt_id=accepted.payment.record.attempt_id)
    answer = await world.shop.caller(0x7E22).pay(request)
    assert (answer.status, answer.code) == (409, "idempotency_conflict")


# Copies -----------------------------------------------------------------------------------------------------


async def test_copies_at_tills_that_are_offline_together_cost_at_most_the_bound(world: World) -> None:
    await world.get_credential()
    tills = [await world.open_till() for _ in range(4)]
    card = world.phone.payment_card()
    copies = [card.clone() for _ in tills]
    accepted_minor = 0
    for till, copied in zip(tills, copies, strict=True):
        for amount_minor in (1_500, 1_000, 500):
            if isinstance(till.sell(copied, amount_minor), AcceptedOffline):
                accepted_minor += amount_minor
    # Each till stops at k; the wallet's own 50 euros stand in before the operator does.
    assert accepted_minor == 4 * 2_500
    words = await asyncio.gather(*(till.drain() for till in tills))
    assert {one.outcome for drained in words for one in drained} == {"settled"}
    assert await world.earned_minor() == accepted_minor
    lost_minor = await world.lost_minor()
    assert lost_minor == sum(one.loss_minor for drained in words for one in drained) == 0
    assert (await world.balance_minor(), await world.left_minor()) == (0, 0)
    # From here on every cent is lost, and the key is known to be copied.
    await tills[0].trust.sync(tills[0].gateway)
    assert tills[0].sell(copies[0], 100) == "offline_credential_suspended"
    fifth = await world.open_till()
    assert fifth.sell(card.clone(), 100) == "offline_credential_suspended"
    alarms = {one.kind for one in await world.shop.office.store.list_offline_alarms()}
    assert "key_copied" in alarms


async def test_what_copies_take_beyond_allowance_and_wallet_is_the_operators(world: World) -> None:
    await world.get_credential()
    tills = [await world.open_till() for _ in range(6)]
    card = world.phone.payment_card()
    for till in tills:
        copied = card.clone()
        for amount_minor in (1_500, 1_000):
            assert isinstance(till.sell(copied, amount_minor), AcceptedOffline)
    for till in tills:
        await till.drain()
    bound_minor = len(tills) * SETTINGS.device_total_units * 100 - 5_000
    assert await world.earned_minor() == 6 * 2_500
    assert await world.lost_minor() == 6 * 2_500 - 10_000 <= bound_minor
    losses = await world.shop.office.store.list_offline_losses()
    assert {one.loss_bearer for one in losses} == {"operator"}


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_honest_phones_cost_nobody_anything(world: World, seed: int) -> None:
    rng = random.Random(seed)
    phones = [world.phone, await _another_phone(world, 2), await _another_phone(world, 3)]
    await world.get_credential(3_000)
    tills = [await world.open_till() for _ in range(3)]
    spent_minor = 0
    uploads: list[tuple[Till, bytes]] = []
    for _ in range(30):
        till, card = rng.choice(tills), rng.choice(phones).payment_card()
        accepted = till.sell(card, rng.randint(1, 600))
        # A card or a till that says no has moved nothing.
        if isinstance(accepted, AcceptedOffline):
            spent_minor += accepted.payment.record.amount.minor
            uploads.append((till, accepted.payment.sealed))
    uploads += rng.choices(uploads, k=20)
    rng.shuffle(uploads)
    answers = await asyncio.gather(*(till.upload([sealed]) for till, sealed in uploads))
    assert {one.outcome for answer in answers for one in answer.results} == {"settled"}
    assert sum(one.loss_minor for answer in answers for one in answer.results) == 0
    assert (await world.earned_minor(), await world.lost_minor()) == (spent_minor, 0)
    assert await world.left_minor() == 3_000 + 2 * 2_000 - spent_minor
    assert {one.kind for one in await world.shop.office.store.list_offline_alarms()} <= {"gap"}


async def _another_phone(world: World, number: int) -> Phone:
    """Return another phone of the same wallet, with 20 euros set aside."""
    key = ec.derive_private_key(0xF0_0000 + number, ec.SECP256R1())
    rng = random.Random(number)
    new = NewInstrument(
        world.shop.phone.wallet_id, world.shop.phone.kind, es256.dump_public_key(key.public_key())
    )
    await world.shop.office.holders.add_instrument(new, now_ms=NOW_MS)
    phone = Phone(key, rng=rng, token_pan=TOKEN_PAN)
    app = WalletApp(
        exchange_over(world.shop.http),
        world.shop.gateway.url,
        key,
        now_ms=world.clock,
        entropy=partial(random.Random(number).randbytes),
    )
    answer = await app.ask_credential(CredentialRequest(credential_id=app.new_id(), allowance_minor=2_000))
    phone.hold_credential(answer.credential)
    return phone
