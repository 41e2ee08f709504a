"""The TOML file a simulated world is made from: its devices, its people, and what they carry.

The file holds no key and no secret: everything of that kind is drawn from the seed and the thing's own
name, so adding a card changes no other card, and the same file is the same world byte for byte.
An unknown key is an error naming it: a misspelt limit must not be silently no limit.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from simulators.errors import WorldFileInvalid
from wire.errors import MoneyError
from wire.messages.base import Message
from wire.messages.payments import EntryMode
from wire.money import Currency, Money, find_currency, parse_money

FILE_BYTES_MAX: Final = 256 * 1024
"""Largest world or scenario file; the one of the demo has under 10 KiB."""
THINGS_MAX: Final = 64
"""Most entries of one kind."""

ThingName = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9-]{0,39}$", max_length=40)]
AmountText = Annotated[str, msgspec.Meta(max_length=18)]
"""A decimal such as "12.50" in the world's currency, as a person writes it."""

T = TypeVar("T", bound=Message)


class FieldKind(StrEnum):
    """What carries a card to a driver."""

    UDP = "udp"
    """nfcpy's UDP radio: needs nothing of the machine."""
    PN532 = "pn532"
    """A PN532 chip on a pseudo-terminal."""
    VPCD = "vpcd"
    """A slot of pcscd's virtual reader; needs pcscd with vsmartcard's driver, and root."""


class FieldEntry(Message, frozen=True, kw_only=True):
    """A radio field that a till's reader looks into."""

    name: ThingName
    kind: FieldKind


class ScreenEntry(Message, frozen=True, kw_only=True):
    """What a till's camera sees; a phone is held before it."""

    name: ThingName


class GunEntry(Message, frozen=True, kw_only=True):
    """A handheld scanner on a pseudo-terminal."""

    name: ThingName


class TillEntry(Message, frozen=True, kw_only=True):
    """A till and the fields, screens and guns that belong to it."""

    name: ThingName
    devices: list[ThingName]


class ShopEntry(Message, frozen=True, kw_only=True):
    """The merchant the tills belong to."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    location: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    fee_basis_points: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0


class WalletEntry(Message, frozen=True, kw_only=True):
    """Somebody's money."""

    name: ThingName
    holder: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    funds: AmountText
    pin: Annotated[str, msgspec.Meta(pattern="^[0-9]{4,12}$", max_length=12)] | None = None
    frozen: bool = False
    identity: Literal["anonymous", "basic", "verified"] | None = None
    """How much is known of the holder, which decides the limit tier; the gateway's own default else."""


class InstrumentEntry(Message, frozen=True, kw_only=True):
    """Something to pay with, from one wallet; limits left out are the gateway's own."""

    name: ThingName
    wallet: ThingName
    label: Annotated[str, msgspec.Meta(max_length=40)] = ""
    per_payment: AmountText | None = None
    per_day: AmountText | None = None
    confirm_above: AmountText | None = None
    """More than this asks the holder."""
    weakest_entry_mode: EntryMode | None = None
    suspended: bool = False
    registered: bool = True
    """False: no gateway has heard of it."""
    allowance: AmountText | None = None
    """Set aside before anything else happens, for payments without a connection."""

    @property
    def amounts(self) -> list[tuple[str, AmountText]]:
        """Every amount that is given, by its key."""
        keys = ("per_payment", "per_day", "confirm_above", "allowance")
        return [(key, getattr(self, key)) for key in keys if getattr(self, key) is not None]


class ForeignCardEntry(Message, frozen=True, kw_only=True):
    """A card of somebody else's system."""

    name: ThingName
    broken: bool = False
    """It answers nonsense."""


class UidTagEntry(Message, frozen=True, kw_only=True):
    """A tag with a number and nothing else: no wallet accepts it."""

    name: ThingName


class BlankCardEntry(Message, frozen=True, kw_only=True):
    """An NTAG 424 chip as delivered, to be made a card at a till."""

    name: ThingName


