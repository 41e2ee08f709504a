"""Orders of cards: a one-time code says for which wallet a chip is to be made a card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.cards.model import CardOrder, CardOrderState
from gateway.entropy import Entropy, draw_ulid
from gateway.errors import NotFound
from gateway.holders.model import (
    Instrument,
    InstrumentKind,
    InstrumentStatus,
)
from gateway.holders.service import default_limits_of, label_of_card
from gateway.names import LABEL_CHARS_MAX, check_name
from gateway.one_time_codes import draw_code, dump_code
from gateway.payments.card_keys import OpenCardKeys
from gateway.storage.store import Store
from gateway.vault import Vault
from wire.ids import check_ulid
from wire.messages.payments import EntryMode

CARD_ORDER_LIFE_MS: Final = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class IssuedCardCode:
    """A new order and its code, which exists nowhere else."""

    order: CardOrder
    code: str


class CardOrderService:
    """What an operator does about cards."""

    def __init__(self, store: Store, vault: Vault, entropy: Entropy) -> None:
        self._store = store
        self._vault = vault
        self._entropy = entropy

    async def order(
        self, wallet_id: str, batch_number: int | None, label: str | None, *, now_ms: int
    ) -> IssuedCardCode:
        """Store a new order, and return its one-time code.

        Args:
            wallet_id: whom the card will pay for.
            batch_number: which batch's keys it gets; None: the newest batch's.
            label: what a receipt shows of it; None: the default.

        Raises:
            NotFound: no such wallet, or no keys of that batch. WireError: the label.
        """
        numbers = [keys.batch_number for keys in await self._store.list_card_key_batches()]
        batch = max(numbers, default=None) if batch_number is None else batch_number
        if batch is None or batch not in numbers:
            raise NotFound("there are no keys of that batch: add them with `card-keys add`")
        order = CardOrder(
            order_id=draw_ulid(self._entropy, now_ms),
            wallet_id=check_ulid(wallet_id),
            batch_number=batch,
            label=None if label is None else check_name(label, "a label", chars_max=LABEL_CHARS_MAX),
            state=CardOrderState.OPEN,
            card_key_id=None,
            instrument_id=None,
            created_ms=now_ms,
            expires_ms=now_ms + CARD_ORDER_LIFE_MS,
        )
        code = draw_code(self._entropy)
        await self._store.add_card_order(order, self.hash_code(code))
        return IssuedCardCode(order, dump_code(code))

    async def cancel(self, order_id: str) -> None:
        """End an open order without a card; NotFound if there is none.

        A chip it was begun with stays half made, and can be wiped.
        """
        await self._store.cancel_card_order(check_ulid(order_id))

    def hash_code(self, code: str) -> bytes:
        """Return under what a code is stored; other kinds of codes have other hashes."""
        return self._vault.hash_code(f"card {code}")

    async def make_instrument(
        self, order_id: str, keys: OpenCardKeys, uid: bytes, counter: int, *, now_ms: int
    ) -> Instrument:
        """End an order with the card that was proven, and return what it became; safe to repeat.

        Raises:
            CardRefused: `card_code_invalid`; it was cancelled meanwhile. NotFound: no such order.
        """
        order = await self._find(order_id)
        held = await self._store.find_wallet(order.wallet_id)
        assert held is not None, "an order is for a wallet"
        key_id = keys.key_id_of(uid)
        instrument = Instrument(
            instrument_id=draw_ulid(self._entropy, now_ms),
            wallet_id=order.wallet_id,
            kind=InstrumentKind.NTAG424_CARD,
            label=order.label or label_of_card(key_id),
            status=InstrumentStatus.ACTIVE,
            key_id=key_id,
            public_key=None,
            weakest_entry_mode=EntryMode.NFC_SDM,
            limits=default_limits_of(InstrumentKind.NTAG424_CARD, held.wallet.currency),
            # The link that proved it was seen by a terminal: it and all before it pay nothing.
            card_counter=counter,
            card_key_batch=keys.batch_number,
            card_key_version=keys.key_version,
            created_ms=now_ms,
        )
        return await self._store.finish_card_order(order_id, instrument)

    async def _find(self, order_id: str) -> CardOrder:
        found = await self._store.find_card_order_by_id(order_id)
        if found is None:
            raise NotFound("there is no such order")
        return found
