"""`tapscan-gateway`: serve, migrate, and the commands of gateway/console."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer
import typer.core
import typer.main

from gateway.console.batch import run_batch
from gateway.console.cards import card_commands
from gateway.console.holders import card_key_commands, instrument_commands, wallet_commands
from gateway.console.ledger import audit, backup, move, restore
from gateway.console.merchants import location_commands, merchant_commands, terminal_commands
from gateway.console.offline import offline_commands
from gateway.console.output import show_record
from gateway.console.payments import payment_commands
from gateway.console.policies import limit_commands, staff_commands, tier_commands
from gateway.console.session import DEFAULT_CONFIG, ConfigOption, JsonOption, Session, session_of
from gateway.errors import GatewayError
from wire.errors import WireError

if TYPE_CHECKING:
    from gateway.app import Ready

app = typer.Typer(
    help="The Tapscan payment gateway: verifies what is tapped or scanned, and settles it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(merchant_commands, name="merchant")
app.add_typer(location_commands, name="location")
app.add_typer(terminal_commands, name="terminal")
app.add_typer(wallet_commands, name="wallet")
app.add_typer(instrument_commands, name="instrument")
app.add_typer(card_key_commands, name="card-keys")
app.add_typer(card_commands, name="card")
app.add_typer(payment_commands, name="payment")
app.add_typer(staff_commands, name="staff")
app.add_typer(tier_commands, name="tier")
app.add_typer(limit_commands, name="limit")
app.add_typer(offline_commands, name="offline")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a failure is one sentence on standard error and exit status 1."""
    try:
        _make_command().main(args=None if arguments is None else list(arguments), prog_name="tapscan-gateway")
    except (GatewayError, WireError) as error:
        typer.echo(f"tapscan-gateway: {_sentence(error)}", err=True)
        sys.exit(1)


@cache
def _make_command() -> typer.core.TyperGroup:
    # Made once: a batch would otherwise spend most of its time on making it for every line.
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    return command


@app.callback()
def prepare(context: typer.Context) -> None:
    """The Tapscan payment gateway: verifies what is tapped or scanned, and settles it."""
    context.obj = Session(now_ms=_read_clock_ms, entropy=secrets.token_bytes, env=os.environ)


@app.command()
def serve(context: typer.Context, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Serve until told to stop. On a first start, database and vault key are made."""
    session = session_of(context)
    settings = session.load_config(config)

    import uvloop

    from gateway.app import run_gateway
    from gateway.office import prepare_storage
    from gateway.processes.main_process import run_main_process

    def announce(ready: Ready) -> None:
        if as_json:
            show_record(
                {
                    "ready": True,
                    "url": ready.url,
                    "public_url": ready.public_url,
                    "pid": os.getpid(),
                    "workers": list(ready.worker_pids),
                },
                as_json=True,
            )
        else:
            typer.echo(f"tapscan-gateway is ready at {ready.url}")
        sys.stdout.flush()

    prepare_storage(settings, session.env, entropy=session.entropy)
    if settings.processes.workers > 1:
        uvloop.run(run_main_process(settings, session.env, announce, entropy=session.entropy))
    else:
        uvloop.run(
            run_gateway(settings, session.env, announce, now_ms=session.now_ms, entropy=session.entropy)
        )


@app.command(hidden=True)
def worker(
    context: typer.Context,
    control_fd: Annotated[int, typer.Option()],
    listener_fd: Annotated[int, typer.Option()],
    link_fd: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Serve for a main process, over the sockets it passed on; started by `serve`, never by hand."""
    session = session_of(context)

    import socket

    import uvloop

    from gateway.logs import configure_logs
    from gateway.processes.control import read_orders
    from gateway.processes.worker import Inheritance, run_worker

    inheritance = Inheritance(
        control=socket.socket(fileno=control_fd),
        listener=socket.socket(fileno=listener_fd),
        link=None if link_fd is None else socket.socket(fileno=link_fd),
    )
    orders = read_orders(inheritance.control)
    configure_logs(orders.config.logging, worker=orders.number)
    uvloop.run(run_worker(orders, inheritance, session.env, now_ms=session.now_ms, entropy=session.entropy))


@app.command()
def migrate(
    context: typer.Context,
    new_vault_key: Annotated[
        bool, typer.Option("--new-vault-key", help="The old key is lost: make another one.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Create the database and the vault key, or bring the database up to date."""
    session = session_of(context)
    settings = session.load_config(config)

    from gateway.office import prepare_storage
    from gateway.storage.place import shown_place

    version = prepare_storage(settings, session.env, entropy=session.entropy, new_vault_key=new_vault_key)
    show_record({"database": shown_place(settings.storage.database), "version": version}, as_json=as_json)


@app.command()
def batch(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Read commands from standard input, one a line, and answer each with one line of JSON.

    A line is written as after `tapscan-gateway` in a shell, without --config. Its answer says `status`, 0 for
    success, and what the command wrote: `out` and `err`. One that fails stops nothing.
    """
    run_batch(sys.stdin, sys.stdout, lambda words: main([*words, "--config", str(config)]))


for command in (audit, backup, restore, move):
    app.command()(command)


def _read_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _sentence(error: GatewayError | WireError) -> str:
    from wire.notices import NOTICES

    text = str(error)
    if text != error.code:
        return text
    notice = NOTICES.get(error.code)
    return notice.cashier_en if notice is not None else error.code


if __name__ == "__main__":
    main()
