"""Who works at a till, over HTTP: lists, sign-in by PIN and tag, and rights as they were written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from wire.cards.ntag424.keys import diversify_file_key
from wire.cards.ntag424.link import PiccData, seal_picc_data, sun_mac
from wire.messages.base import dump_message
from wire.messages.payments import CaptureMode, RefundRequest, StaffProof, StaffTag, VoidRequest
from wire.messages.staff import SignInRequest, StaffRight, StaffRole

NOW_MS = 1_767_225_600_000
PIN, OTHER_PIN = "2580", "0852"
META_KEY, FILE_MASTER = bytes(range(16)), bytes(range(16, 32))
UID = bytes.fromhex("04A1B2C3D4E5F6")
BATCH = 1


@dataclass
class Counter:
    """An enrolled till and a cashier with a PIN and a tag."""

    shop: Any
    staff_id: str
    key_id: bytes
    tap_count: int = 0

    @property
    def till(self) -> Any:
        return self.shop.till

    @property
    def staff(self) -> Any:
        return self.shop.office.staff

    @property
    def merchant_id(self) -> str:
        return str(self.shop.pending.terminal.merchant_id)

    def tap(self, counter: int | None = None) -> StaffProof:
        """Read the cashier's tag once more, or once before."""
        self.tap_count += 1
        picc = PiccData(UID, self.tap_count if counter is None else counter)
        sealed = seal_picc_data(picc, bytes(5), META_KEY)
        mac = sun_mac(diversify_file_key(FILE_MASTER, UID), picc)
        return StaffProof(tag=StaffTag(picc_data_hex=sealed.hex().upper(), mac_hex=mac.hex().upper()))

    async def post(self, target: str, message: object, key: str) -> Any:
        return await self.till.call("POST", target, dump_message(message), idempotency_key=key)

    async def sign_in(self, staff: StaffProof, sign_in_id: str | None = None) -> Any:
        request = SignInRequest(sign_in_id=sign_in_id or self.till.new_id(), staff=staff)
        return await self.post("/v1/staff/sign-in", request, request.sign_in_id)

    async def hold(self) -> str:
        request = self.shop.request(2_000, capture=CaptureMode.MANUAL)
        return str((await self.till.pay(request)).json["payment_id"])

    async def void(self, payment_id: str, staff: StaffProof | None = None) -> Any:
        request = VoidRequest(void_id=self.till.new_id(), staff=staff)
        return await self.post(f"/v1/payments/{payment_id}/voids", request, request.void_id)


@pytest.fixture
async def counter(shop: Any) -> Counter:
    await shop.enrol()
    office = shop.office
    await office.holders.add_card_key_batch(BATCH, META_KEY, FILE_MASTER, now_ms=NOW_MS)
    terminal = shop.pending.terminal
    member = await office.staff.add_staff(
        terminal.merchant_id, "Mira 米拉", StaffRole.CASHIER, PIN, now_ms=NOW_MS
    )
    tag = await office.staff.add_tag(member.staff_id, BATCH, UID, now_ms=NOW_MS)
    await office.store.set_refund_limit(terminal.terminal_id, 5_000)
    return Counter(shop, member.staff_id, tag.key_id)


class TestList:
    async def test_a_till_lists_its_merchants_staff_without_pins(self, counter: Counter) -> None:
        answer = await counter.till.call("GET", "/v1/staff")
        assert answer.status == 200
        assert answer.json == {
            "members": [{"staff_id": counter.staff_id, "name": "Mira 米拉", "role": "cashier"}],
            "is_last": True,
        }

    async def test_a_long_list_comes_in_pages(self, counter: Counter) -> None:
        mira = await counter.staff.find(counter.staff_id)
        for number in range(45):
            # In the store: making 45 PINs at rest would be most of the test.
            other = replace(mira, staff_id=counter.till.new_id(), name=f"N{number}")
            await counter.shop.office.store.add_staff(other)
        page = (await counter.till.call("GET", "/v1/staff")).json
        assert (len(page["members"]), page["is_last"]) == (40, False)
        rest = (await counter.till.call("GET", f"/v1/staff?after={page['members'][-1]['staff_id']}")).json
        assert (len(rest["members"]), rest["is_last"]) == (6, True)

    async def test_nobody_unsigned_is_told(self, counter: Counter) -> None:
        assert (await counter.till.send("GET", "/v1/staff")).status == 401


