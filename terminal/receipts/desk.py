"""Receipts of approved sales, and other slips: as text, as a picture, and on paper where there is a printer.

One thread owns the printer and a bounded number of slips wait for it. A printer that hangs keeps that
thread and nobody else: it is none of those that sales, journal and pictures share.
"""

from __future__ import annotations

import asyncio
import io
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from terminal.config import PrinterSettings
from terminal.errors import PrinterUnavailable, TerminalError
from terminal.till_api.routes import Receiptable, ReceiptMakers
from wire.messages.shifts import ShiftView
from wire.messages.till import SaleEvent, SaleEventKind

if TYPE_CHECKING:
    from PIL import Image

STOP_GRACE_S: Final = 3.0
SLIPS_WAITING_MAX: Final = 16
"""Slips that wait for the printer; one more is not printed, and the log says so."""

DrawSlip = Callable[[], "Image.Image"]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ReceiptDesk:
    """Makes receipts in the till's language; a printer that fails stops no sale."""

    def __init__(
        self, language: str, printer: PrinterSettings | None, headings: tuple[str, ...] = ()
    ) -> None:
        """Prepare; the printer's thread starts with the first slip.

        Args:
            headings: whose till it is, for slips that no answer of the gateway names.
        """
        self._language = language
        self._headings = headings
        self._printer = None if printer is None else _PrinterThread(printer.device)

    @property
    def makers(self) -> ReceiptMakers:
        """What the till API serves and prints."""
        return ReceiptMakers(
            text=self._make_text,
            png=self._make_png,
            print=self.print_receipt,
            shift_text=self._make_shift_text,
            shift_png=self._make_shift_png,
            print_shift=self.print_shift,
        )

    def take(self, event: SaleEvent) -> None:
        """Print the receipt of a sale just approved or accepted offline, in the background."""
        paid: Receiptable | None = None
        if event.kind is SaleEventKind.APPROVED:
            paid = event.sale.answer
        elif event.kind is SaleEventKind.ACCEPTED_OFFLINE:
            paid = event.sale.offline
        if self._printer is None or paid is None:
            return
        receipt = paid
        self._printer.put(lambda: _draw_receipt(receipt), what=receipt.attempt_id)

    def print_receipt(self, paid: Receiptable) -> None:
        """Have a receipt printed again, in the background; raises as `print_shift`."""
        if self._printer is None or not self._printer.put(lambda: _draw_receipt(paid), what=paid.attempt_id):
            raise PrinterUnavailable("there is no printer, or too much waits for it")

    def print_shift(self, shift: ShiftView) -> None:
        """Have the slip of a shift printed, in the background.

        Raises:
            PrinterUnavailable: there is no printer, or too much waits for it.
        """
        if self._printer is None or not self._printer.put(
            lambda: self._draw_shift(shift), what=shift.shift_id
        ):
            raise PrinterUnavailable("there is no printer, or too much waits for it")

    async def stop(self) -> None:
        """Let what is being printed come out, for a bounded time."""
        if self._printer is not None:
            await asyncio.to_thread(self._printer.stop)

    def _make_text(self, answer: Receiptable, language: str | None) -> str:
        from terminal.receipts.text import format_receipt

        return format_receipt(answer, language or self._language)

    def _make_png(self, answer: Receiptable) -> bytes:
        return _dump_png(_draw_receipt(answer))

    def _make_shift_text(self, shift: ShiftView) -> str:
        from terminal.receipts.shift_report import make_shift_content
        from terminal.receipts.text import format_content

        return format_content(make_shift_content(shift, self._headings), self._language)

    def _make_shift_png(self, shift: ShiftView) -> bytes:
        return _dump_png(self._draw_shift(shift))

    def _draw_shift(self, shift: ShiftView) -> Image.Image:
        from terminal.receipts.raster import render_content
        from terminal.receipts.shift_report import make_shift_content

        return render_content(make_shift_content(shift, self._headings))


class _PrinterThread:
    """The printer's one owner; left behind where a driver never returns."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._slips: queue.Queue[tuple[DrawSlip, str] | None] = queue.Queue(SLIPS_WAITING_MAX)
        self._thread: threading.Thread | None = None

    def put(self, draw: DrawSlip, *, what: str) -> bool:
        """Queue a slip; False where too many wait."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="printer", daemon=True)
            self._thread.start()
        try:
            self._slips.put_nowait((draw, what))
        except queue.Full:
            log.warning("slip_not_printed", slip=what, reason="too many wait for the printer")
            return False
        return True

    def stop(self) -> None:
        """End after what waits, for a bounded time."""
        if self._thread is not None:
            with suppress(queue.Full):
                self._slips.put_nowait(None)
            self._thread.join(STOP_GRACE_S)

    def _run(self) -> None:
        while (slip := self._slips.get()) is not None:
            draw, what = slip
            try:
                _print_slip(draw(), self._device)
            except TerminalError as error:
                # Paper runs out and cables fall out; the payment stands, and the till can show the receipt.
                log.warning("slip_not_printed", slip=what, reason=str(error))
            except Exception:
                log.exception("slip_not_printed", slip=what)


# Imaging libraries are imported where they are needed: a till without a printer never loads one.


def _draw_receipt(answer: Receiptable) -> Image.Image:
    from terminal.receipts.raster import render_receipt

    return render_receipt(answer)


def _dump_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _print_slip(image: Image.Image, device: str) -> None:
    from terminal.receipts.printer import print_receipt

    print_receipt(image, device)
