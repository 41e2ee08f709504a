"""What is said to a running world through its control interface, and what it answers.

An order names things by the names of the world file. Everything secret that a gateway must know to
accept an instrument is in the inventory: these are keys of a toy world, drawn from a seed in a file.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from simulators.faults.catalogue import DeviceFault
from simulators.world.file import ThingName
from wire.messages.base import Message

FormatName = Annotated[str, msgspec.Meta(max_length=20)]
CapMinor = Annotated[int, msgspec.Meta(ge=1, le=999_999_999_999)]


class CodeForm(StrEnum):
    """How a pay code is written."""

    CPM = "cpm"
    """EMVCo consumer-presented QR."""
    BASE45 = "base45"
    BASE32 = "base32"
    NUMERIC = "numeric"
    """Eighteen digits the gateway gave; before a camera they are a Code 128 barcode."""


class HeldState(StrEnum):
    """What stands between a phone or applet card and its signature at this tap."""

    READY = "ready"
    LOCKED = "locked"
    """The device is locked."""
    BLOCKED = "blocked"
    """Its wallet is blocked."""
    ASKING = "asking"
    """It wants its owner to agree on it first."""


class AnswerKind(StrEnum):
    """Whose signature a tap brings."""

    OWN = "own"
    FORGED = "forged"
    """Made up by somebody who has not the key."""
    STALE = "stale"
    """Played back from another tap."""


class PresentOrder(Message, frozen=True, kw_only=True):
    """Put a card or a phone on a field."""

    thing: ThingName
    tamper_amount_minor: CapMinor | None = None
    """The card signs this amount instead of the one asked for, as a relay would have it do."""
    tear_at_apdu: Annotated[int, msgspec.Meta(ge=1, le=32)] | None = None
    """Pull it out at this command of the next tap, counted from 1."""
    relayed_terminal: Annotated[str, msgspec.Meta(min_length=8, max_length=8)] | None = None
    """The card signs for the till of this id, as a relay to another shop would have it do."""
    held: HeldState = HeldState.READY
    answer: AnswerKind = AnswerKind.OWN


class CodeOrder(Message, frozen=True, kw_only=True):
    """Have a phone make a fresh pay code."""

    phone: ThingName
    form: CodeForm = CodeForm.CPM
    cap_minor: CapMinor = 10_000
    life_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 60
    age_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0
    """Seconds ago that it was made: more than `life_s` and it has expired."""
    ahead_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0
    """How many seconds the phone's clock is ahead."""
    forged: bool = False
    """Its signature is not the phone's: somebody made it up."""


class ShowOrder(Message, frozen=True, kw_only=True):
    """Hold a phone before a camera: with a fresh code, or with the screenshot of its last one."""

    code: CodeOrder | None = None
    screenshot_of: ThingName | None = None
    distortion: FormatName = "clean"


class ScanOrder(Message, frozen=True, kw_only=True):
    """Pull a scanner gun's trigger: at a text, a fresh code, or the screenshot of a phone's last one."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)] | None = None
    code: CodeOrder | None = None
    screenshot_of: ThingName | None = None


class CloneOrder(Message, frozen=True, kw_only=True):
    """Copy a card with the counter it has now; the copy is a thing of its own."""

    name: ThingName


class FaultOrder(Message, frozen=True, kw_only=True):
    """Let a device have a fault, or a card or phone on it; simulators/faults/catalogue.py says which may."""

    fault: DeviceFault
    thing: ThingName | None = None
    other: ThingName | None = None
    at: Annotated[int, msgspec.Meta(ge=1, le=32)] | None = None
    """The command of the tap at which it happens, counted from 1."""
    ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None


class AllowanceOrder(Message, frozen=True, kw_only=True):
    """Have a phone or applet card set money aside for payments without a connection."""

    amount_minor: CapMinor
    forged: bool = False
    """Vouched for by somebody who is not the gateway; nothing is set aside."""


class DecisionOrder(Message, frozen=True, kw_only=True):
    """Have a phone's owner answer what its wallet is asked: agree, or refuse."""

    agreed: bool


class PayOrder(Message, frozen=True, kw_only=True):
    """Have a phone's owner scan a till's code and pay what it asks for."""

    code_text: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Decided(Message, frozen=True, kw_only=True):
    """How many payments the owner answered."""

    count: int


class Done(Message, frozen=True, kw_only=True):
    """The order was carried out."""


class DeviceView(Message, frozen=True, kw_only=True):
    """A field, screen or gun, and what to write into terminal.toml to read from it."""

    name: str
    kind: str
    reader_path: str = ""
    off_reason: str = ""
    """Why it is not there; empty when it is."""


class ThingView(Message, frozen=True, kw_only=True):
    """A phone, card or tag, and what a gateway must be told to accept it."""

    name: str
    kind: str
    """An instrument kind of the gateway (`phone_key`, `applet_card`, `ntag424_card`), `uid_tag`, or
    `blank_card`, which a till has yet to make a card of."""
    public_key_hex: str = ""
    uid_hex: str = ""
    batch: int | None = None


class CardKeysView(Message, frozen=True, kw_only=True):
    """The keys of the batch that the NTAG 424 cards of this world were personalised with."""

    batch: int
    meta_key_hex: str
    file_master_hex: str


class Inventory(Message, frozen=True, kw_only=True):
    """Everything in a world."""

    seed: int
    devices: list[DeviceView]
    things: list[ThingView]
    card_keys: CardKeysView
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    """What a till's daemon needs in its environment to reach this world's own pcscd."""
