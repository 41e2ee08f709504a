"""Commands for the selling side: merchant, location, terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.console.output import Record, show_record, show_table
from gateway.console.session import (
    DEFAULT_CONFIG,
    AfterOption,
    ConfigOption,
    JsonOption,
    session_of,
)
from gateway.merchants.model import MerchantStatus

if TYPE_CHECKING:
    from gateway.merchants.model import EnrolledTerminal, Location, Merchant

merchant_commands = typer.Typer(help="Merchants: who takes payments.", no_args_is_help=True)
location_commands = typer.Typer(help="Locations: where a merchant sells.", no_args_is_help=True)
terminal_commands = typer.Typer(help="Terminals: tills that may take payments.", no_args_is_help=True)

MerchantArgument = Annotated[str, typer.Argument(help="Merchant id.", metavar="MERCHANT")]
MerchantOption = Annotated[str, typer.Option("--merchant", help="Merchant id.", metavar="ID")]


@merchant_commands.command("add")
def add_merchant(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="Name on receipts.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code, such as EUR.")] = "EUR",
    fee_basis_points: Annotated[int, typer.Option(help="Kept from each payment, in 1/100 percent.")] = 0,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Add a merchant with its ledger account."""
    session = session_of(context)
    merchant = session.run(
        config,
        lambda office: office.merchants.add_merchant(
            name, currency, fee_basis_points, now_ms=session.now_ms()
        ),
    )
    show_record(_merchant_record(merchant), as_json=as_json)


@merchant_commands.command("list")
def list_merchants(
    context: typer.Context,
    after: AfterOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show merchants in the order of their ids."""
    merchants = session_of(context).run(config, lambda office: office.store.list_merchants(after))
    show_table("merchants", [_merchant_record(merchant) for merchant in merchants], as_json=as_json)


@merchant_commands.command("suspend")
def suspend_merchant(
    context: typer.Context,
    merchant: MerchantArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Stop a merchant from taking payments, from the next one on; refunds go on."""
    _set_merchant_status(context, merchant, MerchantStatus.SUSPENDED, config, as_json=as_json)


@merchant_commands.command("activate")
def activate_merchant(
    context: typer.Context,
    merchant: MerchantArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let a suspended merchant take payments again."""
    _set_merchant_status(context, merchant, MerchantStatus.ACTIVE, config, as_json=as_json)


@location_commands.command("add")
def add_location(
    context: typer.Context,
    merchant: MerchantOption,
    name: Annotated[str, typer.Option(help="Name on receipts.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Add a location of a merchant."""
    session = session_of(context)
    location = session.run(
        config, lambda office: office.merchants.add_location(merchant, name, now_ms=session.now_ms())
    )
    show_record(_location_record(location), as_json=as_json)


@terminal_commands.command("add")
def add_terminal(
    context: typer.Context,
    merchant: MerchantOption,
    location: Annotated[str, typer.Option("--location", help="Location id.", metavar="ID")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Add a terminal and print its one-time enrolment code, which is shown only now."""
    session = session_of(context)
    pending = session.run(
        config, lambda office: office.merchants.add_terminal(merchant, location, now_ms=session.now_ms())
    )
    record: Record = {
        "terminal_id": pending.terminal.terminal_id,
        "enrolment_code": pending.enrolment_code,
        "code_expires_ms": pending.code_expires_ms,
    }
    show_record(record, as_json=as_json)


@terminal_commands.command("list")
def list_terminals(
    context: typer.Context,
    after: AfterOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show terminals in the order of their ids."""
    terminals = session_of(context).run(config, lambda office: office.store.list_terminals(after))
    show_table("terminals", [_terminal_record(enrolled) for enrolled in terminals], as_json=as_json)


@terminal_commands.command("revoke")
def revoke_terminal(
    context: typer.Context,
    terminal: Annotated[str, typer.Argument(help="Terminal id.", metavar="TERMINAL")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Withdraw a terminal for good, from its next request on."""
    session_of(context).run(config, lambda office: office.merchants.revoke_terminal(terminal))
    show_record({"terminal_id": terminal, "status": "revoked"}, as_json=as_json)


@terminal_commands.command("sticker")
def show_sticker(
    context: typer.Context,
    terminal: Annotated[str, typer.Argument(help="Terminal id.", metavar="TERMINAL")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show what the QR on this till's counter sticker says; it leads to listen.public_url and stays good."""
    from gateway.errors import ConfigurationError, NotFound
    from gateway.payments.till_codes import TillCodeWriter

    session = session_of(context)
    settings = session.load_config(config)
    if settings.listen.public_url is None:
        raise ConfigurationError("listen.public_url must be given: a sticker outlives a port")
    found = session.run(config, lambda office: office.store.find_terminal(terminal))
    if found is None:
        raise NotFound("there is no such terminal")
    text = TillCodeWriter(settings.listen.public_url, settings.codes).write_sticker(found)
    show_record({"terminal_id": terminal, "code_text": text}, as_json=as_json)


def _set_merchant_status(
    context: typer.Context, merchant: str, status: MerchantStatus, config: Path, *, as_json: bool
) -> None:
    session_of(context).run(config, lambda office: office.store.set_merchant_status(merchant, status))
    show_record({"merchant_id": merchant, "status": status.value}, as_json=as_json)


def _merchant_record(merchant: Merchant) -> Record:
    return {
        "merchant_id": merchant.merchant_id,
        "name": merchant.name,
        "currency": merchant.currency,
        "fee_basis_points": merchant.fee_basis_points,
        "status": merchant.status.value,
    }


def _location_record(location: Location) -> Record:
    return {
        "location_id": location.location_id,
        "merchant_id": location.merchant_id,
        "name": location.name,
    }


def _terminal_record(enrolled: EnrolledTerminal) -> Record:
    terminal = enrolled.terminal
    return {
        "terminal_id": terminal.terminal_id,
        "status": terminal.status.value,
        "merchant_id": terminal.merchant_id,
        "merchant_name": enrolled.merchant.name,
        "location_name": enrolled.location.name,
        "key_id": terminal.key_id.hex() if terminal.key_id is not None else None,
        "software": terminal.software or None,
    }
