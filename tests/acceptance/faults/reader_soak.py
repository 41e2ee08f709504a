"""Sales at one till while its readers, scanners and what is held to them fail in every way there is.

A real daemon process (`tapscan-terminal run`) drives its real drivers over simulated devices, and pays
through a real gateway process; the devices live in a world in this process, which is ordered its faults by
name, as `tapscan-sim fault` orders them. So all between a reader's wire and the books is the product's.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from gateway.holders.model import InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.office import open_office
from simulators.cards.apdu_card import ApduCard
from simulators.faults.catalogue import (
    GUN,
    PN532,
    SCREEN,
    UDP,
    VPCD,
    DeviceFault,
    FaultOption,
    faults_of,
    find_entry,
)
from simulators.fields.private_pcscd import find_missing
from simulators.world.file import WorldFile, check_world
from simulators.world.messages import CodeOrder, FaultOrder, PresentOrder, ScanOrder, ShowOrder
from simulators.world.service import own_pcscd
from simulators.world.world import Surroundings, World
from tests.acceptance.faults.shopfront import EUR, Shopfront, open_shopfront
from tests.acceptance.faults.till_process import OPEN_STATES
from wire.messages.till import ReaderState, ReaderView, SaleState, SaleView
from wire.money import Money

CARDS: Final = ("card-a", "card-b")
PHONES: Final = ("phone-a", "phone-b")
FUNDS_MINOR: Final = 100_000_000
LIMIT_MINOR: Final = 90_000_000
AMOUNT_MINOR_MAX: Final = 999
READY_S_MAX: Final = 45.0
NOTICE_S_MAX: Final = 4.0
PAY_S_MAX: Final = 15.0
PAY_TRIES_MAX: Final = 4
POLL_S: Final = 0.01
CANCEL_ONE_IN: Final = 6
"""So many sales are given up by the cashier after the fault instead of being paid."""
LONG_SILENCE_ONE_IN: Final = 8
"""So many silent cards are silent for longer than a driver call may last."""
LASTING: Final = frozenset(
    {
        DeviceFault.UNPLUG,
        DeviceFault.HANG,
        DeviceFault.SERVICE_DOWN,
        DeviceFault.STALL,
        DeviceFault.BROKEN_PICTURE,
    }
)
"""What is wrong with the device itself for a time; the others are over, or lie on it."""


@dataclass(frozen=True)
class Seen:
    """One fault and what came of it."""

    number: int
    kind: str
    fault: DeviceFault
    noticed: bool
    """Whether the device was called faulty."""
    recovery_ms: int | None
    """The daemon's own figure: from the fault being noticed to ready again."""
    healed_ms: int | None
    """From the device being sound again to ready."""
    state: SaleState
    tries: int
    violations: tuple[str, ...]


