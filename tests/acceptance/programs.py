"""The product's programs, run to their end as a person runs them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path


def path_of(name: str) -> str:
    """Return where a program of this installation is."""
    return str(Path(sys.executable).parent / name)


async def run_program(name: str, *arguments: str, wait_s: float) -> tuple[int, str]:
    """Return a program's exit status and what it printed, both streams as one; TimeoutError if it goes on."""
    process = await asyncio.create_subprocess_exec(
        *(path_of(name), *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(wait_s):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode("utf-8")