class TestSignIn:
    async def test_a_pin_says_who_it_is_and_what_they_may_do(self, counter: Counter) -> None:
        answer = await counter.sign_in(StaffProof(staff_id=counter.staff_id, pin=PIN))
        assert answer.status == 200
        assert answer.json["member"]["name"] == "Mira 米拉"
        assert answer.json["rights"] == ["sell", "shift"]

    async def test_three_wrong_pins_lock_and_a_repeat_counts_once(self, counter: Counter) -> None:
        wrong, again = StaffProof(staff_id=counter.staff_id, pin=OTHER_PIN), counter.till.new_id()
        for _ in range(5):
            assert (await counter.sign_in(wrong, again)).code == "staff_not_allowed"
        for _ in range(2):
            await counter.sign_in(wrong)
        answer = await counter.sign_in(StaffProof(staff_id=counter.staff_id, pin=PIN))
        assert (answer.status, answer.code) == (403, "staff_locked")

    async def test_a_tag_signs_in_once_and_its_lost_answer_comes_again(self, counter: Counter) -> None:
        tap, entry = counter.tap(), counter.till.new_id()
        assert (await counter.sign_in(tap, entry)).json["member"]["staff_id"] == counter.staff_id
        assert (await counter.sign_in(tap, entry)).status == 200
        replayed = await counter.sign_in(tap)
        assert (replayed.status, replayed.code) == (403, "staff_tag_invalid")
        await counter.sign_in(counter.tap())
        assert (await counter.sign_in(counter.tap(counter=1))).code == "staff_tag_invalid"

    async def test_a_removed_tag_and_a_made_up_one_sign_nobody_in(self, counter: Counter) -> None:
        made_up = StaffProof(tag=StaffTag(picc_data_hex="AB" * 16, mac_hex="CD" * 8))
        assert (await counter.sign_in(made_up)).code == "staff_tag_invalid"
        await counter.staff.remove_tag(counter.key_id)
        assert (await counter.sign_in(counter.tap())).code == "staff_tag_invalid"

    async def test_staff_of_another_merchant_signs_in_nowhere_else(self, counter: Counter) -> None:
        office = counter.shop.office
        other = await office.merchants.add_merchant("Elsewhere", "EUR", 0, now_ms=NOW_MS)
        stranger = await office.staff.add_staff(
            other.merchant_id, "Bo", StaffRole.MANAGER, PIN, now_ms=NOW_MS
        )
        answer = await counter.sign_in(StaffProof(staff_id=stranger.staff_id, pin=PIN))
        assert (answer.status, answer.code) == (403, "staff_not_allowed")

    async def test_wrong_pins_at_one_merchants_till_lock_nobody_of_another(self, counter: Counter) -> None:
        office = counter.shop.office
        other = await office.merchants.add_merchant("Elsewhere", "EUR", 0, now_ms=NOW_MS)
        stranger = await office.staff.add_staff(
            other.merchant_id, "Bo", StaffRole.MANAGER, PIN, now_ms=NOW_MS
        )
        for _ in range(4):
            answer = await counter.sign_in(StaffProof(staff_id=stranger.staff_id, pin=OTHER_PIN))
            assert answer.code == "staff_not_allowed"
        assert (await office.staff.find(stranger.staff_id)).pin_tries == 0

    async def test_a_proof_is_a_pin_or_a_tag_and_not_both(self, counter: Counter) -> None:
        entry = counter.till.new_id()
        both = msgspec.to_builtins(counter.tap()) | {"staff_id": counter.staff_id, "pin": PIN}
        for staff in (both, {}, {"pin": PIN}, {"staff_id": counter.staff_id}):
            answer = await counter.post("/v1/staff/sign-in", {"sign_in_id": entry, "staff": staff}, entry)
            assert (answer.status, answer.code) == (400, "malformed"), staff


class TestRights:
    async def test_a_void_goes_on_as_before_until_rights_are_written_down(self, counter: Counter) -> None:
        assert (await counter.void(await counter.hold())).status == 200
        await counter.staff.set_rights(counter.merchant_id, StaffRole.CASHIER, [StaffRight.SELL])
        payment_id = await counter.hold()
        answer = await counter.void(payment_id)
        assert (answer.status, answer.code) == (403, "staff_proof_needed")
        assert (await counter.void(payment_id, counter.tap())).code == "staff_not_allowed"
        await counter.staff.set_rights(counter.merchant_id, StaffRole.CASHIER, [StaffRight.VOID])
        assert (await counter.void(payment_id, counter.tap())).json["state"] == "voided"
        (act,) = await counter.shop.office.store.list_payment_acts(payment_id)
        assert (act.act, act.staff_id) == ("voided", counter.staff_id)

    async def test_asking_for_what_one_may_not_do_is_no_wrong_pin(self, counter: Counter) -> None:
        await counter.staff.set_rights(counter.merchant_id, StaffRole.CASHIER, [StaffRight.SELL])
        payment_id, mira = await counter.hold(), StaffProof(staff_id=counter.staff_id, pin=PIN)
        for _ in range(4):
            assert (await counter.void(payment_id, mira)).code == "staff_not_allowed"
        assert (await counter.sign_in(mira)).status == 200

    async def test_a_wrong_pin_voids_nothing_even_where_none_is_asked_for(self, counter: Counter) -> None:
        payment_id = await counter.hold()
        wrong = StaffProof(staff_id=counter.staff_id, pin=OTHER_PIN)
        assert (await counter.void(payment_id, wrong)).code == "staff_not_allowed"
        assert (await counter.till.call("GET", f"/v1/payments/{payment_id}")).json["state"] == "authorised"

    async def test_a_tag_refunds_where_its_owner_may_and_its_repeat_gives_back_once(
        self, counter: Counter
    ) -> None:
        paid = (await counter.till.pay(counter.shop.request(2_000))).json["payment_id"]
        request = RefundRequest(refund_id=counter.till.new_id(), total_minor=500, staff=counter.tap())
        target = f"/v1/payments/{paid}/refunds"
        assert (await counter.post(target, request, request.refund_id)).code == "staff_not_allowed"
        await counter.staff.set_rights(counter.merchant_id, StaffRole.CASHIER, [StaffRight.REFUND])
        assert (await counter.post(target, request, request.refund_id)).status == 201
        again = await counter.post(target, request, request.refund_id)
        assert again.json["refund_id"] == request.refund_id
        assert await counter.shop.balance_minor() == 8_500
