"""From a device path in terminal.toml to the driver that serves it.

    pcsc:READER NAME                        pcsc.py
    contactless:usb                         contactless.py (any nfcpy path, and tty:/dev/…:pn532)
    camera:0, camera:http://…, camera:file:… camera.py
    serial:/dev/ttyACM0[?baud=9600&end=line] serial_scanner.py (end=silence: codes without CR or LF)
    wedge:/dev/input/by-id/…-event-kbd      wedge_scanner.py (a scanner that types as a keyboard; grabbed)

A driver's module is imported only when a path asks for it, and its library only when it is opened: a till
without a camera needs no OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qs

from terminal.errors import ConfigurationError
from terminal.readers.card_reader import CardReader
from terminal.scanners.code_scanner import CodeScanner

BAUD_MIN: Final = 1_200
BAUD_MAX: Final = 4_000_000
BAUD_DEFAULT: Final = 9_600


def make_device(path: str) -> CardReader | CodeScanner:
    """Make the driver of a device path, without opening the device.

    Raises:
        ConfigurationError: no such scheme, or what follows it does not name a device.
    """
    scheme, _, rest = path.partition(":")
    maker = _MAKERS.get(scheme)
    if maker is None:
        raise ConfigurationError(f"a device path begins with one of {', '.join(sorted(_MAKERS))}")
    if not rest:
        raise ConfigurationError(f"{scheme}: needs to say which device")
    return maker(rest)


def make_card_reader(path: str | None, configured: Sequence[str]) -> CardReader:
    """Make the driver of a card reader: the one of this path, or else the first that is configured.

    Raises:
        ConfigurationError: the path leads to no card reader, or none is configured.
    """
    for candidate in (path,) if path is not None else configured:
        if candidate.partition(":")[0] in _CARD_SCHEMES:
            return _CARD_SCHEMES[candidate.partition(":")[0]](candidate.partition(":")[2])
    raise ConfigurationError("there is no card reader: name one with --reader, or in `devices`")


def _make_pcsc(name: str) -> CardReader:
    from terminal.readers.pcsc import PcscReader

    return PcscReader(name)


def _make_contactless(device: str) -> CardReader:
    from terminal.readers.contactless import SCHEME, ContactlessReader

    return ContactlessReader(SCHEME + device)


def _make_camera(source: str) -> CodeScanner:
    from terminal.scanners.camera import CameraScanner

    return CameraScanner(source)


def _make_serial(device: str) -> CodeScanner:
    from terminal.scanners.serial_scanner import CodeEnd, SerialScanner

    port, _, query = device.partition("?")
    options = parse_qs(query, keep_blank_values=True)
    baud, end = options.pop("baud", [str(BAUD_DEFAULT)]), options.pop("end", [CodeEnd.LINE.value])
    if options or len(baud) != 1 or len(end) != 1:
        raise ConfigurationError("a serial scanner takes ?baud=NUMBER and end=line or end=silence")
    if end[0] not in {known.value for known in CodeEnd}:
        raise ConfigurationError("a serial scanner's end is line or silence")
    return SerialScanner(port, _read_baud(baud[0]), code_end=CodeEnd(end[0]))


def _make_wedge(device: str) -> CodeScanner:
    from terminal.scanners.wedge_scanner import WedgeScanner

    if not device.startswith("/"):
        raise ConfigurationError(
            "a keyboard scanner is an absolute path, such as /dev/input/by-id/…-event-kbd"
        )
    return WedgeScanner(device)


def _read_baud(text: str) -> int:
    baud = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(BAUD_MAX)) else 0
    if not BAUD_MIN <= baud <= BAUD_MAX:
        raise ConfigurationError(f"baud is {BAUD_MIN} to {BAUD_MAX}")
    return baud


_CARD_SCHEMES: Final[dict[str, Callable[[str], CardReader]]] = {
    "pcsc": _make_pcsc,
    "contactless": _make_contactless,
}
_MAKERS: Final[dict[str, Callable[[str], CardReader | CodeScanner]]] = {
    **_CARD_SCHEMES,
    "camera": _make_camera,
    "serial": _make_serial,
    "wedge": _make_wedge,
}
