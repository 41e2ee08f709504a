"""`tapscan-sim`: one card, one phone, its wallet, a whole world, the demo, or a rehearsal of every answer.

Only this module reads the clock and the system's randomness. Each command imports what it needs when it
is called, so that help answers at once and a card does not load OpenCV.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from simulators.errors import SimulatorError
from wire.errors import WireError

if TYPE_CHECKING:
    from simulators.hands import CardSetup
    from simulators.world.file import WorldFile

SLOT_DEFAULT: Final = "Virtual PCD 00 00:35963"
"""What Debian's vsmartcard-vpcd installs."""
SEED_DEFAULT: Final = 2026
FOLDER: Final = Path(__file__).parent
WORLD_DEFAULT: Final = FOLDER / "demo" / "demo.toml"
SCENARIO_DEFAULT: Final = FOLDER / "demo" / "scenario.toml"

app = typer.Typer(
    help="Devices without hardware: cards, phones, cameras and scanners that real drivers read.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


wallet = typer.Typer(help="What a holder does in the wallet on the phone.", no_args_is_help=True)
app.add_typer(wallet, name="wallet")


class FieldChoice(StrEnum):
    """Where a card can be put."""

    UDP = "udp"
    PN532 = "pn532"
    VPCD = "vpcd"


class CardChoice(StrEnum):
    """Cards there are."""

    PAYMENT = "payment"
    NTAG424 = "ntag424"
    UID = "uid"
    BLANK = "blank"


class PhoneOutput(StrEnum):
    """How a phone's screen is shown."""

    TERMINAL = "terminal"
    IMAGE = "image"
    STREAM = "stream"


SeedOption = Annotated[int, typer.Option(help="Everything secret is drawn from it and from --name.")]
NameOption = Annotated[str, typer.Option(help="Another name is another card or phone.")]
CounterOption = Annotated[int, typer.Option(help="Counter last used; raise it when you start again.")]


def main() -> None:
    """Run the command line; errors of ours are one line and status 1."""
    try:
        app()
    except (SimulatorError, WireError) as error:
        typer.secho(f"tapscan-sim: {error}", err=True, fg=typer.colors.RED)
        raise SystemExit(1) from None


@app.command()
def card(
    kind: Annotated[CardChoice, typer.Option(help="What is tapped.")] = CardChoice.PAYMENT,
    field: Annotated[FieldChoice, typer.Option(help="What it is tapped on.")] = FieldChoice.UDP,
    port: Annotated[int, typer.Option(help="For udp; 0: any free one.")] = 0,
    slot: Annotated[str, typer.Option(help="For vpcd: READER NAME:PORT of pcscd's virtual slot.")] = (
        SLOT_DEFAULT
    ),
    name: NameOption = "card",
    seed: SeedOption = SEED_DEFAULT,
    counter: CounterOption = 0,
    every_s: Annotated[float, typer.Option("--every", help="Tap every so many seconds; 0: on Enter.")] = 0,
    keys_folder: Annotated[
        Path | None, typer.Option(help="Write the NTAG 424 batch's key files here.")
    ] = None,
    allowance: Annotated[
        str | None, typer.Option(help="Set so much aside first, to pay where a till is offline.")
    ] = None,
    currency: Annotated[str, typer.Option(help="Of the allowance.")] = "EUR",
    gateway: Annotated[str | None, typer.Option(help="Address of the gateway, for an allowance.")] = None,
) -> None:
    """Put one simulated card on a field and tap it: on Enter, or every few seconds."""
    from simulators.hands import CardSetup, run_card

    setup = CardSetup(kind.value, field.value, port, slot, name, seed, counter, every_s, keys_folder)
    credential = None
    if allowance is not None:
        credential = _ask_credential(setup, allowance, currency, gateway)
        typer.echo(f"set aside: {allowance} {currency}")
    run_card(setup, typer.echo, credential)


@app.command()
def phone(
    form: Annotated[str, typer.Option(help="cpm, base45, base32, or numeric (asks the gateway).")] = "cpm",
    output: Annotated[PhoneOutput, typer.Option(help="Where the screen is shown.")] = PhoneOutput.TERMINAL,
    file: Annotated[Path, typer.Option(help="For --output image.")] = Path("paycode.png"),
    port: Annotated[int, typer.Option(help="For --output stream; 0: any.")] = 0,
    distortion: Annotated[
        str, typer.Option(help="What befalls the picture, e.g. rotated, inverted.")
    ] = "clean",
    cap: Annotated[str, typer.Option(help="Most that the code may pay.")] = "100.00",
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "EUR",
    life_s: Annotated[int, typer.Option("--life", help="Seconds until it expires.")] = 60,
    age_s: Annotated[int, typer.Option("--age", help="Seconds ago that it was made.")] = 0,
    gateway: Annotated[str | None, typer.Option(help="Address of the gateway, for numeric codes.")] = None,
    name: NameOption = "phone",
    seed: SeedOption = SEED_DEFAULT,
    counter: CounterOption = 0,
) -> None:
    """Show a phone's pay code: as a QR in this terminal, in an image file, or as a camera's stream."""
    from simulators.hands import PhoneSetup, run_phone

    setup = PhoneSetup(
        form, output.value, file, port, distortion, cap, currency, life_s, age_s, gateway, name, seed, counter
    )
    run_phone(setup, typer.echo, _now_ms, os.urandom)


GatewayOption = Annotated[
    str, typer.Option(help="Address of the gateway, as it calls itself (listen.public_url).")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Agree without being asked.")]


@wallet.command("scan")
def scan_code(
    code: Annotated[str, typer.Argument(help="The text of a till's code, or of a counter's sticker.")],
    gateway: GatewayOption,
    amount: Annotated[
        str | None, typer.Option(help="For a sticker that leaves the amount to the payer.")
    ] = None,
    yes: YesOption = False,
    name: NameOption = "phone",
    seed: SeedOption = SEED_DEFAULT,
    counter: CounterOption = 0,
) -> None:
    """Scan a till's code, see merchant and amount as they are registered, and pay.

    Exits 0 only when it is paid.
    """
    from simulators.wallet_hands import WalletSetup, pay_code

    setup = WalletSetup(gateway, name, seed, counter, _now_ms, os.urandom)
    ask = _agree if yes else typer.confirm
    raise typer.Exit(0 if asyncio.run(pay_code(setup, code, amount, ask, typer.echo)) else 1)


@wallet.command("confirm")
def confirm_payments(
    gateway: GatewayOption,
    yes: YesOption = False,
    name: NameOption = "phone",
    seed: SeedOption = SEED_DEFAULT,
) -> None:
    """Agree to the payments that wait for this holder, or refuse them."""
    from simulators.wallet_hands import WalletSetup, confirm

    setup = WalletSetup(gateway, name, seed, 0, _now_ms, os.urandom)
    if not asyncio.run(confirm(setup, _agree if yes else typer.confirm, typer.echo)):
        typer.echo("nothing waits")


@app.command()
def world(
    file: Annotated[Path, typer.Option(help="What is in it.")] = WORLD_DEFAULT,
    seed: Annotated[int | None, typer.Option(help="Instead of the file's.")] = None,
    port: Annotated[int, typer.Option(help="Of the control interface; 0: any, and it is printed.")] = 0,
    slot: Annotated[
        list[str] | None, typer.Option(help="READER NAME:PORT of pcscd's virtual slots, in order.")
    ] = None,
    gateway: Annotated[str | None, typer.Option(help="Address of the gateway, for numeric codes.")] = None,
    pcscd: Annotated[
        bool, typer.Option("--pcscd", help="Start a pcscd of its own for fields of kind vpcd (root).")
    ] = False,
) -> None:
    """Run a world of devices and people, told what to do over HTTP on loopback.

    The first line on stdout is one JSON object with the address of the control interface, and what a
    till's daemon needs in its environment to reach the world's own pcscd.
    """
    from simulators.world.control import run_world
    from simulators.world.devices import parse_slot
    from simulators.world.service import own_pcscd
    from simulators.world.world import Surroundings

    world_file = _load(file, seed)
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(own_pcscd(world_file)) if pcscd else None
        slots = service.slots if service else [parse_slot(text) for text in slot or ()]
        surroundings = Surroundings(_now_ms, os.urandom, tuple(slots), gateway, service)
        asyncio.run(run_world(world_file, surroundings, port, typer.echo))


@app.command()
def fault(
    name: Annotated[str, typer.Argument(help="The fault; `list` shows all of them, `mend` ends one.")],
    device: Annotated[str | None, typer.Argument(help="The device of the world file that has it.")] = None,
    thing: Annotated[str | None, typer.Option(help="The card or phone that is presented.")] = None,
    other: Annotated[str | None, typer.Option(help="The second card or phone.")] = None,
    at: Annotated[int | None, typer.Option(help="The command of the tap it happens at, from 1.")] = None,
    ms: Annotated[int | None, typer.Option(help="How long it lasts, in milliseconds.")] = None,
    count: Annotated[int | None, typer.Option(help="How many codes or bytes.")] = None,
    world: Annotated[
        str | None,
        typer.Option(help="Control address of the running world.", envvar="TAPSCAN_WORLD"),
    ] = None,
) -> None:
    """Let a device of a running world fail: `tapscan-sim fault tear till-2-radio --thing chen-card --at 2`.

    `tapscan-sim fault list` shows every fault with one line of explanation; `fault mend DEVICE` ends one.
    """
    from simulators.fault_commands import list_faults, order_fault

    if name == "list":
        list_faults(typer.echo)
        return
    if device is None:
        raise SimulatorError("say which device: tapscan-sim fault NAME DEVICE")
    if world is None:
        raise SimulatorError("say which world with --world: the control_url that `tapscan-sim world` printed")
    options = {"thing": thing, "other": other, "at": at, "ms": ms, "count": count}
    asyncio.run(order_fault(world, name, device, options))
    typer.echo(f"{device}: {name}")


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="One checked scenario instead of shoppers.")] = False,
    seed: Annotated[int | None, typer.Option(help="Instead of the world file's.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Keep database and logs here; default: a temporary one.")
    ] = None,
    world_file: Annotated[Path, typer.Option("--world", help="Shop, tills and people.")] = WORLD_DEFAULT,
    scenario: Annotated[Path, typer.Option(help="For --once: what happens.")] = SCENARIO_DEFAULT,
    picture: Annotated[
        Path | None, typer.Option(help="Leave a picture (SVG) of the page at the end.")
    ] = None,
) -> None:
    """Start a gateway, two tills and a world, and let shoppers pay until Ctrl-C.

    With --once a fixed scenario is played; the status is 0 only if every outcome was the expected one,
    the sums are right and the audit passes, and the last line on stdout is one JSON object.
    """
    from simulators.demo.demo import DemoSetup, run_demo

    setup = DemoSetup(_load(world_file, seed), world_file, scenario, folder, once=once, picture=picture)
    raise typer.Exit(run_demo(setup))


