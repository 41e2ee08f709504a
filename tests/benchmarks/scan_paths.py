"""From scan to presentation on every scanner path: how long, and how many codes were lost.

A phone shows one fresh code after the other, each until it is read; a camera sees a dark counter in
between. Device, driver and supervisor share one process.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final

from simulators.phones.phone import Phone
from simulators.scanners.serial_gun import SerialGun
from simulators.screens.mjpeg import MjpegServer
from simulators.screens.render import render_frame
from terminal.presentations import PresentationEvent
from tests.benchmarks.card_readers import KEY, PathResult, arm_reader, await_presented
from wire.money import Money, find_currency

AWAY_S_MIN: Final = 0.17
AWAY_S_MAX: Final = 0.21
"""Between two codes: at a random moment of the camera's rhythm (25 frames a second), no faster than hands."""
NOW_MS: Final = 1_790_000_000_000
CAP: Final = Money(10_000, find_currency("EUR"))
TOKEN_PAN: Final = "4111111111111111"

ShowCode = Callable[[str | None], object]


def measure_scan_paths(scan_count: int) -> list[PathResult]:
    """Show so many codes on every path."""
    return [
        _measure("camera, MJPEG 640x480", _camera, scan_count),
        _measure("serial scanner", _gun, scan_count),
    ]


@contextmanager
def _camera() -> Iterator[tuple[str, ShowCode]]:
    camera = MjpegServer()
    camera.start()
    try:
        yield (
            f"camera:{camera.url}",
            lambda text: camera.show(None if text is None else render_frame(text)),
        )
    finally:
        camera.stop()


@contextmanager
def _gun() -> Iterator[tuple[str, ShowCode]]:
    gun = SerialGun()
    gun.start()
    try:
        yield f"serial:{gun.device_path}", lambda text: None if text is None else gun.scan(text)
    finally:
        gun.stop()


def _measure(
    name: str, open_device: Callable[[], AbstractContextManager[tuple[str, ShowCode]]], scan_count: int
) -> PathResult:
    rng = random.Random(name)
    phone = Phone(KEY, rng=rng, token_pan=TOKEN_PAN)
    result = PathResult(name)
    with ExitStack() as stack:
        path, show = stack.enter_context(open_device())
        events = arm_reader(path, rng, stack)
        for _ in range(scan_count):
            _scan(phone.pay_code(NOW_MS, CAP), show, events, result)
            threading.Event().wait(rng.uniform(AWAY_S_MIN, AWAY_S_MAX))
    return result


def _scan(text: str, show: ShowCode, events: queue.Queue[PresentationEvent], result: PathResult) -> None:
    result.tap_count += 1
    shown_ns = time.monotonic_ns()
    show(text)
    presented = await_presented(events)
    show(None)
    if presented is None:
        result.lost_count += 1
        return
    result.tap_to_noticed_ms.append((presented.noticed_ns - shown_ns) / 1e6)
    result.tap_to_token_ms.append((presented.complete_ns - shown_ns) / 1e6)
