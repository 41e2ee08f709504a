"""A pcscd of our own, with virtual readers only, that no other pcscd on the machine notices.

pcscd's socket folder /run/pcscd is compiled in. In a mount namespace of its own, that name can be a folder
of ours, which stays reachable from outside: clients find the socket there by the environment variable
PCSCLITE_CSOCK_NAME, without any privilege and without entering the namespace.

Needs root, or a kernel that gives ordinary users namespaces. Where neither is allowed (a container without
CAP_SYS_ADMIN), root may still run it at the machine's own place if that is free; then there is one only.

libpcsclite reads PCSCLITE_CSOCK_NAME once per process. A process that meets several private pcscds, one
after the other, gives them all the same `socket_folder`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self

READY_S_MAX: Final = 5.0
STOP_S_MAX: Final = 3.0
COMMAND_S_MAX: Final = 20.0
READY_PAUSE_S: Final = 0.005
PORT_TRIES_MAX: Final = 20
READER_NAMES_MAX: Final = 8
"""pcscd serves 16 readers and every vpcd driver brings two slots."""
SOCKET_NAME: Final = "pcscd.comm"
SOCKET_PATH_BYTES_MAX: Final = 107
"""sun_path of struct sockaddr_un, without its final zero."""
MACHINE_FOLDER: Final = Path("/run/pcscd")
DRIVER_PATHS: Final = (
    "/usr/lib/pcsc/drivers/serial/libifdvpcd.so",
    "/usr/lib64/pcsc/drivers/serial/libifdvpcd.so",
    "/usr/local/lib/pcsc/drivers/serial/libifdvpcd.so",
)
SHIM_SOURCE: Final = Path(__file__).with_name("fastpoll.c")

# $1 folder of the socket, $2 configuration folder, $3 preload, then pcscd and its options. The shell lives
# as long as its standard input is open, so that pcscd ends with us even if we are killed.
_RUN = """
folder=$1; configuration=$2; preload=$3; shift 3
LD_PRELOAD="$preload" "$@" --foreground --config "$configuration" </dev/null &
pcscd=$!
echo "$pcscd"
cat >/dev/null
kill -TERM "$pcscd"
wait "$pcscd"
"""
_ENTER = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/pcscd
mount --bind "$1" /run/pcscd
set +e
"""


class PcscdUnavailable(Exception):
    """A private pcscd can't run here; the text says what is missing."""


class _Isolation(Enum):
    NAMESPACE = ("unshare", "--mount")
    USER_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
    NONE = ()


@dataclass(frozen=True, slots=True)
class VirtualSlot:
    """One slot of a virtual reader: what clients call it, and where a card is put into it."""

    reader_name: str
    port: int


