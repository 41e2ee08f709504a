"""Carries out the faults of simulators/faults/catalogue.py, each at its device's own level.

A device has one fault at a time: the next order mends the one before. What lasts so many milliseconds ends
by itself; `mend` ends it at once.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, cast

from simulators.cards.card import SimulatedCard
from simulators.cards.faulty_card import CardFault, FaultyCard
from simulators.cards.uid_tag import UidTag
from simulators.errors import FaultImpossible
from simulators.faults.catalogue import (
    AT_APDU_DEFAULT,
    COUNT_DEFAULT,
    FOR_EVER_MS,
    MS_DEFAULT,
    VPCD,
    DeviceFault,
    FaultOption,
    find_entry,
)
from simulators.fields.field import Field
from simulators.fields.pn532 import Pn532Device
from simulators.fields.private_pcscd import PrivatePcscd
from simulators.world.belongings import Belongings
from simulators.world.devices import Devices
from simulators.world.messages import CodeOrder, FaultOrder

ATS_WITHOUT_INTERFACE_BYTES: Final = bytes.fromhex("0228")
"""nfcpy indexes behind the end of it."""
ATR_OF_NOTHING: Final = bytes.fromhex("00" * 8)
FLOOD_PICTURE_S: Final = 0.04
NOISE_BYTES: Final = range(256)

MakeCode = Callable[[CodeOrder], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a fault is undone."""

    act: Callable[[], object]
    is_card: bool = False
    """Whether it is a card that is taken away; putting another one there does the same."""
    let_go: Callable[[], None] = lambda: None
    """Ends what the card waits for; does not block."""


class _Swap:
    """A hand that puts another card where the first was torn away, unless it is called off before."""

    def __init__(self, field: Field, other: SimulatedCard) -> None:
        self._field = field
        self._other = other
        self._is_off = False
        self._hand = threading.Lock()

    def put_other(self) -> None:
        with self._hand:
            if not self._is_off:
                self._field.present(self._other)

    def call_off(self) -> None:
        with self._hand:
            self._is_off = True

    def take_away(self) -> None:
        self.call_off()
        self._field.remove()


