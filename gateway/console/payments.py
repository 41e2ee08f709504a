"""Commands for payments as an auditor asks about them: payment show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.console.output import Record, show_record, show_table
from gateway.console.session import DEFAULT_CONFIG, ConfigOption, JsonOption, session_of

if TYPE_CHECKING:
    from gateway.office import Office
    from gateway.payments.model import PaymentAct, PaymentRecord

payment_commands = typer.Typer(
    help="Payments: where one stands, and who did what to it.", no_args_is_help=True
)


@payment_commands.command("show")
def show_payment(
    context: typer.Context,
    payment: Annotated[str, typer.Argument(help="Payment id.", metavar="PAYMENT")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show a payment, what happened to it after it was decided, and who at the shop answered for that."""

    async def work(office: Office) -> tuple[Record, list[Record]]:
        from gateway.errors import NotFound

        found = await office.store.find_receipt(payment)
        if found is None:
            raise NotFound("there is no such payment")
        acts = await office.store.list_payment_acts(payment)
        return _payment_record(found.payment), [_act_record(act) for act in acts]

    record, acts = session_of(context).run(config, work)
    if as_json:
        show_record({**record, "acts": acts}, as_json=True)
        return
    show_record(record, as_json=False)
    show_table("acts", acts, as_json=False)


def _payment_record(payment: PaymentRecord) -> Record:
    life = payment.life
    return {
        "payment_id": payment.payment_id,
        "attempt_id": payment.attempt_id,
        "merchant_id": payment.merchant_id,
        "terminal_id": payment.terminal_id,
        "order_id": payment.order_id,
        "decided_ms": payment.decided_ms,
        "outcome": payment.outcome,
        "state": life.state.value,
        "code": payment.decline_code or life.code,
        "currency": payment.currency,
        "amount_minor": payment.amount_minor,
        "charged_minor": life.charged_minor,
        "tip_minor": life.tip_minor,
        "refunded_minor": life.refunded_minor,
        "entry_mode": payment.entry_mode.value,
        "instrument_id": payment.instrument_id,
        "receipt_number": payment.receipt_number,
    }


def _act_record(act: PaymentAct) -> Record:
    return {
        "at_ms": act.at_ms,
        "act": act.act,
        "amount_minor": act.amount_minor,
        "code": act.code,
        "staff_id": act.staff_id,
        "staff_name": act.staff_name,
    }
