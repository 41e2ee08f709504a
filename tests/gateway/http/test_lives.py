"""What a till, a holder and the clock do to a payment after it was decided, over HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from gateway.holders.model import IdentityLevel, LimitTier
from gateway.merchants.model import StaffRole
from wire.http_signatures import SignatureTag
from wire.messages.base import dump_message
from wire.messages.payments import (
    CaptureMode,
    CaptureRequest,
    ConfirmRequest,
    EntryMode,
    LineItem,
    OrderDetails,
    PaymentRequest,
    RefundRequest,
    ReversalRequest,
    StaffProof,
    VoidRequest,
)
from wire.messages.wallet import HolderDecision

NOW_MS = 1_767_225_600_000
PIN, OTHER_PIN = "2580", "0852"
MINUTE_MS = 60_000


@dataclass
class Counter:
    """An enrolled till, and what it asks beside payments."""

    shop: Any

    @property
    def till(self) -> Any:
        return self.shop.till

    async def post(self, target: str, message: object, key: str) -> Any:
        return await self.till.call("POST", target, dump_message(message), idempotency_key=key)

    async def hold(self, amount_minor: int = 2_000, **changes: Any) -> str:
        request = self.shop.request(amount_minor, capture=CaptureMode.MANUAL, **changes)
        answer = await self.till.pay(request)
        assert (answer.status, answer.json["state"]) == (201, "authorised"), answer.body
        return str(answer.json["payment_id"])

    async def capture(self, payment_id: str, amount_minor: int, **changes: Any) -> Any:
        fields = {"capture_id": self.till.new_id(), "amount_minor": amount_minor} | changes
        request = CaptureRequest(**fields)
        return await self.post(f"/v1/payments/{payment_id}/captures", request, request.capture_id)

    async def void(self, payment_id: str) -> Any:
        request = VoidRequest(void_id=self.till.new_id())
        return await self.post(f"/v1/payments/{payment_id}/voids", request, request.void_id)

    async def confirm(self, payment_id: str, pin: str, entry_id: str | None = None) -> Any:
        request = ConfirmRequest(confirmation_id=entry_id or self.till.new_id(), pin=pin)
        return await self.post(f"/v1/payments/{payment_id}/confirmations", request, request.confirmation_id)

    async def refund(self, payment_id: str, total_minor: int, staff: StaffProof, **changes: Any) -> Any:
        fields = {"refund_id": self.till.new_id(), "total_minor": total_minor, "staff": staff} | changes
        request = RefundRequest(**fields)
        return await self.post(f"/v1/payments/{payment_id}/refunds", request, request.refund_id)

    async def reverse(self, request: PaymentRequest) -> Any:
        reversal = ReversalRequest(
            attempt_id=request.attempt_id,
            order_id=request.order_id,
            amount_minor=request.amount_minor,
            currency=request.currency,
            entry_mode=EntryMode.QR_CONSUMER,
        )
        return await self.post("/v1/reversals", reversal, request.attempt_id)

    async def find(self, payment_id: str) -> Any:
        return (await self.till.call("GET", f"/v1/payments/{payment_id}")).json

    async def manager(self, role: StaffRole = StaffRole.MANAGER) -> StaffProof:
        terminal = self.shop.pending.terminal
        await self.shop.office.store.set_refund_limit(terminal.terminal_id, 5_000)
        member = await self.shop.office.staff.add_staff(
            terminal.merchant_id, "Mira", role, PIN, now_ms=NOW_MS
        )
        return StaffProof(staff_id=member.staff_id, pin=PIN)

    async def ask_above(self, confirm_above_minor: int, pin_max_minor: int = 5_000) -> None:
        """Let this wallet's payments above an amount need its holder."""
        tier = LimitTier("EUR", IdentityLevel.VERIFIED, confirm_above_minor, pin_max_minor, 50_000, 90_000)
        await self.shop.office.store.set_limit_tier(tier)

    async def held_minor(self) -> int:
        wallet = await self.shop.office.holders.find_wallet(self.shop.phone.wallet_id)
        return wallet.pending_minor


@pytest.fixture
async def counter(shop: Any) -> Counter:
    await shop.enrol()
    return Counter(shop)


