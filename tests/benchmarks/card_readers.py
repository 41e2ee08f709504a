"""From tap to token on every card path: how long, and how many taps were lost.

Field, driver and supervisor share one process here, so the figures hold the simulated card's own work and
one interpreter's lock: a till with a reader of its own is not slower. What the gateway and the network add
is measured in whole_path.py.

    python -m tests.benchmarks.card_readers [taps]
"""

from __future__ import annotations

import os
import queue
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.table import Table

from simulators.cards.payment_card import PaymentCard
from simulators.fields.field import Field
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.pn532 import Pn532Device
from simulators.fields.private_pcscd import PrivatePcscd, find_missing
from simulators.fields.udp_radio import UdpRadio
from simulators.fields.vpcd import VpcdSlot
from terminal.devices.paths import make_device
from terminal.presentations import PresentationEvent, Presented
from terminal.supervision.supervisor import Supervisor
from wire.cards.payment_terms import PaymentTerms
from wire.messages.till import ReaderState
from wire.money import Money, find_currency

TAPS: Final = 1_000
TAP_S_MAX: Final = 5.0
"""A tap without a token by then is lost."""
READY_S_MAX: Final = 10.0
TRAITS: Final = IsoDepTraits(fwi=6)
"""Short frame waiting time (19 ms), so that a removal is noticed soon; it does not touch tap to token."""
KEY: Final = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
STOCK_LANES: Final = 8
"""Slots tapped side by side at pcscd's stock poll, where a lane only waits."""


@dataclass(frozen=True, slots=True)
class PathSpec:
    """One path: its fields, and how long a card stays away, a random part of it."""

    name: str
    open_fields: Callable[[], AbstractContextManager[list[Field]]]
    away_s_min: float
    away_s_max: float


@dataclass(slots=True)
class PathResult:
    """What was measured on one path; `off` says why where nothing was."""

    name: str
    tap_to_noticed_ms: list[float] = field(default_factory=list)
    tap_to_token_ms: list[float] = field(default_factory=list)
    tap_count: int = 0
    lost_count: int = 0
    off: str = ""


@contextmanager
def _radio() -> Iterator[list[Field]]:
    yield [UdpRadio(traits=TRAITS)]


@contextmanager
def _chip() -> Iterator[list[Field]]:
    yield [Pn532Device(traits=TRAITS)]


