"""A camera that looks at what customers hold before it."""

from __future__ import annotations

import re
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from terminal.errors import ConfigurationError, ReaderNotInstalled, ReaderUnavailable
from terminal.scanners.code_scanner import CodeScanner

if TYPE_CHECKING:
    # OpenCV and the decoders are loaded when a camera is opened: a till without one needs none of them.
    from terminal.scanners.camera_frames import Grabber
    from terminal.scanners.decoder import CodeDecoder

SCHEME: Final = "camera:"
CODE_AGE_MS_MAX: Final = 500
"""A second code of one picture is not handed on later than this."""

_SOURCE: Final = re.compile(r"[0-9]{1,3}|https?://\S+|file:.+", re.ASCII)
_NS_PER_MS: Final = 1_000_000


class CameraScanner(CodeScanner):
    """Reads codes from a camera index, an MJPEG address, or picture and video files."""

    def __init__(self, source: str) -> None:
        """Name the camera without opening it.

        Args:
            source: `0`, `http://127.0.0.1:8000/stream.mjpg` or `file:PATH`, a path being that of a
                picture, of a folder of pictures, or of a video.

        Raises:
            ConfigurationError: it is none of these.
        """
        if _SOURCE.fullmatch(source) is None:
            raise ConfigurationError("a camera is a number, an http address, or file: and a path")
        self.path = SCHEME + source
        self._source = source
        self._grabber: Grabber | None = None
        self._decoder: CodeDecoder | None = None
        self._found: deque[str] = deque()
        self._found_ns = 0

    @property
    def seen_ns(self) -> int:
        """When the picture came that the last code was in; see `CodeScanner.seen_ns`."""
        return self._found_ns

    def open(self) -> None:
        """Take the camera and begin to watch; see `CodeScanner.open`."""
        try:
            from terminal.scanners.camera_frames import Grabber
            from terminal.scanners.decoder import CodeDecoder
        except ImportError as error:
            raise ReaderNotInstalled(f"a camera needs a library that is missing: {error.name}") from None
        self.close()
        self._decoder = CodeDecoder()
        self._grabber = Grabber(self._source)

    def wait_for_code(self, timeout_ms: int) -> str | None:
        """Return a code the camera sees now; see `CodeScanner.wait_for_code`."""
        if self._grabber is None or self._decoder is None:
            raise ReaderUnavailable("the camera is not open")
        deadline_ns = time.monotonic_ns() + timeout_ms * _NS_PER_MS
        while (text := self._next_found()) is None:
            frame = self._grabber.take(deadline_ns)
            if frame is None:
                return None
            self._found.extend(self._decoder.decode(frame.pixels))
            self._found_ns = frame.at_ns
            if not self._found and time.monotonic_ns() >= deadline_ns:
                return None
        return text

    def close(self) -> None:
        """Give the camera back; see `CodeScanner.close`."""
        grabber, self._grabber = self._grabber, None
        self._found.clear()
        if grabber is not None:
            grabber.stop()

    def _next_found(self) -> str | None:
        if time.monotonic_ns() - self._found_ns > CODE_AGE_MS_MAX * _NS_PER_MS:
            # The picture these were in is no longer what the camera sees.
            self._found.clear()
        return self._found.popleft() if self._found else None