class TestHolds:
    async def test_a_hold_is_captured_in_part_and_the_rest_is_let_go(self, counter: Counter) -> None:
        payment_id = await counter.hold(2_000)
        assert await counter.shop.balance_minor() == 8_000
        answer = await counter.capture(payment_id, 1_500)
        assert (answer.json["state"], answer.json["charged_minor"]) == ("succeeded", 1_500)
        assert answer.json["receipt"]["receipt_number"] == "000001"
        assert (await counter.shop.balance_minor(), await counter.held_minor()) == (8_500, 0)

    async def test_the_same_capture_again_changes_nothing_and_another_is_refused(
        self, counter: Counter
    ) -> None:
        payment_id, capture_id = await counter.hold(2_000), counter.till.new_id()
        first = await counter.capture(payment_id, 1_500, capture_id=capture_id)
        again = await counter.capture(payment_id, 1_500, capture_id=capture_id)
        assert again.json == first.json
        other = await counter.capture(payment_id, 1_400, capture_id=capture_id)
        assert (other.status, other.code) == (409, "idempotency_conflict")
        late = await counter.capture(payment_id, 500)
        assert (late.status, late.code) == (409, "payment_not_open")
        assert await counter.shop.balance_minor() == 8_500

    async def test_a_tip_is_taken_within_its_part_of_the_hold(self, counter: Counter) -> None:
        merchant_id = counter.shop.pending.terminal.merchant_id
        await counter.shop.office.store.set_tip_margin(merchant_id, 2_000)
        payment_id = await counter.hold(2_400, tip_max_minor=400)
        too_much = await counter.capture(payment_id, 2_000, tip_minor=401)
        assert (too_much.status, too_much.code) == (422, "capture_exceeds_hold")
        answer = await counter.capture(payment_id, 2_000, tip_minor=300)
        assert (answer.json["charged_minor"], answer.json["tip_minor"]) == (2_300, 300)
        assert await counter.shop.balance_minor() == 7_700

    async def test_a_tip_beyond_the_shops_margin_is_declined(self, counter: Counter) -> None:
        request = counter.shop.request(2_400, capture=CaptureMode.MANUAL, tip_max_minor=400)
        answer = await counter.till.pay(request)
        assert answer.json["decline"]["code"] == "tip_margin_exceeded"
        assert await counter.shop.balance_minor() == 10_000

    async def test_a_voided_hold_frees_money_order_and_can_be_paid_again(self, counter: Counter) -> None:
        payment_id = await counter.hold(2_000, order_id="table-7")
        for _ in range(2):
            answer = await counter.void(payment_id)
            assert (answer.json["state"], answer.json["outcome"]) == ("voided", "closed")
            assert answer.json["decline"]["code"] == "payment_voided"
        assert (await counter.shop.balance_minor(), await counter.held_minor()) == (10_000, 0)
        late = await counter.capture(payment_id, 2_000)
        assert late.code == "payment_not_open"
        again = await counter.till.pay(counter.shop.request(2_000, order_id="table-7"))
        assert again.json["outcome"] == "approved"

    async def test_a_hold_that_nobody_captures_is_over_at_its_deadline(
        self, counter: Counter, clock: Any
    ) -> None:
        payment_id = await counter.hold(2_000)
        due_ms = (await counter.find(payment_id))["capture_by_ms"]
        clock.ms = counter.till.now_ms = due_ms
        late = await counter.capture(payment_id, 2_000)
        assert late.code == "payment_not_open"
        await _wait_for_state(counter, payment_id, "expired")
        assert (await counter.shop.balance_minor(), await counter.held_minor()) == (10_000, 0)

    async def test_another_merchants_till_sees_nothing_of_it(self, counter: Counter) -> None:
        office, payment_id = counter.shop.office, await counter.hold(2_000)
        merchant = await office.merchants.add_merchant("Other", "EUR", 0, now_ms=NOW_MS)
        place = await office.merchants.add_location(merchant.merchant_id, "There", now_ms=NOW_MS)
        pending = await office.merchants.add_terminal(merchant.merchant_id, place.location_id, now_ms=NOW_MS)
        stranger = counter.shop.caller(77)
        assert (await stranger.enrol(pending.enrolment_code)).status == 200
        body = dump_message(VoidRequest(void_id=(key := stranger.new_id())))
        answer = await stranger.call("POST", f"/v1/payments/{payment_id}/voids", body, idempotency_key=key)
        assert (answer.status, answer.code) == (404, "not_found")


