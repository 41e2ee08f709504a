"""People at a till, through its door: who signs in, with and without a network, and what they may do."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import personalise_chip
from simulators.cards.payment_card import PaymentCard
from terminal.config import StaffSettings
from terminal.people import roster
from terminal.people.offline_pins import OFFLINE_TRIES_MAX
from tests.terminal.conftest import GatewayStandIn, Till, lose_answer, make_presentation
from tests.terminal.people.persons import (
    AS_PERSON,
    BO,
    BOS_PIN,
    MIRA,
    PIN,
    refused,
    sign_in,
    view_of,
    word_of,
)
from wire.cards.ntag424.card_profile import CardKeys
from wire.cards.payment_application import SELECT_APPLICATION
from wire.ids import make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.payments import CaptureMode, NfcSdmPresentation, PaymentAnswer, RefundRequest, VoidRequest
from wire.messages.staff import (
    StaffRight,
    StaffRole,
    StaffWord,
    TagRead,
)
from wire.messages.till import DaemonEventKind, SaleEventKind

StartTill = Callable[..., Awaitable[Till]]
LINK = NfcSdmPresentation(picc_data_hex="AB" * 16, mac_hex="CD" * 8)


async def read_tag(till: Till) -> TagRead:
    async with till.session.post("/v1/staff/tag-reads", data=b"") as response:
        assert response.status == 201, await response.text()
        return parse_message(await response.read(), TagRead)


async def find_read(till: Till, read: TagRead) -> TagRead:
    async with till.session.get(f"/v1/staff/tag-reads/{read.tag_read_id}") as response:
        return parse_message(await response.read(), TagRead)


class TestSignIn:
    async def test_by_pin_says_who_works_here_and_what_they_may(self, till: Till) -> None:
        signed_in = await sign_in(till, word_of(MIRA, PIN))
        assert (signed_in.name, signed_in.rights) == ("Mira 米拉", [StaffRight.SELL, StaffRight.SHIFT])
        event = await till.wait_for_daemon(DaemonEventKind.STAFF_SIGNED_IN)
        assert event.staff == signed_in
        daemon = await till.find_daemon()
        assert daemon.staff is not None
        assert (daemon.staff.is_required, daemon.staff.signed_in) == (True, signed_in)
        async with till.session.delete("/v1/staff/session") as response:
            assert response.status == 204
        assert (await till.wait_for_daemon(DaemonEventKind.STAFF_SIGNED_OUT)).staff == signed_in
        assert (await till.refusal_of("GET", "/v1/staff/session")).code == "not_found"

    async def test_with_a_wrong_pin_signs_nobody_in(self, till: Till) -> None:
        problem = await till.refusal_of(
            "POST", "/v1/staff/session", data=dump_message(word_of(MIRA, BOS_PIN))
        )
        assert (problem.status, problem.code) == (403, "staff_not_allowed")
        assert (await view_of(till)).signed_in is None

    async def test_somebody_else_takes_over(self, till: Till) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await sign_in(till, word_of(BO, BOS_PIN))
        assert (await till.wait_for_daemon(DaemonEventKind.STAFF_SIGNED_OUT)).staff.name == "Mira 米拉"
        view = await view_of(till)
        assert view.signed_in is not None
        assert view.signed_in.name == "Bo"

    async def test_who_does_nothing_is_signed_out(
        self, start_till: StartTill, gateway: GatewayStandIn
    ) -> None:
        gateway.staff = {MIRA.staff_id: (MIRA, PIN, [StaffRight.SELL])}
        # As short as the clock of an event loop allows to wait for it in a test.
        till = await start_till(staff=StaffSettings(idle_ms=300))
        await sign_in(till, word_of(MIRA, PIN))
        assert (await till.wait_for_daemon(DaemonEventKind.STAFF_SIGNED_OUT)).staff.name == "Mira 米拉"
        assert await refused(till, "POST", "/v1/sales", {"amount_minor": 100}) == "staff_sign_in_needed"

    async def test_a_pin_is_in_no_file_and_no_log(self, till: Till, gateway: GatewayStandIn) -> None:
        with capture_logs() as lines:
            await sign_in(till, word_of(MIRA, PIN))
            await gateway.go_down()
            await sign_in(till, word_of(MIRA, PIN))
        on_disk = b"".join(path.read_bytes() for path in till.folder.iterdir() if path.is_file())
        assert PIN.encode() not in on_disk
        assert PIN not in str(lines)


class TestWithoutTheGateway:
    async def test_who_signed_in_before_may_again_and_nobody_else(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await gateway.go_down()
        again = await sign_in(till, word_of(MIRA, PIN))
        assert again.is_offline
        assert again.rights == [StaffRight.SELL, StaffRight.SHIFT]
        problem = await till.refusal_of("POST", "/v1/staff/session", data=dump_message(word_of(BO, BOS_PIN)))
        assert (problem.status, problem.code) == (503, "staff_sign_in_offline")

    async def test_tries_are_counted_and_only_the_gateway_forgives_them(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await gateway.go_down()
        for _ in range(OFFLINE_TRIES_MAX):
            code = await refused(till, "POST", "/v1/staff/session", word_of(MIRA, BOS_PIN))
            assert code == "staff_not_allowed"
        code = await refused(till, "POST", "/v1/staff/session", word_of(MIRA, PIN))
        assert code == "staff_sign_in_offline"
        await gateway.come_back()
        assert not (await sign_in(till, word_of(MIRA, PIN))).is_offline

    async def test_a_restart_forgets_every_pin_and_keeps_the_list(
        self, till: Till, start_till: StartTill, gateway: GatewayStandIn
    ) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await till.stop()
        await gateway.go_down()
        restarted = await start_till()
        view = await view_of(restarted)
        assert (view.is_required, len(view.members)) == (True, 2)
        code = await refused(restarted, "POST", "/v1/staff/session", word_of(MIRA, PIN))
        assert code == "staff_sign_in_offline"
        code = await refused(restarted, "POST", "/v1/sales", {"amount_minor": 100})
        assert code == "staff_sign_in_needed"

    async def test_who_the_gateway_refuses_the_till_lets_in_no_more(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        gateway.staff[MIRA.staff_id] = (MIRA, "777777", [StaffRight.SELL])
        assert await refused(till, "POST", "/v1/staff/session", word_of(MIRA, PIN)) == "staff_not_allowed"
        await gateway.go_down()
        assert await refused(till, "POST", "/v1/staff/session", word_of(MIRA, PIN)) == "staff_sign_in_offline"

    async def test_who_has_left_is_let_in_no_more_though_their_pin_was_known(
        self, start_till: StartTill, gateway: GatewayStandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(roster, "REFRESH_MS", 20)
        gateway.staff = {one.staff_id: (one, pin, []) for one, pin in ((MIRA, PIN), (BO, BOS_PIN))}
        till = await start_till()
        await sign_in(till, word_of(MIRA, PIN))
        await sign_in(till, word_of(BO, BOS_PIN))
        del gateway.staff[MIRA.staff_id]
        while MIRA in (await view_of(till)).members:
            pass
        await gateway.go_down()
        assert await refused(till, "POST", "/v1/staff/session", word_of(MIRA, PIN)) == "staff_sign_in_offline"
        assert (await sign_in(till, word_of(BO, BOS_PIN))).is_offline

    async def test_another_role_signs_out_and_its_rights_are_asked_of_the_gateway(
        self, start_till: StartTill, gateway: GatewayStandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(roster, "REFRESH_MS", 20)
        gateway.staff = {BO.staff_id: (BO, BOS_PIN, list(StaffRight))}
        till = await start_till()
        await sign_in(till, word_of(BO, BOS_PIN))
        cashier = msgspec.structs.replace(BO, role=StaffRole.CASHIER)
        gateway.staff = {BO.staff_id: (cashier, BOS_PIN, [StaffRight.SELL])}
        await till.wait_for_daemon(DaemonEventKind.STAFF_SIGNED_OUT)
        assert await refused(till, "POST", "/v1/offline/drain") == "staff_sign_in_needed"
        await gateway.go_down()
        code = await refused(till, "POST", "/v1/staff/session", word_of(BO, BOS_PIN))
        assert code == "staff_sign_in_offline"


class TestRights:
    async def test_software_with_no_person_sells_as_before(self, till: Till) -> None:
        await till.start_sale(1_250)

    async def test_a_person_sells_once_signed_in(self, till: Till) -> None:
        sale = {"amount_minor": 1_250}
        assert await refused(till, "POST", "/v1/sales", sale) == "staff_sign_in_needed"
        await sign_in(till, word_of(MIRA, PIN))
        async with till.session.post("/v1/sales", data=json.dumps(sale), headers=AS_PERSON) as response:
            assert response.status == 201

    async def test_a_shop_without_staff_asks_nobody(
        self, start_till: StartTill, gateway: GatewayStandIn
    ) -> None:
        till = await start_till()
        while (await view_of(till)).is_required:
            pass
        async with till.session.post(
            "/v1/sales", data=b'{"amount_minor": 100}', headers=AS_PERSON
        ) as response:
            assert response.status == 201

    async def test_another_amount_for_an_order_needs_its_own_right(self, till: Till) -> None:
        sale = await till.start_sale(1_250, order_id="table-7")
        await till.session.delete(f"/v1/sales/{sale.sale_id}")
        await sign_in(till, word_of(MIRA, PIN))
        other = {"amount_minor": 900, "order_id": "table-7"}
        assert await refused(till, "POST", "/v1/sales", other) == "staff_right_missing"
        await sign_in(till, word_of(BO, BOS_PIN))
        async with till.session.post("/v1/sales", data=json.dumps(other), headers=AS_PERSON) as response:
            assert response.status == 201

    async def test_a_cashier_drains_nothing(self, till: Till) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        assert await refused(till, "POST", "/v1/offline/drain") == "staff_right_missing"

    async def test_money_back_asks_a_person_again_and_a_manager_steps_in(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        await till.start_sale(1_500, capture=CaptureMode.MANUAL)
        till.readers.present(make_presentation())
        held = (await till.wait_for(SaleEventKind.APPROVED)).sale.answer
        assert held is not None
        await sign_in(till, word_of(MIRA, PIN))
        void_id = make_ulid(3, bytes(10))
        path = f"/v1/payments/{held.payment_id}/void"
        assert await refused(till, "POST", path, {"void_id": void_id}) == "staff_proof_needed"
        body = {"void_id": void_id, "staff": {"staff_id": BO.staff_id, "pin": BOS_PIN}}
        async with till.session.post(path, data=json.dumps(body), headers=AS_PERSON) as response:
            assert parse_message(await response.read(), PaymentAnswer).state.value == "voided"
        (sent,) = [one for one in gateway.received if one.path.endswith("/voids")]
        staff = parse_message(sent.body, VoidRequest).staff
        assert staff is not None
        assert staff.staff_id == BO.staff_id


class TestTags:
    async def test_a_tag_signs_in_and_its_link_stays_in_the_daemon(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        gateway.tags[LINK.picc_data_hex] = MIRA.staff_id
        read = await read_tag(till)
        assert (read.state, till.readers.is_armed) == ("waiting", True)
        till.readers.present(LINK)
        event = await till.wait_for_daemon(DaemonEventKind.STAFF_TAG_READ)
        assert event.tag_read is not None
        assert event.tag_read.state == "read"
        assert not till.readers.is_armed
        assert (await sign_in(till, StaffWord(tag_read_id=read.tag_read_id))).name == "Mira 米拉"
        assert LINK.picc_data_hex.encode() not in dump_message(event)
        code = await refused(till, "POST", "/v1/staff/session", StaffWord(tag_read_id=read.tag_read_id))
        assert code == "not_found", "a read is good for one thing"

    @pytest.mark.parametrize(
        ("by_reader", "told"),
        [
            ("uid_only_card", "staff_tag_uid_only"),
            ("card_not_supported", "staff_tag_not_staff"),
            ("card_removed", "card_removed"),
        ],
    )
    async def test_what_is_no_staff_tag_is_refused_with_the_reason(
        self, till: Till, by_reader: str, told: str
    ) -> None:
        read = await read_tag(till)
        till.readers.refuse(by_reader)
        await till.wait_for_daemon(DaemonEventKind.STAFF_TAG_READ)
        found = await find_read(till, read)
        assert (found.state, found.code) == ("refused", told)
        assert found.cashier_text["zh-Hans"]
        assert not till.readers.is_armed

    async def test_a_phone_that_comes_instead_is_not_asked_to_sign(self, till: Till) -> None:
        card = PaymentCard(ec.derive_private_key(7, ec.SECP256R1()), rng=random.Random(1))
        asked: list[bytes] = []

        class Watched:
            def power_on(self) -> None:
                card.power_on()

            def transmit(self, command: bytes) -> bytes:
                asked.append(command)
                return card.transmit(command)

        read = await read_tag(till)
        till.readers.tap(Watched())
        await till.wait_for_daemon(DaemonEventKind.STAFF_TAG_READ)
        assert (await find_read(till, read)).code == "staff_tag_not_staff"
        assert [command[1] for command in asked] == [SELECT_APPLICATION.ins], "no terms were put to it"

    async def test_a_scanned_code_is_no_tag(self, till: Till) -> None:
        read = await read_tag(till)
        till.readers.present(make_presentation())
        await till.wait_for_daemon(DaemonEventKind.STAFF_TAG_READ)
        assert (await find_read(till, read)).code == "staff_tag_not_staff"

    async def test_a_simulated_tag_is_read_through_its_whole_dialogue(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        keys = CardKeys(bytes(16), bytes(16), bytes(range(16)), bytes(16), bytes(16))
        memory = personalise_chip(bytes.fromhex("04A1B2C3D4E5F6"), keys, "https://x.example/t")
        tag = Ntag424Card(memory, rng=random.Random(1))
        read = await read_tag(till)
        till.readers.tap(tag)
        await till.wait_for_daemon(DaemonEventKind.STAFF_TAG_READ)
        assert (await find_read(till, read)).state == "read"
        code = await refused(till, "POST", "/v1/staff/session", StaffWord(tag_read_id=read.tag_read_id))
        assert code == "staff_tag_invalid", "this gateway knows no such tag"

    async def test_what_a_reader_told_of_before_is_no_tag(self, till: Till) -> None:
        before_ns = time.monotonic_ns()
        read = await read_tag(till)
        # A customer's card of the sale before; the event loop comes to it only now.
        till.readers.present(
            NfcSdmPresentation(picc_data_hex="00" * 16, mac_hex="00" * 8), noticed_ns=before_ns
        )
        till.readers.refuse("card_not_supported")
        await till.wait_for_daemon(DaemonEventKind.STAFF_TAG_READ)
        assert (await find_read(till, read)).code == "staff_tag_not_staff"

    async def test_a_sale_takes_the_readers_and_a_sale_keeps_them(self, till: Till) -> None:
        read = await read_tag(till)
        assert await refused(till, "POST", "/v1/staff/tag-reads") == "tag_read_waiting"
        await till.start_sale(1_250)
        assert (await find_read(till, read)).state == "cancelled"
        assert till.readers.is_armed
        assert await refused(till, "POST", "/v1/staff/tag-reads") == "sale_in_progress"

    async def test_nobody_waits_for_a_read_that_was_given_up(self, till: Till) -> None:
        read = await read_tag(till)
        async with till.session.delete(f"/v1/staff/tag-reads/{read.tag_read_id}") as response:
            assert parse_message(await response.read(), TagRead).state == "cancelled"
        assert not till.readers.is_armed
        assert await refused(till, "GET", f"/v1/staff/tag-reads/{make_ulid(9, bytes(10))}") == "not_found"

    async def test_a_refund_whose_answer_was_lost_may_name_its_tag_again(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        await till.start_sale(1_250)
        till.readers.present(make_presentation())
        paid = (await till.wait_for(SaleEventKind.APPROVED)).sale.answer
        assert paid is not None
        read = await read_tag(till)
        till.readers.present(LINK)
        await till.wait_for_daemon(DaemonEventKind.STAFF_TAG_READ)
        body = {
            "refund_id": make_ulid(4, bytes(10)),
            "total_minor": 500,
            "staff": {"tag_read_id": read.tag_read_id},
        }
        path = f"/v1/payments/{paid.payment_id}/refund"
        gateway.change_faults.append(lose_answer)
        assert await refused(till, "POST", path, body) == "gateway_unreachable"
        async with till.session.post(path, data=json.dumps(body), headers=AS_PERSON) as response:
            assert response.status == 200, await response.text()
        first, again = [
            parse_message(one.body, RefundRequest)
            for one in gateway.received
            if one.path.endswith("/refunds")
        ]
        assert first == again
        assert first.staff.tag is not None
        assert first.staff.tag.mac_hex == LINK.mac_hex
        other = body | {"refund_id": make_ulid(5, bytes(10))}
        assert await refused(till, "POST", path, other) == "not_found"
