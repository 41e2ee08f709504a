"""The terminal's driver for keyboard scanners in a process of its own, because umockdev works by preloading.

`python -m tests.wedge_host PATH`, under what WedgeGun.command says: serves the driver's three calls, a line
of JSON each on standard input and output. RemoteScanner is the other end, and a scanner like any other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import structlog

from simulators.scanners.wedge_gun import DEVICE, KEYS, WedgeGun, strokes
from terminal.devices.paths import make_device
from terminal.errors import PresentationRefused, ReaderNotInstalled, ReaderUnavailable
from terminal.scanners.code_scanner import CodeScanner

KEY_ENTER, KEY_F1 = 28, 59
END_S_MAX = 60.0
"""How long is waited for the typing, and the process, to end."""
ERRORS = {error.__name__: error for error in (PresentationRefused, ReaderNotInstalled, ReaderUnavailable)}


class RemoteScanner(CodeScanner):
    """A driver at the other end of a process's pipes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen_ns = 0
        self.process: subprocess.Popen[str] | None = None

    @property
    def seen_ns(self) -> int:
        """As the driver has it: the clock is the machine's."""
        return self._seen_ns

    def host(self, command: list[str]) -> None:
        """Use the driver of a fresh process from now on."""
        self.process = subprocess.Popen(
            [*command, sys.executable, "-m", "tests.wedge_host", self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=Path(__file__).parents[1],
        )

    def open(self) -> None:
        self._call("open")

    def wait_for_code(self, timeout_ms: int) -> str | None:
        answer: str | None = self._call("wait_for_code", timeout_ms)
        return answer

    def close(self) -> None:
        self._call("close")

    def pull(self) -> None:
        """Pull the cable: the device is gone, and whoever has it open is told so by the system."""
        self._call("pull")

    def plug(self) -> None:
        """Put the cable back in."""
        self._call("plug")

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.communicate(timeout=END_S_MAX)

    def _call(self, name: str, *arguments: int) -> Any:
        assert self.process is not None, "host a driver first"
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([name, *arguments]) + "\n")
        stdin.flush()
        kind, value, code, self._seen_ns = json.loads(stdout.readline())
        if kind in ERRORS:
            raise ERRORS[kind](value, code=code)
        assert kind == "ok", value
        return value


class WedgeStand:
    """A simulated scanner and the real driver that has it."""

    path = f"wedge:{DEVICE}"

    def __init__(self, folder: Path) -> None:
        # Typing takes as long as nobody reads, as a real scanner's does once its own buffer is full.
        self._typing = ThreadPoolExecutor(1)
        self.gun = WedgeGun(folder)
        self.scanner = RemoteScanner(self.path)
        self.scanner.host(self.gun.command)
        self.gun.plug_in()

    def present(self, text: str) -> None:
        """Scan a code; what no keyboard types comes as a key that is none of ours."""
        self._typing.submit(self._type, text, has_end=True)

    def present_half(self, text: str) -> None:
        """Scan a code and stop in the middle."""
        self._typing.submit(self._type, text[: len(text) // 2], has_end=False)

    def withdraw(self) -> None:
        """Wait until everything is typed; there is nothing to take away."""
        self._typing.submit(lambda: None).result(timeout=END_S_MAX)

    def stop(self) -> None:
        """End the driver and the scanner."""
        self._typing.shutdown(cancel_futures=True)
        self.gun.pull_out()
        self.scanner.stop()

    def _type(self, text: str, *, has_end: bool) -> None:
        changes = [change for one in text for change in strokes(*KEYS.get(one, (KEY_F1, False)))]
        # In one go, as WedgeGun.scan.
        self.gun.press([*changes, *(strokes(KEY_ENTER) if has_end else ())])


class Cable:
    """What the kernel does when a device is pulled, done to umockdev's stand-in for it."""

    def __init__(self) -> None:
        self._node = Path(os.environ["UMOCKDEV_DIR"] + DEVICE)
        self._away = self._node.with_suffix(".pulled")

    def pull(self) -> None:
        """Take the node away, and let reads of those who have it open fail with EIO from now on."""
        node = self._node.resolve()
        for fd in (int(name) for name in os.listdir("/proc/self/fd")):
            try:
                is_device = Path(os.readlink(f"/proc/self/fd/{fd}")) == node
            except OSError:
                continue
            if is_device:
                ours, theirs = os.openpty()
                os.dup2(theirs, fd)
                os.close(theirs)
                os.close(ours)
        self._node.rename(self._away)

    def plug(self) -> None:
        """Put the node back."""
        self._away.rename(self._node)


def serve(scanner: CodeScanner, asked: IO[str], answered: IO[str]) -> None:
    cable = Cable()
    for line in asked:
        name, *arguments = json.loads(line)
        target = cable if name in ("pull", "plug") else scanner
        try:
            answer: list[Any] = ["ok", getattr(target, name)(*arguments), None]
        except tuple(ERRORS.values()) as error:
            answer = [type(error).__name__, str(error), error.code]
        except Exception as error:  # noqa: BLE001 -- the other end fails its test with it
            answer = ["bug", repr(error), None]
        answered.write(json.dumps([*answer, scanner.seen_ns]) + "\n")
        answered.flush()


if __name__ == "__main__":
    # Standard output is for answers.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    device = make_device(sys.argv[1])
    assert hasattr(device, "wait_for_code")
    serve(device, sys.stdin, sys.stdout)