class TestOrders:
    async def test_several_attempts_share_an_order_and_never_pass_its_amount(self, counter: Counter) -> None:
        order = OrderDetails(
            amount_minor=3_000, tax_minor=480, lines=(LineItem(name="Dinner", total_minor=3_000),)
        )
        shared = {"order_id": "table-3", "order": order}
        for amount_minor, outcome in ((1_000, "approved"), (1_500, "approved"), (501, "declined")):
            answer = await counter.till.pay(counter.shop.request(amount_minor, **shared))
            assert answer.json["outcome"] == outcome
        assert answer.json["decline"]["code"] == "order_already_paid"
        assert (await counter.till.pay(counter.shop.request(500, **shared))).json["outcome"] == "approved"
        assert await counter.shop.balance_minor() == 7_000

    async def test_an_attempt_that_names_another_amount_for_the_order_is_declined(
        self, counter: Counter
    ) -> None:
        for amount_minor, code in ((3_000, None), (4_000, "order_amount_differs")):
            request = counter.shop.request(
                1_000, order_id="table-4", order=OrderDetails(amount_minor=amount_minor)
            )
            answer = await counter.till.pay(request)
            assert answer.json.get("decline", {}).get("code") == code

    async def test_lines_that_do_not_add_up_are_no_request(self, counter: Counter) -> None:
        body = json.loads(dump_message(counter.shop.request(1_000)))
        body["order"] = {"amount_minor": 1_000, "lines": [{"name": "Tea", "total_minor": 999}]}
        raw = json.dumps(body).encode()
        answer = await counter.till.call("POST", "/v1/payments", raw, idempotency_key=body["attempt_id"])
        assert (answer.status, answer.code) == (400, "malformed")


