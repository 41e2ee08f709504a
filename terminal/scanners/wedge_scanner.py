"""A handheld scanner that types as a keyboard, read through the kernel's input events and grabbed.

Grabbed means that nobody else gets what it types: a code never ends up in the till's own window, or in
whatever has the focus. Keys are read, not characters, so the desktop's layout has no part in it; the scanner
must be set to the US layout, as it leaves the factory.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Final

import structlog

from terminal.device_conditions import condition_of, reason_of
from terminal.errors import ReaderNotInstalled, ReaderUnavailable
from terminal.scanners.code_scanner import CODE_CHARS_MAX, CodeScanner
from terminal.scanners.typed_codes import TypedCodes
from terminal.scanners.us_keyboard import ENDS, KEY_CAPSLOCK, SHIFTS, SILENT, type_key

if TYPE_CHECKING:
    import evdev

SCHEME: Final = "wedge:"
SILENCE_MS: Final = 1_000
"""A scan without a key for so long has broken off: wireless scanners pause 200 ms, a busy till more."""
READ_MS_MAX: Final = 50
"""One wait for keys; how soon a deadline and the end of a scan are noticed."""
LINE_CHARS_MAX: Final = CODE_CHARS_MAX + 1
"""Characters kept of a scan: enough to see that it is too long."""

_EV_SYN: Final = 0
_EV_KEY: Final = 1
_SYN_DROPPED: Final = 3
"""The kernel had no room for all events: what was typed is lost in part."""
_RELEASED: Final = 0
_PRESSED: Final = 1
_NS_PER_MS: Final = 1_000_000

_log = structlog.get_logger(__name__)


class WedgeScanner(CodeScanner):
    """Reads codes from one input device, which nobody else gets anything of meanwhile."""

    def __init__(self, device: str) -> None:
        """Name the device without opening it."""
        self.path = SCHEME + device
        self._path = device
        self._device: evdev.InputDevice[str] | None = None
        self._keys = _Keys()

    @property
    def seen_ns(self) -> int:
        """When the end of the last code was read; see `CodeScanner.seen_ns`."""
        return self._keys.codes.taken_ns

    def open(self) -> None:
        """Take the device and grab it; see `CodeScanner.open`."""
        try:
            import evdev
        except ImportError:
            raise ReaderNotInstalled("a scanner that types as a keyboard needs evdev") from None
        self.close()
        try:
            self._device = evdev.InputDevice(self._path)
            # EBUSY where another program has grabbed it.
            self._device.grab()
        except OSError as error:
            self.close()
            raise ReaderUnavailable(
                f"the device does not open: {reason_of(error)}", code=condition_of(error)
            ) from None

    def wait_for_code(self, timeout_ms: int) -> str | None:
        """Return the next code typed; see `CodeScanner.wait_for_code`."""
        if self._device is None:
            raise ReaderUnavailable("the device is not open")
        device = self._device
        return self._keys.codes.wait(
            timeout_ms, lambda until_ns: self._keys.feed(self._read(device, until_ns), time.monotonic_ns())
        )

    def close(self) -> None:
        """Give the device back; see `CodeScanner.close`."""
        device, self._device = self._device, None
        self._keys.clear()
        if device is None:
            return
        try:
            # The kernel ends the grab with the descriptor.
            device.close()
        except OSError as error:
            _log.info("wedge_close_failed", reader=self.path, error=type(error).__name__)

    def _read(self, device: evdev.InputDevice[str], deadline_ns: int) -> list[tuple[int, int, int]]:
        """Return what has come as type, code and value, waiting for a first event if there is none."""
        wait_ms = min(READ_MS_MAX, max(0, deadline_ns - time.monotonic_ns()) // _NS_PER_MS)
        try:
            if not select.select([device.fd], [], [], wait_ms / 1000)[0]:
                return []
            events = [(event.type, event.code, event.value) for event in device.read()]
        except BlockingIOError:
            return []
        except (OSError, ValueError) as error:
            raise ReaderUnavailable(
                f"the device is gone: {reason_of(error)}", code="reader_unplugged"
            ) from None
        if not events:
            # Ready to read and nothing there: the end of a file, which a device has when it is pulled.
            raise ReaderUnavailable("the device is gone", code="reader_unplugged")
        return events


class _Keys:
    """Turns keys into codes; keeps no more than one bounded scan and some codes."""

    def __init__(self) -> None:
        self._line: list[str] = []
        self._line_ns = 0
        self._is_spoilt = False
        self._shifts: set[int] = set()
        self._is_caps = False
        self.codes = TypedCodes()

    def feed(self, events: list[tuple[int, int, int]], now_ns: int) -> None:
        """Take what was read just now; only a read that found nothing proves silence."""
        if events:
            self._line_ns = now_ns
        elif (self._line or self._is_spoilt) and now_ns - self._line_ns > SILENCE_MS * _NS_PER_MS:
            self._break_off(now_ns)
        for kind, code, value in events:
            if kind == _EV_SYN and code == _SYN_DROPPED:
                self._is_spoilt = True
            elif kind == _EV_KEY:
                self._take(code, value, now_ns)

    def clear(self) -> None:
        """Forget everything."""
        self._line.clear()
        self._shifts.clear()
        self.codes.clear()
        self._is_spoilt = self._is_caps = False

    def _take(self, key: int, value: int, now_ns: int) -> None:
        if key in SHIFTS:
            (self._shifts.discard if value == _RELEASED else self._shifts.add)(key)
        elif value != _PRESSED or key in SILENT:
            # A release, or a key that repeats because it is held: typed once is typed once.
            return
        elif key == KEY_CAPSLOCK:
            self._is_caps = not self._is_caps
        elif key in ENDS:
            self._end(now_ns)
        elif len(self._line) < LINE_CHARS_MAX:
            self._line.append(type_key(key, is_shifted=bool(self._shifts), is_caps=self._is_caps))

    def _end(self, now_ns: int) -> None:
        if self._is_spoilt:
            self._break_off(now_ns)
            return
        text = "".join(self._line)
        self._line.clear()
        self.codes.add(text, now_ns)

    def _break_off(self, now_ns: int) -> None:
        _log.warning("half_scan_dropped", char_count=len(self._line))
        self._line.clear()
        self._is_spoilt = False
        self.codes.add_half(now_ns)
