"""Commands for what is allowed to whom: staff, limit tiers, and single limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.console.output import Record, show_record, show_table
from gateway.console.session import DEFAULT_CONFIG, AfterOption, ConfigOption, JsonOption, session_of
from gateway.holders.model import IdentityLevel, LimitTier
from gateway.merchants.model import StaffRole, StaffStatus
from wire.money import find_currency, parse_money

if TYPE_CHECKING:
    from gateway.merchants.model import StaffMember

staff_commands = typer.Typer(help="Staff: who refunds, and proves it by a PIN.", no_args_is_help=True)
tier_commands = typer.Typer(help="Limit tiers by currency and identity level.", no_args_is_help=True)
limit_commands = typer.Typer(help="Single limits of tills, merchants and cards.", no_args_is_help=True)

PinOption = Annotated[
    str,
    typer.Option(
        prompt="PIN (4 to 12 digits)",
        hide_input=True,
        confirmation_prompt=True,
        help="Asked for if left out.",
    ),
]
AmountArgument = Annotated[str, typer.Argument(help="Amount in the currency's units, such as 50.00.")]


@staff_commands.command("add")
def add_staff(
    context: typer.Context,
    merchant: Annotated[str, typer.Option("--merchant", help="Merchant id.", metavar="ID")],
    name: Annotated[str, typer.Option(help="Name.")],
    role: Annotated[StaffRole, typer.Option(help="A manager may refund.")] = StaffRole.CASHIER,
    pin: PinOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Add somebody who works at a merchant's tills."""
    session = session_of(context)
    member = session.run(
        config, lambda office: office.staff.add_staff(merchant, name, role, pin, now_ms=session.now_ms())
    )
    show_record(_staff_record(member), as_json=as_json)


@staff_commands.command("list")
def list_staff(
    context: typer.Context,
    after: AfterOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show staff in the order of their ids."""
    members = session_of(context).run(config, lambda office: office.store.list_staff(after))
    show_table("staff", [_staff_record(member) for member in members], as_json=as_json)


@staff_commands.command("pin")
def set_staff_pin(
    context: typer.Context,
    staff_id: Annotated[str, typer.Argument(help="Staff id.", metavar="ID")],
    pin: PinOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Give somebody a new PIN; this unlocks them too."""
    session_of(context).run(config, lambda office: office.staff.set_pin(staff_id, pin))
    typer.echo("PIN set")


@staff_commands.command("leave")
def let_staff_leave(
    context: typer.Context,
    staff_id: Annotated[str, typer.Argument(help="Staff id.", metavar="ID")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take all rights from somebody who has left."""
    session_of(context).run(config, lambda office: office.staff.set_status(staff_id, StaffStatus.LEFT))
    typer.echo("left")


@tier_commands.command("set")
def set_tier(
    context: typer.Context,
    currency: Annotated[str, typer.Argument(help="ISO 4217 code, such as EUR.")],
    level: Annotated[IdentityLevel, typer.Argument(help="Identity level of the wallet.")],
    confirm_above: Annotated[str, typer.Option(help="More than this needs the holder's confirmation.")],
    pin_max: Annotated[str, typer.Option(help="More than this needs the holder's phone, not a PIN.")],
    per_payment: Annotated[str, typer.Option(help="Most for one payment.")],
    per_day: Annotated[str, typer.Option(help="Most for a day of UTC, over all cards and phones.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Say what wallets of a level may spend in a currency, from the next payment on."""
    unit = find_currency(currency)
    tier = LimitTier(
        currency=unit.code,
        identity_level=level,
        confirm_above_minor=parse_money(confirm_above, unit).minor,
        pin_max_minor=parse_money(pin_max, unit).minor,
        per_payment_minor=parse_money(per_payment, unit).minor,
        per_day_minor=parse_money(per_day, unit).minor,
    )
    session_of(context).run(config, lambda office: office.store.set_limit_tier(tier))
    show_record(_tier_record(tier), as_json=as_json)


@tier_commands.command("list")
def list_tiers(
    context: typer.Context, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show all tiers."""
    tiers = session_of(context).run(config, lambda office: office.store.list_limit_tiers())
    show_table("tiers", [_tier_record(tier) for tier in tiers], as_json=as_json)


@limit_commands.command("refunds")
def set_refund_limit(
    context: typer.Context,
    terminal_id: Annotated[str, typer.Argument(help="Terminal id.", metavar="ID")],
    minor: Annotated[int, typer.Argument(help="Minor units for a day of UTC; 0: no refunds.", min=0)],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Say what a till may refund on a day."""
    session_of(context).run(config, lambda office: office.store.set_refund_limit(terminal_id, minor))
    typer.echo("set")


@limit_commands.command("tips")
def set_tip_margin(
    context: typer.Context,
    merchant_id: Annotated[str, typer.Argument(help="Merchant id.", metavar="ID")],
    basis_points: Annotated[int, typer.Argument(help="Of the goods, in 1/100 percent.", min=0, max=10_000)],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Say how much of the goods a tip may be at most."""
    session_of(context).run(config, lambda office: office.store.set_tip_margin(merchant_id, basis_points))
    typer.echo("set")


@limit_commands.command("confirm-above")
def set_confirm_above(
    context: typer.Context,
    instrument_id: Annotated[str, typer.Argument(help="Instrument id.", metavar="ID")],
    minor: Annotated[int, typer.Argument(help="Minor units; more needs the holder's confirmation.", min=0)],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Ask the holder of a card or phone above an amount, whatever the tier says."""
    session_of(context).run(config, lambda office: office.store.set_confirm_above(instrument_id, minor))
    typer.echo("set")


def _staff_record(member: StaffMember) -> Record:
    return {
        "staff_id": member.staff_id,
        "merchant_id": member.merchant_id,
        "name": member.name,
        "role": member.role.value,
        "status": member.status.value,
        "wrong_pins": member.pin_tries,
    }


def _tier_record(tier: LimitTier) -> Record:
    return {
        "currency": tier.currency,
        "identity_level": tier.identity_level.value,
        "confirm_above_minor": tier.confirm_above_minor,
        "pin_max_minor": tier.pin_max_minor,
        "per_payment_minor": tier.per_payment_minor,
        "per_day_minor": tier.per_day_minor,
    }