class TestConfirmation:
    async def test_a_pin_confirms_what_is_above_the_limit(self, counter: Counter) -> None:
        await counter.ask_above(1_000)
        await counter.shop.office.holders.set_pin(counter.shop.phone.wallet_id, PIN, counter.shop.office.pins)
        answer = await counter.till.pay(counter.shop.request(1_250))
        waiting = answer.json
        assert (answer.status, waiting["outcome"]) == (201, "requires_confirmation")
        assert waiting["confirmation"]["code"] == "confirm_above_limit"
        assert waiting["confirmation"]["ways"] == ["pin", "device"]
        assert "receipt" not in waiting
        payment_id = waiting["payment_id"]
        assert await counter.held_minor() == 1_250
        wrong = await counter.confirm(payment_id, OTHER_PIN)
        assert (wrong.status, wrong.code) == (403, "pin_wrong")
        for _ in range(2):
            right = await counter.confirm(payment_id, PIN)
            assert (right.json["state"], right.json["receipt"]["receipt_number"]) == ("succeeded", "000001")
        assert (await counter.shop.balance_minor(), await counter.held_minor()) == (8_750, 0)

    async def test_three_wrong_pins_lock_it_and_the_phone_can_still_confirm(self, counter: Counter) -> None:
        await counter.ask_above(1_000)
        office, wallet_id = counter.shop.office, counter.shop.phone.wallet_id
        await office.holders.set_pin(wallet_id, PIN, office.pins)
        payment = (await counter.till.pay(counter.shop.request(1_250))).json
        codes = [(await counter.confirm(payment["payment_id"], OTHER_PIN)).code for _ in range(3)]
        assert codes == ["pin_wrong", "pin_wrong", "pin_is_locked"]
        assert (await counter.confirm(payment["payment_id"], PIN)).code == "pin_is_locked"
        answer = await _decide(counter, payment, agreed=True)
        assert answer.json["state"] == "succeeded"

    async def test_an_entry_whose_answer_is_lost_comes_again_and_is_counted_once(
        self, counter: Counter
    ) -> None:
        await counter.ask_above(1_000)
        office, wallet_id = counter.shop.office, counter.shop.phone.wallet_id
        await office.holders.set_pin(wallet_id, PIN, office.pins)
        payment_id = (await counter.till.pay(counter.shop.request(1_250))).json["payment_id"]
        entry_id = counter.till.new_id()
        codes = [(await counter.confirm(payment_id, OTHER_PIN, entry_id)).code for _ in range(5)]
        assert codes == ["pin_wrong"] * 5
        # Other digits are another try, whatever id they come under: the second of three.
        assert (await counter.confirm(payment_id, "1111", entry_id)).code == "pin_wrong"
        assert (await counter.confirm(payment_id, OTHER_PIN, entry_id)).code == "pin_is_locked"

    async def test_a_payment_that_only_a_pin_could_confirm_is_declined_when_it_locks(
        self, counter: Counter
    ) -> None:
        office, phone = counter.shop.office, counter.shop.phone
        await counter.ask_above(1_000)
        await office.holders.set_pin(phone.wallet_id, PIN, office.pins)
        payment = (await counter.till.pay(counter.shop.request(1_250))).json
        await office.store.set_wallet_pin(phone.wallet_id, None)
        assert (await counter.confirm(payment["payment_id"], PIN)).code == "pin_is_locked"

    async def test_a_device_confirms_this_payment_amount_and_merchant_or_nothing(
        self, counter: Counter
    ) -> None:
        await counter.ask_above(1_000)
        payment = (await counter.till.pay(counter.shop.request(1_250))).json
        assert payment["confirmation"]["ways"] == ["device"]
        listed = await _phone(counter).call("GET", "/v1/wallet/confirmations")
        (waiting,) = listed.json["payments"]
        assert waiting["merchant_name"] == "Mill Lane Bakery"
        assert (waiting["payment_id"], waiting["amount_minor"]) == (payment["payment_id"], 1_250)
        other = await _decide(counter, payment, agreed=True, amount_minor=1_249)
        assert (other.status, other.code) == (409, "confirmation_differs")
        for _ in range(2):
            answer = await _decide(counter, payment, agreed=True)
            assert answer.json["state"] == "succeeded"
        assert (await _phone(counter).call("GET", "/v1/wallet/confirmations")).json["payments"] == []

    async def test_a_holder_who_refuses_gets_everything_back_at_once(self, counter: Counter) -> None:
        await counter.ask_above(1_000)
        payment = (await counter.till.pay(counter.shop.request(1_250, order_id="order-x"))).json
        for _ in range(2):
            answer = await _decide(counter, payment, agreed=False)
            assert answer.json["state"] == "declined"
        found = await counter.find(payment["payment_id"])
        assert found["decline"]["code"] == "confirmation_refused"
        assert (await counter.shop.balance_minor(), await counter.held_minor()) == (10_000, 0)
        late = await _decide(counter, payment, agreed=True)
        assert (late.status, late.code) == (409, "payment_not_open")

    async def test_a_confirmation_that_comes_too_late_charges_nothing(
        self, counter: Counter, clock: Any
    ) -> None:
        await counter.ask_above(1_000)
        payment = (await counter.till.pay(counter.shop.request(1_250))).json
        clock.ms = counter.till.now_ms = payment["confirmation"]["confirm_by_ms"]
        await _decide(counter, payment, agreed=True)
        found = await counter.find(payment["payment_id"])
        assert (found["state"], found["decline"]["code"]) == ("expired", "confirmation_expired")
        assert await counter.shop.balance_minor() == 10_000

    async def test_above_the_pins_limit_only_a_device_will_do(self, counter: Counter) -> None:
        await counter.ask_above(1_000, pin_max_minor=1_200)
        office = counter.shop.office
        await office.holders.set_pin(counter.shop.phone.wallet_id, PIN, office.pins)
        payment = (await counter.till.pay(counter.shop.request(1_250))).json
        assert payment["confirmation"]["ways"] == ["device"]
        answer = await counter.confirm(payment["payment_id"], PIN)
        assert (answer.status, answer.code) == (409, "confirmation_way_not_allowed")

    async def test_the_till_hears_of_it_by_server_sent_event(self, counter: Counter) -> None:
        await counter.ask_above(1_000)
        headers = counter.till.sign("GET", "/v1/terminals/events/stream")
        url = f"{counter.till.url}/v1/terminals/events/stream"
        async with counter.till.http.get(url, headers=headers) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            assert await _next_line(response) == b": listening"
            payment = (await counter.till.pay(counter.shop.request(1_250))).json
            await _decide(counter, payment, agreed=True)
            lines = [await _next_line(response) for _ in range(3)]
        assert lines[1] == b"event: payment"
        told = json.loads(lines[2].removeprefix(b"data: "))
        assert (told["payment"]["payment_id"], told["payment"]["state"]) == (
            payment["payment_id"],
            "succeeded",
        )
        listed = await counter.till.call("GET", "/v1/terminals/events?after=0")
        assert [event["sequence"] for event in listed.json["events"]] == [told["sequence"]]
        assert lines[0] == b"id: %d" % told["sequence"]
        nothing = await counter.till.call("GET", f"/v1/terminals/events?after={told['sequence']}")
        assert nothing.json == {"events": [], "last": told["sequence"]}


