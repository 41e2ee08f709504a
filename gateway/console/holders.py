"""Commands for the paying side: wallet, instrument, card-keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.console.output import Record, show_record, show_table
from gateway.console.policies import PinOption
from gateway.console.session import (
    DEFAULT_CONFIG,
    AfterOption,
    ConfigOption,
    JsonOption,
    session_of,
)
from gateway.holders.model import IdentityLevel, Instrument, InstrumentKind, InstrumentStatus, WalletStatus
from wire.messages.payments import EntryMode

if TYPE_CHECKING:
    from gateway.office import Office
    from gateway.storage.store import WalletBalance

KEY_FILE_BYTES_MAX: Final = 256

wallet_commands = typer.Typer(help="Wallets: stored money of one holder.", no_args_is_help=True)
instrument_commands = typer.Typer(help="Instruments: what pays from a wallet.", no_args_is_help=True)
card_key_commands = typer.Typer(help="Keys of batches of NTAG 424 cards.", no_args_is_help=True)

WalletArgument = Annotated[str, typer.Argument(help="Wallet id.", metavar="WALLET")]
InstrumentArgument = Annotated[str, typer.Argument(help="Instrument id.", metavar="INSTRUMENT")]


@wallet_commands.command("add")
def add_wallet(
    context: typer.Context,
    holder: Annotated[str, typer.Option(help="The holder's name.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code, such as EUR.")] = "EUR",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Add an empty wallet with its ledger account."""
    session = session_of(context)

    async def work(office: Office) -> WalletBalance:
        wallet = await office.holders.add_wallet(holder, currency, now_ms=session.now_ms())
        return await office.holders.find_wallet(wallet.wallet_id)

    show_record(_wallet_record(session.run(config, work)), as_json=as_json)


