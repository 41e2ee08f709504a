"""The option by which every command of `tapscan-terminal` finds the till's configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

ConfigOption = Annotated[
    Path, typer.Option("--config", help="The till's configuration file.", envvar="TAPSCAN_TERMINAL_CONFIG")
]
DEFAULT_CONFIG: Final = Path("terminal.toml")
