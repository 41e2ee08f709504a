"""Orders of cards, and conversations with them: what their statements mean, the same for every store.

A store says how a statement of its queries/cards.sql is run. What takes several in one transaction is in its
own cards.py, with the rows from here.
"""

from __future__ import annotations

from gateway.cards.model import CARD_SESSIONS_PER_TERMINAL_MAX, CardOrder, CardSession
from gateway.errors import NotFound
from gateway.holders.model import Instrument
from gateway.storage.records import read_card_order, read_card_session, read_instrument
from gateway.storage.statements import StatementRunner, Values
from gateway.storage.store import CARD_SESSIONS_FORGOTTEN_MAX, PAGE_ROWS_MAX


class CardQueries(StatementRunner):
    """The methods of CardStore that are one statement each."""

    async def add_card_order(self, order: CardOrder, code_hash: bytes) -> None:
        await self._add("add_card_order", values_of_card_order(order, code_hash))

    async def find_card_order(self, code_hash: bytes) -> CardOrder | None:
        rows = await self._list("find_card_order", code_hash=code_hash)
        return read_card_order(rows[0]) if rows else None

    async def find_card_order_by_id(self, order_id: str) -> CardOrder | None:
        rows = await self._list("find_card_order_by_id", order_id=order_id)
        return read_card_order(rows[0]) if rows else None

    async def list_card_orders(self, after_id: str = "") -> list[CardOrder]:
        rows = await self._list("list_card_orders", after_id=after_id, rows_max=PAGE_ROWS_MAX)
        return [read_card_order(row) for row in rows]

    async def cancel_card_order(self, order_id: str) -> None:
        if await self._take("cancel_card_order", order_id=order_id) is None:
            raise NotFound("there is no open order with this id")

    async def claim_card_order(self, order_id: str, card_key_id: bytes, now_ms: int) -> bool:
        values = {"order_id": order_id, "card_key_id": card_key_id, "now_ms": now_ms}
        return await self._take("claim_card_order", **values) is not None

    async def find_instrument(self, instrument_id: str) -> Instrument | None:
        rows = await self._list("find_instrument", instrument_id=instrument_id)
        return read_instrument(rows[0]) if rows else None

    async def find_card_session(self, session_id: str, terminal_id: str, now_ms: int) -> CardSession | None:
        values = {"session_id": session_id, "terminal_id": terminal_id, "now_ms": now_ms}
        rows = await self._list("find_card_session", **values)
        return read_card_session(rows[0]) if rows else None

    async def advance_card_session(self, session: CardSession, state_sealed: bytes, now_ms: int) -> bool:
        row = await self._take(
            "advance_card_session",
            session_id=session.session_id,
            terminal_id=session.terminal_id,
            step=session.step,
            state_sealed=state_sealed,
            now_ms=now_ms,
        )
        return row is not None


def values_of_card_order(order: CardOrder, code_hash: bytes) -> Values:
    """Return a row of card_orders."""
    return {
        "order_id": order.order_id,
        "code_hash": code_hash,
        "wallet_id": order.wallet_id,
        "batch_number": order.batch_number,
        "label": order.label,
        "created_ms": order.created_ms,
        "expires_ms": order.expires_ms,
    }


def values_of_finish(order_id: str, instrument: Instrument) -> Values:
    """Return what ends an order with the instrument that its card became."""
    return {
        "order_id": order_id,
        "card_key_id": instrument.key_id,
        "instrument_id": instrument.instrument_id,
    }


def values_of_renewal(
    instrument_id: str, old_key_id: bytes, key_id: bytes, key_version: int, counter: int
) -> Values:
    """Return what notes a card's new keys and the counter that it proved."""
    return {
        "instrument_id": instrument_id,
        "old_key_id": old_key_id,
        "key_id": key_id,
        "card_key_version": key_version,
        "card_counter": counter,
    }


def statements_of_session(session: CardSession) -> list[tuple[str, Values]]:
    """Return the statements that store a conversation, in order, and end what is over or one too many."""
    added = {
        "session_id": session.session_id,
        "terminal_id": session.terminal_id,
        "request_digest": session.request_digest,
        "step": session.step,
        "state_sealed": session.state_sealed,
        "created_ms": session.created_ms,
        "expires_ms": session.expires_ms,
    }
    ended = {
        "terminal_id": session.terminal_id,
        "session_id": session.session_id,
        "sessions_max": CARD_SESSIONS_PER_TERMINAL_MAX - 1,
        "rows_max": CARD_SESSIONS_FORGOTTEN_MAX,
    }
    return [
        ("forget_card_sessions", {"now_ms": session.created_ms, "rows_max": CARD_SESSIONS_FORGOTTEN_MAX}),
        ("add_card_session", added),
        ("end_oldest_card_sessions", ended),
    ]
