"""The selling side, over the real store: how a terminal comes to be trusted, and stops being."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.errors import EnrolmentRefused, NotFound
from gateway.merchants.model import TerminalStatus
from gateway.merchants.service import ENROLMENT_CODE_LIFE_MS, PendingTerminal
from gateway.office import Office
from gateway.one_time_codes import parse_code
from wire import es256
from wire.errors import MoneyError, WireError

NOW_MS = 1_767_225_600_000
KEY = ec.derive_private_key(11, ec.SECP256R1()).public_key()
OTHER_KEY = ec.derive_private_key(12, ec.SECP256R1()).public_key()


@pytest.fixture
async def pending(office: Office) -> PendingTerminal:
    merchant = await office.merchants.add_merchant("Mill Lane Bakery 磨坊面包店", "EUR", 25, now_ms=NOW_MS)
    location = await office.merchants.add_location(merchant.merchant_id, "Mill Lane 12", now_ms=NOW_MS)
    return await office.merchants.add_terminal(merchant.merchant_id, location.location_id, now_ms=NOW_MS)


class TestAdding:
    @pytest.mark.parametrize("name", ["", "  ", "x" * 65, "two\nlines", "bell\x07"])
    async def test_a_name_that_does_not_print_on_one_line_is_refused(self, office: Office, name: str) -> None:
        with pytest.raises(WireError):
            await office.merchants.add_merchant(name, "EUR", 0, now_ms=NOW_MS)

    async def test_a_currency_that_does_not_exist_is_refused(self, office: Office) -> None:
        with pytest.raises(MoneyError):
            await office.merchants.add_merchant("Shop", "EURO", 0, now_ms=NOW_MS)

    @pytest.mark.parametrize("fee", [-1, 1_001])
    async def test_a_fee_out_of_range_is_refused(self, office: Office, fee: int) -> None:
        with pytest.raises(WireError):
            await office.merchants.add_merchant("Shop", "EUR", fee, now_ms=NOW_MS)

    async def test_a_location_needs_its_merchant(self, office: Office) -> None:
        with pytest.raises(NotFound):
            await office.merchants.add_location("0" * 15, "Nowhere", now_ms=NOW_MS)

    async def test_a_terminal_needs_a_location_of_its_own_merchant(self, office: Office) -> None:
        one = await office.merchants.add_merchant("One", "EUR", 0, now_ms=NOW_MS)
        two = await office.merchants.add_merchant("Two", "EUR", 0, now_ms=NOW_MS)
        location = await office.merchants.add_location(one.merchant_id, "Here", now_ms=NOW_MS)
        with pytest.raises(NotFound):
            await office.merchants.add_terminal(two.merchant_id, location.location_id, now_ms=NOW_MS)


class TestEnrolment:
    async def test_a_code_activates_its_terminal_with_the_key(
        self, office: Office, pending: PendingTerminal
    ) -> None:
        enrolled = await office.merchants.enrol_terminal(
            pending.enrolment_code, KEY, "tapscan 0.1", now_ms=NOW_MS
        )
        assert enrolled.terminal.terminal_id == pending.terminal.terminal_id
        assert enrolled.terminal.status is TerminalStatus.ACTIVE
        assert enrolled.location.name == "Mill Lane 12"
        found = await office.store.find_terminal_by_key(es256.key_id_of(KEY))
        assert found == enrolled

    async def test_a_lost_answer_is_given_again_to_the_same_key_only(
        self, office: Office, pending: PendingTerminal
    ) -> None:
        code = pending.enrolment_code
        first = await office.merchants.enrol_terminal(code, KEY, "", now_ms=NOW_MS)
        assert await office.merchants.enrol_terminal(code, KEY, "", now_ms=NOW_MS + 1) == first
        with pytest.raises(EnrolmentRefused):
            await office.merchants.enrol_terminal(code, OTHER_KEY, "", now_ms=NOW_MS + 1)

    @pytest.mark.parametrize(("late_ms", "accepted"), [(-1, True), (1, False)])
    async def test_a_code_lives_fifteen_minutes(
        self, office: Office, pending: PendingTerminal, late_ms: int, accepted: bool
    ) -> None:
        at_ms = NOW_MS + ENROLMENT_CODE_LIFE_MS + late_ms
        assert pending.code_expires_ms == NOW_MS + 900_000
        try:
            await office.merchants.enrol_terminal(pending.enrolment_code, KEY, "", now_ms=at_ms)
        except EnrolmentRefused:
            assert not accepted
        else:
            assert accepted

    @pytest.mark.parametrize("text", ["", "x", "0123-4567-89AU", "0123-4567-89AB-C"])
    async def test_what_can_be_no_code_is_answered_like_an_unknown_one(
        self, office: Office, text: str
    ) -> None:
        with pytest.raises(EnrolmentRefused) as caught:
            await office.merchants.enrol_terminal(text, KEY, "", now_ms=NOW_MS)
        assert caught.value.code == "enrolment_code_invalid"

    async def test_the_database_holds_no_code(self, office: Office, pending: PendingTerminal) -> None:
        code = parse_code(pending.enrolment_code)
        assert code is not None
        with pytest.raises(EnrolmentRefused):
            await office.store.enrol_terminal(code.encode(), es256.key_id_of(KEY), b"\x02" * 33, "", NOW_MS)

    async def test_one_key_serves_one_terminal(self, office: Office, pending: PendingTerminal) -> None:
        second = await office.merchants.add_terminal(
            pending.terminal.merchant_id, pending.terminal.location_id, now_ms=NOW_MS
        )
        await office.merchants.enrol_terminal(pending.enrolment_code, KEY, "", now_ms=NOW_MS)
        with pytest.raises(EnrolmentRefused) as caught:
            await office.merchants.enrol_terminal(second.enrolment_code, KEY, "", now_ms=NOW_MS)
        assert caught.value.code == "key_already_enrolled"

    async def test_revoking_is_for_good_and_repeatable(
        self, office: Office, pending: PendingTerminal
    ) -> None:
        await office.merchants.enrol_terminal(pending.enrolment_code, KEY, "", now_ms=NOW_MS)
        for _ in range(2):
            await office.merchants.revoke_terminal(pending.terminal.terminal_id)
        found = await office.store.find_terminal_by_key(es256.key_id_of(KEY))
        assert found is not None
        assert found.terminal.status is TerminalStatus.REVOKED

    async def test_a_terminal_revoked_before_it_enrolled_stays_revoked(
        self, office: Office, pending: PendingTerminal
    ) -> None:
        await office.merchants.revoke_terminal(pending.terminal.terminal_id)
        with pytest.raises(EnrolmentRefused):
            await office.merchants.enrol_terminal(pending.enrolment_code, KEY, "", now_ms=NOW_MS)

    async def test_revoking_nobody_is_not_found(self, office: Office) -> None:
        with pytest.raises(NotFound):
            await office.merchants.revoke_terminal("0" * 8)