class PrivatePcscd:
    """pcscd with vpcd readers, from `start` to `stop`; usable as a context manager.

    Args:
        reader_names: at most eight; each gives two slots, named "NAME 00 00" and "NAME 00 01".
        fast_poll: notice cards within 20 ms instead of 400 ms (compiles a shim with gcc).
        socket_folder: where clients find the socket; None makes a temporary one.
    """

    def __init__(
        self,
        reader_names: Sequence[str] = ("Tapscan",),
        *,
        fast_poll: bool = True,
        socket_folder: Path | None = None,
    ) -> None:
        if not 1 <= len(set(reader_names)) == len(reader_names) <= READER_NAMES_MAX:
            raise ValueError(f"1 to {READER_NAMES_MAX} readers, each with its own name")
        self._names = tuple(reader_names)
        self._fast_poll = fast_poll
        self._folder = Path(tempfile.mkdtemp(prefix="tapscan-pcscd-"))
        self._socket_folder = socket_folder or self._folder / "run"
        if len(os.fsencode(self.socket_path)) > SOCKET_PATH_BYTES_MAX:
            self._folder.rmdir()
            raise ValueError("the socket's folder has too long a name for a Unix socket")
        self._ports: list[int] = []
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pcscd_pid = 0

    @property
    def socket_path(self) -> Path:
        """The socket that clients connect to."""
        return self._socket_folder / SOCKET_NAME

    @property
    def environment(self) -> Mapping[str, str]:
        """What a client process needs in its environment before it first calls libpcsclite."""
        return {"PCSCLITE_CSOCK_NAME": str(self.socket_path)}

    @property
    def slots(self) -> list[VirtualSlot]:
        """Every slot, two per reader; known once started, the same after a restart."""
        return [
            # 00 counts readers of one name, and ours differ in theirs.
            VirtualSlot(f"{name} 00 {slot:02X}", port + slot)
            for name, port in zip(self._names, self._ports, strict=True)
            for slot in (0, 1)
        ]

    def start(self) -> None:
        """Start pcscd and return when clients and cards may connect.

        Raises:
            PcscdUnavailable: something is missing on this machine, or pcscd did not come up.
        """
        if missing := find_missing(fast_poll=self._fast_poll):
            raise PcscdUnavailable("; ".join(missing))
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._socket_folder.mkdir(parents=True, exist_ok=True)
        self._ports = self._ports or [_free_port_pair() for _ in self._names]
        self._write_configuration()
        self._spawn(_isolation())
        try:
            self._await_ready()
        except PcscdUnavailable:
            self._end_keeper()
            raise

    def stop(self) -> None:
        """End pcscd and forget its files; may be called twice."""
        self._end_keeper()
        shutil.rmtree(self._folder, ignore_errors=True)

    def restart(self) -> None:
        """End pcscd and start it again with the same names and ports, as an administrator does."""
        self.go_down()
        self.start()

    def go_down(self) -> None:
        """End pcscd but keep its files and ports, so that `start` brings back the same."""
        self._end_keeper()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_configuration(self) -> None:
        configuration = self._folder / "readers"
        configuration.mkdir(exist_ok=True)
        entries = []
        driver = _driver()
        assert driver is not None
        for index, (name, port) in enumerate(zip(self._names, self._ports, strict=True)):
            # A copy per reader: two entries of one library list four readers that see no card.
            library = self._folder / f"libifdvpcd-{index}.so"
            shutil.copyfile(driver, library)
            entries.append(
                f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:0x{port:04X}\n'
                f"LIBPATH {library}\nCHANNELID 0x{port:04X}\n"
            )
        # One file, so that the order and with it the numbers in the names do not hang on readdir.
        (configuration / "tapscan").write_text("\n".join(entries), encoding="ascii")

    def _spawn(self, isolation: _Isolation) -> None:
        script = _RUN if isolation is _Isolation.NONE else _ENTER + _RUN
        shim = str(_compile_shim(self._folder)) if self._fast_poll else ""
        command = [*isolation.value, "sh", "-c", script, "sh", str(self._socket_folder)]
        command += [str(self._folder / "readers"), shim, *_pcscd_command()]
        with (self._folder / "pcscd.log").open("ab") as log:
            self._keeper = subprocess.Popen(  # noqa: S603 - our own words, no shell input
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self._keeper.stdout is not None
        self._pcscd_pid = int(self._keeper.stdout.readline() or 0)
        if isolation is _Isolation.NONE:
            self.socket_path.unlink(missing_ok=True)
            self.socket_path.symlink_to(MACHINE_FOLDER / SOCKET_NAME)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while not self._is_ready():
            if not Path(f"/proc/{self._pcscd_pid}").exists() or time.monotonic() > deadline:
                raise PcscdUnavailable(f"pcscd did not come up: {self._log_tail()}")
            time.sleep(READY_PAUSE_S)

    def _is_ready(self) -> bool:
        listening = _listening_ports()
        if not all(port in listening and port + 1 in listening for port in self._ports):
            return False
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(str(self.socket_path))
            return True
        return False

    def _log_tail(self) -> str:
        lines = (self._folder / "pcscd.log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:]) or "no word from it"

    def _end_keeper(self) -> None:
        if self._keeper is None:
            return
        keeper, self._keeper = self._keeper, None
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdin.close()
        keeper.stdout.close()
        try:
            keeper.wait(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            # pcscd waits for a driver that waits for a card; its whole group goes.
            os.killpg(keeper.pid, 9)
            keeper.wait()
        for name in (SOCKET_NAME, "pcscd.pid"):
            (self._socket_folder / name).unlink(missing_ok=True)


def find_missing(*, fast_poll: bool = True) -> list[str]:
    """Say in words what keeps a private pcscd from running here; empty when nothing does."""
    missing = []
    if not _pcscd_path():
        missing.append("pcscd is not installed (apt-get install pcscd)")
    if _driver() is None:
        missing.append("the vpcd driver is not installed (apt-get install vsmartcard-vpcd)")
    if fast_poll and shutil.which("gcc") is None:
        missing.append("gcc is not installed (apt-get install gcc libc6-dev)")
    if _isolation() is _Isolation.NONE and not _may_use_the_machines_place():
        missing.append("no mount namespace is allowed here, and /run/pcscd is taken or not ours (be root)")
    return missing


def _isolation() -> _Isolation:
    probe = ("sh", "-c", "mount -t tmpfs tmpfs /run")
    for isolation in (_Isolation.NAMESPACE, _Isolation.USER_NAMESPACE):
        if shutil.which("unshare") and _succeeds([*isolation.value, *probe]):
            return isolation
    return _Isolation.NONE


def _succeeds(command: Sequence[str]) -> bool:
    result = subprocess.run(  # noqa: S603 - our own words
        command, capture_output=True, check=False, timeout=COMMAND_S_MAX
    )
    return result.returncode == 0


def _may_use_the_machines_place() -> bool:
    return os.geteuid() == 0 and not (MACHINE_FOLDER / SOCKET_NAME).exists()


def _pcscd_path() -> str | None:
    return shutil.which("pcscd") or shutil.which("pcscd", path="/usr/sbin:/usr/local/sbin")


def _pcscd_command() -> list[str]:
    path = _pcscd_path()
    assert path is not None
    usage = subprocess.run(  # noqa: S603 - the program we are about to start
        [path, "--help"], capture_output=True, text=True, check=False, timeout=COMMAND_S_MAX
    )
    # Newer pcscds ask polkit who may use a card; there is none in a container.
    return [path, *(["--disable-polkit"] if "--disable-polkit" in usage.stdout + usage.stderr else [])]


def _driver() -> Path | None:
    return next((Path(path) for path in DRIVER_PATHS if Path(path).exists()), None)


def _compile_shim(folder: Path) -> Path:
    shim = folder / "fastpoll.so"
    if not shim.exists():
        compiler = shutil.which("gcc")
        assert compiler is not None
        result = subprocess.run(  # noqa: S603 - our own source
            [compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(SHIM_SOURCE), "-ldl"],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S_MAX,
        )
        if result.returncode:
            raise PcscdUnavailable(f"the fast-poll shim does not compile: {result.stderr.strip()[-200:]}")
    return shim


def _free_port_pair() -> int:
    """Find a port whose successor is free too; somebody may still take them before pcscd does."""
    for _ in range(PORT_TRIES_MAX):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
    raise PcscdUnavailable("no two neighbouring ports are free")


def _listening_ports() -> set[int]:
    """Read which TCP ports somebody listens on; connecting to find out would be a card."""
    text = Path("/proc/net/tcp").read_text(encoding="ascii")
    return {int(port, 16) for port in re.findall(r":([0-9A-F]{4}) \S+ 0A ", text)}