class WorldFile(Message, frozen=True, kw_only=True):
    """A whole world."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    currency: str
    shop: ShopEntry
    tills: list[TillEntry]
    fields: list[FieldEntry] = msgspec.field(default_factory=list)
    screens: list[ScreenEntry] = msgspec.field(default_factory=list)
    guns: list[GunEntry] = msgspec.field(default_factory=list)
    wallets: list[WalletEntry] = msgspec.field(default_factory=list)
    phones: list[InstrumentEntry] = msgspec.field(default_factory=list)
    applet_cards: list[InstrumentEntry] = msgspec.field(default_factory=list)
    ntag_cards: list[InstrumentEntry] = msgspec.field(default_factory=list)
    uid_tags: list[UidTagEntry] = msgspec.field(default_factory=list)
    blank_cards: list[BlankCardEntry] = msgspec.field(default_factory=list)
    foreign_cards: list[ForeignCardEntry] = msgspec.field(default_factory=list)

    def money(self, amount: str) -> Money:
        """Read an amount of this file in its currency; `MoneyError` if it is none."""
        return parse_money(amount, self.iso_currency)

    @property
    def iso_currency(self) -> Currency:
        """The currency everything here is counted in."""
        return find_currency(self.currency)

    @property
    def instruments(self) -> list[InstrumentEntry]:
        """Everything that can pay, in the order of the file."""
        return [*self.phones, *self.applet_cards, *self.ntag_cards]

    @property
    def plain_names(self) -> list[str]:
        """Every tag and card that no wallet stands behind."""
        return [card.name for kind in (self.uid_tags, self.foreign_cards, self.blank_cards) for card in kind]

    @property
    def device_names(self) -> list[str]:
        """Every field, screen and gun."""
        fields = [entry.name for entry in self.fields]
        screens = [entry.name for entry in self.screens]
        return [*fields, *screens, *(entry.name for entry in self.guns)]

    def till_of(self, device: str) -> str:
        """Return the till a device belongs to; `WorldFileInvalid` if none has it."""
        for till in self.tills:
            if device in till.devices:
                return till.name
        raise WorldFileInvalid(f"no till has a device named {device}")


def load_world_file(path: Path) -> WorldFile:
    """Read and check a world.

    Raises:
        WorldFileInvalid: unreadable, no TOML, an unknown or misplaced key (named), a name used twice, a
            reference to nothing, an amount that is none.
    """
    return check_world(load_toml(path, WorldFile))


def load_toml(path: Path, kind: type[T]) -> T:
    """Read a TOML file as the given message; the error names the file and the key."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise WorldFileInvalid(f"{path}: {error.strerror}") from None
    if len(text) > FILE_BYTES_MAX:
        raise WorldFileInvalid(f"{path}: longer than {FILE_BYTES_MAX} bytes")
    try:
        return msgspec.convert(tomllib.loads(text.decode("utf-8")), kind)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WorldFileInvalid(f"{path}: {error}") from None


def check_world(world: WorldFile) -> WorldFile:
    """Return the world if its names and amounts hold together, else raise `WorldFileInvalid`."""
    _check_counts(world)
    _check_names(world)
    _check_amounts(world)
    _check_references(world)
    return world


def _check_counts(world: WorldFile) -> None:
    devices = (world.tills, world.fields, world.screens, world.guns)
    carried = (world.wallets, world.instruments, world.uid_tags, world.blank_cards)
    if max(len(kind) for kind in (*devices, *carried)) > THINGS_MAX:
        raise WorldFileInvalid(f"more than {THINGS_MAX} of one kind")


def _check_names(world: WorldFile) -> None:
    instruments = [entry.name for entry in world.instruments]
    _refuse_repeats([*world.device_names, *instruments, *world.plain_names])
    _refuse_repeats([wallet.name for wallet in world.wallets])
    _refuse_repeats([till.name for till in world.tills])
    _refuse_repeats([device for till in world.tills for device in till.devices])


def _refuse_repeats(names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise WorldFileInvalid(f"the name {name} is used {count} times")


def _check_amounts(world: WorldFile) -> None:
    try:
        amounts = [("funds", wallet.funds) for wallet in world.wallets]
        amounts += [each for entry in world.instruments for each in entry.amounts]
        for key, amount in amounts:
            _check_amount(world, key, amount)
    except MoneyError as error:
        raise WorldFileInvalid(f"currency: {error}") from None


def _check_amount(world: WorldFile, key: str, amount: str) -> None:
    currency = world.iso_currency
    try:
        parse_money(amount, currency)
    except MoneyError as error:
        raise WorldFileInvalid(f"{key} = {amount!r}: {error}") from None


def _check_references(world: WorldFile) -> None:
    wallets = {wallet.name for wallet in world.wallets}
    for entry in world.instruments:
        if entry.wallet not in wallets:
            raise WorldFileInvalid(f"{entry.name}: there is no wallet named {entry.wallet}")
    devices = set(world.device_names)
    for till in world.tills:
        for device in till.devices:
            if device not in devices:
                raise WorldFileInvalid(f"{till.name}: there is no device named {device}")