@contextmanager
def _slots(fast_poll: bool, lane_count: int) -> Iterator[list[Field]]:
    # libpcsclite reads the variable once per process, so both paths share one folder.
    folder = Path(tempfile.gettempdir()) / f"tapscan-bench-pcsc-{os.getpid()}"
    names = [f"Bench {index}" for index in range((lane_count + 1) // 2)]
    with PrivatePcscd(names, fast_poll=fast_poll, socket_folder=folder) as pcscd:
        os.environ.update(pcscd.environment)
        slots = pcscd.slots[:lane_count]
        yield [VpcdSlot(slot.port, reader_name=slot.reader_name) for slot in slots]
    folder.rmdir()


PATHS: Final = [
    PathSpec("PN532 on a serial line", _chip, 0.10, 0.15),
    PathSpec("nfcpy UDP radio", _radio, 0.10, 0.15),
    PathSpec("pcscd, fast poll", lambda: _slots(True, 1), 0.10, 0.15),
    PathSpec("pcscd, stock poll", lambda: _slots(False, STOCK_LANES), 0.5, 0.9),
]


def measure_card_readers(tap_count: int = TAPS, paths: Sequence[PathSpec] = PATHS) -> list[PathResult]:
    """Tap a payment card so often on every path; a path that can't run here says why."""
    return [measure_path(spec, tap_count) for spec in paths]


def measure_path(spec: PathSpec, tap_count: int) -> PathResult:
    """Tap a payment card so often on one path, spread over its lanes."""
    result = PathResult(spec.name)
    if spec.name.startswith("pcscd") and (missing := find_missing()):
        result.off = "; ".join(missing)
        return result
    with spec.open_fields() as fields, ThreadPoolExecutor(len(fields)) as lanes:
        share = -(-tap_count // len(fields))
        for part in lanes.map(lambda numbered: _tap_lane(spec, numbered, share), enumerate(fields)):
            result.tap_to_noticed_ms += part.tap_to_noticed_ms
            result.tap_to_token_ms += part.tap_to_token_ms
            result.tap_count += part.tap_count
            result.lost_count += part.lost_count
    return result


def _tap_lane(spec: PathSpec, numbered_field: tuple[int, Field], tap_count: int) -> PathResult:
    seed, tap_field = numbered_field
    rng = random.Random(seed)
    part = PathResult(spec.name)
    with ExitStack() as stack:
        tap_field.start()
        stack.callback(tap_field.stop)
        events = arm_reader(tap_field.reader_path, rng, stack)
        for _ in range(tap_count):
            _tap(tap_field, events, rng, part)
            # At a random moment of the reader's own rhythm, and with the card before noticed as gone.
            threading.Event().wait(rng.uniform(spec.away_s_min, spec.away_s_max))
    return part


def arm_reader(reader_path: str, rng: random.Random, stack: ExitStack) -> queue.Queue[PresentationEvent]:
    """Run one device under a supervisor, armed, until the stack is unwound; return what it delivers to."""
    events: queue.Queue[PresentationEvent] = queue.Queue()
    supervisor = Supervisor([make_device(reader_path)], events.put, now_ms=lambda: 0)
    supervisor.start()
    stack.callback(supervisor.stop)
    deadline = time.monotonic() + READY_S_MAX
    while supervisor.views()[0].state is not ReaderState.READY:
        assert time.monotonic() < deadline, supervisor.views()[0].reason
        threading.Event().wait(0.01)
    supervisor.arm(lambda: _terms(rng))
    return events


def _tap(
    tap_field: Field, events: queue.Queue[PresentationEvent], rng: random.Random, part: PathResult
) -> None:
    card = PaymentCard(KEY, rng=rng)
    part.tap_count += 1
    tapped_ns = time.monotonic_ns()
    tap_field.present(card)
    outcome = await_presented(events)
    tap_field.remove()
    if outcome is None:
        part.lost_count += 1
        return
    part.tap_to_noticed_ms.append((outcome.noticed_ns - tapped_ns) / 1e6)
    part.tap_to_token_ms.append((outcome.complete_ns - tapped_ns) / 1e6)


def await_presented(events: queue.Queue[PresentationEvent]) -> Presented | None:
    """Return the next presentation, or None if none comes within TAP_S_MAX."""
    deadline = time.monotonic() + TAP_S_MAX
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            event = events.get(timeout=left_s)
        except queue.Empty:
            return None
        if isinstance(event, Presented):
            return event
    return None


def _terms(rng: random.Random) -> PaymentTerms:
    money = Money(1250, find_currency("EUR"))
    return PaymentTerms(money, rng.randbytes(8), "0123456789ABCDE", "TERM0001", 1_790_000_000)


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(samples)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def make_table(results: Sequence[PathResult]) -> Table:
    """Lay the results out, one path a row; milliseconds."""
    table = Table("path", "taps", "lost", "noticed p50", "token p50", "token p99", "token max")
    for result in results:
        samples = result.tap_to_token_ms
        if not samples:
            table.add_row(result.name, str(result.tap_count), str(result.lost_count), result.off)
            continue
        figures = (
            statistics.median(result.tap_to_noticed_ms),
            statistics.median(samples),
            percentile(samples, 99),
            max(samples),
        )
        table.add_row(
            result.name,
            str(result.tap_count),
            str(result.lost_count),
            *(f"{figure:.1f}" for figure in figures),
        )
    return table


def main(arguments: Sequence[str]) -> None:
    """Measure every path and print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    tap_count = int(arguments[0]) if arguments else TAPS
    Console().print(make_table(measure_card_readers(tap_count)))


if __name__ == "__main__":
    main(sys.argv[1:])