class DeviceFaults:
    """The faults of one world; call its methods from one event loop."""

    def __init__(
        self,
        devices: Devices,
        belongings: Belongings,
        make_code: MakeCode,
        rng: random.Random,
        pcscd: PrivatePcscd | None,
    ) -> None:
        self._devices = devices
        self._belongings = belongings
        self._make_code = make_code
        self._rng = rng
        self._pcscd = pcscd
        self._running: dict[str, asyncio.Task[None]] = {}
        self._endings: dict[str, _Ending] = {}
        self._doers: dict[DeviceFault, Callable[[str, FaultOrder], Coroutine[Any, Any, None]]] = {
            DeviceFault.UNPLUG: self._unplug,
            DeviceFault.HANG: self._hang,
            DeviceFault.NOISE: self._make_noise,
            DeviceFault.SERVICE_RESTART: self._restart_service,
            DeviceFault.SERVICE_DOWN: self._stop_service,
            DeviceFault.MUTE: self._mute,
            DeviceFault.SLOW: self._slow,
            DeviceFault.GARBAGE: self._garbage,
            DeviceFault.TEAR: self._tear,
            DeviceFault.BRIEF: self._be_brief,
            DeviceFault.SWAP: self._swap,
            DeviceFault.TWO_CARDS: self._two_cards,
            DeviceFault.ODD_CARD: self._odd_card,
            DeviceFault.STALL: self._stall,
            DeviceFault.FLOOD: self._flood,
            DeviceFault.BROKEN_PICTURE: self._break_pictures,
            DeviceFault.TWO_CODES: self._two_codes,
            DeviceFault.HALF: self._half,
            DeviceFault.NO_SUFFIX: self._no_suffix,
            DeviceFault.BURST: self._burst,
        }

    async def order(self, name: str, order: FaultOrder) -> None:
        """Let a device have a fault; returns when it has begun.

        Raises:
            NoSuchThing, DeviceOff: as said.
            FaultImpossible: the device can't have it, or the order lacks or names too much.
        """
        self._check(name, order)
        await self.mend(name)
        await self._doers[order.fault](name, order)

    async def mend(self, name: str) -> None:
        """End a device's fault now; none is no error. Errors as `Devices.find_field`."""
        self._devices.kind_of(name)
        running = self._running.pop(name, None)
        if running is not None:
            running.cancel()
            await asyncio.wait({running})
        await self._end(name)

    def forget_card(self, name: str) -> None:
        """Forget a faulty card on a field, because another takes its place or it is taken away."""
        ending = self._endings.get(name)
        if ending is None or not ending.is_card:
            return
        del self._endings[name]
        ending.let_go()
        running = self._running.pop(name, None)
        if running is not None:
            running.cancel()

    async def stop(self) -> None:
        """Mend everything."""
        for name in {*self._running, *self._endings}:
            await self.mend(name)

    def _check(self, name: str, order: FaultOrder) -> None:
        kind, entry = self._devices.kind_of(name), find_entry(order.fault)
        if kind not in entry.devices:
            raise FaultImpossible(f"a {kind} can't {order.fault}: that is for {', '.join(entry.devices)}")
        for option in entry.needs:
            if getattr(order, option) is None:
                raise FaultImpossible(f"{order.fault} needs --{option}")
        for option in FaultOption:
            known = {*entry.needs, *entry.may}
            if getattr(order, option) is not None and option not in known:
                raise FaultImpossible(f"{order.fault} knows no --{option}")
        if kind == VPCD and order.fault in (DeviceFault.SERVICE_RESTART, DeviceFault.SERVICE_DOWN):
            self._own_pcscd()

    def _end_later(self, name: str, ms: int | None, ending: _Ending) -> None:
        """Undo something after its time, or when it is mended."""
        self._endings[name] = ending
        duration_ms = MS_DEFAULT if ms is None else ms
        if duration_ms != FOR_EVER_MS:
            self._running[name] = asyncio.create_task(self._wait_and_end(name, duration_ms))

    async def _wait_and_end(self, name: str, ms: int) -> None:
        await asyncio.sleep(ms / 1000)
        await self._end(name)

    async def _end(self, name: str) -> None:
        ending = self._endings.pop(name, None)
        if ending is not None:
            ending.let_go()
            await asyncio.to_thread(ending.act)

    # --- cables, chips, services ---

    async def _unplug(self, name: str, order: FaultOrder) -> None:
        plugs: dict[str, Any] = {**self._devices.fields, **self._devices.screens, **self._devices.guns}
        device = plugs[name]
        await asyncio.to_thread(device.stop)
        self._end_later(name, order.ms, _Ending(device.start))

    async def _hang(self, name: str, order: FaultOrder) -> None:
        chip = self._chip(name)
        await asyncio.to_thread(chip.fall_silent)
        self._end_later(name, order.ms, _Ending(chip.wake))

    async def _make_noise(self, name: str, order: FaultOrder) -> None:
        noise = bytes(self._rng.choices(NOISE_BYTES, k=order.count or COUNT_DEFAULT))
        if name in self._devices.guns:
            await asyncio.to_thread(self._devices.find_gun(name).type_bytes, noise)
        else:
            await asyncio.to_thread(self._chip(name).babble, noise)

    async def _restart_service(self, name: str, order: FaultOrder) -> None:
        await asyncio.to_thread(self._own_pcscd().restart)

    async def _stop_service(self, name: str, order: FaultOrder) -> None:
        pcscd = self._own_pcscd()
        await asyncio.to_thread(pcscd.go_down)
        self._end_later(name, order.ms, _Ending(pcscd.start))

    # --- cards ---

    async def _mute(self, name: str, order: FaultOrder) -> None:
        card = FaultyCard(self._card(order.thing), CardFault.MUTE, at_apdu=order.at or AT_APDU_DEFAULT)
        await self._put(name, card)
        self._end_later(name, order.ms, self._endings[name])

    async def _slow(self, name: str, order: FaultOrder) -> None:
        think_s = (MS_DEFAULT if order.ms is None else order.ms) / 1000
        card = self._card(order.thing)
        await self._put(name, FaultyCard(card, CardFault.SLOW, at_apdu=order.at or 1, think_s=think_s))

    async def _garbage(self, name: str, order: FaultOrder) -> None:
        await self._put(name, FaultyCard(self._card(order.thing), CardFault.GARBAGE, at_apdu=order.at or 1))

    async def _tear(self, name: str, order: FaultOrder) -> None:
        card = FaultyCard(self._card(order.thing), CardFault.TORN, at_apdu=order.at or AT_APDU_DEFAULT)
        await self._put(name, card)

    async def _be_brief(self, name: str, order: FaultOrder) -> None:
        field = self._devices.find_field(name)
        await asyncio.to_thread(field.present, self._belongings.find_card(order.thing or ""))
        self._end_later(name, order.ms, _Ending(field.remove, is_card=True))

    async def _swap(self, name: str, order: FaultOrder) -> None:
        swap = _Swap(self._devices.find_field(name), self._card(order.other))
        first = FaultyCard(
            self._card(order.thing),
            CardFault.TORN,
            at_apdu=order.at or AT_APDU_DEFAULT,
            on_torn=swap.put_other,
        )
        await self._put(name, first)
        self._endings[name] = _Ending(swap.take_away, is_card=True, let_go=swap.call_off)

    async def _two_cards(self, name: str, order: FaultOrder) -> None:
        chip = self._chip(name)
        cards = [self._belongings.find_card(thing or "") for thing in (order.thing, order.other)]
        await asyncio.to_thread(chip.present_two, *cards)
        self._endings[name] = _Ending(chip.remove, is_card=True)

    async def _odd_card(self, name: str, order: FaultOrder) -> None:
        # Every field has this besides what the protocol of fields asks for.
        field = cast(Any, self._devices.find_field(name))
        answer = ATR_OF_NOTHING if self._devices.kind_of(name) == VPCD else ATS_WITHOUT_INTERFACE_BYTES
        await asyncio.to_thread(field.present_odd, self._card(order.thing), answer)
        self._endings[name] = _Ending(field.remove, is_card=True)

    async def _put(self, name: str, card: FaultyCard) -> None:
        field: Field = self._devices.find_field(name)
        await asyncio.to_thread(field.present, card)
        self._endings[name] = _Ending(field.remove, is_card=True, let_go=card.let_go)

    # --- screens ---

    async def _stall(self, name: str, order: FaultOrder) -> None:
        screen = self._devices.find_screen(name)
        screen.stall()
        self._end_later(name, order.ms, _Ending(screen.resume))

    async def _break_pictures(self, name: str, order: FaultOrder) -> None:
        screen = self._devices.find_screen(name)
        screen.break_pictures()
        self._end_later(name, order.ms, _Ending(screen.resume))

    async def _flood(self, name: str, order: FaultOrder) -> None:
        from simulators.screens.render import render_frame

        screen = self._devices.find_screen(name)
        texts = await self._codes(order.thing, order.count or COUNT_DEFAULT)
        frames = [await asyncio.to_thread(render_frame, text) for text in texts]

        async def pour() -> None:
            for frame in frames:
                screen.show(frame)
                await asyncio.sleep(FLOOD_PICTURE_S)
            screen.show(None)

        self._endings[name] = _Ending(lambda: screen.show(None))
        self._running[name] = asyncio.create_task(pour())

    async def _two_codes(self, name: str, order: FaultOrder) -> None:
        import numpy as np

        from simulators.screens.render import render_frame

        screen = self._devices.find_screen(name)
        texts = [(await self._codes(thing, 1))[0] for thing in (order.thing, order.other)]
        halves = [await asyncio.to_thread(render_frame, text) for text in texts]
        screen.show(np.hstack(halves))
        self._endings[name] = _Ending(lambda: screen.show(None))

    # --- guns ---

    async def _half(self, name: str, order: FaultOrder) -> None:
        gun, text = self._devices.find_gun(name), (await self._codes(order.thing, 1))[0]
        await asyncio.to_thread(gun.scan_half, text)

    async def _no_suffix(self, name: str, order: FaultOrder) -> None:
        gun, text = self._devices.find_gun(name), (await self._codes(order.thing, 1))[0]
        await asyncio.to_thread(lambda: gun.scan(text, terminator=b""))

    async def _burst(self, name: str, order: FaultOrder) -> None:
        gun = self._devices.find_gun(name)
        for text in await self._codes(order.thing, order.count or COUNT_DEFAULT):
            await asyncio.to_thread(gun.scan, text)

    # --- what they share ---

    def _chip(self, name: str) -> Pn532Device:
        chip = self._devices.find_field(name)
        assert isinstance(chip, Pn532Device), "the catalogue offers this to a PN532 only"
        return chip

    def _card(self, name: str | None) -> SimulatedCard:
        card = self._belongings.find_card(name or "")
        if isinstance(card, UidTag):
            raise FaultImpossible("a plain tag speaks no commands: take a card or a phone")
        return card

    def _own_pcscd(self) -> PrivatePcscd:
        if self._pcscd is None:
            raise FaultImpossible("this world has no pcscd of its own: start it with --pcscd")
        return self._pcscd

    async def _codes(self, phone: str | None, count: int) -> list[str]:
        return [await self._make_code(CodeOrder(phone=phone or "")) for _ in range(count)]