@app.command()
def rehearsal(
    till_port: Annotated[
        int, typer.Option(help="Of the first till's interface, the next till having the next one; 0: any.")
    ] = 0,
    port: Annotated[int, typer.Option(help="Where `rehearse` finds it; 0: any, and it is printed.")] = 8465,
    deadline_s: Annotated[
        int,
        typer.Option("--deadline", min=10, max=3_600, help="Seconds a holder may take, and a hold stands."),
    ] = 60,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Keep database and logs here; default: a temporary one.")
    ] = None,
) -> None:
    """Start a gateway, tills and people in states of their own, so that every answer can be rehearsed.

    The first line on stdout is one JSON object with the addresses. docs/test-values.md lists what there is.
    """
    from simulators.rehearsal.service import RehearsalSetup, run_rehearsal

    asyncio.run(run_rehearsal(RehearsalSetup(port, till_port, deadline_s, folder), typer.echo, _new_id))


@app.command()
def rehearse(
    value: Annotated[
        str | None, typer.Argument(help="A test value's name, such as frozen-wallet.", metavar="VALUE")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Show all values.")] = False,
    hands_only: Annotated[
        bool,
        typer.Option(
            "--hands-only", help="Your own till software starts the sale; present and confirm only."
        ),
    ] = False,
    at: Annotated[str, typer.Option(help="Address of the rehearsal.")] = "http://127.0.0.1:8465",
) -> None:
    """Rehearse one test value on a running rehearsal, and print what the till API said.

    The status is 0 only if that was what the value promises.
    """
    from simulators.rehearsal.visit import list_values, rehearse_value, show_report

    if list_all:
        for line in asyncio.run(list_values(at.rstrip("/"))):
            typer.echo(line)
        return
    if value is None:
        raise typer.BadParameter("name a value, or --list", param_hint="VALUE")
    report = asyncio.run(rehearse_value(at.rstrip("/"), value, hands_only=hands_only))
    typer.echo(show_report(report))
    raise typer.Exit(0 if report.as_promised else 1)


def _ask_credential(setup: CardSetup, allowance: str, currency: str, gateway: str | None) -> bytes:
    from simulators.hands import draw_card_key
    from simulators.wallet_hands import WalletSetup, ask_credential
    from wire.money import find_currency, parse_money

    if gateway is None:
        raise SimulatorError("an allowance comes from a gateway: say which with --gateway")
    wallet_setup = WalletSetup(gateway, setup.name, setup.seed, setup.counter, _now_ms, os.urandom)
    amount = parse_money(allowance, find_currency(currency))
    return asyncio.run(ask_credential(wallet_setup, draw_card_key(setup), amount))


def _agree(question: str) -> bool:
    typer.echo(f"{question} yes")
    return True


def _load(path: Path, seed: int | None) -> WorldFile:
    import msgspec

    from simulators.world.file import load_world_file

    file = load_world_file(path)
    return file if seed is None else msgspec.structs.replace(file, seed=seed)


def _new_id() -> str:
    from wire.ids import ENTROPY_BYTES, make_ulid

    return make_ulid(_now_ms(), os.urandom(ENTROPY_BYTES))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
