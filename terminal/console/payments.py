"""`tapscan-terminal payments`: what can be done to a payment after it was decided.

Amounts are in major units of the payment's own currency. Where a command fails without an answer, run it
again with the order id it printed: the gateway then carries it out once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from terminal.console.config_option import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from terminal.console.till_client import TillClient
    from wire.money import Currency

T = TypeVar("T")

PaymentArgument = Annotated[str, typer.Argument(help="The payment's id, as `payments list` shows it.")]
OrderOption = Annotated[
    str | None, typer.Option("--order-id", help="To repeat an order that got no answer: the id it printed.")
]

app = typer.Typer(help="The last payments, and what can be done to them.", rich_markup_mode=None)


@app.command("list")
def list_payments(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show the last payments of this till and how they stood when it last heard of them."""
    from terminal.console.tables import print_payments

    print_payments(_ask(config, lambda client: client.list_payments()))


@app.command()
def capture(
    payment: PaymentArgument,
    amount: Annotated[str, typer.Argument(help="Of the goods, such as 12.50; what is left is let go.")],
    tip: Annotated[str, typer.Option(help="On top, within the hold's part for tips.")] = "0",
    order_id: OrderOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Charge a hold, whole or in part."""
    from wire.messages.payments import CaptureRequest, PaymentAnswer

    async def order(client: TillClient) -> PaymentAnswer:
        currency = await _currency_of(client, payment)
        request = CaptureRequest(
            capture_id=_order_id(order_id),
            amount_minor=_minor(amount, currency),
            tip_minor=_minor(tip, currency) if tip.strip("0.") else 0,
        )
        return await client.capture(payment, request)

    typer.echo(_ask(config, order).state.value)


@app.command()
def void(
    payment: PaymentArgument, order_id: OrderOption = None, config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Let go of a payment that is not charged yet."""
    from wire.messages.payments import VoidRequest

    request = VoidRequest(void_id=_order_id(order_id))
    typer.echo(_ask(config, lambda client: client.void(payment, request)).state.value)


@app.command()
def refund(
    payment: PaymentArgument,
    total: Annotated[str, typer.Argument(help="What is to be refunded in all, earlier refunds included.")],
    staff: Annotated[str, typer.Option(help="The id of the member of staff who answers for it.")],
    reason: Annotated[str, typer.Option(help="For the books; at most 140 characters.")] = "",
    order_id: OrderOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Give money back up to a total; the member of staff types a PIN, which is kept nowhere."""
    from wire.messages.payments import RefundAnswer, RefundRequest, StaffProof

    pin = typer.prompt("Staff PIN", hide_input=True)

    async def order(client: TillClient) -> RefundAnswer:
        request = RefundRequest(
            refund_id=_order_id(order_id),
            total_minor=_minor(total, await _currency_of(client, payment)),
            staff=StaffProof(staff_id=staff, pin=pin),
            reason=reason,
        )
        return await client.refund(payment, request)

    answer = _ask(config, order)
    typer.echo(f"refunded {answer.total_minor} of {answer.payment.charged_minor} minor units")


def _ask(config: Path, ask: Callable[[TillClient], Awaitable[T]]) -> T:
    from terminal.console.till_client import find_client

    async def run() -> T:
        async with find_client(config) as client:
            return await ask(client)

    return asyncio.run(run())


async def _currency_of(client: TillClient, payment_id: str) -> Currency:
    from terminal.errors import SaleRefused
    from wire.money import find_currency

    for payment in await client.list_payments():
        if payment.payment_id == payment_id:
            return find_currency(payment.currency)
    raise SaleRefused("this till's list has no such payment", code="not_found")


def _minor(text: str, currency: Currency) -> int:
    from wire.money import parse_money

    return parse_money(text, currency).minor


def _order_id(given: str | None) -> str:
    from terminal.daemon import SURROUNDINGS
    from wire.ids import ENTROPY_BYTES, make_ulid

    order_id = given or make_ulid(SURROUNDINGS.now_ms(), SURROUNDINGS.entropy(ENTROPY_BYTES))
    typer.echo(f"order id {order_id}", err=True)
    return order_id
