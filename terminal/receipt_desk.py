"""Receipts of approved sales: as text, as a picture, and on paper where the till has a printer."""

from __future__ import annotations

import asyncio
import io
from typing import Final

import structlog

from terminal.config import PrinterSettings
from terminal.errors import TerminalError
from terminal.till_api.routes import Receiptable, ReceiptMakers
from wire.messages.till import SaleEvent, SaleEventKind

STOP_GRACE_MS: Final = 3_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ReceiptDesk:
    """Makes receipts in the till's language; a printer that fails stops no sale."""

    def __init__(self, language: str, printer: PrinterSettings | None) -> None:
        self._language = language
        self._printer = printer
        self._printing: set[asyncio.Task[None]] = set()

    @property
    def makers(self) -> ReceiptMakers:
        """The two forms that the till API serves."""
        return ReceiptMakers(text=self._make_text, png=self._make_png)

    def take(self, event: SaleEvent) -> None:
        """Print the receipt of a sale just approved or accepted offline, in the background."""
        paid: Receiptable | None = None
        if event.kind is SaleEventKind.APPROVED:
            paid = event.sale.answer
        elif event.kind is SaleEventKind.ACCEPTED_OFFLINE:
            paid = event.sale.offline
        if self._printer is None or paid is None:
            return
        task = asyncio.create_task(self._print(paid, self._printer.device))
        self._printing.add(task)
        task.add_done_callback(self._printing.discard)

    async def stop(self) -> None:
        """Let the receipt that is being printed come out, for a bounded time."""
        if self._printing:
            await asyncio.wait(self._printing, timeout=STOP_GRACE_MS / 1000)

    async def _print(self, paid: Receiptable, device: str) -> None:
        try:
            await asyncio.to_thread(_print_receipt, paid, device)
        except TerminalError as error:
            # Paper runs out and cables fall out; the payment stands, and the till can show the receipt.
            log.warning("receipt_not_printed", attempt_id=paid.attempt_id, reason=str(error))
        except Exception:
            log.exception("receipt_not_printed", attempt_id=paid.attempt_id)

    def _make_text(self, answer: Receiptable) -> str:
        from terminal.receipts.text import format_receipt

        return format_receipt(answer, self._language)

    def _make_png(self, answer: Receiptable) -> bytes:
        from terminal.receipts.raster import render_receipt

        buffer = io.BytesIO()
        render_receipt(answer).save(buffer, format="PNG")
        return buffer.getvalue()


def _print_receipt(answer: Receiptable, device: str) -> None:
    # Imported here: a till without a printer never loads an imaging library.
    from terminal.receipts.printer import print_receipt
    from terminal.receipts.raster import render_receipt

    print_receipt(render_receipt(answer), device)
