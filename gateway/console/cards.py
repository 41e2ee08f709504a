"""Commands for cards that are made at a till: card order, list, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.console.output import Record, show_record, show_table
from gateway.console.session import DEFAULT_CONFIG, AfterOption, ConfigOption, JsonOption, session_of

if TYPE_CHECKING:
    from gateway.cards.model import CardOrder

card_commands = typer.Typer(help="Cards to be made at a till, by a one-time code.", no_args_is_help=True)


@card_commands.command("order")
def order_card(
    context: typer.Context,
    wallet: Annotated[str, typer.Option(help="Wallet id: whom the card pays for.")],
    batch: Annotated[
        int | None, typer.Option(help="Whose keys it gets; left out, the newest batch's.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="What a receipt shows of it.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Order a card and print its one-time code, for `tapscan-terminal card personalise --code`."""
    session = session_of(context)
    issued = session.run(
        config, lambda office: office.cards.order(wallet, batch, label, now_ms=session.now_ms())
    )
    # The code first: it is what is read out to whoever stands at the till.
    show_record({"code": issued.code, **_record_of(issued.order)}, as_json=as_json)


@card_commands.command("list")
def list_orders(
    context: typer.Context,
    after: AfterOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show orders in the order of their ids, and what became of them."""
    orders = session_of(context).run(config, lambda office: office.store.list_card_orders(after))
    show_table("card_orders", [_record_of(order) for order in orders], as_json=as_json)


@card_commands.command("cancel")
def cancel_order(
    context: typer.Context,
    order: Annotated[str, typer.Argument(help="Order id.", metavar="ORDER")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End an open order; a chip it was begun with stays half made, and can be wiped."""
    session_of(context).run(config, lambda office: office.cards.cancel(order))
    show_record({"order_id": order, "state": "cancelled"}, as_json=as_json)


def _record_of(order: CardOrder) -> Record:
    return {
        "order_id": order.order_id,
        "wallet_id": order.wallet_id,
        "batch_number": order.batch_number,
        "state": order.state.value,
        "begun": order.card_key_id is not None,
        "instrument_id": order.instrument_id,
        "expires_ms": order.expires_ms,
    }