class TestRefunds:
    async def test_refunds_name_a_total_so_that_a_retry_is_a_no_op(self, counter: Counter) -> None:
        staff = await counter.manager()
        payment_id = (await counter.till.pay(counter.shop.request(2_000))).json["payment_id"]
        first = await counter.refund(payment_id, 500, staff)
        assert (first.status, first.json["amount_minor"], first.json["total_minor"]) == (201, 500, 500)
        again = await counter.refund(payment_id, 500, staff)
        assert (again.status, again.json["refund_id"]) == (200, first.json["refund_id"])
        second = await counter.refund(payment_id, 2_000, staff)
        assert (second.json["amount_minor"], second.json["payment"]["refunded_minor"]) == (1_500, 2_000)
        assert second.json["payment"]["state"] == "succeeded"
        assert await counter.shop.balance_minor() == 10_000

    async def test_never_more_than_was_paid_and_never_less_than_was_refunded(self, counter: Counter) -> None:
        staff = await counter.manager()
        payment_id = (await counter.till.pay(counter.shop.request(2_000))).json["payment_id"]
        assert (await counter.refund(payment_id, 2_001, staff)).code == "refund_exceeds_payment"
        await counter.refund(payment_id, 1_000, staff)
        assert (await counter.refund(payment_id, 999, staff)).code == "refund_total_passed"
        assert await counter.shop.balance_minor() == 9_000

    async def test_a_cashier_a_wrong_pin_and_a_stranger_are_refused_alike(self, counter: Counter) -> None:
        cashier = await counter.manager(StaffRole.CASHIER)
        manager = await counter.manager()
        payment_id = (await counter.till.pay(counter.shop.request(2_000))).json["payment_id"]
        wrong = msgspec.structs.replace(manager, pin=OTHER_PIN)
        nobody = msgspec.structs.replace(manager, staff_id=counter.till.new_id())
        for proof in (cashier, wrong, nobody):
            answer = await counter.refund(payment_id, 500, proof)
            assert (answer.status, answer.code) == (403, "staff_not_allowed")
        assert await counter.shop.balance_minor() == 8_000

    async def test_three_wrong_pins_lock_a_manager_even_with_the_right_one(self, counter: Counter) -> None:
        manager = await counter.manager()
        payment_id = (await counter.till.pay(counter.shop.request(2_000))).json["payment_id"]
        wrong = msgspec.structs.replace(manager, pin=OTHER_PIN)
        refund_id = counter.till.new_id()
        for _ in range(5):
            # The same one again and again, its answers being lost, is one wrong PIN.
            answer = await counter.refund(payment_id, 500, wrong, refund_id=refund_id)
            assert answer.code == "staff_not_allowed"
        for _ in range(2):
            await counter.refund(payment_id, 500, wrong)
        answer = await counter.refund(payment_id, 500, manager)
        assert (answer.status, answer.code) == (403, "staff_locked")
        await counter.shop.office.staff.set_pin(manager.staff_id, PIN)
        assert (await counter.refund(payment_id, 500, manager)).status == 201

    async def test_a_till_refunds_no_more_than_its_limit_of_the_day(self, counter: Counter) -> None:
        manager = await counter.manager()
        terminal_id = counter.shop.pending.terminal.terminal_id
        await counter.shop.office.store.set_refund_limit(terminal_id, 700)
        payment_id = (await counter.till.pay(counter.shop.request(2_000))).json["payment_id"]
        assert (await counter.refund(payment_id, 700, manager)).status == 201
        assert (await counter.refund(payment_id, 701, manager)).code == "refund_limit_exceeded"

    async def test_a_hold_is_not_refunded_but_voided(self, counter: Counter) -> None:
        manager, payment_id = await counter.manager(), await counter.hold(2_000)
        answer = await counter.refund(payment_id, 500, manager)
        assert (answer.status, answer.code) == (409, "payment_not_open")


