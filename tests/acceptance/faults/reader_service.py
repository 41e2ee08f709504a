"""pcscd is restarted in the middle of a tap: the sale goes on, nobody is charged twice, the reader heals."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from simulators.fields.private_pcscd import PrivatePcscd
from simulators.fields.vpcd import VpcdSlot
from tests.acceptance.faults.shopfront import FUNDS_MINOR, HookedCard, open_shopfront
from wire.messages.till import SaleState

AMOUNT_MINOR = 1_250


async def run_reader_service(folder: Path, seed: int, restarts: int) -> dict[str, Any]:
    """Restart pcscd at a command of the tap in each sale, tap again, and return what was seen."""
    pcscd = PrivatePcscd(("Faults",))
    pcscd.start()
    try:
        return await _run(pcscd, folder, seed, restarts)
    finally:
        pcscd.stop()


async def _run(pcscd: PrivatePcscd, folder: Path, seed: int, restarts: int) -> dict[str, Any]:
    virtual = pcscd.slots[0]
    slot = VpcdSlot(virtual.port, reader_name=virtual.reader_name)
    seen: dict[str, Any] = {"sales": 0, "approved": 0, "restarts": 0}
    async with open_shopfront(folder, seed, [slot.reader_path], environment=pcscd.environment) as shopfront:
        for number in range(restarts):
            restarting: list[threading.Thread] = []

            def restart(restarting: list[threading.Thread] = restarting) -> None:
                # Beside the card's answer, as pcscd goes away while the daemon waits for it.
                restarting.append(threading.Thread(target=pcscd.restart))
                restarting[0].start()

            sale = await shopfront.till.start_sale(AMOUNT_MINOR, f"order-{number}")
            card = shopfront.phone.payment_card()
            slot.present(HookedCard(card, shopfront.rng.randint(1, 2), restart))
            ended = await shopfront.till.wait_for_sale(sale.sale_id)
            slot.remove()
            for thread in restarting:
                thread.join()
            seen["restarts"] += len(restarting)
            seen["sales"] += 1
            seen["approved"] += ended.state is SaleState.APPROVED
            await shopfront.wait_for_readers()
        books = await shopfront.read_books()
        paid = [payment for payment in books.payments if payment.approved]
        seen["charges"] = len(paid)
        seen["charged_minor"] = FUNDS_MINOR - await shopfront.balance_minor()
        seen["findings"] = [f"{one.code}: {one.where}" for one in await shopfront.findings()]
    return seen
