"""Every fault that a device of a world can be ordered to have, with one line of explanation.

`tapscan-sim fault list`, the table in docs/faults.md and the world's own checks are all made from this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

UDP, PN532, VPCD, SCREEN, GUN = "udp", "pn532", "vpcd", "screen", "gun"
FIELDS: Final = (UDP, PN532, VPCD)
MS_DEFAULT: Final = 1_000
COUNT_DEFAULT: Final = 12
AT_APDU_DEFAULT: Final = 2
FOR_EVER_MS: Final = 0
"""As a duration: until it is mended."""


class DeviceFault(StrEnum):
    """The name a fault is ordered by."""

    UNPLUG = "unplug"
    HANG = "hang"
    NOISE = "noise"
    SERVICE_RESTART = "service-restart"
    SERVICE_DOWN = "service-down"
    MUTE = "mute"
    SLOW = "slow"
    GARBAGE = "garbage"
    TEAR = "tear"
    BRIEF = "brief"
    SWAP = "swap"
    TWO_CARDS = "two-cards"
    ODD_CARD = "odd-card"
    STALL = "stall"
    FLOOD = "flood"
    BROKEN_PICTURE = "broken-picture"
    TWO_CODES = "two-codes"
    HALF = "half"
    NO_SUFFIX = "no-suffix"
    BURST = "burst"


class FaultOption(StrEnum):
    """What an order may say besides."""

    THING = "thing"
    OTHER = "other"
    AT = "at"
    MS = "ms"
    COUNT = "count"


THING, OTHER, AT, MS, COUNT = FaultOption


@dataclass(frozen=True, slots=True)
class FaultEntry:
    """One fault."""

    fault: DeviceFault
    devices: tuple[str, ...]
    """Kinds of devices that can have it."""
    needs: tuple[FaultOption, ...]
    may: tuple[FaultOption, ...]
    text: str
    """What happens, in one line."""


CATALOGUE: Final = (
    FaultEntry(
        DeviceFault.UNPLUG,
        (PN532, SCREEN, GUN),
        (),
        (MS,),
        "The cable is pulled, and put back after --ms (0: when mended).",
    ),
    FaultEntry(
        DeviceFault.HANG, (PN532,), (), (MS,), "The reader's chip takes commands and answers none for --ms."
    ),
    FaultEntry(
        DeviceFault.NOISE, (PN532, GUN), (), (COUNT,), "--count random bytes come down the serial line."
    ),
    FaultEntry(
        DeviceFault.SERVICE_RESTART, (VPCD,), (), (), "pcscd is ended and started again, as by an update."
    ),
    FaultEntry(DeviceFault.SERVICE_DOWN, (VPCD,), (), (MS,), "pcscd is gone for --ms (0: until mended)."),
    FaultEntry(
        DeviceFault.MUTE,
        FIELDS,
        (THING,),
        (AT, MS),
        "A card that never answers from command --at on; it is taken away after --ms.",
    ),
    FaultEntry(
        DeviceFault.SLOW,
        FIELDS,
        (THING,),
        (AT, MS),
        "A card that thinks --ms before every answer from command --at on; it stays on the reader.",
    ),
    FaultEntry(
        DeviceFault.GARBAGE,
        FIELDS,
        (THING,),
        (AT,),
        "A card that answers rubbish from command --at on; it stays on the reader.",
    ),
    FaultEntry(DeviceFault.TEAR, FIELDS, (THING,), (AT,), "A card that is pulled away at command --at."),
    FaultEntry(
        DeviceFault.BRIEF, FIELDS, (THING,), (MS,), "A card that is there for --ms only: shorter than a look."
    ),
    FaultEntry(
        DeviceFault.SWAP,
        FIELDS,
        (THING, OTHER),
        (AT,),
        "At command --at another card takes the first one's place, inside one look; it stays on the reader.",
    ),
    FaultEntry(
        DeviceFault.TWO_CARDS,
        (PN532,),
        (THING, OTHER),
        (),
        "Two cards lie on the reader at once, as in a purse; both stay.",
    ),
    FaultEntry(
        DeviceFault.ODD_CARD,
        FIELDS,
        (THING,),
        (),
        "A card whose first answer (ATS, ATR) is malformed: libraries raise on it; it stays on the reader.",
    ),
    FaultEntry(
        DeviceFault.STALL, (SCREEN,), (), (MS,), "The camera keeps its connection and sends nothing for --ms."
    ),
    FaultEntry(
        DeviceFault.FLOOD,
        (SCREEN,),
        (THING,),
        (COUNT,),
        "--count different codes of a phone pass the camera, one in every picture.",
    ),
    FaultEntry(
        DeviceFault.BROKEN_PICTURE, (SCREEN,), (), (MS,), "The camera sends pictures cut in half for --ms."
    ),
    FaultEntry(
        DeviceFault.TWO_CODES,
        (SCREEN,),
        (THING, OTHER),
        (),
        "Two phones with a code each are held before the camera; both stay.",
    ),
    FaultEntry(DeviceFault.HALF, (GUN,), (THING,), (), "The scanner types half a code and stops."),
    FaultEntry(
        DeviceFault.NO_SUFFIX, (GUN,), (THING,), (), "The scanner types a whole code without ending the line."
    ),
    FaultEntry(
        DeviceFault.BURST,
        (GUN,),
        (THING,),
        (COUNT,),
        "The scanner types --count different codes without a pause.",
    ),
)

_BY_FAULT: Final = {entry.fault: entry for entry in CATALOGUE}


def find_entry(fault: DeviceFault) -> FaultEntry:
    """Return a fault's entry; every fault has one."""
    return _BY_FAULT[fault]


def faults_of(kind: str) -> list[DeviceFault]:
    """Return what a kind of device can have, in the catalogue's order."""
    return [entry.fault for entry in CATALOGUE if kind in entry.devices]


def dump_catalogue() -> str:
    """Write the catalogue as a Markdown table."""
    rows = ["| fault | devices | needs | may say | what happens |", "|---|---|---|---|---|"]
    rows += [
        f"| `{entry.fault}` | {', '.join(entry.devices)} | {_options(entry.needs)} "
        f"| {_options(entry.may)} | {entry.text} |"
        for entry in CATALOGUE
    ]
    return "\n".join(rows) + "\n"


def _options(options: tuple[FaultOption, ...]) -> str:
    return " ".join(f"`--{option}`" for option in options)
