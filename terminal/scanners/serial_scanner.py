"""A handheld scanner that types codes into a serial line, USB or real."""

from __future__ import annotations

import termios
import time
from enum import Enum
from typing import TYPE_CHECKING, Final

import structlog

from terminal.device_conditions import condition_of, reason_of
from terminal.errors import ReaderNotInstalled, ReaderUnavailable
from terminal.scanners.code_scanner import CODE_CHARS_MAX, CodeScanner
from terminal.scanners.typed_codes import TypedCodes

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
        return self._lines.codes.taken_ns

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
                f"the device does not open: {reason_of(error)}", code=condition_of(error)
            ) from None

    def wait_for_code(self, timeout_ms: int) -> str | None:
        """Return the next code typed; see `CodeScanner.wait_for_code`."""
        if self._port is None:
            raise ReaderUnavailable("the device is not open")
        port = self._port
        return self._lines.codes.wait(
            timeout_ms, lambda until_ns: self._lines.feed(self._read(port, until_ns), time.monotonic_ns())
        )

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
                f"the device is gone: {reason_of(error)}", code="reader_unplugged"
            ) from None


class _Lines:
    """Cuts what is typed into codes; keeps no more than one bounded line and some codes."""

    def __init__(self, code_end: CodeEnd) -> None:
        self._code_end = code_end
        self._line = bytearray()
        self._line_ns = 0
        self.codes = TypedCodes()

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

    def clear(self) -> None:
        """Forget everything."""
        self._line.clear()
        self.codes.clear()

    def _end_by_silence(self, now_ns: int) -> None:
        if self._code_end is CodeEnd.SILENCE:
            self._end_line(now_ns)
            return
        _log.warning("half_scan_dropped", byte_count=len(self._line))
        self._line.clear()
        self.codes.add_half(now_ns)

    def _end_line(self, now_ns: int) -> None:
        # No code of ours holds bytes beyond ASCII; a replacement character makes the text be refused.
        text = self._line.decode("ascii", errors="replace")
        self._line.clear()
        self.codes.add(text, now_ns)
