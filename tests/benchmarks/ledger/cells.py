"""One cell: a load on one target for a few seconds, and what it cost whom."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType

import msgspec

from tests.benchmarks.ledger.load_client import Order, Result
from tests.benchmarks.ledger.presigning import Batch, Mix, check_is_fresh
from tests.benchmarks.ledger.processes import Child, busy_s, cpu_s_of, peak_rss_mib_of


class CellFailed(Exception):
    """A request was answered otherwise than approved, or not at all."""


class Block(StrEnum):
    """Which question a cell helps to answer."""

    LADDER = "ladder"
    """How does throughput go with the number of requests in flight?"""
    COMPARED = "compared"
    """What does another mix or a full ledger cost? Neighbours in time are held against each other."""
    OVERLOAD = "overload"
    """What is left at four times of what can be carried?"""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in one cell."""

    target: str
    """Such as `sqlite_1`."""
    mix: str
    in_flight: int
    round: int
    block: Block
    result: Result
    gateway_us_per_payment: float
    """Processor time of all gateway processes, for every request sent."""
    server_us_per_payment: float
    """Processor time of the database server's processes."""
    rss_mib: float
    """The most memory any gateway process had until now."""
    others_share: float
    """Of all cores: what was used meanwhile by whoever is neither client, gateway nor database."""

    @property
    def per_s(self) -> float:
        """Approved payments a second."""
        return self.result.approved_per_s


class LoadClient:
    """The load client's process, and the cells it has run."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.ledger.load_client"]
        self._child = Child("the load client", command, log)

    def __enter__(self) -> LoadClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def run(self, order: Order) -> Result:
        """Carry out an order.

        Raises:
            CellFailed: an answer was not what it had to be.
        """
        self._child.input.write(msgspec.json.encode(order) + b"\n")
        self._child.input.flush()
        result = msgspec.json.decode(self._child.read_line(), type=Result)
        if result.failed or (result.refused and order.rate_per_s is None):
            raise CellFailed(
                f"{result.failed} of {result.sent} requests failed and {result.refused} were refused: "
                + " | ".join(result.complaints)
            )
        return result


def order_of(
    ports: Sequence[int], batch: Batch, connections: int, duration_s: float, warm_up_s: float
) -> Order:
    """Return the order of a closed load that sends a batch once."""
    check_is_fresh(batch)
    return Order(
        ports=list(ports),
        files=[str(path) for path in batch.files],
        duration_s=duration_s,
        warm_up_s=warm_up_s,
        connections=connections,
    )


def measure_cell(
    client: LoadClient,
    order: Order,
    *,
    target: str,
    mix: Mix,
    round_number: int,
    block: Block,
    gateway_pids: Sequence[int],
    server_pids: Sequence[int] = (),
) -> Cell:
    """Run one cell.

    Raises:
        CellFailed: as `LoadClient.run`.
    """
    everybody = [*gateway_pids, *server_pids, client.pid]
    gateway_s, server_s, ours_s = (cpu_s_of(pids) for pids in (gateway_pids, server_pids, everybody))
    all_s, started_s = busy_s(), time.monotonic()
    result = client.run(order)
    wall_s = time.monotonic() - started_s
    others_s = busy_s() - all_s - (cpu_s_of(everybody) - ours_s)
    return Cell(
        target=target,
        mix=mix,
        in_flight=order.connections,
        round=round_number,
        block=block,
        result=result,
        gateway_us_per_payment=1e6 * (cpu_s_of(gateway_pids) - gateway_s) / max(1, result.sent),
        server_us_per_payment=1e6 * (cpu_s_of(server_pids) - server_s) / max(1, result.sent),
        rss_mib=peak_rss_mib_of(gateway_pids),
        others_share=max(0.0, others_s / wall_s / (os.cpu_count() or 1)),
    )
