"""Child processes on a leash: each in a group of its own, each gone when the orchestrator is.

A child is told by the kernel to die when its parent does (PR_SET_PDEATHSIG), so a crash of the demo leaves
no daemon holding a port; an orderly end asks first, then insists.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from simulators.errors import ProcessFailed

STOP_TIMEOUT_S: Final = 5.0
"""How long a child may take to end after SIGTERM before it is killed."""
COMMAND_TIMEOUT_S: Final = 30.0
START_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.1
LOG_TAIL_LINES: Final = 12
OUTPUT_CHARS_MAX: Final = 2_000
OUTPUT_LINE_BYTES_MAX: Final = 1 << 20
"""Longest line that is read from a child at once: a page of the operator's tables is one line of JSON."""
PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process and where its output goes."""

    name: str
    process: asyncio.subprocess.Process
    log_path: Path
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to a task that belongs to this process; it ends with it."""
        self.tasks.append(task)


class Processes:
    """Every process of one demo, with a log file each."""

    def __init__(
        self,
        log_folder: Path,
        report_death: Callable[[str], None],
        *,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        """Keep logs in `log_folder`; call `report_death` with a text when a child ends unasked."""
        self._stop_timeout_s = stop_timeout_s
        self._log_folder = log_folder
        self._report_death = report_death
        self._children: list[Child] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def children(self) -> Sequence[Child]:
        """All that were started, in order."""
        return tuple(self._children)

    def log_path(self, name: str) -> Path:
        """Return the file a process of that name logs to."""
        return self._log_folder / f"{name}.log"

    async def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        piped: bool = False,
        fed: bool = False,
        merged: bool = False,
    ) -> Child:
        """Start a process that stays; its output goes to its log, or stdout to a pipe if `piped`.

        Args:
            fed: its standard input is a pipe too, instead of nothing.
            merged: what it logs goes through the same pipe, so that it writes to no file of ours itself.

        Raises:
            ProcessFailed: there is no such program.
        """
        path = self.log_path(name)
        with path.open("ab") as log:
            stdout = asyncio.subprocess.PIPE if piped else log
            stdin = asyncio.subprocess.PIPE if fed else asyncio.subprocess.DEVNULL
            stderr = asyncio.subprocess.STDOUT if merged else log
            process = await _spawn(command, environment, stdin=stdin, stdout=stdout, stderr=stderr)
        child = Child(name, process, path)
        self._children.append(child)
        watcher = asyncio.create_task(self._watch(child))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return child

    async def run(self, name: str, command: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S) -> bytes:
        """Run a command to its end and return what it wrote on stdout; stderr goes to the log.

        Raises:
            ProcessFailed: it ended with another status than 0, or not in time.
        """
        path = self.log_path(name)
        with path.open("ab") as log:
            process = await _spawn(command, None, stdout=asyncio.subprocess.PIPE, stderr=log)
        try:
            async with asyncio.timeout(timeout_s):
                output, _ = await process.communicate()
        except TimeoutError:
            raise ProcessFailed(f"{name}: `{_short(command)}` took longer than {timeout_s:.0f} s") from None
        finally:
            await _end(process, self._stop_timeout_s)
        if process.returncode != 0:
            said = output.decode("utf-8", errors="replace")[-OUTPUT_CHARS_MAX:]
            raise ProcessFailed(f"`{_short(command)}` ended with {process.returncode}\n{said}{tail_of(path)}")
        return output

    async def stop_all(self) -> None:
        """End every child, the youngest first, and wait until each is gone. May be called twice."""
        self._stopping = True
        for child in reversed(self._children):
            await _end(child.process, self._stop_timeout_s)
        for watcher in tuple(self._watchers):
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _watch(self, child: Child) -> None:
        status = await child.process.wait()
        if not self._stopping:
            self._report_death(f"{child.name} ended with {status}; see {child.log_path}")


def product_command(name: str, *arguments: str) -> list[str]:
    """Return the command line of one of the product's programs, from the same environment as this one.

    Raises:
        ProcessFailed: it is not installed beside this Python.
    """
    program = Path(sys.executable).parent / name
    if not program.exists():
        raise ProcessFailed(f"{name} is not installed beside {sys.executable}")
    return [str(program), *arguments]


def tail_of(path: Path) -> str:
    """Return the last lines of a log."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])


def leash(parent_pid: int) -> None:
    """Tie this process to its parent: killed when the parent's thread that started it ends.

    Called in the child between fork and exec; the tie outlasts exec (prctl(2)).
    """
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before the tie was made; then nobody would ever end this process.
    if os.getppid() != parent_pid:
        os._exit(1)


# Loaded before any fork: a child between fork and exec must not import or allocate more than it has to.
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


async def read_url(child: Child) -> str:
    """Return the first http address a process prints, then go on emptying its pipe into its log.

    Raises:
        ProcessFailed: it prints none in time; the text has the end of its log.
    """
    assert child.process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            async for line in child.process.stdout:
                _append(child.log_path, line)
                words = line.decode("utf-8", errors="replace").replace('"', " ").replace("}", " ").split()
                for word in words:
                    if word.startswith("http://"):
                        child.keep(asyncio.create_task(_drain(child)))
                        return word.rstrip("/,.")
    except TimeoutError:
        pass
    raise ProcessFailed(f"{child.name} did not say where it listens; its log:\n{tail_of(child.log_path)}")


async def _drain(child: Child) -> None:
    assert child.process.stdout is not None
    async for line in child.process.stdout:
        _append(child.log_path, line)


def _append(path: Path, line: bytes) -> None:
    # Whole lines appended to a file others append to as well (O_APPEND keeps them apart).
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


async def await_ready(child: Child, url: str, session: aiohttp.ClientSession) -> None:
    """Return once a process answers 200 at an address; ProcessFailed as `read_url`."""
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
    while asyncio.get_running_loop().time() < deadline:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(POLL_S)
    raise ProcessFailed(f"{child.name} is not ready; its log:\n{tail_of(child.log_path)}")


async def _spawn(
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    *,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: object,
    stderr: object,
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            limit=OUTPUT_LINE_BYTES_MAX,
            stdout=stdout,  # type: ignore[arg-type]  # asyncio's stubs know files only as int or IO[Any]
            stderr=stderr,  # type: ignore[arg-type]  # likewise
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            start_new_session=True,
            preexec_fn=functools.partial(leash, os.getpid()),
        )
    except OSError as error:
        raise ProcessFailed(f"{command[0]}: {error.strerror}") from None


async def _end(process: asyncio.subprocess.Process, timeout_s: float) -> None:
    for step in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        # The group, not the process alone: what a child started goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, step)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await process.wait()


def _short(command: Sequence[str]) -> str:
    return " ".join((Path(command[0]).name, *command[1:3]))
