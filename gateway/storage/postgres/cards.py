"""What of cards takes several statements, over a lent connection inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.cards.model import CardOrder, CardSession
from gateway.errors import CardRefused
from gateway.holders.model import Instrument
from gateway.storage.cards import statements_of_session, values_of_finish
from gateway.storage.postgres import directory
from gateway.storage.postgres.database import Connection, execute, fetch, fetch_row, insert
from gateway.storage.postgres.queries import load_queries
from gateway.storage.records import read_card_order, read_instrument
from gateway.storage.statements import Values

SQL = load_queries("cards")
LEDGER_SQL = load_queries("ledger")


async def find_card_orders_by_card(connection: Connection, key_ids: Sequence[bytes]) -> list[CardOrder]:
    """Return the orders that were begun with a card of one of these key ids."""
    rows = await fetch(connection, SQL["find_card_orders_by_card"], {"card_key_ids": list(key_ids)})
    return [read_card_order(row) for row in rows]


async def finish_card_order(connection: Connection, order_id: str, instrument: Instrument) -> Instrument:
    """Store the instrument that an order's card became, and end the order."""
    order = await fetch_row(connection, SQL["lock_card_order"], {"order_id": order_id})
    if order is not None and order["instrument_id"] is not None:
        known = await fetch_row(connection, SQL["find_instrument"], {"instrument_id": order["instrument_id"]})
        assert known is not None, "an instrument is never removed"
        return read_instrument(known)
    await directory.add_instrument(connection, instrument)
    if await execute(connection, SQL["finish_card_order"], values_of_finish(order_id, instrument)) == 0:
        raise CardRefused("the order was cancelled", code="card_code_invalid")
    return instrument


async def renew_card(connection: Connection, renewal: Values) -> bool:
    """Note a card's new keys and the counter that it proved."""
    # No booking that ends later than this judged the card as it was before.
    await fetch_row(connection, LEDGER_SQL["lock_chain_head"], {})
    return await insert(connection, SQL["renew_card"], renewal) > 0


async def add_card_session(connection: Connection, session: CardSession) -> None:
    """Store a conversation, and end what is over or one too many."""
    for name, values in statements_of_session(session):
        await insert(connection, SQL[name], values)