@dataclass
class Soak:
    """A shop whose till has one device of every kind."""

    shopfront: Shopfront
    world: World
    rng: random.Random
    kinds: dict[str, str]
    """Device name to kind."""
    paths: dict[str, str]
    instruments: dict[str, str]
    """Thing to instrument id."""
    shown: dict[str, SaleState] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    presented: dict[str, set[str]] = field(default_factory=dict)
    """By order: the instruments that were held to a device in its sale."""

    async def run(self, count: int, each: Callable[[Seen], None]) -> list[Seen]:
        """Sell so often, one fault in every sale."""
        pairs = [(name, fault) for name, kind in self.kinds.items() for fault in faults_of(kind)]
        # Every pair in turn, in an order of the seed's, so that a short run has met most of them.
        deck: list[tuple[str, DeviceFault]] = []
        seen = []
        for number in range(count):
            if not deck:
                deck = self.rng.sample(pairs, len(pairs))
            name, fault = deck.pop()
            seen.append(await self._sell(number, name, fault))
            each(seen[-1])
        return seen

    async def _sell(self, number: int, name: str, fault: DeviceFault) -> Seen:
        order_id = f"order-{number}"
        amount_minor = self.rng.randint(1, AMOUNT_MINOR_MAX)
        self.presented[order_id], self.amounts[order_id] = set(), amount_minor
        before = await self._view(name)
        sale = await self.shopfront.till.start_sale(amount_minor, order_id)
        order = self._draw(order_id, fault)
        await self.world.fault(name, order)
        begun = time.monotonic()
        noticed, healed_ms = await self._see_through(name, order, sale.sale_id, before, begun)
        tries = await self._finish(name, order_id, sale.sale_id)
        ended = await self.shopfront.till.find_sale(sale.sale_id)
        self.shown[order_id] = ended.state
        violations = await self._check_end(name, ended)
        after = await self._view(name)
        recovered = after.fault_count > before.fault_count
        return Seen(
            number=number,
            kind=self.kinds[name],
            fault=fault,
            noticed=noticed or recovered,
            recovery_ms=after.recovery_ms_last if recovered else None,
            healed_ms=healed_ms,
            state=ended.state,
            tries=tries,
            violations=tuple(violations),
        )

    def _draw(self, order_id: str, fault: DeviceFault) -> FaultOrder:
        entry = find_entry(fault)
        codes = {
            DeviceFault.FLOOD,
            DeviceFault.TWO_CODES,
            DeviceFault.HALF,
            DeviceFault.NO_SUFFIX,
            DeviceFault.BURST,
        }
        things = list(PHONES if fault in codes else (*CARDS, *PHONES))
        thing, other = self.rng.sample(things, 2)
        options = {*entry.needs, *entry.may}
        order = FaultOrder(
            fault=fault,
            thing=thing if FaultOption.THING in options else None,
            other=other if FaultOption.OTHER in options else None,
            at=self.rng.randint(1, 2) if FaultOption.AT in options else None,
            ms=self._draw_ms(fault) if FaultOption.MS in options else None,
            count=self.rng.randint(4, 30) if FaultOption.COUNT in options else None,
        )
        for held in (order.thing, order.other):
            if held is not None:
                self.presented[order_id].add(self.instruments[held])
        return order

    def _draw_ms(self, fault: DeviceFault) -> int:
        if fault is DeviceFault.MUTE and self.rng.randrange(LONG_SILENCE_ONE_IN) == 0:
            return self.rng.randint(10_000, 12_000)
        low, high = {
            DeviceFault.BRIEF: (1, 60),
            DeviceFault.SLOW: (50, 900),
            DeviceFault.STALL: (500, 4_000),
            DeviceFault.BROKEN_PICTURE: (300, 3_000),
        }.get(fault, (200, 2_500))
        return self.rng.randint(low, high)

    async def _see_through(
        self, name: str, order: FaultOrder, sale_id: str, before: ReaderView, begun: float
    ) -> tuple[bool, int | None]:
        """Wait until a fault was noticed and is over; say whether, and how soon after it all was well."""
        lasts_s = (order.ms or 0) / 1000 if order.fault in LASTING or order.fault is DeviceFault.MUTE else 0.0

        async def has_come() -> bool:
            view = await self._view(name)
            is_felt = view.fault_count > before.fault_count
            is_felt = is_felt or view.presentation_count > before.presentation_count
            sale = await self.shopfront.till.find_sale(sale_id)
            return (is_felt and sale.state is not SaleState.READING) or sale.state not in OPEN_STATES

        await _until(has_come, NOTICE_S_MAX + lasts_s)
        noticed = (await self._view(name)).fault_count > before.fault_count
        if order.fault not in LASTING:
            await self.world.mend(name)
            ended = time.monotonic()
        else:
            ended = begun + lasts_s
            await asyncio.sleep(max(0.0, ended - time.monotonic()))
        is_ready = await _until(self._all_ready, READY_S_MAX)
        assert is_ready, f"{order}: {[msgspec.to_builtins(view) for view in await self._views()]}"
        return noticed, int((time.monotonic() - ended) * 1000)

    async def _finish(self, name: str, order_id: str, sale_id: str) -> int:
        """Pay at the device that failed, or give the sale up; return how often it was tried."""
        till = self.shopfront.till
        if (await till.find_sale(sale_id)).state not in OPEN_STATES:
            return 0
        if self.rng.randrange(CANCEL_ONE_IN) == 0:
            try:
                await till.call("DELETE", f"/v1/sales/{sale_id}")
            except AssertionError:
                # An answer was on its way: the sale is paid instead.
                await till.wait_for_sale(sale_id)
            return 0
        for tries in range(1, PAY_TRIES_MAX + 1):
            before = await self._view(name)
            await self._present(name, order_id)

            async def is_over(before: ReaderView = before) -> bool:
                sale = await till.find_sale(sale_id)
                if sale.state not in OPEN_STATES:
                    return True
                view = await self._view(name)
                return view.presentation_count > before.presentation_count and sale.state is SaleState.ARMED

            await _until(is_over, PAY_S_MAX)
            await self._withdraw(name)
            if (await till.find_sale(sale_id)).state not in OPEN_STATES:
                return tries
        return PAY_TRIES_MAX + 1

    async def _present(self, name: str, order_id: str) -> None:
        if self.kinds[name] in (SCREEN, GUN):
            thing = self.rng.choice(PHONES)
            self.presented[order_id].add(self.instruments[thing])
            code = CodeOrder(phone=thing)
            if self.kinds[name] == SCREEN:
                await self.world.show(name, ShowOrder(code=code))
            else:
                await self.world.scan(name, ScanOrder(code=code))
            return
        thing = self.rng.choice((*CARDS, *PHONES))
        self.presented[order_id].add(self.instruments[thing])
        await asyncio.to_thread(self.world.present, name, PresentOrder(thing=thing))

    async def _withdraw(self, name: str) -> None:
        if self.kinds[name] == SCREEN:
            self.world.blank(name)
        elif self.kinds[name] != GUN:
            await asyncio.to_thread(self.world.remove, name)

    async def _check_end(self, name: str, ended: SaleView) -> list[str]:
        """Return what is wrong after the sale's end: every device must be ready and none armed."""
        violations = []
        if ended.state in OPEN_STATES:
            violations.append(f"{ended.order_id}: still {ended.state}")
            await self.shopfront.till.call("DELETE", f"/v1/sales/{ended.sale_id}")
        if not await _until(self._all_ready, READY_S_MAX):
            violations.append(f"{ended.order_id}: not healthy")
        if any(view.is_armed for view in await self._views()):
            violations.append(f"{ended.order_id}: armed after its end")
        if self.kinds[name] in (UDP, PN532, VPCD):
            violations += await self._check_field_is_off(name, ended.order_id)
        return violations

    async def _check_field_is_off(self, name: str, order_id: str) -> list[str]:
        """Lay a card on the reader that nobody armed: it must be asked nothing."""
        card = self.world.card_in_hand(CARDS[0])
        assert isinstance(card, ApduCard)
        count = len(card.received)
        await asyncio.to_thread(self.world.present, name, PresentOrder(thing=CARDS[0]))
        for _ in range(3):
            await self._views()
        await asyncio.to_thread(self.world.remove, name)
        return [f"{order_id}: a card was read after the end"] if len(card.received) != count else []

    async def compare_books(self) -> list[str]:
        """Return where what the till showed, what was presented and what was booked differ."""
        violations = [f"{one.code}: {one.where}" for one in await self.shopfront.findings()]
        charged: dict[str, list[Any]] = {}
        for payment in (await self.shopfront.read_books()).payments:
            if payment.approved:
                charged.setdefault(payment.order_id, []).append(payment)
        for order_id, state in self.shown.items():
            payments = charged.pop(order_id, [])
            if len(payments) > 1:
                violations.append(f"{order_id}: charged {len(payments)} times")
            if bool(payments) is not (state is SaleState.APPROVED):
                violations.append(f"{order_id}: shown {state}, charged {len(payments)} times")
            for payment in payments:
                if payment.amount_minor != self.amounts[order_id]:
                    violations.append(f"{order_id}: another amount")
                if payment.instrument_id not in self.presented[order_id]:
                    payer = next(
                        (name for name, id_ in self.instruments.items() if id_ == payment.instrument_id), "?"
                    )
                    violations.append(f"{order_id}: paid by {payer}, who presented nothing")
        violations += [f"{order_id}: charged without a sale" for order_id in charged]
        return violations

    async def _views(self) -> list[ReaderView]:
        return (await self.shopfront.till.find_daemon()).readers

    async def _view(self, name: str) -> ReaderView:
        return next(view for view in await self._views() if view.path == self.paths[name])

    async def _all_ready(self) -> bool:
        return all(view.state is ReaderState.READY for view in await self._views())


