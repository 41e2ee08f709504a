"""What a load can be aimed at: bare responders, and gateways on ledgers of either store."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gateway.app import BACKLOG_MAX, KEEPALIVE_S, LINGER_S
from gateway.config import GatewayConfig
from tests.benchmarks.ledger import postgres
from tests.benchmarks.ledger.ledgers import (
    Ledger,
    Watch,
    keep_sqlite_preloaded,
    keep_sqlite_town,
    open_sqlite_ledger,
)
from tests.benchmarks.ledger.processes import Child
from tests.benchmarks.ledger.responders import Order
from tests.benchmarks.ledger.scale import TINY, Scale
from tests.benchmarks.ledger.signer import PATH
from tests.benchmarks.ledger.town import CURRENCY, Town, ulid_of
from tests.postgres_server import PostgresServer
from wire.messages.base import dump_message
from wire.messages.payments import EntryMode, PaymentAnswer, PaymentState, ReceiptFacts

SQLITE: Final = "sqlite"
POSTGRES: Final = "postgres"
STORES: Final = (SQLITE, POSTGRES)
PRELOADED: Final = "_preloaded"
NOOP_ONE: Final = "noop_1"
NOOP_TWO: Final = "noop_2"
RAW: Final = "raw"


@dataclass(frozen=True, slots=True)
class Responder:
    """A server that does nothing, in one or two processes on one port."""

    name: str
    children: tuple[Child, ...]
    port: int


class Ledgers:
    """Opens ledgers with gateways on them, each from what is kept of its store."""

    def __init__(self, scale: Scale, stores: Sequence[str], folder: Path, cache: Path, watch: Watch) -> None:
        self.postgres_version: str | None = None
        self._scale = scale
        self._count = scale.preloaded_count
        self._processes = scale.processes
        self._stores = stores
        self._folder = folder
        self._cache = cache
        self._opened: list[Ledger] = []
        self._watch = watch
        self._town = Town(scale.town)
        self._server: PostgresServer | None = None
        self._kept = folder

    @contextlib.contextmanager
    def running(self) -> Iterator[PostgresServer | None]:
        """Make ready what is kept, and run the database server, if one is wanted, while the block runs."""
        with contextlib.ExitStack() as stack:
            if POSTGRES in self._stores:
                self._server, self._kept = stack.enter_context(
                    postgres.running_postgres(self._cache, self._scale, self._watch)
                )
                self.postgres_version = postgres.server_version(self._server)
            # When something fails, gateways are left that nobody has closed.
            stack.callback(self._kill_all)
            yield self._server

    def open_all(self, folder: Path) -> list[Ledger]:
        """Open an empty ledger of every kind there is."""
        return self._await_ready(
            [self._open(store, count, folder) for store in self._stores for count in self._processes]
        )

    def open_preloaded(self, targets: Sequence[str]) -> list[Ledger]:
        """Open preloaded ledgers of the same kinds as some targets."""
        kinds = [target.split("_") for target in targets]
        return self._await_ready(
            [self._open(store, int(count), self._folder, is_preloaded=True) for store, count in kinds]
        )

    def _await_ready(self, ledgers: list[Ledger]) -> list[Ledger]:
        # Started together, they are ready sooner.
        for ledger in ledgers:
            ledger.gateways.await_ready()
        return ledgers

    def _kill_all(self) -> None:
        for ledger in self._opened:
            ledger.gateways.kill()

    def _open(self, store: str, count: int, folder: Path, *, is_preloaded: bool = False) -> Ledger:
        ledger = self._start(store, count, folder, is_preloaded=is_preloaded)
        self._opened.append(ledger)
        return ledger

    def _start(self, store: str, count: int, folder: Path, *, is_preloaded: bool) -> Ledger:
        name = f"{store}_{count}{PRELOADED if is_preloaded else ''}"
        held = self._count if is_preloaded else 0
        if store == SQLITE:
            source = (
                keep_sqlite_preloaded(self._cache, self._town, held, self._watch)
                if is_preloaded
                else keep_sqlite_town(self._cache, self._town, self._watch)
            )
            return open_sqlite_ledger(source, folder / name, workers=count, name=name, preloaded_count=held)
        assert self._server is not None, "the server runs"
        return postgres.open_postgres_ledger(
            self._server, self._kept, folder / name, gateway_count=count, name=name, preloaded_count=held
        )


@contextlib.contextmanager
def running_responders(folder: Path) -> Iterator[list[Responder]]:
    """Run the no-op handler in one process, in two that share a port, and the raw responder."""
    answer = folder / "answer.json"
    answer.write_bytes(sample_answer())
    with contextlib.ExitStack() as stack:

        def start(name: str, process_count: int) -> Responder:
            # Held as long as they run, and never listened at: two processes can share its port.
            held = stack.enter_context(socket.socket())
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("127.0.0.1", 0))
            port = int(held.getsockname()[1])
            order = _order_of(port, answer, is_raw=name == RAW)
            command = [sys.executable, "-m", "tests.benchmarks.ledger.responders", order]
            children = [
                Child(name, command, folder / f"{name}-{number}.log") for number in range(process_count)
            ]
            for child in children:
                stack.callback(child.stop)
            return Responder(name, tuple(children), port)

        responders = [start(NOOP_ONE, 1), start(NOOP_TWO, 2), start(RAW, 1)]
        for responder in responders:
            for child in responder.children:
                child.read_line()
        yield responders


def sample_answer() -> bytes:
    """Return the body of an approval as long as those of the town's payments are."""
    return dump_message(
        PaymentAnswer(
            payment_id=ulid_of("sample", 1),
            attempt_id=ulid_of("sample", 2),
            order_id=ulid_of("sample", 3),
            outcome="approved",
            state=PaymentState.SUCCEEDED,
            amount_minor=1_250,
            currency=CURRENCY,
            entry_mode=EntryMode.NFC_APP,
            terminal_id=Town(TINY.town).till(0).terminal_id,
            decided_ms=1_735_689_600_000,
            receipt=ReceiptFacts(
                receipt_number="000041",
                merchant_name="Shop 12",
                location_name="High Street",
                instrument_label="Phone ·· 4821",
            ),
        )
    )


def _order_of(port: int, answer: Path, *, is_raw: bool) -> str:
    """Return a responder's order, with the settings of the gateway's own server."""
    order = Order(
        is_raw=is_raw,
        port=port,
        answer_file=str(answer),
        path=PATH,
        keepalive_s=KEEPALIVE_S,
        linger_s=LINGER_S,
        backlog_max=BACKLOG_MAX,
        body_bytes_max=GatewayConfig().limits.body_bytes_max,
    )
    return msgspec.json.encode(order).decode("ascii")
