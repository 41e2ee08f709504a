"""Frames between a host and a PN532 on its serial port (NXP UM0701-02, section 6.2.1).

Normal frame: 00 00 FF LEN LCS TFI data… DCS 00; extended frames carry a two-byte length after FF FF.
"""

from __future__ import annotations

from typing import Final

ACK: Final = bytes.fromhex("0000FF00FF00")
NACK: Final = bytes.fromhex("0000FFFF0000")
SYNTAX_ERROR: Final = bytes.fromhex("0000FF01FF7F8100")
START: Final = b"\x00\xff"
HOST_TO_CHIP: Final = 0xD4
CHIP_TO_HOST: Final = 0xD5
NORMAL_BYTES_MAX: Final = 255
FRAME_BYTES_MAX: Final = 265
"""TFI and data of the longest frame a PN532 takes."""


def dump_response(code: int, data: bytes) -> bytes:
    """Write the chip's response frame to a command code."""
    body = bytes((CHIP_TO_HOST, code + 1)) + data
    if len(body) <= NORMAL_BYTES_MAX:
        head = bytes((len(body), -len(body) & 0xFF))
    else:
        length = len(body).to_bytes(2, "big")
        head = b"\xff\xff" + length + bytes((-sum(length) & 0xFF,))
    return b"\x00" + START + head + body + bytes((-sum(body) & 0xFF, 0))


class FrameReader:
    """Cuts a stream of bytes into what a host can send: ACK, NACK and command bodies."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return ACK, NACK, or command code and data of each whole command frame."""
        self._buffer = (self._buffer + data)[-4 * FRAME_BYTES_MAX :]
        frames = []
        while (frame := self._next()) is not None:
            if frame:
                frames.append(frame)
        return frames

    def _next(self) -> bytes | None:
        """Return a frame, b"" for rubbish that was dropped, None when more bytes are needed."""
        start = self._buffer.find(START)
        if start < 0 or len(self._buffer) < start + 4:
            return None
        rest = self._buffer[start + len(START) :]
        if rest[:2] == b"\x00\xff":
            return self._take(start + 4, ACK)
        if rest[:2] == b"\xff\x00":
            return self._take(start + 4, NACK)
        return self._command(start, rest)

    def _command(self, start: int, rest: bytes) -> bytes | None:
        extended = rest[:2] == b"\xff\xff"
        head_bytes = 5 if extended else 2
        if len(rest) < head_bytes:
            return None
        length = int.from_bytes(rest[2:4], "big") if extended else rest[0]
        if sum(rest[2:5] if extended else rest[:2]) & 0xFF or not 2 <= length <= FRAME_BYTES_MAX:
            return self._take(start + len(START), b"")
        if len(rest) < head_bytes + length + 1:
            return None
        body = rest[head_bytes : head_bytes + length]
        sound = not (sum(rest[head_bytes : head_bytes + length + 1]) & 0xFF) and body[0] == HOST_TO_CHIP
        return self._take(start + len(START) + head_bytes + length + 1, body[1:] if sound else b"")

    def _take(self, count: int, frame: bytes) -> bytes:
        self._buffer = self._buffer[count:]
        return frame
