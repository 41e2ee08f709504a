"""The paying side, over the real store: wallets, instruments of each kind, card keys, payment codes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.errors import (
    AuthenticationFailed,
    ConfigurationError,
    GatewayBusy,
    IdempotencyConflict,
    NotFound,
)
from gateway.holders.model import Instrument, InstrumentKind, InstrumentStatus, Limits
from gateway.holders.service import PAYMENT_CODE_LIFE_MS, HolderService, NewInstrument
from gateway.office import Office
from gateway.vault import Vault
from wire import es256
from wire.cards.ntag424.keys import card_key_id
from wire.codes.numeric import check_numeric_code
from wire.errors import IdError, MoneyError, WireError
from wire.messages.payments import EntryMode
from wire.money import Money, find_currency

NOW_MS = 1_767_225_600_000
PUBLIC_KEY = es256.dump_public_key(ec.derive_private_key(21, ec.SECP256R1()).public_key())
OTHER_PUBLIC_KEY = es256.dump_public_key(ec.derive_private_key(22, ec.SECP256R1()).public_key())
UID = bytes.fromhex("04C767F2066180")
META_KEY, FILE_MASTER = bytes(range(16)), bytes(range(16, 32))
EUR, USD = find_currency("EUR"), find_currency("USD")


@pytest.fixture
async def wallet_id(office: Office) -> str:
    return (await office.holders.add_wallet("Ana Lima", "EUR", now_ms=NOW_MS)).wallet_id


@pytest.fixture
async def phone(office: Office, wallet_id: str) -> Instrument:
    return await office.holders.add_instrument(
        NewInstrument(wallet_id, InstrumentKind.PHONE_KEY, PUBLIC_KEY), now_ms=NOW_MS
    )


class TestWallets:
    async def test_funding_adds_up_and_a_repeat_funds_once(self, office: Office, wallet_id: str) -> None:
        transfer_id = "01KDVZZZ000000000000000000"
        for _ in range(2):
            held = await office.holders.fund_wallet(
                wallet_id, Money(1_250, EUR), transfer_id=transfer_id, now_ms=NOW_MS
            )
            assert held.available_minor == 1_250
        held = await office.holders.fund_wallet(wallet_id, Money(1, EUR), now_ms=NOW_MS)
        assert held.available_minor == 1_251

    async def test_the_same_transfer_with_another_amount_is_a_conflict(
        self, office: Office, wallet_id: str
    ) -> None:
        transfer_id = "01KDVZZZ000000000000000000"
        await office.holders.fund_wallet(wallet_id, Money(1, EUR), transfer_id=transfer_id, now_ms=NOW_MS)
        with pytest.raises(IdempotencyConflict):
            await office.holders.fund_wallet(wallet_id, Money(2, EUR), transfer_id=transfer_id, now_ms=NOW_MS)

    @pytest.mark.parametrize("money", [Money(0, EUR), Money(-1, EUR), Money(10**12, EUR), Money(5, USD)])
    async def test_what_no_wallet_holds_does_not_fund_it(
        self, office: Office, wallet_id: str, money: Money
    ) -> None:
        with pytest.raises(MoneyError):
            await office.holders.fund_wallet(wallet_id, money, now_ms=NOW_MS)

    async def test_nobodys_wallet_is_not_found(self, office: Office) -> None:
        with pytest.raises(NotFound):
            await office.holders.fund_wallet("0" * 26, Money(1, EUR), now_ms=NOW_MS)
        with pytest.raises(IdError):
            await office.holders.find_wallet("ana")


class TestInstruments:
    async def test_a_phone_is_found_by_its_key_with_the_limits_of_its_kind(
        self, office: Office, phone: Instrument
    ) -> None:
        assert await office.store.find_instrument_by_key(phone.key_id) == phone
        assert phone.key_id == es256.key_id_of(es256.load_public_key(PUBLIC_KEY))
        assert phone.limits == Limits(per_payment_minor=50_000, per_day_minor=200_000)
        assert phone.weakest_entry_mode is EntryMode.CODE_NUMERIC
        assert phone.label.startswith("Phone ·· ")

    async def test_a_card_is_stored_under_a_key_id_that_holds_no_uid(
        self, office: Office, wallet_id: str
    ) -> None:
        await office.holders.add_card_key_batch(7, META_KEY, FILE_MASTER, now_ms=NOW_MS)
        card = await office.holders.add_instrument(
            NewInstrument(wallet_id, InstrumentKind.NTAG424_CARD, uid=UID, batch_number=7), now_ms=NOW_MS
        )
        assert card.key_id == card_key_id(FILE_MASTER, UID)
        assert card.card_key_batch == 7
        assert card.public_key is None
        assert UID.hex() not in repr(card)
        assert card.weakest_entry_mode is EntryMode.NFC_SDM
        assert card.limits.per_payment_minor == 5_000

    async def test_default_limits_follow_the_currency_exponent(self, office: Office) -> None:
        wallet = await office.holders.add_wallet("Chen Xiao", "JPY", now_ms=NOW_MS)
        phone = await office.holders.add_instrument(
            NewInstrument(wallet.wallet_id, InstrumentKind.PHONE_KEY, OTHER_PUBLIC_KEY), now_ms=NOW_MS
        )
        assert phone.limits == Limits(per_payment_minor=500, per_day_minor=2_000)

    @pytest.mark.parametrize(
        "changes",
        [
            {"public_key": None},
            {"public_key": PUBLIC_KEY[:-1]},
            {"public_key": b"\x02" + b"\xff" * 32},
            {"uid": UID},
            {"batch_number": 1},
            {"weakest_entry_mode": EntryMode.NFC_SDM},
            {"kind": InstrumentKind.APPLET_CARD, "weakest_entry_mode": EntryMode.CODE_NUMERIC},
            {"kind": InstrumentKind.NTAG424_CARD},
            {"kind": InstrumentKind.NTAG424_CARD, "public_key": None, "uid": UID},
            {"kind": InstrumentKind.NTAG424_CARD, "public_key": None, "batch_number": 7},
            {
                "kind": InstrumentKind.NTAG424_CARD,
                "public_key": None,
                "uid": UID[:4],
                "batch_number": 7,
            },
            {"label": ""},
            {"label": "x" * 41},
            {"per_payment_minor": 0},
            {"per_payment_minor": 200, "per_day_minor": 100},
        ],
        ids=str,
    )
    async def test_what_does_not_fit_its_kind_is_refused_and_not_stored(
        self, office: Office, wallet_id: str, changes: dict[str, Any]
    ) -> None:
        await office.holders.add_card_key_batch(7, META_KEY, FILE_MASTER, now_ms=NOW_MS)
        new = replace(NewInstrument(wallet_id, InstrumentKind.PHONE_KEY, PUBLIC_KEY), **changes)
        with pytest.raises(WireError):
            await office.holders.add_instrument(new, now_ms=NOW_MS)
        assert await office.store.list_instruments() == []

    async def test_an_unknown_wallet_or_batch_is_not_found(self, office: Office, wallet_id: str) -> None:
        card = NewInstrument(wallet_id, InstrumentKind.NTAG424_CARD, uid=UID, batch_number=9)
        with pytest.raises(NotFound):
            await office.holders.add_instrument(card, now_ms=NOW_MS)
        nobody = NewInstrument("0" * 26, InstrumentKind.PHONE_KEY, PUBLIC_KEY)
        with pytest.raises(NotFound):
            await office.holders.add_instrument(nobody, now_ms=NOW_MS)

    async def test_one_key_pays_from_one_wallet(self, office: Office, phone: Instrument) -> None:
        other = await office.holders.add_wallet("Eve", "EUR", now_ms=NOW_MS)
        again = NewInstrument(other.wallet_id, InstrumentKind.APPLET_CARD, PUBLIC_KEY)
        with pytest.raises(IdempotencyConflict):
            await office.holders.add_instrument(again, now_ms=NOW_MS)


class TestCardKeys:
    async def test_the_database_holds_no_key_in_the_clear(self, office: Office) -> None:
        batch = await office.holders.add_card_key_batch(7, META_KEY, FILE_MASTER, now_ms=NOW_MS)
        assert META_KEY not in batch.meta_key_sealed
        assert FILE_MASTER not in batch.file_master_sealed

    @pytest.mark.parametrize(
        ("number", "meta", "master"),
        [
            (7, META_KEY[:-1], FILE_MASTER),
            (7, META_KEY, FILE_MASTER + b"x"),
            (7, META_KEY, META_KEY),
            (-1, META_KEY, FILE_MASTER),
            (65_536, META_KEY, FILE_MASTER),
        ],
    )
    async def test_keys_or_numbers_that_cannot_be_are_refused(
        self, office: Office, number: int, meta: bytes, master: bytes
    ) -> None:
        with pytest.raises(WireError):
            await office.holders.add_card_key_batch(number, meta, master, now_ms=NOW_MS)

    async def test_a_vault_with_another_key_is_found_out_at_the_start(self, office: Office) -> None:
        await office.holders.add_card_key_batch(7, META_KEY, FILE_MASTER, now_ms=NOW_MS)
        await office.holders.check_card_keys()
        stranger = HolderService(office.store, Vault(bytes(32)), random.Random(1).randbytes)
        with pytest.raises(ConfigurationError, match="batch 7"):
            await stranger.check_card_keys()


class TestPaymentCodes:
    async def test_a_code_is_well_formed_lives_a_minute_and_is_its_phones(
        self, office: Office, phone: Instrument
    ) -> None:
        issued = await office.holders.issue_payment_code(phone, now_ms=NOW_MS)
        check_numeric_code(issued.code)
        assert issued.expires_ms == NOW_MS + PAYMENT_CODE_LIFE_MS == NOW_MS + 60_000
        code_hash = office.vault.hash_code(issued.code)
        assert await office.store.find_payment_code(code_hash, NOW_MS + 59_999) == phone
        assert await office.store.find_payment_code(code_hash, NOW_MS + 60_000) is None

    async def test_a_fresh_code_withdraws_the_one_before(self, office: Office, phone: Instrument) -> None:
        first = await office.holders.issue_payment_code(phone, now_ms=NOW_MS)
        second = await office.holders.issue_payment_code(phone, now_ms=NOW_MS)
        assert first.code != second.code
        assert await office.store.find_payment_code(office.vault.hash_code(first.code), NOW_MS) is None

    async def test_a_code_in_use_is_drawn_again_five_times_at_most(
        self, office: Office, phone: Instrument, wallet_id: str
    ) -> None:
        draws: list[int] = []

        def stuck(size: int) -> bytes:
            draws.append(size)
            return bytes(size)

        service = HolderService(office.store, office.vault, stuck)
        await service.issue_payment_code(phone, now_ms=NOW_MS)
        other = await office.holders.add_instrument(
            NewInstrument(wallet_id, InstrumentKind.PHONE_KEY, OTHER_PUBLIC_KEY), now_ms=NOW_MS
        )
        draws.clear()
        with pytest.raises(GatewayBusy):
            await service.issue_payment_code(other, now_ms=NOW_MS)
        assert len(draws) == 5

    async def test_only_an_active_phone_gets_a_code(self, office: Office, phone: Instrument) -> None:
        await office.holders.set_instrument_status(phone.instrument_id, InstrumentStatus.SUSPENDED)
        suspended = await office.store.find_instrument_by_key(phone.key_id)
        assert suspended is not None
        with pytest.raises(AuthenticationFailed) as caught:
            await office.holders.issue_payment_code(suspended, now_ms=NOW_MS)
        assert caught.value.code == "device_suspended"
        applet = replace(phone, kind=InstrumentKind.APPLET_CARD)
        with pytest.raises(AuthenticationFailed) as caught:
            await office.holders.issue_payment_code(applet, now_ms=NOW_MS)
        assert caught.value.code == "device_unknown"
