"""A daemon whose gateway goes away: it says so, judges taps itself, hands them in, and tells the rest."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from simulators.cards.offline_allowance import OfflineAllowance
from simulators.cards.payment_card import PaymentCard
from terminal import daemon
from terminal.config import OfflineSettings
from terminal.errors import ConfigurationError
from tests.terminal.conftest import (
    IMPATIENT,
    GatewayStandIn,
    Till,
    hold,
    make_json,
    make_presentation,
    make_problem,
    now_ms,
    until,
)
from tests.terminal.offline.conftest import ISSUER_KEY, RULES, OfflinePhone
from tests.terminal.offline.gateways import OfflineBook
from wire import es256
from wire.messages.base import parse_message
from wire.messages.offline import BatchRequest, IssuerAnswer, IssuerKey, RecordResult, StatusListAnswer
from wire.messages.payments import NfcSdmPresentation
from wire.messages.till import (
    DaemonEventKind,
    OfflineDrained,
    OfflineView,
    SaleEventKind,
    SaleState,
    SaleView,
)
from wire.tokens.offline_record import parse_offline_record, read_offline_record
from wire.tokens.status_list import make_status_list, mint_status_list

StartTill = Callable[..., Awaitable[Till]]
Kind = SaleEventKind
ON = OfflineSettings(
    enabled=True,
    bad_exchanges_to_leave=2,
    good_exchanges_to_return=2,
    slow_ms=300,
    probe_interval_ms=20,
    upload_retry_delay_ms=10,
    upload_retry_delay_ms_max=40,
)
CODES = [
    make_presentation(),
    NfcSdmPresentation(picc_data_hex="0" * 32, mac_hex="0" * 16),
]


@dataclass
class OfflineGatewaySide:
    """What the stand-in answers about payments without a connection."""

    book: OfflineBook = field(default_factory=OfflineBook)
    refuses: bool = False

    def answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        match request.match_info["what"]:
            case "issuer":
                public_key = ISSUER_KEY.public_key()
                key = IssuerKey(
                    key_id=es256.key_id_of(public_key), public_key=es256.dump_public_key(public_key)
                )
                return make_json(IssuerAnswer(keys=[key], gateway_time_ms=now_ms(), rules=RULES), 200)
            case "status-list":
                listed = make_status_list(now_ms() // 1000, 900, [13])
                return make_json(
                    StatusListAnswer(etag="1", status_list=mint_status_list(listed, ISSUER_KEY)), 200
                )
            case _:
                if self.refuses:
                    return make_problem("store_unavailable", 503)
                return make_json(self.book.take(parse_message(body, BatchRequest)), 200)


@pytest.fixture
def side(gateway: GatewayStandIn) -> OfflineGatewaySide:
    made = OfflineGatewaySide()
    gateway.answer_offline = made.answer
    return made


@pytest.fixture
def card() -> PaymentCard:
    now_s = now_ms() // 1000
    phone = OfflinePhone(changes={"issued_s": now_s - 3_600, "expires_s": now_s + 86_400})
    return PaymentCard(phone.key, rng=random.Random(3), allowance=OfflineAllowance(phone.credential))


async def show(till: Till) -> OfflineView:
    async with till.session.get("/v1/offline") as response:
        return parse_message(await response.read(), OfflineView)


async def start_offline(start_till: StartTill, gateway: GatewayStandIn) -> Till:
    """Start a till that has synced once, and take its gateway away."""
    till = await start_till(offline=ON)
    while (await show(till)).refusal:
        pass
    await gateway.go_down()
    await till.wait_for_daemon(DaemonEventKind.WENT_OFFLINE)
    return till


async def test_gateway_goes_and_comes_back_and_the_till_says_so(
    start_till: StartTill, gateway: GatewayStandIn, side: OfflineGatewaySide
) -> None:
    till = await start_offline(start_till, gateway)
    view = (await till.find_daemon()).offline
    assert view is not None
    assert (view.mode, view.waiting_count, view.results) == ("offline", 0, [])
    assert view.synced_ms is not None
    await gateway.come_back()
    await till.wait_for_daemon(DaemonEventKind.WENT_ONLINE)
    assert (await show(till)).mode == "online"


async def test_tap_is_accepted_offline_and_handed_in_when_the_gateway_is_back(
    start_till: StartTill, gateway: GatewayStandIn, side: OfflineGatewaySide, card: PaymentCard
) -> None:
    till = await start_offline(start_till, gateway)
    sale = await till.start_sale(1_000, order_id="table-7")
    till.readers.tap(card)
    event = await till.wait_for(Kind.ACCEPTED_OFFLINE)
    assert event.sale.state is SaleState.ACCEPTED_OFFLINE
    assert not till.readers.is_armed
    accepted = event.sale.offline
    assert accepted is not None
    assert (accepted.order_id, accepted.amount_minor, accepted.sequence) == ("table-7", 1_000, 1)
    view = await show(till)
    assert (view.waiting_count, view.waiting_minor, view.oldest_ms) == (1, 1_000, accepted.accepted_ms)
    async with till.session.get(f"/v1/sales/{sale.sale_id}/receipt") as response:
        receipt = await response.text()
    assert "ACCEPTED OFFLINE" in receipt
    assert "charged when it is" in receipt.replace("\n", " ")
    await gateway.come_back()
    progress = (await till.wait_for_daemon(DaemonEventKind.OFFLINE_PROGRESS)).progress
    assert progress == OfflineDrained(settled_count=1, waiting_count=0, set_aside_count=0)
    (sealed,) = side.book.booked.values()
    record = read_offline_record(parse_offline_record(sealed))
    assert record.attempt_id == accepted.attempt_id == event.sale.attempt_id
    assert side.book.complaints == []
    assert gateway.payments == []
    assert (await show(till)).waiting_count == 0


@pytest.mark.parametrize("presentation", CODES, ids=["code", "link"])
async def test_what_can_only_be_asked_about_is_refused_while_nobody_answers(
    start_till: StartTill, gateway: GatewayStandIn, side: OfflineGatewaySide, presentation: object
) -> None:
    till = await start_offline(start_till, gateway)
    await till.start_sale(1_000)
    till.readers.present(presentation)
    refused = await till.wait_for(Kind.REFUSED)
    assert refused.refusal is not None
    assert refused.refusal.code == "card_needs_connection"
    assert refused.sale.state is SaleState.ARMED
    await gateway.come_back()
    await till.wait_for_daemon(DaemonEventKind.WENT_ONLINE)
    till.readers.present(presentation)
    assert (await till.wait_for(Kind.APPROVED)).sale.attempt_count == 1


async def test_amount_that_no_tap_could_pay_is_said_before_anybody_taps(
    start_till: StartTill, gateway: GatewayStandIn, side: OfflineGatewaySide, card: PaymentCard
) -> None:
    till = await start_offline(start_till, gateway)
    await till.start_sale(RULES.floor_minor + 1)
    refused = await till.wait_for(Kind.REFUSED)
    assert refused.refusal is not None
    assert refused.refusal.code == "offline_amount_too_high"
    till.readers.tap(card)
    refused = await till.wait_for(Kind.REFUSED)
    assert refused.refusal is not None
    assert refused.refusal.code == "offline_amount_too_high"
    assert (await show(till)).waiting_count == 0


async def test_attempt_that_was_sent_is_unknown_and_never_accepted_offline(
    start_till: StartTill, gateway: GatewayStandIn, side: OfflineGatewaySide, card: PaymentCard
) -> None:
    till = await start_till(offline=ON, sale=IMPATIENT)
    while (await show(till)).refusal:
        pass
    gateway.faults.extend([hold] * 100)
    await till.start_sale(1_000)
    till.readers.tap(card)
    await gateway.held.wait()
    await gateway.go_down()
    unknown = await till.wait_for(Kind.UNKNOWN)
    assert unknown.sale.offline is None
    await till.wait_for_daemon(DaemonEventKind.WENT_OFFLINE)
    assert (await show(till)).waiting_count == 0
    await till.start_sale(1_000)
    till.readers.tap(card)
    accepted = await till.wait_for(Kind.ACCEPTED_OFFLINE)
    assert accepted.sale.attempt_id not in gateway.attempt_ids
    gateway.faults.clear()


@pytest.mark.parametrize(
    ("outcome", "code", "bearer", "loss_minor"),
    [
        ("declined", "offline_rules_broken", None, 0),
        ("conflict", "offline_record_conflict", "merchant", 1_000),
    ],
)
async def test_late_decline_and_conflict_are_told_with_who_bears_the_loss(
    start_till: StartTill,
    gateway: GatewayStandIn,
    side: OfflineGatewaySide,
    card: PaymentCard,
    outcome: str,
    code: str,
    bearer: str | None,
    loss_minor: int,
) -> None:
    till = await start_offline(start_till, gateway)
    side.book.outcomes[1] = RecordResult(
        sequence=1, outcome=outcome, code=code, loss_bearer=bearer, loss_minor=loss_minor
    )
    await till.start_sale(1_000, order_id="table-7")
    till.readers.tap(card)
    await till.wait_for(Kind.ACCEPTED_OFFLINE)
    await gateway.come_back()
    told = (await till.wait_for_daemon(DaemonEventKind.OFFLINE_RESULT)).result
    assert told is not None
    assert (told.order_id, told.outcome, told.code, told.loss_bearer) == (
        "table-7",
        outcome,
        code,
        "merchant",
    )
    assert told.cashier_text["zh-Hans"]
    view = await show(till)
    assert view.results == [told]
    assert view.merchant_loss_minor == 1_000
    assert view.declined_count + view.conflict_count == 1


async def test_drain_on_demand_says_how_far_it_came(
    start_till: StartTill, gateway: GatewayStandIn, side: OfflineGatewaySide, card: PaymentCard
) -> None:
    till = await start_offline(start_till, gateway)
    await till.start_sale(1_000)
    till.readers.tap(card)
    await till.wait_for(Kind.ACCEPTED_OFFLINE)
    problem = await till.refusal_of("POST", "/v1/offline/drain")
    assert (problem.code, problem.status) == ("gateway_unreachable", 503)
    side.refuses = True
    await gateway.come_back()
    await until(lambda: any(one.path == "/v1/offline/batches" for one in gateway.received))
    assert (await till.refusal_of("POST", "/v1/offline/drain")).code == "store_unavailable"
    side.refuses = False
    async with till.session.post("/v1/offline/drain") as response:
        drained = parse_message(await response.read(), OfflineDrained)
    assert drained.waiting_count == drained.set_aside_count == 0


async def test_stored_payments_survive_a_restart_and_forbid_a_new_enrolment(
    start_till: StartTill, gateway: GatewayStandIn, side: OfflineGatewaySide, card: PaymentCard
) -> None:
    till = await start_offline(start_till, gateway)
    await till.start_sale(1_000)
    till.readers.tap(card)
    await till.wait_for(Kind.ACCEPTED_OFFLINE)
    await till.stop()
    with pytest.raises(ConfigurationError, match="1 payments accepted offline wait"):
        await daemon.enrol(till.config, gateway.url, "ABCD-1234", again=True)
    again = await start_till(offline=ON)
    assert (await show(again)).waiting_count == 1
    await gateway.come_back()
    await until(lambda: len(side.book.booked) == 1)


async def test_till_without_offline_payments_says_so_and_asks_the_gateway(
    start_till: StartTill, gateway: GatewayStandIn, card: PaymentCard
) -> None:
    till = await start_till()
    for method, path in (("GET", "/v1/offline"), ("POST", "/v1/offline/drain")):
        problem = await till.refusal_of(method, path)
        assert (problem.code, problem.status) == ("offline_not_offered", 403)
    assert (await till.find_daemon()).offline is None
    await till.start_sale(1_000)
    till.readers.tap(card)
    approved = await till.wait_for(Kind.APPROVED)
    assert isinstance(approved.sale, SaleView)
