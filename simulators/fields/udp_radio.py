"""nfcpy's UDP radio, card side: one ASCII datagram is one radio frame.

`b"<bitrate and type> <hex without CRC>"`, or `b"RFOFF"` when a field goes off (nfcpy 1.0, nfc/clf/udp.py).
A reader that senses sends one SENS_REQ and then listens for a second: a card that comes meanwhile answers
that very request, else most taps would wait for the next one.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from simulators.fields.field_thread import FieldThread
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.type_a import RATS_OVERRIDE_NONE, REQA

LOOPBACK: Final = "127.0.0.1"
DATAGRAM_BYTES_MAX: Final = 1024
"""nfcpy reads no more of one datagram."""
SENSE_HELD_S_MAX: Final = 0.95
"""A waiting SENS_REQ is answered up to this age; the driver gives up after 1.0 s."""
BITRATE_TYPE_A: Final = b"106A"
FIELD_OFF: Final = b"RFOFF"

Address = tuple[str, int]


class UdpRadio(FieldThread):
    """A contactless field that nfcpy reaches at `udp:127.0.0.1:PORT`.

    Args:
        port: 0 takes any free one; bound to the loopback address only.
        traits: frame waiting time and size of the cards presented here.
        announces_removal: send RFOFF when a card leaves while a reader waits. A real card can't; nfcpy
            then raises BrokenLinkError at once instead of running into its timeouts.
        ats: sent instead of the right answer to select.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        traits: IsoDepTraits | None = None,
        announces_removal: bool = False,
        ats: bytes = RATS_OVERRIDE_NONE,
    ) -> None:
        super().__init__(traits or IsoDepTraits(), ats)
        self._port = port
        self._announces_removal = announces_removal
        self._socket: socket.socket | None = None
        self._reader: Address | None = None
        self._held: tuple[Address, float] | None = None

    @property
    def reader_path(self) -> str:
        """Path for terminal.toml; known once started."""
        return f"contactless:udp:{LOOPBACK}:{self._port}"

    def _open(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, self._port))
        self._port = self._socket.getsockname()[1]
        self._reader = self._held = None

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _descriptor(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

    def _read(self) -> None:
        assert self._socket is not None
        datagram, address = self._socket.recvfrom(DATAGRAM_BYTES_MAX)
        if datagram == FIELD_OFF:
            self._field_off(address)
            return
        frame = _parse(datagram)
        if frame is not None:
            self._answer(frame, address)

    def _field_off(self, address: Address) -> None:
        if self._reader in (None, address) and self._card is not None:
            self._card.power_off()
        self._held = None

    def _answer(self, frame: bytes, address: Address) -> None:
        if frame == REQA:
            self._sense(address)
            return
        answer = self._exchange(frame)
        if answer is not None:
            self._send(answer, address)

    def _sense(self, address: Address) -> None:
        if self._card is None:
            self._held = (address, time.monotonic())
            return
        if address != self._reader:
            # A new socket is a new field: the reader before it may have died without RFOFF.
            self._card.power_off()
        self._reader = address
        self._card.power_on()
        answer = self._exchange(REQA)
        if answer is not None:
            self._send(answer, address)

    def _card_came(self) -> None:
        held, self._held = self._held, None
        if held is not None and time.monotonic() - held[1] < SENSE_HELD_S_MAX:
            self._sense(held[0])

    def _card_left(self) -> None:
        if self._announces_removal and self._reader is not None and self._socket is not None:
            self._socket.sendto(FIELD_OFF, self._reader)

    def _send(self, frame: bytes, address: Address) -> None:
        assert self._socket is not None
        self._socket.sendto(BITRATE_TYPE_A + b" " + frame.hex().encode("ascii"), address)


def _parse(datagram: bytes) -> bytes | None:
    parts = datagram.split()
    if len(parts) != 2 or parts[0] != BITRATE_TYPE_A:
        return None  # Type B and F readers meet silence, as at a Type A card.
    try:
        return bytes.fromhex(parts[1].decode("ascii"))
    except ValueError:
        return None
