"""Receipts on paper, from the answer to the bytes a printer gets and back to a QR that scans."""

from __future__ import annotations

import os
import pty
import socket
import struct
import threading
import tty
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import zxingcpp
from PIL import Image, ImageChops
from pyzbar import pyzbar

from terminal.errors import ConfigurationError, PrinterUnavailable
from terminal.receipts import printer
from terminal.receipts.printer import encode_receipt, print_receipt
from terminal.receipts.raster import render_receipt
from wire.messages.payments import PaymentAnswer
from wire.notices import NoticeKind, find_notice

_TIMEOUT_S = 10
_INITIALISE = b"\x1b@"
_RASTER = b"\x1dv0\x00"


@dataclass
class PrinterSink:
    """A network printer that never runs out of paper."""

    listener: socket.socket
    received: bytearray = field(default_factory=bytearray)
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def destination(self) -> str:
        host, port = self.listener.getsockname()
        return f"tcp:{host}:{port}"

    def serve_one(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            while chunk := connection.recv(65_536):
                self.received += chunk
        self.closed.set()


@pytest.fixture
def sink() -> Iterator[PrinterSink]:
    """A listening printer on a free loopback port that serves one job."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_TIMEOUT_S)
        printer = PrinterSink(listener)
        thread = threading.Thread(target=printer.serve_one, daemon=True)
        thread.start()
        yield printer
        thread.join(_TIMEOUT_S)


def _read_paper(job: bytes) -> Image.Image:
    """Do what a printer does: initialise, burn each GS v 0 raster below the last, feed, cut.

    Source: Epson ESC/POS reference, GS v 0: m, width in bytes and height in dots, both little-endian,
    then rows from the top, the high bit to the left, 1 is black.
    """
    assert job.startswith(_INITIALISE)
    rest = job[len(_INITIALISE) :]
    strips = []
    while rest.startswith(_RASTER):
        row_bytes, height_px = struct.unpack_from("<HH", rest, len(_RASTER))
        start = len(_RASTER) + 4
        end = start + row_bytes * height_px
        black = Image.frombytes("1", (row_bytes * 8, height_px), rest[start:end])
        strips.append(ImageChops.invert(black))
        rest = rest[end:]
    assert rest == b"\x1bd\x06\x1dV\x00", "feed six lines and cut, nothing else"
    paper = Image.new("1", (strips[0].width, sum(strip.height for strip in strips)))
    top_px = 0
    for strip in strips:
        paper.paste(strip, (0, top_px))
        top_px += strip.height
    return paper


def test_the_qr_scans_from_what_a_network_printer_burnt(approved: PaymentAnswer, sink: PrinterSink) -> None:
    image = render_receipt(approved)
    print_receipt(image, sink.destination)
    assert sink.closed.wait(_TIMEOUT_S)

    paper = _read_paper(bytes(sink.received))

    assert paper.tobytes() == image.tobytes()
    expected = "R1:01ARYZ6S410000000000000000:000042"
    assert [code.text for code in zxingcpp.read_barcodes(paper.convert("L"))] == [expected]
    assert [code.data.decode() for code in pyzbar.decode(paper.convert("L"))] == [expected]


def test_the_qr_leads_to_the_receipts_page_where_there_is_one(approved: PaymentAnswer) -> None:
    assert approved.receipt is not None
    url = "https://pay.example.com/r/01ARYZ6S4100000000000000007ZZZZZZZZZZZZZZZZZZZZZZZZZ"
    facts = msgspec.structs.replace(approved.receipt, page_url=url)
    paper = _read_paper(encode_receipt(render_receipt(msgspec.structs.replace(approved, receipt=facts))))
    assert [code.text for code in zxingcpp.read_barcodes(paper.convert("L"))] == [url]
    assert [code.data.decode() for code in pyzbar.decode(paper.convert("L"))] == [url]


def test_a_receipt_longer_than_one_strip_comes_out_whole(approved: PaymentAnswer) -> None:
    image = Image.new("1", (384, 2_000), 1)
    image.paste(render_receipt(approved), (0, 700))
    assert _read_paper(encode_receipt(image)).tobytes() == image.tobytes()


def test_a_device_file_gets_the_same_bytes(approved: PaymentAnswer, tmp_path: Path) -> None:
    image = render_receipt(approved)
    for name, destination in (("lp0", str(tmp_path / "lp0")), ("lp1", f"file:{tmp_path / 'lp1'}")):
        (tmp_path / name).touch()
        print_receipt(image, destination)
    assert (tmp_path / "lp0").read_bytes() == encode_receipt(image)
    assert (tmp_path / "lp1").read_bytes() == encode_receipt(image)


def test_a_device_file_that_is_not_there_is_not_made(approved: PaymentAnswer, tmp_path: Path) -> None:
    """An unplugged printer's file is gone; a plain file in its place would swallow every receipt."""
    with pytest.raises(PrinterUnavailable):
        print_receipt(render_receipt(approved), str(tmp_path / "lp0"))
    assert list(tmp_path.iterdir()) == []


def test_a_device_file_that_nobody_serves_or_that_takes_no_more_keeps_nobody(
    approved: PaymentAnswer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printer, "TIMEOUT_S", 0.2)
    os.mkfifo(path := tmp_path / "lp0")
    image = Image.new("1", (384, 20_000), 1)
    with pytest.raises(PrinterUnavailable):
        print_receipt(image, str(path))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(PrinterUnavailable):
            print_receipt(image, str(path))
    finally:
        os.close(reader)


def test_a_serial_printer_gets_the_same_bytes(approved: PaymentAnswer) -> None:
    image = render_receipt(approved)
    expected = encode_receipt(image)
    received = bytearray()
    printer_end, till_end = pty.openpty()
    tty.setraw(till_end)

    def drain() -> None:
        while len(received) < len(expected):
            received.extend(os.read(printer_end, 4_096))

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    print_receipt(image, f"serial:{os.ttyname(till_end)}?baud=115200")
    thread.join(_TIMEOUT_S)
    os.close(till_end)
    os.close(printer_end)
    assert bytes(received) == expected


def test_nothing_is_written_to_standard_output(
    approved: PaymentAnswer, capfd: pytest.CaptureFixture[str]
) -> None:
    """The library prints advice about printer profiles unless it knows the paper's width."""
    encode_receipt(render_receipt(approved))
    assert capfd.readouterr().out == ""


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    "destination",
    ["tcp:127.0.0.1:{closed_port}", "tcp:127.0.0.1:99999", "/nonexistent/lp0", "serial:/dev/nonexistent"],
)
def test_a_printer_that_is_not_there_is_unavailable(approved: PaymentAnswer, destination: str) -> None:
    with pytest.raises(PrinterUnavailable) as caught:
        print_receipt(render_receipt(approved), destination.format(closed_port=_closed_port()))
    assert caught.value.retryable
    assert find_notice(caught.value.code).kind is NoticeKind.PROBLEM


