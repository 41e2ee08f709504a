"""A small world to test, and what a till's driver does with what is presented in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from simulators.world.file import load_world_file
from simulators.world.messages import Inventory, PresentOrder
from simulators.world.world import Surroundings, World
from terminal.devices.paths import make_device
from terminal.readers.card_reader import CardReader, CardTechnology
from wire import es256
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_terms import PaymentTerms
from wire.cards.presentation_dialogue import read_presentation
from wire.messages.payments import NfcAppPresentation, NfcSdmPresentation
from wire.money import Money, find_currency

NOW_MS = 1_767_225_600_000
EURO = find_currency("EUR")
WORLD = """
seed = 7
currency = "EUR"
[shop]
name = "Shop"
location = "Here"
[[tills]]
name = "till"
devices = ["radio", "second-radio", "chip", "slot", "camera", "gun"]
[[fields]]
name = "radio"
kind = "udp"
[[fields]]
name = "second-radio"
kind = "udp"
[[fields]]
name = "chip"
kind = "pn532"
[[fields]]
name = "slot"
kind = "vpcd"
[[screens]]
name = "camera"
[[guns]]
name = "gun"
[[wallets]]
name = "ana"
holder = "Ana"
funds = "10.00"
[[phones]]
name = "phone"
wallet = "ana"
[[applet_cards]]
name = "applet"
wallet = "ana"
[[ntag_cards]]
name = "link-card"
wallet = "ana"
[[uid_tags]]
name = "tag"
[[blank_cards]]
name = "chip-as-delivered"
[[foreign_cards]]
name = "bank"
[[foreign_cards]]
name = "broken"
broken = true
"""

T = TypeVar("T")


def make_world(path: Path, gateway_url: str | None = None) -> World:
    return World(load_world_file(path), Surroundings(lambda: NOW_MS, bytes, (), gateway_url))


def path_of(world: World, device: str) -> str:
    return next(view.reader_path for view in world.list_everything().devices if view.name == device)


def key_of(inventory: Inventory, thing: str) -> es256.PublicKey:
    view = next(view for view in inventory.things if view.name == thing)
    return es256.load_public_key(bytes.fromhex(view.public_key_hex))


def make_terms() -> PaymentTerms:
    return PaymentTerms(Money(1250, EURO), bytes(8), "M" * 15, "T" * 8, NOW_MS // 1000)


async def with_reader(world: World, device: str, use: Callable[[CardReader], T]) -> T:
    reader = make_device(path_of(world, device))

    def work() -> T:
        reader.open()
        try:
            return use(reader)  # type: ignore[arg-type]
        finally:
            reader.close()

    return await asyncio.to_thread(work)


def read_card(reader: CardReader) -> NfcAppPresentation | NfcSdmPresentation:
    connection = reader.wait_for_card(3_000)
    assert connection is not None
    try:
        assert connection.technology is CardTechnology.ISO_DEP
        return hold_dialogue(read_presentation(make_terms), connection.transmit)
    finally:
        connection.close()


async def tap(world: World, device: str, order: PresentOrder) -> NfcAppPresentation | NfcSdmPresentation:
    world.present(device, order)
    try:
        return await with_reader(world, device, read_card)
    finally:
        world.remove(device)
