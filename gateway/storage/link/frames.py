"""Messages of bounded length in a stream: four bytes of length, then the frame."""

from __future__ import annotations

import struct
from typing import Final

FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
"""A frame holds one call or one answer: the longest is a thousand groups of sixteen transfers, 4 MiB."""

_LENGTH: Final = struct.Struct(">I")


class FrameTooLong(Exception):
    """A message that may not be sent, or a stream that is not ours; the link can't go on with it."""


def dump_frame(*parts: bytes) -> bytes:
    """Return the parts as one frame.

    Raises:
        FrameTooLong: above FRAME_BYTES_MAX.
    """
    frame = b"".join(parts)
    if len(frame) > FRAME_BYTES_MAX:
        raise FrameTooLong
    return _LENGTH.pack(len(frame)) + frame


class FrameReader:
    """Cuts a stream into its frames, however it arrives."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete now.

        Raises:
            FrameTooLong: a length above FRAME_BYTES_MAX.
        """
        if self._rest:
            data = self._rest + data
        frames: list[bytes] = []
        start, size = 0, len(data)
        while size - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > FRAME_BYTES_MAX:
                raise FrameTooLong
            end = start + _LENGTH.size + length
            if end > size:
                break
            frames.append(data[start + _LENGTH.size : end])
            start = end
        self._rest = data[start:]
        return frames
