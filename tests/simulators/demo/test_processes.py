"""No process outlives the demo, whatever becomes of the demo."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from simulators.demo.processes import Processes
from simulators.errors import ProcessFailed

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
    " time.sleep(600)",
]


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    deaths: list[str] = []
    made = Processes(tmp_path, deaths.append)
    yield made
    await made.stop_all()


async def read_line(child_stdout: asyncio.StreamReader | None) -> bytes:
    assert child_stdout is not None
    async with asyncio.timeout(10):
        return await child_stdout.readline()


async def test_stop_all_ends_children_and_what_they_started(processes: Processes) -> None:
    parent = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    )
    child = await processes.start("parent", [sys.executable, "-c", parent], piped=True)
    grandchild_pid = int(await read_line(child.process.stdout))

    await processes.stop_all()

    assert child.process.returncode is not None
    psutil.wait_procs([p for p in psutil.process_iter() if p.pid == grandchild_pid], timeout=5)
    assert not psutil.pid_exists(grandchild_pid)


async def test_stop_all_kills_a_child_that_does_not_listen(tmp_path: Path) -> None:
    processes = Processes(tmp_path, print, stop_timeout_s=0.2)
    child = await processes.start("stubborn", STUBBORN, piped=True)
    await read_line(child.process.stdout)

    await processes.stop_all()

    assert child.process.returncode == -signal.SIGKILL


async def test_a_child_that_dies_unasked_is_reported(tmp_path: Path) -> None:
    deaths: asyncio.Queue[str] = asyncio.Queue()
    processes = Processes(tmp_path, deaths.put_nowait)

    await processes.start("short", [sys.executable, "-c", "raise SystemExit(3)"])

    async with asyncio.timeout(10):
        assert "short ended with 3" in await deaths.get()
    await processes.stop_all()


async def test_run_tells_what_a_failing_command_said(processes: Processes) -> None:
    with pytest.raises(ProcessFailed, match="no such wallet"):
        await processes.run("operator", [sys.executable, "-c", "raise SystemExit('no such wallet')"])


async def test_run_gives_up_on_a_command_without_end(processes: Processes) -> None:
    with pytest.raises(ProcessFailed, match="longer than"):
        await processes.run("operator", SLEEPER, timeout_s=0.5)


@pytest.mark.processes
def test_a_killed_orchestrator_takes_its_children_along(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from simulators.demo.processes import Processes

        async def main():
            processes = Processes(Path(sys.argv[1]), print)
            child = await processes.start("sleeper", ["sleep", "600"])
            print(child.process.pid, flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as orchestrator:
        assert orchestrator.stdout is not None
        child = psutil.Process(int(orchestrator.stdout.readline()))

        os.kill(orchestrator.pid, signal.SIGKILL)

        # The orphan has no parent left to reap it but init; a zombie holds no port and counts as gone.
        psutil.wait_procs([child], timeout=5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def test_a_merged_child_writes_to_no_file_of_its_own(processes: Processes) -> None:
    words = [
        sys.executable,
        "-c",
        "import sys; print('told'); sys.stdout.flush(); sys.stderr.write('logged')",
    ]
    child = await processes.start("talker", words, piped=True, merged=True)
    assert child.process.stdout is not None
    assert await child.process.stdout.read() == b"told\nlogged"
    assert processes.log_path("talker").read_bytes() == b""


async def test_a_fed_child_reads_what_is_written_to_it(processes: Processes) -> None:
    words = [sys.executable, "-c", "import sys; print(sys.stdin.readline().upper(), end='')"]
    child = await processes.start("reader", words, piped=True, fed=True)
    assert child.process.stdin is not None
    child.process.stdin.write(b"hello\n")
    assert await read_line(child.process.stdout) == b"HELLO\n"
