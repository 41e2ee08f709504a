"""Receipts of approved sales: as text, as a picture, and on paper where the till has a printer."""

from __future__ import annotations

import asyncio
import io
from typing import Final

import structlog

from terminal.config import PrinterSettings
from terminal.errors import TerminalError
from terminal.till_api.routes import ReceiptMakers
from wire.messages.payments import PaymentAnswer
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
        """Print the receipt of a sale that has just been approved, in the background."""
        answer = event.sale.answer
        if self._printer is None or event.kind is not SaleEventKind.APPROVED or answer is None:
            return
        task = asyncio.create_task(self._print(answer, self._printer.device))
        self._printing.add(task)
        task.add_done_callback(self._printing.discard)

    async def stop(self) -> None:
        """Let the receipt that is being printed come out, for a bounded time."""
        if self._printing:
            await asyncio.wait(self._printing, timeout=STOP_GRACE_MS / 1000)

    async def _print(self, answer: PaymentAnswer, device: str) -> None:
        try:
            await asyncio.to_thread(_print_receipt, answer, device)
        except TerminalError as error:
            # Paper runs out and cables fall out; the payment stands, and the till can show the receipt.
            log.warning("receipt_not_printed", payment_id=answer.payment_id, reason=str(error))
        except Exception:
            log.exception("receipt_not_printed", payment_id=answer.payment_id)

    def _make_text(self, answer: PaymentAnswer) -> str:
        from terminal.receipts.text import format_receipt

        return format_receipt(answer, self._language)

    def _make_png(self, answer: PaymentAnswer) -> bytes:
        from terminal.receipts.raster import render_receipt

        buffer = io.BytesIO()
        render_receipt(answer).save(buffer, format="PNG")
        return buffer.getvalue()


def _print_receipt(answer: PaymentAnswer, device: str) -> None:
    # Imported here: a till without a printer never loads an imaging library.
    from terminal.receipts.printer import print_receipt
    from terminal.receipts.raster import render_receipt

    print_receipt(render_receipt(answer), device)
