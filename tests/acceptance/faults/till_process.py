"""`tapscan-terminal run` as a process that can be killed, even mid-word, and started again on its folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from wire.messages.base import dump_message, parse_message
from wire.messages.till import DaemonView, SaleRequest, SaleState, SaleView

WAIT_S: Final = 60
LOOK_S: Final = 0.01
"""Between two looks, so that whoever waits leaves the processes their time."""
LOG_LINES_SHOWN: Final = 30
SALE_DEADLINE_MS: Final = 30_000
OPEN_STATES: Final = frozenset({SaleState.ARMED, SaleState.READING, SaleState.SUBMITTING})


T = TypeVar("T")


async def until(
    look: Callable[[], Awaitable[T]], is_so: Callable[[T], bool], *, within_s: float = WAIT_S
) -> T:
    """Look again and again until it is so, and return what was seen then; TimeoutError if it never is."""
    async with asyncio.timeout(within_s):
        while not is_so(seen := await look()):  # noqa: ASYNC110 -- another process tells nobody
            await asyncio.sleep(LOOK_S)
    return seen


class TillDidNotStart(Exception):
    """The daemon ended before it was ready; the text is the end of its log."""


class Till:
    """One till's folder, and the daemon that runs on it now."""

    def __init__(
        self,
        folder: Path,
        gateway_url: str,
        devices: Sequence[str],
        http: aiohttp.ClientSession,
        *,
        port: int = 0,
        settings: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Write the till's configuration; nothing is started.

        Args:
            gateway_url: what the daemon calls, and signs, as its gateway's address.
            settings: further tables for terminal.toml.
        """
        folder.mkdir()
        self._toml = folder / "terminal.toml"
        self._toml.write_text(
            f'data_folder = "data"\ndevices = {msgspec.json.encode(list(devices)).decode()}\n'
            f"[till_api]\nport = {port}\n"
            f'[gateway]\nurl = "{gateway_url}"\nconnect_timeout_ms = 1000\ntry_timeout_ms = 2000\n'
            f"{settings}"
            '[logging]\nformat = "json"\n',
            encoding="utf-8",
        )
        self._log_path = folder / "till.log"
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._http = http
        self._url = ""

    @property
    def url(self) -> str:
        """Where the daemon listens."""
        return self._url

    async def enrol(self, code: str) -> None:
        """Introduce the till to its gateway."""
        await self._run("enrol", "--code", code)

    async def start(self) -> None:
        """Start the daemon, and return once it is ready."""
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command("run"), stdout=subprocess.PIPE, stderr=log, env=self._environment
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            async for line in self._process.stdout:
                words = line.decode("utf-8").replace('"', " ").split()
                self._url = next((word.rstrip("/,.") for word in words if word.startswith("http://")), "")
                if self._url:
                    return
        raise TillDidNotStart(self.log_tail())

    @property
    def process_id(self) -> int:
        """The daemon's process."""
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """End the daemon at once, whatever it is doing."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """Tell the daemon to stop, and return its exit status."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        async with asyncio.timeout(WAIT_S):
            return await self._process.wait()

    async def find_daemon(self) -> DaemonView:
        """Return how the daemon stands."""
        return parse_message(await self.call("GET", "/v1/daemon"), DaemonView)

    async def start_sale(self, amount_minor: int, order_id: str) -> SaleView:
        """Start a sale, whose readers are then armed."""
        request = SaleRequest(amount_minor=amount_minor, order_id=order_id, deadline_ms=SALE_DEADLINE_MS)
        return parse_message(await self.call("POST", "/v1/sales", dump_message(request)), SaleView)

    async def find_sale(self, sale_id: str) -> SaleView:
        """Return a sale as it stands."""
        return parse_message(await self.call("GET", f"/v1/sales/{sale_id}"), SaleView)

    async def wait_for_sale(self, sale_id: str) -> SaleView:
        """Return the sale once it is no longer open."""
        return await until(lambda: self.find_sale(sale_id), lambda sale: sale.state not in OPEN_STATES)

    async def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Call the daemon's local interface, and return the answer's body."""
        headers = {"Content-Type": "application/json"} if body else {}
        async with self._http.request(method, self._url + path, data=body or None, headers=headers) as answer:
            content = await answer.read()
            assert answer.status < 400, content
            return content

    async def read_json(self, path: str) -> Any:
        """Return what the daemon says at a path."""
        return msgspec.json.decode(await self.call("GET", path))

    def log_tail(self) -> str:
        """Return the end of the daemon's log."""
        return "\n".join(self._log_path.read_text(encoding="utf-8").splitlines()[-LOG_LINES_SHOWN:])

    async def _run(self, *arguments: str) -> None:
        with self._log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command(*arguments), stdout=log, stderr=log, env=self._environment
            )
        async with asyncio.timeout(WAIT_S):
            status = await process.wait()
        if status != 0:
            raise TillDidNotStart(self.log_tail())

    def _command(self, *arguments: str) -> list[str]:
        program = str(Path(sys.executable).parent / "tapscan-terminal")
        return [program, *arguments, "--config", str(self._toml)]
