"""One command's session: configuration, the open store, and what the command line was handed.

Imports of the store and of cryptography happen inside, so that `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

if TYPE_CHECKING:
    from gateway.config import GatewayConfig
    from gateway.office import Office

CONFIG_VARIABLE: Final = "TAPSCAN_GATEWAY_CONFIG"
DEFAULT_CONFIG: Final = Path("config/gateway.toml")

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config", envvar=CONFIG_VARIABLE, help="The gateway's configuration file.", metavar="FILE"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AfterOption = Annotated[str, typer.Option("--after", help="Start after this id.", metavar="ID")]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """What the composition root hands to every command."""

    now_ms: Callable[[], int]
    entropy: Callable[[int], bytes]
    env: Mapping[str, str]

    def load_config(self, path: Path) -> GatewayConfig:
        """Return the configuration, with log lines going where it says.

        Raises:
            ConfigurationError: as `gateway.config.load_config`.
        """
        from gateway.config import load_config
        from gateway.logs import configure_logs

        config = load_config(path, self.env)
        configure_logs(config.logging)
        return config

    def run(self, path: Path, work: Callable[[Office], Awaitable[T]]) -> T:
        """Open the store, do the work, close the store, and return what the work returned.

        Raises:
            GatewayError, WireError: as the work does.
        """
        import asyncio

        from gateway.office import open_office

        config = self.load_config(path)

        async def session() -> T:
            async with open_office(config, self.env, self.entropy) as office:
                return await work(office)

        return asyncio.run(session())


def session_of(context: typer.Context) -> Session:
    """Return the session the root command put into the context."""
    session = context.obj
    assert isinstance(session, Session), "the root command makes the session"
    return session
