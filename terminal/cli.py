"""`tapscan-terminal`: enrol, run, sale, page, readers, check-reader, journal, payments, shift, offline.

Each command imports what it needs when it runs, so that `--help` and the completion of a shell are quick.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from terminal.console.cards import app as card_app
from terminal.console.config_option import DEFAULT_CONFIG, ConfigOption
from terminal.console.payments import app as payments_app
from terminal.console.shifts import app as shift_app
from terminal.errors import GatewayRefused, TerminalError

if TYPE_CHECKING:
    from terminal.config import TerminalConfig
    from terminal.console.till_client import TillClient
    from terminal.daemon import RunningDaemon
    from wire.messages.till_page import PageLink

EXIT_FAILED: Final = 1
EXIT_UNKNOWN: Final = 3
"""`sale`: whether it was paid is unknown. 2 is a wrong use of the command line."""


app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The daemon at a till, and the commands that talk to it.",
)

journal = typer.Typer(help="Payment attempts on disk: list, reverse, keep.", rich_markup_mode=None)
app.add_typer(journal, name="journal")
app.add_typer(payments_app, name="payments")
app.add_typer(shift_app, name="shift")
app.add_typer(card_app, name="card")
offline = typer.Typer(help="Payments accepted without a connection.", rich_markup_mode=None)
app.add_typer(offline, name="offline")

AttemptArgument = Annotated[str, typer.Argument(help="The attempt's id, as `journal list` shows it.")]


@app.command()
def enrol(
    code: Annotated[str, typer.Option(help="The one-time code of `tapscan-gateway terminal add`.")],
    gateway: Annotated[str | None, typer.Option(help="The gateway's address, if not configured.")] = None,
    again: Annotated[bool, typer.Option(help="Replace the identity this terminal has.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Introduce this terminal to its gateway; if the answer is lost, run it again with the same code."""
    from terminal import daemon

    settings = _load(config)
    daemon.configure_logging(settings.logging)
    answer = asyncio.run(daemon.enrol(settings, gateway, code, again=again))
    typer.echo(f"enrolled as {answer.terminal_id}: {answer.merchant_name}, {answer.location_name}")


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; prints one line when it is ready."""
    import uvloop

    from terminal import daemon

    settings = _load(config)
    daemon.configure_logging(settings.logging)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(daemon.serve(settings, _print_ready))


@app.command()
def sale(
    amount: Annotated[str, typer.Argument(help="In major units, such as 12.50.")],
    currency: Annotated[str | None, typer.Option(help="ISO 4217; by default the shop's.")] = None,
    order: Annotated[str | None, typer.Option(help="Your own reference of the order.")] = None,
    order_total: Annotated[
        str | None, typer.Option(help="All of the order, where this payment is a part of it.")
    ] = None,
    hold: Annotated[bool, typer.Option(help="Hold the amount; charge it by `payments capture`.")] = False,
    tip_max: Annotated[
        str | None, typer.Option(help="How much of the amount is kept for a tip; only with --hold.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take a payment through the running daemon; Ctrl-C cancels.

    Exits 0 only when it was approved or accepted offline.
    """
    from terminal.console.sale_screen import SaleWish, sell
    from wire.messages.till import SaleState

    settings = _load(config)
    wish = SaleWish(
        amount, currency=currency, order_id=order, order_total=order_total, is_hold=hold, tip_max=tip_max
    )
    state = asyncio.run(sell(_client(settings), wish, language=settings.language))
    if state is SaleState.UNKNOWN:
        raise typer.Exit(EXIT_UNKNOWN)
    if state not in (SaleState.APPROVED, SaleState.ACCEPTED_OFFLINE):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def pin(
    sale: Annotated[str, typer.Argument(help="The sale that waits, as `sale` shows it.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Let a customer type the PIN that a payment needs; it is not shown, and kept nowhere."""
    entered = typer.prompt("PIN", hide_input=True)

    async def enter(client: TillClient) -> str:
        async with client:
            return (await client.enter_pin(sale, entered)).state.value

    typer.echo(asyncio.run(enter(_client(_load(config)))))


@app.command()
def page(
    customer: Annotated[bool, typer.Option("--customer", help="The customer's display instead.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Print a link to the till page of the running daemon; it lets one browser in, once."""
    from wire.messages.till_page import PageKind

    async def ask(client: TillClient) -> None:
        async with client:
            _print_link(await client.make_page_link(PageKind.CUSTOMER if customer else PageKind.TILL))

    asyncio.run(ask(_client(_load(config))))


@app.command()
def readers(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show the health of every reader and scanner of the running daemon."""
    from terminal.console.tables import print_readers

    async def ask(client: TillClient) -> None:
        async with client:
            print_readers((await client.find_daemon()).readers, language=settings.language)

    settings = _load(config)
    asyncio.run(ask(_client(settings)))


@app.command("check-reader")
def check_reader(
    path: Annotated[str, typer.Argument(help="The device's path, as terminal.toml has it.")],
    seconds: Annotated[
        float, typer.Option(help="How long is waited for what you are asked to do.", min=1, max=600)
    ] = 20,
    report: Annotated[Path | None, typer.Option("--json", help="Write the report here too.")] = None,
    language: Annotated[str, typer.Option(help="en or zh-Hans.")] = "en",
) -> None:
    """Hold a reader or scanner to what the daemon needs of it, asking you for cards, codes and its cable.

    Stop the daemon first: a device has one owner. Exits 0 if nothing failed. The report names no card
    and no code, so that it can be sent in.
    """
    from terminal.conformance.command import check_device

    if not check_device(path, wait_s=seconds, json_path=report, language=language, say=typer.echo):
        raise typer.Exit(EXIT_FAILED)


@offline.command("status")
def show_offline(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show whether payments are judged here, what waits to be handed in, and what went wrong."""
    from terminal.console.tables import print_offline

    async def ask(client: TillClient) -> None:
        async with client:
            print_offline(await client.find_offline(), language=settings.language)

    settings = _load(config)
    asyncio.run(ask(_client(settings)))


@offline.command("drain")
def drain_offline(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Hand in what was accepted offline now; exits 0 only when nothing waits any more."""

    async def drain(client: TillClient) -> int:
        async with client:
            drained = await client.drain_offline()
        typer.echo(
            f"handed in {drained.settled_count}, still waiting {drained.waiting_count}, "
            f"of these unreadable to the gateway {drained.set_aside_count}"
        )
        return drained.waiting_count

    if asyncio.run(drain(_client(_load(config)))):
        raise typer.Exit(EXIT_FAILED)


@journal.callback(invoke_without_command=True)
def show_journal(context: typer.Context, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Payment attempts on disk: what became of them, and what is to become of the others."""
    context.obj = config
    if context.invoked_subcommand is None:
        _print_journal(config)


@journal.command("list")
def list_attempts(context: typer.Context) -> None:
    """Show the attempts kept on disk, those without an outcome first; needs no daemon."""
    _print_journal(context.obj)


@journal.command("reverse")
def reverse_attempt(context: typer.Context, attempt: AttemptArgument) -> None:
    """Take back an attempt whose outcome is unknown: the customer left, or paid otherwise.

    The running daemon writes the order down at once and carries it out as soon as the gateway answers;
    whatever the attempt was, the customer is not charged for it.
    """
    asyncio.run(_order(context.obj, lambda client: client.reverse_attempt(attempt)))
    typer.echo(f"{attempt} is being taken back")


@journal.command("keep")
def keep_attempt(context: typer.Context, attempt: AttemptArgument) -> None:
    """Go on asking about an attempt and never take it back: the goods were handed over."""
    asyncio.run(_order(context.obj, lambda client: client.keep_attempt(attempt)))
    typer.echo(f"{attempt} is kept and asked about")


def main() -> None:
    """Run the command line; what fails is one sentence on standard error."""
    from wire.errors import WireError

    try:
        app()
    except (TerminalError, WireError) as error:
        sys.stderr.write(f"tapscan-terminal: {_sentence(error)}\n")
        sys.exit(EXIT_FAILED)


def _load(path: Path) -> TerminalConfig:
    from terminal.config import load_config

    return load_config(path)


def _client(config: TerminalConfig) -> TillClient:
    from terminal.console.till_client import client_of

    return client_of(config)


def _print_journal(config: Path) -> None:
    from terminal.console.tables import print_journal
    from terminal.disk import FolderDisk
    from terminal.journal.journal import read_journal

    print_journal(read_journal(FolderDisk(_load(config).data_path)))


async def _order(config: Path, give: Callable[[TillClient], Awaitable[None]]) -> None:
    async with _client(_load(config)) as client:
        await give(client)


def _print_ready(daemon: RunningDaemon) -> None:
    view = daemon.describe()
    typer.echo(f"ready {daemon.url} {view.terminal_id} {view.merchant_name}, {view.location_name}")
    if sys.stdout.isatty():
        # For a person's eyes only: what is not a screen may be a log, and a link lets one in.
        _print_link(daemon.make_page_link())
    sys.stdout.flush()


def _print_link(link: PageLink) -> None:
    until = datetime.fromtimestamp(link.expires_ms / 1000).astimezone().strftime("%H:%M")
    for url in link.urls:
        typer.echo(f"page {url}")
    typer.echo(f"good once, until {until}")


def _sentence(error: Exception) -> str:
    from wire.notices import NOTICES

    code = getattr(error, "code", "")
    text = str(error)
    is_told_by_notice = text == code or isinstance(error, GatewayRefused)
    if code in NOTICES and is_told_by_notice and code != "signature_expired":
        return f"{NOTICES[code].cashier_en} ({code})"
    return text
