"""Cards worked on by a process that is no daemon, while none holds this till's readers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from terminal.cards.gateway import CardGateway
from terminal.config import TerminalConfig
from terminal.daemon import SURROUNDINGS, Surroundings, make_client
from terminal.data_folder import DaemonLock, prepare_folder
from terminal.identity import load_identity


@asynccontextmanager
async def open_card_gateway(
    config: TerminalConfig, surroundings: Surroundings = SURROUNDINGS
) -> AsyncIterator[CardGateway]:
    """Ask the gateway about cards with this terminal's identity while the block runs.

    Raises:
        ConfigurationError: a daemon holds the readers. NotEnrolled: nobody knows this till yet.
    """
    folder = prepare_folder(config.data_path)
    with DaemonLock(folder):
        async with make_client(config, load_identity(folder), surroundings) as client:
            yield CardGateway(client, now_ms=surroundings.now_ms, entropy=surroundings.entropy)