@wallet_commands.command("fund")
def fund_wallet(
    context: typer.Context,
    wallet: WalletArgument,
    amount: Annotated[str, typer.Argument(help="In the wallet's currency, such as 12.50.")],
    transfer_id: Annotated[
        str | None, typer.Option(help="A ULID that makes a retry safe: the same id funds once.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Move money that came from outside into a wallet."""
    session = session_of(context)

    async def work(office: Office) -> WalletBalance:
        from wire.money import find_currency, parse_money

        held = await office.holders.find_wallet(wallet)
        money = parse_money(amount, find_currency(held.wallet.currency))
        return await office.holders.fund_wallet(
            wallet, money, transfer_id=transfer_id, now_ms=session.now_ms()
        )

    show_record(_wallet_record(session.run(config, work)), as_json=as_json)


@wallet_commands.command("pin")
def set_wallet_pin(
    context: typer.Context,
    wallet: WalletArgument,
    pin: PinOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Give a wallet a new PIN; this unlocks it too."""
    session = session_of(context)
    session.run(config, lambda office: office.holders.set_pin(wallet, pin, office.pins))
    typer.echo("PIN set")


@wallet_commands.command("level")
def set_identity_level(
    context: typer.Context,
    wallet: WalletArgument,
    level: Annotated[IdentityLevel, typer.Argument(help="How much is known of its holder.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Say how much is known of a wallet's holder, which decides its limit tier."""
    session_of(context).run(config, lambda office: office.store.set_identity_level(wallet, level))
    typer.echo("set")


@wallet_commands.command("show")
def show_wallet(
    context: typer.Context,
    wallet: WalletArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show a wallet and what it holds."""
    held = session_of(context).run(config, lambda office: office.holders.find_wallet(wallet))
    show_record(_wallet_record(held), as_json=as_json)


@wallet_commands.command("list")
def list_wallets(
    context: typer.Context,
    after: AfterOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show wallets in the order of their ids."""
    wallets = session_of(context).run(config, lambda office: office.store.list_wallets(after))
    show_table("wallets", [_wallet_record(held) for held in wallets], as_json=as_json)


@wallet_commands.command("freeze")
def freeze_wallet(
    context: typer.Context,
    wallet: WalletArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Stop all payments from a wallet, from the next one on."""
    _set_wallet_status(context, wallet, WalletStatus.FROZEN, config, as_json=as_json)


@wallet_commands.command("unfreeze")
def unfreeze_wallet(
    context: typer.Context,
    wallet: WalletArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Allow payments from a wallet again."""
    _set_wallet_status(context, wallet, WalletStatus.ACTIVE, config, as_json=as_json)


@instrument_commands.command("add")
def add_instrument(
    context: typer.Context,
    wallet: Annotated[str, typer.Option("--wallet", help="Wallet id.", metavar="ID")],
    kind: Annotated[InstrumentKind, typer.Option(help="What it is.")],
    public_key: Annotated[
        bytes | None,
        typer.Option(
            parser=bytes.fromhex, metavar="HEX", help="Of a phone or applet card: compressed point."
        ),
    ] = None,
    uid: Annotated[
        bytes | None,
        typer.Option(parser=bytes.fromhex, metavar="HEX", help="Of an NTAG 424 card: its 7-byte UID."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Of an NTAG 424 card: its batch of keys.")] = None,
    label: Annotated[str | None, typer.Option(help="What a receipt calls it.")] = None,
    weakest_entry_mode: Annotated[EntryMode | None, typer.Option(help="Nothing weaker pays.")] = None,
    per_payment: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Limit of one payment, such as 50.00.")
    ] = None,
    per_day: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Limit of one day of UTC, such as 150.00.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Register a phone, an applet card or an NTAG 424 card with a wallet."""
    session = session_of(context)

    async def work(office: Office) -> Instrument:
        from gateway.holders.service import NewInstrument

        currency = (await office.holders.find_wallet(wallet)).wallet.currency
        new = NewInstrument(
            wallet_id=wallet,
            kind=kind,
            public_key=public_key,
            uid=uid,
            batch_number=batch,
            label=label,
            weakest_entry_mode=weakest_entry_mode,
            per_payment_minor=_parse_limit(per_payment, currency),
            per_day_minor=_parse_limit(per_day, currency),
        )
        return await office.holders.add_instrument(new, now_ms=session.now_ms())

    show_record(_instrument_record(session.run(config, work)), as_json=as_json)


@instrument_commands.command("list")
def list_instruments(
    context: typer.Context,
    after: AfterOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show instruments in the order of their ids."""
    instruments = session_of(context).run(config, lambda office: office.store.list_instruments(after))
    show_table("instruments", [_instrument_record(each) for each in instruments], as_json=as_json)


@instrument_commands.command("suspend")
def suspend_instrument(
    context: typer.Context,
    instrument: InstrumentArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Stop an instrument from paying, from the next payment on."""
    _set_instrument_status(context, instrument, InstrumentStatus.SUSPENDED, config, as_json=as_json)


@instrument_commands.command("activate")
def activate_instrument(
    context: typer.Context,
    instrument: InstrumentArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let a suspended instrument pay again."""
    _set_instrument_status(context, instrument, InstrumentStatus.ACTIVE, config, as_json=as_json)


@card_key_commands.command("add")
def add_card_keys(
    context: typer.Context,
    batch: Annotated[int, typer.Option(help="Number of the batch.")],
    meta_key_file: Annotated[Path, typer.Option(metavar="FILE", help="32 hexadecimal digits.")],
    file_master_file: Annotated[Path, typer.Option(metavar="FILE", help="32 hexadecimal digits.")],
    key_version: Annotated[
        int, typer.Option(help="1 to 255; a higher one is what this batch's cards are brought to.")
    ] = 1,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Seal and store keys of a batch of NTAG 424 cards; files, so that no key is in a shell's history."""
    meta_key = _read_key_file(meta_key_file, "--meta-key-file")
    file_master = _read_key_file(file_master_file, "--file-master-file")
    session = session_of(context)
    session.run(
        config,
        lambda office: office.holders.add_card_key_batch(
            batch, meta_key, file_master, key_version=key_version, now_ms=session.now_ms()
        ),
    )
    show_record({"batch_number": batch, "key_version": key_version}, as_json=as_json)


def _set_wallet_status(
    context: typer.Context, wallet: str, status: WalletStatus, config: Path, *, as_json: bool
) -> None:
    session_of(context).run(config, lambda office: office.holders.set_wallet_status(wallet, status))
    show_record({"wallet_id": wallet, "status": status.value}, as_json=as_json)


def _set_instrument_status(
    context: typer.Context, instrument: str, status: InstrumentStatus, config: Path, *, as_json: bool
) -> None:
    session_of(context).run(config, lambda office: office.holders.set_instrument_status(instrument, status))
    show_record({"instrument_id": instrument, "status": status.value}, as_json=as_json)


def _parse_limit(amount: str | None, currency: str) -> int | None:
    if amount is None:
        return None
    from wire.money import find_currency, parse_money

    return parse_money(amount, find_currency(currency)).minor


def _read_key_file(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            return bytes.fromhex(file.read(KEY_FILE_BYTES_MAX).decode("ascii"))
    except (OSError, ValueError):
        raise typer.BadParameter("the file must hold hexadecimal digits", param_hint=option) from None


def _wallet_record(held: WalletBalance) -> Record:
    from wire.money import find_currency, format_minor

    wallet = held.wallet
    return {
        "wallet_id": wallet.wallet_id,
        "holder_name": wallet.holder_name,
        "currency": wallet.currency,
        "status": wallet.status.value,
        "available": format_minor(held.available_minor, find_currency(wallet.currency)),
        "available_minor": held.available_minor,
        "pending_minor": held.pending_minor,
    }


def _instrument_record(instrument: Instrument) -> Record:
    return {
        "instrument_id": instrument.instrument_id,
        "wallet_id": instrument.wallet_id,
        "kind": instrument.kind.value,
        "label": instrument.label,
        "status": instrument.status.value,
        "key_id": instrument.key_id.hex(),
        "weakest_entry_mode": instrument.weakest_entry_mode.value,
        "per_payment_minor": instrument.limits.per_payment_minor,
        "per_day_minor": instrument.limits.per_day_minor,
    }
