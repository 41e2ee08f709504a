"""nfcpy's drivers, with the time that a simulated card or chip may need on a loaded machine.

A real PN532 acknowledges by itself within a millisecond, and what it says waits in the port until the driver
is scheduled. A simulated one has to be scheduled too, and misses the 100 ms that the driver gives it. The
same holds for a simulated card on the UDP radio, which has 30 ms to answer its selection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PN532_MS = 5_000
"""One wait for what the chip says; it passes only where a chip says nothing."""
UDP_S = 0.3
"""One wait for a frame; it passes for every repeat to a card that left without a word."""


@contextmanager
def patient_drivers() -> Iterator[None]:
    """Let drivers wait at least that long for every frame while the block runs."""
    from nfc.clf.transport import TTY
    from nfc.clf.udp import Device

    read, exchange = TTY.read, Device.send_cmd_recv_rsp

    def read_patiently(port: Any, timeout: float) -> Any:
        return read(port, max(timeout, PN532_MS))

    def exchange_patiently(device: Any, target: Any, data: Any, timeout: float) -> Any:
        return exchange(device, target, data, max(timeout, UDP_S))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TTY, "read", read_patiently)
        patch.setattr(Device, "send_cmd_recv_rsp", exchange_patiently)
        yield