# More than the buffers of a narrow connection hold, so that what the printer does meets unsent bytes.
_LONG = Image.new("1", (576, 30_000), 0)


def _narrow_listener() -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_a_printer_that_hangs_up_is_unavailable() -> None:
    with _narrow_listener() as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(PrinterUnavailable):
            print_receipt(_LONG, f"tcp:127.0.0.1:{listener.getsockname()[1]}")
        thread.join(_TIMEOUT_S)


def test_a_printer_that_takes_no_more_is_unavailable_after_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(printer, "TIMEOUT_S", 0.2)
    with _narrow_listener() as listener, pytest.raises(PrinterUnavailable):
        # Connected by the backlog and never read: paper out.
        print_receipt(_LONG, f"tcp:127.0.0.1:{listener.getsockname()[1]}")


def test_a_serial_printer_that_takes_no_more_is_unavailable_after_the_timeout(
    approved: PaymentAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printer, "TIMEOUT_S", 0.2)
    printer_end, till_end = pty.openpty()
    tty.setraw(till_end)
    try:
        with pytest.raises(PrinterUnavailable):
            print_receipt(render_receipt(approved), f"serial:{os.ttyname(till_end)}")
    finally:
        os.close(printer_end)
        os.close(till_end)


@pytest.mark.parametrize(
    "destination", ["", "usb", "tcp:host", "tcp::9100", "serial:", "serial:/dev/x?baud=fast", "file:lp0"]
)
def test_a_destination_of_no_known_form_is_a_mistake_of_configuration(
    approved: PaymentAnswer, destination: str
) -> None:
    with pytest.raises(ConfigurationError):
        print_receipt(render_receipt(approved), destination)
