"""A receipt on paper: ESC/POS over the network, a device file or a serial line.

    tcp:HOST:PORT                          a printer in the network, usually on port 9100
    serial:/dev/ttyUSB0?baud=19200         a serial one; 9600 baud where none is given
    /dev/usb/lp0   or   file:/dev/usb/lp0  a device file, or any file

ESC/POS has no receipt of its own: that a printer took the bytes does not prove that paper came out.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from escpos.exceptions import Error as EscposError
from escpos.printer import Dummy, Network, Serial
from PIL import Image

from terminal.errors import ConfigurationError, PrinterUnavailable

TIMEOUT_S: Final = 10.0
"""How long a printer may refuse to take more: paper out, cover open, cable pulled."""
SERIAL_BAUD: Final = 9_600

# A profile with a known width of 576 dots and a cutter: without one, the library prints advice about
# profiles on standard output at every picture.
_PROFILE: Final = "TM-T20II"

_TCP: Final = re.compile(r"tcp:(?P<host>[^:]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})", re.ASCII)
_SERIAL: Final = re.compile(r"serial:(?P<device>[^?]+)(?:\?baud=(?P<baud>[0-9]{3,7}))?", re.ASCII)
_FILE: Final = re.compile(r"(?:file:)?(?P<path>/.+)")


def print_receipt(image: Image.Image, destination: str) -> None:
    """Print a picture and cut the paper; blocks until the printer has taken it all.

    A failure half-way leaves half a receipt on paper; printing again prints a whole one.

    Args:
        image: as `render_receipt` draws it.
        destination: one of the forms above.

    Raises:
        PrinterUnavailable: there is no such printer, or it stopped taking bytes; retryable.
        ConfigurationError: the destination is of none of the forms.
    """
    if match := _FILE.fullmatch(destination):
        with _translated_errors():
            _write_file(match["path"], encode_receipt(image))
        return
    printer = _make_printer(destination)
    with _translated_errors():
        try:
            _open(printer)
            _print(printer, image)
        finally:
            printer.close()


def encode_receipt(image: Image.Image) -> bytes:
    """Return the bytes that `print_receipt` sends to a printer."""
    printer = Dummy(profile=_PROFILE)
    _print(printer, image)
    output: bytes = printer.output
    return output


# The library's printers share a base that it does not export with types; hence Any, and only in here.
def _print(printer: Any, image: Image.Image) -> None:
    # Forget what a broken-off job or another program left set.
    printer.hw("INIT")
    printer.image(image, impl="bitImageRaster")
    printer.cut()


def _write_file(path: str, content: bytes) -> None:
    """Write to a device file without waiting longer than TIMEOUT_S for it to take more.

    The library's own printer for files blocks in open and write for as long as the paper is out.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        while content:
            if not select.select([], [descriptor], [], TIMEOUT_S)[1]:
                raise TimeoutError("the printer takes no more")
            with suppress(BlockingIOError):
                content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)


def _open(printer: Any) -> None:
    if isinstance(printer, Network):
        # The library forgets an open socket when connecting fails, and knows IPv4 only.
        printer.device = socket.create_connection((printer.host, printer.port), TIMEOUT_S)
        return
    printer.open()
    if isinstance(printer, Serial):
        # The library sets no limit to writing, and a printer that holds its line would keep us for ever.
        printer.device.write_timeout = TIMEOUT_S


def _make_printer(destination: str) -> Any:
    if match := _TCP.fullmatch(destination):
        return Network(match["host"].strip("[]"), int(match["port"]), profile=_PROFILE)
    if match := _SERIAL.fullmatch(destination):
        baud = int(match["baud"] or SERIAL_BAUD)
        return Serial(match["device"], baudrate=baud, timeout=TIMEOUT_S, profile=_PROFILE)
    raise ConfigurationError("a printer is tcp:HOST:PORT, serial:DEVICE or a path")


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (EscposError, OSError, OverflowError) as error:
        # The library's own errors come from opening; a hang-up or a full buffer raises the system's; a
        # port above 65535 overflows.
        raise PrinterUnavailable(f"the printer failed: {type(error).__name__}") from error
