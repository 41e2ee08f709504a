"""`tapscan-terminal card`: make a chip a card of a wallet, prove it, mend it, wipe it.

The commands take the reader for themselves, so they run only while no daemon holds it: stop the daemon of
this data folder first. A card that was lifted is put back and goes on; what broke off is `recover`ed.

Exit status: 0 done; 1 refused, and the card and the gateway's books are as the sentence says; 3 not finished
or unknown, run `card recover` or `card verify`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from terminal.console.config_option import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from terminal.cards.screen import CardScreen
    from terminal.config import TerminalConfig
    from wire.messages.cards import CardPurpose, CardSessionAnswer

EXIT_REFUSED: Final = 1
EXIT_UNFINISHED: Final = 3

ReaderOption = Annotated[
    str | None, typer.Option(help="The reader's path; by default the first card reader configured.")
]

app = typer.Typer(
    help="Cards of this shop's wallets: personalise, verify, recover, wipe.", rich_markup_mode=None
)


@app.command()
def personalise(
    code: Annotated[str, typer.Option(help="The one-time code of `tapscan-gateway card order`.")],
    reader: ReaderOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Make a chip as delivered a card of the wallet it was ordered for."""
    from wire.messages.cards import CardPurpose

    _work(config, reader, CardPurpose.PERSONALISE, code)


@app.command()
def verify(reader: ReaderOption = None, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Prove everything on a card, changing nothing."""
    from wire.messages.cards import CardPurpose

    _work(config, reader, CardPurpose.VERIFY)


@app.command()
def recover(reader: ReaderOption = None, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Go on wherever the making or wiping of a card broke off, or bring it to its batch's newest keys."""
    from wire.messages.cards import CardPurpose

    _work(config, reader, CardPurpose.RECOVER)


@app.command()
def wipe(reader: ReaderOption = None, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Give a suspended card, or one half made, back what it was delivered with; its number stays hidden."""
    from wire.messages.cards import CardPurpose

    _work(config, reader, CardPurpose.WIPE)


def _work(config: Path, reader: str | None, purpose: CardPurpose, code: str | None = None) -> None:
    from terminal.cards.screen import CardScreen
    from terminal.config import load_config
    from terminal.errors import CardRemoved, GatewayUnreachable

    settings = load_config(config)
    screen = CardScreen(settings.language)
    try:
        ended = asyncio.run(_hold(settings, reader, screen, purpose, code))
    except (CardRemoved, GatewayUnreachable) as error:
        screen.show_refused(error.code)
        sys.stderr.write(f"tapscan-terminal: {error}; run `tapscan-terminal card recover`\n")
        raise typer.Exit(EXIT_UNFINISHED) from None
    screen.show_end(purpose, ended)
    if ended.code is not None:
        raise typer.Exit(EXIT_REFUSED)


async def _hold(
    settings: TerminalConfig, reader: str | None, screen: CardScreen, purpose: CardPurpose, code: str | None
) -> CardSessionAnswer:
    from terminal import daemon
    from terminal.cards.bench import open_bench
    from terminal.cards.opening import open_card_gateway
    from terminal.devices.paths import make_card_reader

    daemon.configure_logging(settings.logging)
    device = make_card_reader(reader, settings.devices)
    async with open_card_gateway(settings) as gateway, open_bench(device, gateway, screen) as bench:
        return await bench.work(purpose, code)
