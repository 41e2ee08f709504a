"""A card that never answers, over the real pcscd: its call can't be cancelled; everything else goes on."""

from __future__ import annotations

import os
import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.cards.faulty_card import CardFault, FaultyCard
from simulators.cards.payment_card import PaymentCard
from simulators.fields.private_pcscd import PrivatePcscd, find_missing
from simulators.fields.udp_radio import UdpRadio
from simulators.fields.vpcd import VpcdSlot
from terminal.devices.paths import make_device
from terminal.presentations import Noticed, PresentationEvent, Presented, PresentedInVain
from terminal.supervision import health
from terminal.supervision.supervisor import Supervisor
from wire.cards.payment_terms import PaymentTerms
from wire.messages.till import ReaderState
from wire.money import Money, find_currency

pytestmark = [
    pytest.mark.pcsc,
    pytest.mark.skipif(bool(find_missing()), reason="no private pcscd on this machine"),
]
KEY = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
CALL_MS = 1_500
"""Longer than any call of a sound driver, shorter than a test's patience."""
WAIT_S = 20.0


@pytest.fixture
def slot() -> Iterator[VpcdSlot]:
    # libpcsclite reads the variable once per process: every test here gives the same folder.
    folder = Path(tempfile.gettempdir()) / f"tapscan-test-pcsc-{os.getpid()}"
    with PrivatePcscd(("Stuck",), socket_folder=folder) as pcscd:
        os.environ.update(pcscd.environment)
        virtual = pcscd.slots[0]
        slot = VpcdSlot(virtual.port, reader_name=virtual.reader_name, answer_s_max=WAIT_S)
        yield slot
        slot.stop()


@pytest.fixture
def radio() -> Iterator[UdpRadio]:
    radio = UdpRadio()
    radio.start()
    yield radio
    radio.stop()


def _card(seed: int) -> PaymentCard:
    return PaymentCard(KEY, rng=random.Random(seed))


def _terms() -> PaymentTerms:
    return PaymentTerms(Money(1250, find_currency("EUR")), bytes(8), "M" * 15, "T" * 8, 1_790_000_000)


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.01)


def test_card_that_never_answers_stops_neither_the_other_readers_nor_its_own_for_good(
    slot: VpcdSlot, radio: UdpRadio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CALL_MS_MAX", CALL_MS)
    events: queue.Queue[PresentationEvent] = queue.Queue()
    devices = [make_device(slot.reader_path), make_device(radio.reader_path)]
    supervisor = Supervisor(devices, events.put, now_ms=lambda: 0)

    def outcome(since_ns: int = 0) -> Presented | PresentedInVain:
        while isinstance(event := events.get(timeout=WAIT_S), Noticed) or event.noticed_ns < since_ns:
            continue
        return event

    supervisor.start()
    try:
        _await(lambda: all(view.state is ReaderState.READY for view in supervisor.views()))
        supervisor.arm(_terms)
        silent = FaultyCard(_card(1), CardFault.MUTE, at_apdu=1)
        slot.present(silent)
        refused = outcome()
        assert isinstance(refused, PresentedInVain)
        assert (refused.reader, refused.code) == (slot.reader_path, "card_too_slow")
        assert supervisor.views()[0].left_behind_count >= 1

        # Beside it, a sale is paid.
        radio.present(_card(2))
        paid = outcome()
        assert isinstance(paid, Presented)
        assert paid.reader == radio.reader_path
        radio.remove()

        # Once the card is taken away its call returns, and the reader works again, by itself.
        silent.let_go()
        slot.remove()
        _await(lambda: supervisor.views()[0].state is ReaderState.READY)
        _await(lambda: supervisor.views()[0].left_behind_count == 0)
        # The thread put in the stuck one's place saw the silent card too, and may say now that it went.
        presented_ns = time.monotonic_ns()
        slot.present(_card(3))
        again = outcome(since_ns=presented_ns)
        assert isinstance(again, Presented)
        assert again.reader == slot.reader_path
        assert supervisor.views()[0].recovery_ms_last is not None
    finally:
        supervisor.stop()
