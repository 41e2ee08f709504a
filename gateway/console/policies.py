"""Commands for what is allowed to whom: staff, limit tiers, and single limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.console.merchants import MerchantOption
from gateway.console.output import Record, show_record, show_table
from gateway.console.session import DEFAULT_CONFIG, AfterOption, ConfigOption, JsonOption, session_of
from gateway.holders.model import IdentityLevel, LimitTier
from gateway.merchants.model import StaffStatus
from wire.messages.staff import StaffRight, StaffRole
from wire.money import find_currency, parse_money

if TYPE_CHECKING:
    from gateway.merchants.model import StaffMember, StaffTagRecord
    from gateway.office import Office

staff_commands = typer.Typer(help="Staff: who may do what at a till, by PIN or tag.", no_args_is_help=True)
tag_commands = typer.Typer(
    help="Staff tags: NTAG 424 DNA cards that stand for somebody.", no_args_is_help=True
)
staff_commands.add_typer(tag_commands, name="tag")
tier_commands = typer.Typer(help="Limit tiers by currency and identity level.", no_args_is_help=True)
limit_commands = typer.Typer(help="Single limits of tills, merchants and cards.", no_args_is_help=True)

StaffArgument = Annotated[str, typer.Argument(help="Staff id.", metavar="ID")]
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
    merchant: MerchantOption,
    name: Annotated[str, typer.Option(help="Name.")],
    role: Annotated[StaffRole, typer.Option(help="Its rights: `staff rights`.")] = StaffRole.CASHIER,
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
    staff_id: StaffArgument,
    pin: PinOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Give somebody a new PIN; this unlocks them too."""
    session_of(context).run(config, lambda office: office.staff.set_pin(staff_id, pin))
    typer.echo("PIN set")


@staff_commands.command("leave")
def let_staff_leave(
    context: typer.Context,
    staff_id: StaffArgument,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take all rights from somebody who has left."""
    session_of(context).run(config, lambda office: office.staff.set_status(staff_id, StaffStatus.LEFT))
    typer.echo("left")


@staff_commands.command("rights")
def set_rights(
    context: typer.Context,
    merchant: MerchantOption,
    role: Annotated[StaffRole | None, typer.Argument(help="Whose rights; left out: show all.")] = None,
    rights: Annotated[
        str | None, typer.Argument(help="Comma between: " + ", ".join(StaffRight) + "; or none, or default.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show or write down what a role may do. Once written down, voids are answered for too."""

    async def work(office: Office) -> list[Record]:
        if role is not None and rights == "default":
            await office.store.forget_staff_rights(merchant, role)
        elif role is not None and rights is not None:
            await office.staff.set_rights(merchant, role, _parse_rights(rights))
        shown = [one for one in StaffRole if role in (None, one)]
        return [
            {"role": one.value, "rights": " ".join(await office.staff.list_rights(merchant, one))}
            for one in shown
        ]

    show_table("rights", session_of(context).run(config, work), as_json=as_json)


@tag_commands.command("add")
def add_staff_tag(
    context: typer.Context,
    staff_id: StaffArgument,
    uid: Annotated[
        bytes,
        typer.Option(parser=bytes.fromhex, metavar="HEX", help="The card's 7-byte UID; it is not stored."),
    ],
    batch: Annotated[int, typer.Option(help="The card's batch of keys.")],
    key_version: Annotated[int, typer.Option(help="Of the batch's keys.")] = 1,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let an NTAG 424 DNA card stand for somebody. Plain tags can be copied and are refused at tills."""
    session = session_of(context)
    tag = session.run(
        config,
        lambda office: office.staff.add_tag(
            staff_id, batch, uid, key_version=key_version, now_ms=session.now_ms()
        ),
    )
    show_record(_tag_record(tag), as_json=as_json)


@tag_commands.command("list")
def list_staff_tags(
    context: typer.Context,
    staff_id: StaffArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show somebody's tags."""
    tags = session_of(context).run(config, lambda office: office.store.list_staff_tags(staff_id))
    show_table("tags", [_tag_record(tag) for tag in tags], as_json=as_json)


@tag_commands.command("remove")
def remove_staff_tag(
    context: typer.Context,
    key_id: Annotated[
        bytes, typer.Argument(parser=bytes.fromhex, metavar="HEX", help="Key id, as `tag list` shows it.")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Forget a tag, from the next tap on: it was lost, or goes to somebody else."""
    session_of(context).run(config, lambda office: office.staff.remove_tag(key_id))
    typer.echo("removed")


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


def _parse_rights(text: str) -> list[StaffRight]:
    try:
        return [] if text == "none" else [StaffRight(name.strip()) for name in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"a right is one of {', '.join(StaffRight)}", param_hint="RIGHTS") from None


def _tag_record(tag: StaffTagRecord) -> Record:
    return {
        "key_id": tag.key_id.hex(),
        "staff_id": tag.staff_id,
        "card_key_batch": tag.card_key_batch,
        "card_key_version": tag.card_key_version,
    }


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
