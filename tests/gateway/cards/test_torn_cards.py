"""A card lifted at any moment, or whose answer is lost, is whole after `recover`: no moment bricks one."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.holders.model import InstrumentKind, InstrumentStatus
from gateway.holders.service import NewInstrument
from gateway.storage.sqlite.store import open_sqlite_store
from simulators.cards.card import CardTorn
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import deliver_chip, personalise_chip
from tests.card_bench import LINK_BASE, CardBench, keys_of_batch, make_chip
from tests.conftest import Shop
from tests.memory_folder import find_memory_folder
from wire.cards.ntag424.card_profile import derive_card_keys
from wire.messages.cards import CardPurpose

PERSONALISE, RECOVER, WIPE = CardPurpose.PERSONALISE, CardPurpose.RECOVER, CardPurpose.WIPE
SEED = 424
MEMORY_BYTES_MIN = 64 << 20


@pytest.fixture
async def bench() -> AsyncIterator[CardBench]:
    # Nothing here asks whether a commit outlives a power cut, and there are some ten thousand.
    with tempfile.TemporaryDirectory(dir=find_memory_folder(MEMORY_BYTES_MIN)) as folder:
        store = await open_sqlite_store(Path(folder) / "store.sqlite3")
        yield CardBench(store, await Shop().furnish(store), SEED)
        await store.close()


async def test_a_card_torn_at_any_command_of_its_making_is_recovered(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    for number, is_done in _tears():
        card = make_chip(number, _uid(number, is_done=is_done))
        card.tear_at_apdu, card.tear_after_processing = number, is_done
        code = await bench.order(wallet_id)
        try:
            assert (await bench.hold(card, PERSONALISE, code)).state == "done"
        except CardTorn:
            recovered = await bench.hold(card, RECOVER)
            if recovered.code == "card_not_ordered":
                # The order does not know the chip yet, and so nothing was written to it.
                assert card.memory == deliver_chip(card.real_uid)
                recovered = await bench.hold(card, PERSONALISE, code)
            assert recovered.state == "done", (number, is_done, recovered.code)
            _assert_whole(card, key_version=1)
        else:
            assert number > 45
            return


@pytest.mark.parametrize("purpose", [RECOVER, WIPE])
async def test_a_card_torn_at_any_command_of_new_keys_or_of_wiping_is_recovered(
    bench: CardBench, purpose: CardPurpose
) -> None:
    wallet_id = await bench.furnish()
    await bench.add_keys(2)
    for number, is_done in _tears():
        card = await _add_card(bench, wallet_id, _uid(number, is_done=is_done))
        card.tear_at_apdu, card.tear_after_processing = number, is_done
        try:
            assert (await bench.hold(card, purpose)).state == "done"
        except CardTorn:
            recovered = await bench.hold(card, RECOVER)
            assert recovered.state == "done", (number, is_done, recovered.code)
            _assert_whole(card, key_version=2)
        else:
            assert number > 40
            return


def _tears() -> Iterator[tuple[int, bool]]:
    """Yield every command, torn before and after the chip has done it."""
    return itertools.product(range(1, 200), (False, True))


def _uid(number: int, *, is_done: bool) -> bytes:
    return b"\x04" + number.to_bytes(5, "big") + bytes((is_done,))


def _assert_whole(card: Ntag424Card, key_version: int) -> None:
    """Look into the chip's memory, behind the gateway's back."""
    keys = derive_card_keys(*keys_of_batch(1, key_version), card.real_uid)
    whole = personalise_chip(card.real_uid, keys, LINK_BASE, key_version=key_version, counter=card.counter)
    assert card.memory == whole


async def _add_card(bench: CardBench, wallet_id: str, uid: bytes) -> Ntag424Card:
    """Return a card of version 1 of a wallet, suspended, whose link was used a few times."""
    new = NewInstrument(wallet_id, InstrumentKind.NTAG424_CARD, uid=uid, batch_number=1)
    instrument = await bench.holders.add_instrument(new, now_ms=bench.now_ms)
    await bench.store.renew_card(instrument.instrument_id, instrument.key_id, instrument.key_id, 1, counter=5)
    await bench.store.set_instrument_status(instrument.instrument_id, InstrumentStatus.SUSPENDED)
    keys = derive_card_keys(*keys_of_batch(1, 1), uid)
    return Ntag424Card(personalise_chip(uid, keys, LINK_BASE, counter=6), rng=random.Random(SEED))
