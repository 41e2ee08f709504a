"""What of cards takes several statements, over an open connection inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.cards.model import CardOrder, CardSession
from gateway.errors import CardRefused
from gateway.holders.model import Instrument
from gateway.storage.cards import statements_of_session, values_of_finish
from gateway.storage.records import read_card_order, read_instrument
from gateway.storage.sqlite import directory
from gateway.storage.sqlite.database import insert
from gateway.storage.sqlite.queries import list_named_rows, load_queries
from gateway.storage.statements import Values

SQL = load_queries("cards")


def find_card_orders_by_card(connection: sqlite3.Connection, key_ids: Sequence[bytes]) -> list[CardOrder]:
    """Return the orders that were begun with a card of one of these key ids."""
    rows = list_named_rows(connection, SQL["find_card_orders_by_card"], [(key_id,) for key_id in key_ids])
    return [read_card_order(row) for row in rows]


def finish_card_order(connection: sqlite3.Connection, order_id: str, instrument: Instrument) -> Instrument:
    """Store the instrument that an order's card became, and end the order."""
    order = connection.execute(SQL["find_card_order_by_id"], {"order_id": order_id}).fetchone()
    if order is not None and order["instrument_id"] is not None:
        values = {"instrument_id": order["instrument_id"]}
        return read_instrument(connection.execute(SQL["find_instrument"], values).fetchone())
    directory.add_instrument(connection, instrument)
    if connection.execute(SQL["finish_card_order"], values_of_finish(order_id, instrument)).rowcount == 0:
        raise CardRefused("the order was cancelled", code="card_code_invalid")
    return instrument


def renew_card(connection: sqlite3.Connection, renewal: Values) -> bool:
    """Note a card's new keys and the counter that it proved."""
    return insert(connection, SQL["renew_card"], renewal) > 0


def add_card_session(connection: sqlite3.Connection, session: CardSession) -> None:
    """Store a conversation, and end what is over or one too many."""
    for name, values in statements_of_session(session):
        insert(connection, SQL[name], values)