class TestReversals:
    async def test_a_paid_attempt_is_given_back_and_its_order_can_be_paid_again(
        self, counter: Counter
    ) -> None:
        request = counter.shop.request(2_000, order_id="order-u")
        await counter.till.pay(request)
        for _ in range(2):
            answer = await counter.reverse(request)
            assert (answer.json["state"], answer.json["refunded_minor"]) == ("reversed", 2_000)
            assert answer.json["decline"]["code"] == "payment_reversed"
        assert await counter.shop.balance_minor() == 10_000
        again = await counter.till.pay(counter.shop.request(2_000, order_id="order-u"))
        assert again.json["outcome"] == "approved"

    async def test_an_attempt_never_seen_leaves_a_tombstone_for_its_late_arrival(
        self, counter: Counter
    ) -> None:
        request = counter.shop.request(2_000)
        for _ in range(2):
            answer = await counter.reverse(request)
            assert (answer.json["state"], answer.json["decline"]["code"]) == ("declined", "attempt_reversed")
        late = await counter.till.pay(request)
        assert (late.status, late.json["decline"]["code"]) == (200, "attempt_reversed")
        assert await counter.shop.balance_minor() == 10_000

    async def test_a_hold_is_let_go_and_a_decline_stays_what_it_was(self, counter: Counter) -> None:
        held = counter.shop.request(2_000, capture=CaptureMode.MANUAL)
        await counter.till.pay(held)
        assert (await counter.reverse(held)).json["state"] == "voided"
        declined = counter.shop.request(2_000, order_id=held.order_id, currency="CHF")
        code = (await counter.till.pay(declined)).json["decline"]["code"]
        assert (await counter.reverse(declined)).json["decline"]["code"] == code
        assert await counter.shop.balance_minor() == 10_000

    async def test_a_resent_attempt_is_told_that_it_was_reversed_and_not_that_it_was_approved(
        self, counter: Counter
    ) -> None:
        request = counter.shop.request(2_000)
        await counter.till.pay(request)
        await counter.reverse(request)
        answer = await counter.till.pay(request)
        assert (answer.status, answer.json["outcome"]) == (200, "closed")

    async def test_what_was_partly_refunded_gives_back_the_rest_only(self, counter: Counter) -> None:
        manager, request = await counter.manager(), counter.shop.request(2_000)
        payment_id = (await counter.till.pay(request)).json["payment_id"]
        await counter.refund(payment_id, 700, manager)
        assert (await counter.reverse(request)).json["refunded_minor"] == 2_000
        assert await counter.shop.balance_minor() == 10_000
        assert (await counter.refund(payment_id, 2_000, manager)).status in (200, 409)
        assert await counter.shop.balance_minor() == 10_000


def _phone(counter: Counter) -> Any:
    caller = counter.shop.caller(31, SignatureTag.DEVICE)
    caller.now_ms = counter.till.now_ms
    return caller


async def _decide(counter: Counter, payment: dict[str, Any], *, agreed: bool, **changes: Any) -> Any:
    fields = {
        "decision_id": counter.till.new_id(),
        "payment_id": payment["payment_id"],
        "merchant_id": counter.shop.pending.terminal.merchant_id,
        "amount_minor": payment["amount_minor"],
        "currency": payment["currency"],
        "agreed": agreed,
    } | changes
    decision = HolderDecision(**fields)
    return await _phone(counter).call(
        "POST", "/v1/wallet/confirmations", dump_message(decision), idempotency_key=decision.decision_id
    )


async def _wait_for_state(counter: Counter, payment_id: str, state: str) -> None:
    async with asyncio.timeout(20):
        while (await counter.find(payment_id))["state"] != state:
            continue


async def _next_line(response: Any) -> bytes:
    """Return the next line of a stream that says something."""
    async with asyncio.timeout(20):
        while not (line := (await response.content.readline()).strip()):
            pass
    return bytes(line)
