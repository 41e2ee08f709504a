"""One till of the demo: rings up a sale, has something presented, and waits for what comes of it."""

from __future__ import annotations

import asyncio
from typing import Final

from simulators.demo.scenario import (
    Presenting,
    ScanStep,
    ShowStep,
    TapStep,
    cap_minor_of,
    carrier_of,
)
from simulators.demo.tally import Outcome, code_of
from simulators.demo.till_client import TillClient
from simulators.errors import ProcessFailed
from simulators.world.client import WorldClient
from simulators.world.file import WorldFile
from simulators.world.messages import CodeOrder, PresentOrder, ScanOrder, ShowOrder
from wire.messages.till import SaleEvent, SaleEventKind, SaleState

SALE_DEADLINE_MS: Final = 15_000
"""How long readers stay armed for one shopper."""
OUTCOME_TIMEOUT_S: Final = SALE_DEADLINE_MS / 1000 + 25
"""Deadline of the sale, and then the daemon's own patience with the gateway."""
CANCEL_TRIES_MAX: Final = 600
CANCEL_PAUSE_S: Final = 0.05
HANDS_AWAY_S: Final = 0.8
"""How long a till is left alone after a card or phone was taken away. Stock pcscd notices a removal up
to 0.4 s late and nfcpy 0.2 s (readers.md, sections 1 and 2): a faster hand looks like the same card."""

_OPEN_STATES: Final = frozenset(
    {SaleState.ARMED, SaleState.READING, SaleState.SUBMITTING, SaleState.CONFIRMING}
)


class Checkout:
    """A till, the things before it, and one shopper at a time."""

    def __init__(self, till: TillClient, world: WorldClient, file: WorldFile) -> None:
        """Sell at `till`, with things of `world`."""
        self.till = till
        self._world = world
        self._file = file
        self._free_at_s = 0.0

    async def sell(self, step: Presenting) -> Outcome:
        """Ring up a sale, present what the step says, and return what came of it.

        Raises:
            ProcessFailed: the daemon or the world did not do its part.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._free_at_s - loop.time()))
        self._forget_events()
        sale = await self.till.start_sale(self._file.money(step.amount).minor, SALE_DEADLINE_MS)
        held_out_s = loop.time()
        try:
            await self._present(step)
            event = await self._find_outcome(sale.sale_id)
            shopper_ms = (loop.time() - held_out_s) * 1000
        finally:
            await self._withdraw(step)
            self._free_at_s = loop.time() + HANDS_AWAY_S
        await self._close(sale.sale_id)
        return await self._describe(step, event, shopper_ms)

    def _forget_events(self) -> None:
        while not self.till.events.empty():
            self.till.events.get_nowait()

    async def _present(self, step: Presenting) -> None:
        match step:
            case TapStep():
                await self._world.present(step.field, self._tap_order(step))
            case ShowStep():
                await self._world.show(step.screen, self._show_order(step))
            case ScanStep():
                await self._world.scan(step.gun, self._scan_order(step))

    async def _withdraw(self, step: Presenting) -> None:
        match step:
            case TapStep():
                await self._world.remove(step.field)
            case ShowStep():
                await self._world.blank(step.screen)
            case ScanStep():
                pass  # a trigger that was pulled leaves nothing behind

    async def _find_outcome(self, sale_id: str) -> SaleEvent | None:
        try:
            async with asyncio.timeout(OUTCOME_TIMEOUT_S):
                while True:
                    event = await self.till.events.get()
                    if event.sale.sale_id == sale_id and code_of(event) is not None:
                        return event
        except TimeoutError:
            return None

    async def _close(self, sale_id: str) -> None:
        """Cancel what is left of a sale, so that the till is free for the next one.

        An attempt that is on its way cannot be cancelled; it is waited for.
        """
        for _ in range(CANCEL_TRIES_MAX):
            if (await self.till.find_sale(sale_id)).state not in _OPEN_STATES:
                return
            await self.till.cancel_sale(sale_id)
            await asyncio.sleep(CANCEL_PAUSE_S)
        raise ProcessFailed(f"{self.till.name}: a sale could not be ended")

    async def _describe(self, step: Presenting, event: SaleEvent | None, shopper_ms: float) -> Outcome:
        amount_minor = self._file.money(step.amount).minor
        if event is None:
            return Outcome(self.till.name, carrier_of(step), "no_outcome", amount_minor)
        answer = event.sale.answer
        receipt = ""
        if event.kind is SaleEventKind.APPROVED:
            receipt = await self.till.read_receipt(event.sale.sale_id)
        return Outcome(
            till=self.till.name,
            carrier=carrier_of(step),
            code=code_of(event) or "no_outcome",
            amount_minor=answer.amount_minor if answer is not None else amount_minor,
            mode=answer.entry_mode if answer is not None else event.entry_mode,
            reader=event.reader,
            tap_to_answer_ms=event.tap_to_answer_ms,
            shopper_ms=shopper_ms,
            receipt=receipt,
        )

    def _tap_order(self, step: TapStep) -> PresentOrder:
        tampered = step.tamper_amount
        return PresentOrder(
            thing=step.thing,
            tamper_amount_minor=self._file.money(tampered).minor if tampered is not None else None,
            tear_at_apdu=step.tear_at_apdu,
        )

    def _show_order(self, step: ShowStep) -> ShowOrder:
        if step.screenshot:
            return ShowOrder(screenshot_of=step.phone, distortion=step.distortion)
        return ShowOrder(code=self._code_order(step), distortion=step.distortion)

    def _scan_order(self, step: ScanStep) -> ScanOrder:
        if step.screenshot:
            return ScanOrder(screenshot_of=step.phone)
        return ScanOrder(code=self._code_order(step))

    def _code_order(self, step: ShowStep | ScanStep) -> CodeOrder:
        return CodeOrder(
            phone=step.phone,
            form=step.form,
            cap_minor=cap_minor_of(step, self._file),
            life_s=step.life_s,
            age_s=step.age_s,
        )
