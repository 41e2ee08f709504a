"""An approved sale prints its receipt; a printer that fails stops nothing."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from terminal.config import PrinterSettings
from terminal.receipts import desk as receipt_desk
from tests.terminal.conftest import GatewayStandIn, Till, make_presentation, until
from wire.messages.till import SaleEventKind

StartTill = Callable[..., Awaitable[Till]]
ESC_POS_RASTER = b"\x1dv0"
"""GS v 0, the raster picture command (Epson ESC/POS reference)."""


async def test_approved_sale_is_printed_once_and_a_declined_one_is_not(
    start_till: StartTill, gateway: GatewayStandIn, tmp_path: Path
) -> None:
    paper = tmp_path / "printer"
    paper.touch()
    till = await start_till(printer=PrinterSettings(device=str(paper)))
    gateway.decline_codes.extend(["insufficient_funds", None])
    await till.start_sale()
    till.readers.present(make_presentation(1))
    await till.wait_for(SaleEventKind.DECLINED)
    till.readers.present(make_presentation(2))
    await till.wait_for(SaleEventKind.APPROVED)
    await until(lambda: paper.read_bytes().count(ESC_POS_RASTER) >= 1)
    await till.stop()
    assert paper.read_bytes().count(ESC_POS_RASTER) == 1


async def test_missing_printer_stops_no_sale(start_till: StartTill, tmp_path: Path) -> None:
    till = await start_till(printer=PrinterSettings(device=str(tmp_path / "no" / "printer")))
    for number in range(2):
        await till.start_sale()
        till.readers.present(make_presentation(number))
        await till.wait_for(SaleEventKind.APPROVED)


async def test_hanging_printer_stops_no_sale_and_what_waits_for_it_has_a_bound(
    start_till: StartTill, gateway: GatewayStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of paper: it takes some bytes and no more. More sales go on than this process has threads."""
    monkeypatch.setattr(receipt_desk, "STOP_GRACE_S", 0.1)
    os.mkfifo(path := tmp_path / "lp0")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    till = await start_till(printer=PrinterSettings(device=str(path)))
    sales = receipt_desk.SLIPS_WAITING_MAX + (os.cpu_count() or 1) + 6
    for number in range(sales):
        await till.start_sale()
        till.readers.present(make_presentation(number))
        await till.wait_for(SaleEventKind.APPROVED)
    assert len(gateway.booked) == sales
    await till.stop()
    os.close(reader)
