"""What is to be done with a card that was looked at: judged from what the books say of it.

A card becomes or stays what its wallet knows only by being proven; here is decided which keys it is to have,
and for whom. Every answer is a new state, refusals included.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.cards.key_book import KeyBook
from gateway.cards.model import CardOrder, CardOrderState
from gateway.cards.state import Part, State
from gateway.holders.model import Instrument, InstrumentStatus
from gateway.payments.card_keys import OpenCardKeys
from gateway.storage.store import Store

NEEDS_NEW_KEYS: Final = "card_needs_new_keys"
NOT_ORDERED: Final = "card_not_ordered"
IN_USE: Final = "card_in_use"


class CardPlans:
    """Plans over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def to_personalise(self, state: State, book: KeyBook, now_ms: int) -> State:
        """Plan an ordered card, and bind the order to this chip before anything is written to it."""
        assert state.code_hash is not None, "a card is made by a code"
        order = await self._store.find_card_order(state.code_hash)
        if order is None or order.state is not CardOrderState.OPEN:
            return state.refused("card_code_invalid")
        key_ids = book.key_ids_of(state.uid)
        if order.card_key_id is not None:
            begun = key_ids.get(order.card_key_id)
            return state.refused("card_differs") if begun is None else _for_order(state, order, begun)
        known = await self._store.find_instruments_by_keys(list(key_ids))
        if any(card.status is InstrumentStatus.ACTIVE for card in known) or (known and not state.is_blank):
            return state.refused(IN_USE)
        target = book.newest_of(order.batch_number)
        if target is None or any(card.key_id == target.key_id_of(state.uid) for card in known):
            # Links made under these keys in the chip's earlier life would be good again.
            return state.refused(NEEDS_NEW_KEYS)
        if not await self._store.claim_card_order(order.order_id, target.key_id_of(state.uid), now_ms):
            return state.refused("card_code_invalid")
        return _for_order(state, order, target)

    async def to_recover(self, state: State, book: KeyBook) -> State:
        """Plan to finish what was begun with this chip, or to bring a wallet's card to the newest keys."""
        key_ids = book.key_ids_of(state.uid)
        order = await self._find_open_order(key_ids)
        if order is not None and order.card_key_id is not None:
            return _for_order(state, order, key_ids[order.card_key_id])
        known = await self._store.find_instruments_by_keys(list(key_ids))
        card = _likeliest(known)
        if card is None:
            return state.refused(NOT_ORDERED)
        target = key_ids[card.key_id]
        newest = book.newest_of(target.batch_number) or target
        if all(other.key_id != newest.key_id_of(state.uid) for other in known):
            target = newest
        return _for_instrument(state, card, target, Part.SET_UP)

    async def to_verify(self, state: State, book: KeyBook) -> State:
        """Plan to prove a wallet's card."""
        key_ids = book.key_ids_of(state.uid)
        card = _likeliest(await self._store.find_instruments_by_keys(list(key_ids)))
        if card is not None:
            return _for_instrument(state, card, key_ids[card.key_id], Part.PROVE)
        is_begun = await self._find_open_order(key_ids) is not None
        return state.refused("card_incomplete" if is_begun else NOT_ORDERED)

    async def to_wipe(self, state: State, book: KeyBook) -> State:
        """Plan to wipe a card that can't pay, or a chip whose making broke off."""
        key_ids = list(book.key_ids_of(state.uid))
        known = await self._store.find_instruments_by_keys(key_ids)
        if any(card.status is InstrumentStatus.ACTIVE for card in known):
            return state.refused("card_not_suspended")
        if not known and not await self._store.find_card_orders_by_card(key_ids):
            return state.refused(NOT_ORDERED)
        return state.on(Part.TAKE_DOWN)

    async def _find_open_order(self, key_ids: dict[bytes, OpenCardKeys]) -> CardOrder | None:
        orders = await self._store.find_card_orders_by_card(list(key_ids))
        begun = [order for order in orders if order.state is CardOrderState.OPEN]
        return max(begun, key=lambda order: order.order_id, default=None)


def _likeliest(known: list[Instrument]) -> Instrument | None:
    """Return the instrument a chip stands for: the one that pays, or the last that did."""
    return max(
        known,
        key=lambda card: (card.status is InstrumentStatus.ACTIVE, card.instrument_id),
        default=None,
    )


def _for_order(state: State, order: CardOrder, target: OpenCardKeys) -> State:
    row = (target.batch_number, target.key_version)
    return msgspec.structs.replace(state.on(Part.SET_UP), order_id=order.order_id, target=row)


def _for_instrument(state: State, card: Instrument, target: OpenCardKeys, part: Part) -> State:
    return msgspec.structs.replace(
        state.on(part),
        instrument_id=card.instrument_id,
        key_id=card.key_id,
        target=(target.batch_number, target.key_version),
    )