@asynccontextmanager
async def open_soak(folder: Path, seed: int) -> AsyncIterator[Soak]:
    """Furnish the shop, start its processes, and end all of them at the end of the block."""
    kinds = {"radio": UDP, "chip": PN532, "camera": SCREEN, "gun": GUN}
    if not find_missing():
        kinds["slot"] = VPCD
    file = _make_world(seed, kinds)
    with own_pcscd(file) as pcscd:
        slots = () if pcscd is None else pcscd.slots
        world = World(file, Surroundings(_now_ms, os.urandom, slots, None, pcscd))
        await world.start()
        try:
            paths = {view.name: view.reader_path for view in world.list_everything().devices}
            environment = world.list_everything().environment
            async with open_shopfront(
                folder, seed, list(paths.values()), environment=environment
            ) as shopfront:
                instruments = await _register(shopfront, world)
                yield Soak(shopfront, world, random.Random(seed), kinds, paths, instruments)
        finally:
            await world.stop()


def count_resources(soak: Soak) -> dict[str, int]:
    """Return what the daemon's process holds: threads and descriptors, which faults must not pile up."""
    process = psutil.Process(soak.shopfront.till.process_id)
    return {"threads": process.num_threads(), "descriptors": process.num_fds()}


def _make_world(seed: int, kinds: dict[str, str]) -> WorldFile:
    wallet = {"name": "wallet", "holder": "Ana", "funds": "1"}
    text = {
        "seed": seed,
        "currency": "EUR",
        "shop": {"name": "Shop", "location": "Here"},
        "tills": [{"name": "till", "devices": list(kinds)}],
        "fields": [{"name": n, "kind": k} for n, k in kinds.items() if k in (UDP, PN532, VPCD)],
        "screens": [{"name": n} for n, k in kinds.items() if k == SCREEN],
        "guns": [{"name": n} for n, k in kinds.items() if k == GUN],
        "wallets": [wallet],
        "phones": [{"name": name, "wallet": "wallet"} for name in PHONES],
        "applet_cards": [{"name": name, "wallet": "wallet"} for name in CARDS],
    }
    return check_world(msgspec.convert(text, WorldFile))


async def _register(shopfront: Shopfront, world: World) -> dict[str, str]:
    """Give each thing of the world a wallet with money in it."""
    instruments = {}
    now_ms = _now_ms()
    async with open_office(shopfront.gateway.config, {}, os.urandom) as office:
        for thing in world.list_everything().things:
            wallet = await office.holders.add_wallet(thing.name, "EUR", now_ms=now_ms)
            await office.holders.fund_wallet(wallet.wallet_id, Money(FUNDS_MINOR, EUR), now_ms=now_ms)
            new = NewInstrument(
                wallet.wallet_id,
                InstrumentKind(thing.kind),
                bytes.fromhex(thing.public_key_hex),
                per_day_minor=LIMIT_MINOR,
            )
            instruments[thing.name] = (await office.holders.add_instrument(new, now_ms=now_ms)).instrument_id
    return instruments


async def _until(condition: Callable[[], Awaitable[bool]], limit_s: float) -> bool:
    """Wait for something that the daemon tells when it is asked; say whether it came."""
    deadline = time.monotonic() + limit_s
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
