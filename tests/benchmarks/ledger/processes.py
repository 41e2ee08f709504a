"""Child processes of the benchmark, and what they cost: processor time and resident memory."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import psutil

ROOT: Final = Path(__file__).parents[3]
STOP_TIMEOUT_S: Final = 30
PR_SET_PDEATHSIG: Final = 1
_KIB_PER_MIB: Final = 1024
_C: Final = ctypes.CDLL(None)


class ChildDied(Exception):
    """A child process ended, or never became ready; the text is the end of its log."""


class Child:
    """A process whose standard output is read line by line and whose standard error is a file."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path) -> None:
        """Start the command in the repository's folder, without any variable that configures the product."""
        self.name = name
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                list(map(str, command)),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # A run that is killed leaves no process behind.
                preexec_fn=functools.partial(_C.prctl, PR_SET_PDEATHSIG, signal.SIGKILL),
                env={key: value for key, value in os.environ.items() if not key.startswith("TAPSCAN_")},
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def input(self) -> IO[bytes]:
        """Where it reads from."""
        assert self._process.stdin is not None
        return self._process.stdin

    def read_line(self) -> bytes:
        """Return the next line it prints.

        Raises:
            ChildDied: it ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise ChildDied(f"{self.name} ended with {self._process.returncode}: {self._log_end()}")
        return line

    def stop(self) -> None:
        """Ask it to end, wait, and see that it ended well; repeatable.

        Raises:
            ChildDied: it had ended before, or ends with an error.
        """
        if self._process.returncode is not None:
            return
        had_ended = self._process.poll() is not None
        self._process.terminate()
        self._process.wait(STOP_TIMEOUT_S)
        self._close_pipes()
        if had_ended or self._process.returncode not in (0, -15):
            raise ChildDied(f"{self.name} ended with {self._process.returncode}: {self._log_end()}")

    def kill(self) -> None:
        """End it at once; repeatable."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
            self._close_pipes()

    def _close_pipes(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _log_end(self) -> str:
        return self._log.read_text(errors="replace")[-1_000:]


def family_of(pid: int) -> list[psutil.Process]:
    """Return a process and all it started."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_s_of(pids: Sequence[int]) -> float:
    """Return user and system time of these processes and of all they started."""
    total_s = 0.0
    for pid in pids:
        for process in family_of(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                # What children used that have ended counts with their parent.
                total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def busy_s() -> float:
    """Return the processor seconds that anybody used on this machine since it started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def peak_rss_mib_of(pids: Sequence[int]) -> float:
    """Return the most resident memory that any of these processes, or any they started, ever had."""
    return max(_peak_rss_mib(process.pid) for pid in pids for process in family_of(pid))


def _peak_rss_mib(pid: int) -> float:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / _KIB_PER_MIB
    return 0.0
