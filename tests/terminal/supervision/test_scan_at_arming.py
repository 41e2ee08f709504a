"""A scan that comes right after the till was told that it is armed belongs to that sale."""

from __future__ import annotations

import queue
import time

import pytest

from simulators.scanners.serial_gun import SerialGun
from terminal.presentations import PresentationEvent, Presented
from terminal.scanners.serial_scanner import SerialScanner
from terminal.supervision import code_flood
from terminal.supervision.supervisor import Supervisor
from wire.cards.payment_terms import PaymentTerms
from wire.codes.numeric import make_numeric_code
from wire.messages.payments import CodeNumericPresentation
from wire.messages.till import ReaderState

ROUNDS = 30
READY_S_MAX = 30.0


def no_terms() -> PaymentTerms:
    raise AssertionError("no card is asked for anything here")


def next_code(events: queue.SimpleQueue[PresentationEvent]) -> str:
    while True:
        event = events.get(timeout=READY_S_MAX)
        if isinstance(event, Presented):
            assert isinstance(event.presentation, CodeNumericPresentation)
            return event.presentation.code


def test_no_scan_is_lost_however_soon_after_arming_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Sales follow one another here as fast as no hand can scan.
    monkeypatch.setattr(code_flood, "GAP_MS", 0)
    gun = SerialGun()
    gun.start()
    events: queue.SimpleQueue[PresentationEvent] = queue.SimpleQueue()
    supervisor = Supervisor([SerialScanner(gun.device_path)], events.put, now_ms=lambda: 0)
    supervisor.start()
    try:
        deadline = time.monotonic() + READY_S_MAX
        while (view := supervisor.views()[0]).state is not ReaderState.READY:
            assert time.monotonic() < deadline, view
            time.sleep(0.005)
        for number in range(ROUNDS):
            code = make_numeric_code(f"{number:015d}")
            supervisor.arm(no_terms)
            gun.scan(code)
            assert next_code(events) == code
            supervisor.disarm()
    finally:
        supervisor.stop()
        gun.stop()
