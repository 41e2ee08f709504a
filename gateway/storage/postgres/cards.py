"""Orders of cards, and conversations with them, over a lent connection."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.cards.model import CARD_SESSIONS_PER_TERMINAL_MAX, CardOrder, CardSession
from gateway.errors import CardRefused, NotFound
from gateway.holders.model import Instrument
from gateway.storage.postgres import directory
from gateway.storage.postgres.database import Connection, execute, fetch, fetch_row, insert
from gateway.storage.postgres.queries import load_queries
from gateway.storage.records import read_card_order, read_card_session, read_instrument
from gateway.storage.store import CARD_SESSIONS_FORGOTTEN_MAX, PAGE_ROWS_MAX

SQL = load_queries("cards")
LEDGER_SQL = load_queries("ledger")


async def add_card_order(connection: Connection, order: CardOrder, code_hash: bytes) -> None:
    """Store an order; its wallet must exist, its code be new."""
    values = {
        "order_id": order.order_id,
        "code_hash": code_hash,
        "wallet_id": order.wallet_id,
        "batch_number": order.batch_number,
        "label": order.label,
        "created_ms": order.created_ms,
        "expires_ms": order.expires_ms,
    }
    await insert(connection, SQL["add_card_order"], values)


async def find_card_order(connection: Connection, code_hash: bytes) -> CardOrder | None:
    """Return the order of a code, however far it is."""
    row = await fetch_row(connection, SQL["find_card_order"], {"code_hash": code_hash})
    return None if row is None else read_card_order(row)


async def find_card_order_by_id(connection: Connection, order_id: str) -> CardOrder | None:
    """Return an order, however far it is."""
    row = await fetch_row(connection, SQL["find_card_order_by_id"], {"order_id": order_id})
    return None if row is None else read_card_order(row)


async def find_card_orders_by_card(connection: Connection, key_ids: Sequence[bytes]) -> list[CardOrder]:
    """Return the orders that were begun with a card of one of these key ids."""
    rows = await fetch(connection, SQL["find_card_orders_by_card"], {"card_key_ids": list(key_ids)})
    return [read_card_order(row) for row in rows]


async def list_card_orders(connection: Connection, after_id: str) -> list[CardOrder]:
    """Return a page of orders in id order."""
    values = {"after_id": after_id, "rows_max": PAGE_ROWS_MAX}
    return [read_card_order(row) for row in await fetch(connection, SQL["list_card_orders"], values)]


async def cancel_card_order(connection: Connection, order_id: str) -> None:
    """Cancel an open order."""
    if await execute(connection, SQL["cancel_card_order"], {"order_id": order_id}) == 0:
        raise NotFound("there is no open order with this id")


async def claim_card_order(connection: Connection, order_id: str, card_key_id: bytes, now_ms: int) -> bool:
    """Begin an order with this card, unless another card has it."""
    values = {"order_id": order_id, "card_key_id": card_key_id, "now_ms": now_ms}
    return await execute(connection, SQL["claim_card_order"], values) > 0


async def finish_card_order(connection: Connection, order_id: str, instrument: Instrument) -> Instrument:
    """Store the instrument that an order's card became, and end the order."""
    order = await fetch_row(connection, SQL["lock_card_order"], {"order_id": order_id})
    if order is not None and order["instrument_id"] is not None:
        return await _find_instrument(connection, order["instrument_id"])
    await directory.add_instrument(connection, instrument)
    values = {
        "order_id": order_id,
        "card_key_id": instrument.key_id,
        "instrument_id": instrument.instrument_id,
    }
    if await execute(connection, SQL["finish_card_order"], values) == 0:
        raise CardRefused("the order was cancelled", code="card_code_invalid")
    return instrument


async def renew_card(
    connection: Connection,
    instrument_id: str,
    old_key_id: bytes,
    key_id: bytes,
    key_version: int,
    counter: int,
) -> bool:
    """Note a card's new keys and the counter that it proved."""
    values = {
        "instrument_id": instrument_id,
        "old_key_id": old_key_id,
        "key_id": key_id,
        "card_key_version": key_version,
        "card_counter": counter,
    }
    # No booking that ends later than this judged the card as it was before.
    await fetch_row(connection, LEDGER_SQL["lock_chain_head"], {})
    return await insert(connection, SQL["renew_card"], values) > 0


async def find_instrument(connection: Connection, instrument_id: str) -> Instrument | None:
    """Return an instrument, whatever its status."""
    row = await fetch_row(connection, SQL["find_instrument"], {"instrument_id": instrument_id})
    return None if row is None else read_instrument(row)


async def add_card_session(connection: Connection, session: CardSession) -> None:
    """Store a conversation, and end what is over or one too many."""
    forgotten = {"now_ms": session.created_ms, "rows_max": CARD_SESSIONS_FORGOTTEN_MAX}
    await execute(connection, SQL["forget_card_sessions"], forgotten)
    values = {
        "session_id": session.session_id,
        "terminal_id": session.terminal_id,
        "request_digest": session.request_digest,
        "step": session.step,
        "state_sealed": session.state_sealed,
        "created_ms": session.created_ms,
        "expires_ms": session.expires_ms,
    }
    await insert(connection, SQL["add_card_session"], values)
    ended = {
        "terminal_id": session.terminal_id,
        "session_id": session.session_id,
        "sessions_max": CARD_SESSIONS_PER_TERMINAL_MAX - 1,
        "rows_max": CARD_SESSIONS_FORGOTTEN_MAX,
    }
    await execute(connection, SQL["end_oldest_card_sessions"], ended)


async def find_card_session(
    connection: Connection, session_id: str, terminal_id: str, now_ms: int
) -> CardSession | None:
    """Return a terminal's conversation that is not over."""
    values = {"session_id": session_id, "terminal_id": terminal_id, "now_ms": now_ms}
    row = await fetch_row(connection, SQL["find_card_session"], values)
    return None if row is None else read_card_session(row)


async def advance_card_session(
    connection: Connection, session: CardSession, state_sealed: bytes, now_ms: int
) -> bool:
    """Take one step, if nobody took it before."""
    values = {
        "session_id": session.session_id,
        "terminal_id": session.terminal_id,
        "step": session.step,
        "state_sealed": state_sealed,
        "now_ms": now_ms,
    }
    return await execute(connection, SQL["advance_card_session"], values) > 0


async def _find_instrument(connection: Connection, instrument_id: str) -> Instrument:
    instrument = await find_instrument(connection, instrument_id)
    assert instrument is not None, "an instrument is never removed"
    return instrument
