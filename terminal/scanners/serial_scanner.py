"""A handheld scanner that types codes into a serial line, USB or real."""

from __future__ import annotations

import termios
import time
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

import structlog

from terminal.device_conditions import condition_of
from terminal.errors import PresentationRefused, ReaderNotInstalled, ReaderUnavailable
from terminal.scanners.code_scanner import CODE_CHARS_MAX, CodeScanner, cut_code

if TYPE_CHECKING:
    import serial

SCHEME: Final = "serial:"
SILENCE_MS: Final = 150
"""A line quiet for so long has ended: 9,600 baud carry a byte a millisecond, wireless guns pause a little."""
READ_MS_MAX: Final = 50
"""One read; how soon a wait notices its deadline and the end of a line."""
READ_BYTES_MAX: Final = 4_096
LINE_BYTES_MAX: Final = CODE_CHARS_MAX + 1
"""Bytes kept of a line: enough to see that it is too long."""
CODES_MAX: Final = 8
"""Codes kept that nobody asked for yet; more mean a scanner gone wild, and the oldest go."""

_NS_PER_MS: Final = 1_000_000
_LINE_ENDS: Final = b"\r\n"
_log = structlog.get_logger(__name__)


class CodeEnd(Enum):
    """How the scanner is set up to end a code."""

    LINE = "line"
    """By CR, LF or both, as scanners leave the factory; what ends in silence is half a scan and refused."""
    SILENCE = "silence"
    """By nothing: a pause is the end. Half a scan cannot be told from a whole one here; its check fails."""


class SerialScanner(CodeScanner):
    """Reads codes from one serial device, which nobody else may use meanwhile."""

    def __init__(self, device: str, baud: int = 9600, *, code_end: CodeEnd = CodeEnd.LINE) -> None:
        """Name the device without opening it."""
        self.path = SCHEME + device
        self._device = device
        self._baud = baud
        self._port: serial.Serial | None = None
        self._lines = _Lines(code_end)

    @property
    def seen_ns(self) -> int:
        """When the end of the last code was read; see `CodeScanner.seen_ns`."""
        return self._lines.taken_ns

    def open(self) -> None:
        """Take the device; see `CodeScanner.open`."""
        try:
            import serial
        except ImportError:
            raise ReaderNotInstalled("a serial scanner needs pyserial") from None
        self.close()
        try:
            # No flow control: XON and XOFF are bytes a code may hold, and scanners have no other wires.
            self._port = serial.Serial(
                self._device, self._baud, timeout=READ_MS_MAX / 1000, xonxoff=False, exclusive=True
            )
            self._port.reset_input_buffer()
        except (OSError, ValueError, termios.error) as error:
            # serial.SerialException is an OSError; other speeds than the driver knows are a ValueError.
            self.close()
            raise ReaderUnavailable(
                f"the device does not open: {_reason(error)}", code=condition_of(error)
            ) from None

    def wait_for_code(self, timeout_ms: int) -> str | None:
        """Return the next code typed; see `CodeScanner.wait_for_code`."""
        if self._port is None:
            raise ReaderUnavailable("the device is not open")
        deadline_ns = time.monotonic_ns() + timeout_ms * _NS_PER_MS
        while True:
            # At least one read, so that waiting no time still takes what is there; but no waiting for more
            # while a code is there, or a burst would be handed on one by one, into the next sale.
            read_until_ns = 0 if self._lines.has_code else deadline_ns
            self._lines.feed(self._read(self._port, read_until_ns), time.monotonic_ns())
            code = self._lines.next_code()
            if code is not None or time.monotonic_ns() >= deadline_ns:
                return code

    def close(self) -> None:
        """Give the device back; see `CodeScanner.close`."""
        port, self._port = self._port, None
        self._lines.clear()
        if port is None:
            return
        try:
            port.close()
        except (OSError, termios.error) as error:
            _log.info("serial_close_failed", reader=self.path, error=type(error).__name__)

    def _read(self, port: serial.Serial, deadline_ns: int) -> bytes:
        """Return what has come, waiting for a first byte if there is none."""
        try:
            waiting = port.in_waiting
            if not waiting and time.monotonic_ns() >= deadline_ns:
                return b""
            return port.read(min(waiting, READ_BYTES_MAX) or 1)
        except (OSError, TypeError, termios.error) as error:
            # TypeError is what pyserial raises when its descriptor vanishes under it.
            raise ReaderUnavailable(
                f"the device is gone: {_reason(error)}", code="reader_unplugged"
            ) from None


class _Lines:
    """Cuts what is typed into codes; keeps no more than one bounded line and CODES_MAX codes."""

    def __init__(self, code_end: CodeEnd) -> None:
        self._code_end = code_end
        self._line = bytearray()
        self._line_ns = 0
        self._codes: deque[tuple[str | None, int]] = deque(maxlen=CODES_MAX)
        """With the time each was read; None is a scan that broke off."""
        self.taken_ns = 0
        """When what `next_code` returned or refused last was read."""

    @property
    def has_code(self) -> bool:
        """Whether something waits to be taken."""
        return bool(self._codes)

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take what was read just now.

        Only a read that found nothing proves silence: what waited in the driver while nobody read may
        have been typed without a pause.
        """
        if data:
            self._line_ns = now_ns
        elif self._line and now_ns - self._line_ns > SILENCE_MS * _NS_PER_MS:
            self._end_by_silence(now_ns)
        for piece in data.replace(b"\r", b"\n").splitlines(keepends=True):
            self._line += piece.rstrip(_LINE_ENDS)[: LINE_BYTES_MAX - len(self._line)]
            if piece.endswith(b"\n"):
                self._end_line(now_ns)

    def next_code(self) -> str | None:
        """Return the oldest code not yet taken.

        Raises:
            PresentationRefused: `code_incomplete`; a part of a code came in its place.
        """
        if not self._codes:
            return None
        code, self.taken_ns = self._codes.popleft()
        if code is None:
            raise PresentationRefused("half a scan", code="code_incomplete")
        return code

    def clear(self) -> None:
        """Forget everything."""
        self._line.clear()
        self._codes.clear()

    def _end_by_silence(self, now_ns: int) -> None:
        if self._code_end is CodeEnd.SILENCE:
            self._end_line(now_ns)
            return
        _log.warning("half_scan_dropped", byte_count=len(self._line))
        self._line.clear()
        self._codes.append((None, now_ns))

    def _end_line(self, now_ns: int) -> None:
        # No code of ours holds bytes beyond ASCII; a replacement character makes the text be refused.
        text = self._line.decode("ascii", errors="replace")
        self._line.clear()
        if text:
            self._codes.append((cut_code(text), now_ns))


def _reason(error: BaseException) -> str:
    # The library's own text may name the path and more; the class and number say enough.
    number = getattr(error, "errno", None)
    return f"{type(error).__name__} {number}" if number else type(error).__name__
