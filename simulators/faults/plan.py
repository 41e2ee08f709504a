"""Everything that can go wrong, as data: how often, and for how long. What is left out never happens.

A probability is of one occasion: one request, one commit, one tap, one write. The same data can be drawn
from a seed, written in a TOML file, or spelt out in a test.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec

from simulators.faults.dice import Dice
from simulators.world.file import load_toml
from wire.messages.base import Message

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
DurationMs = Annotated[int, msgspec.Meta(ge=0, le=3_600_000)]

CALM_ONE_IN: Final = 8
"""One drawn plan in so many is without any fault: what must work then is more than what must not break."""


class FaultKind(StrEnum):
    """The name under which a fault is counted."""

    REQUEST_LOST = "request_lost"
    REQUEST_DELAYED = "request_delayed"
    REQUEST_DUPLICATED = "request_duplicated"
    REQUEST_OVERTAKEN = "request_overtaken"
    """A request arrived after one that its sender sent later; follows from delays."""
    ANSWER_LOST = "answer_lost"
    ANSWER_DELAYED = "answer_delayed"
    ANSWER_REPEATED = "answer_repeated"
    LINE_CUT = "line_cut"
    CRASH_BEFORE_COMMIT = "crash_before_commit"
    CRASH_AFTER_COMMIT = "crash_after_commit"
    DATABASE_UNAVAILABLE = "database_unavailable"
    COMMIT_UNCERTAIN = "commit_uncertain"
    CLOCK_SKEWED = "clock_skewed"
    CARD_TORN = "card_torn"
    DOUBLE_TAP = "double_tap"
    READER_UNPLUGGED = "reader_unplugged"
    READER_SERVICE_RESTARTED = "reader_service_restarted"
    POWER_LOST = "power_lost"
    WRITE_TORN = "write_torn"
    """A power loss left half of what was being written; follows from power losses."""
    DISK_FULL = "disk_full"


class NetworkFaults(Message, frozen=True, kw_only=True):
    """Between a client and the gateway; each message has its own luck, so messages overtake each other."""

    request_lost: Probability = 0.0
    request_delayed: Probability = 0.0
    request_duplicated: Probability = 0.0
    """A copy of the same bytes arrives too, sooner or later, unless the gateway dies before: whoever relays a
    request and hears nothing sends it again."""
    answer_lost: Probability = 0.0
    answer_delayed: Probability = 0.0
    answer_repeated: Probability = 0.0
    """The answer to an earlier request of this client comes in the place of the right one."""
    delay_ms_max: DurationMs = 0


class GatewayFaults(Message, frozen=True, kw_only=True):
    """The process that decides dies; what it had not committed is gone."""

    crash_before_commit: Probability = 0.0
    crash_after_commit: Probability = 0.0
    """What was committed stays, and nobody is told."""
    down_ms_max: DurationMs = 0


class DatabaseFaults(Message, frozen=True, kw_only=True):
    """What the gateway stands on."""

    unavailable: Probability = 0.0
    """Nothing is read or written for a while; the gateway lives and says so."""
    commit_uncertain: Probability = 0.0
    """A commit stands although the gateway was told that it failed."""
    outage_ms_max: DurationMs = 0


class ClockFaults(Message, frozen=True, kw_only=True):
    """Clocks that are wrong, each by its own constant."""

    skewed: Probability = 0.0
    """Of one terminal or phone."""
    skew_ms_max: DurationMs = 0


class CardFaults(Message, frozen=True, kw_only=True):
    """What hands do with cards."""

    torn: Probability = 0.0
    """Pulled away in the middle of the dialogue, before or after the command was carried out."""
    double_tap: Probability = 0.0
    """Held there again at once."""


class ReaderFaults(Message, frozen=True, kw_only=True):
    """What happens to a reader while a card lies on it."""

    unplugged: Probability = 0.0
    service_restarted: Probability = 0.0
    """pcscd: shorter than a plug, and the card stays."""
    away_ms_max: DurationMs = 0


class DiskFaults(Message, frozen=True, kw_only=True):
    """What happens to a terminal at one step of one write."""

    power_lost: Probability = 0.0
    """The terminal is off, and what was not synced survives whole, torn or not at all."""
    full: Probability = 0.0
    """There is no room for a while; part of what is written may still be."""
    off_ms_max: DurationMs = 0
    full_ms_max: DurationMs = 0


class LineFaults(Message, frozen=True, kw_only=True):
    """The way from one client to the gateway is away altogether, for longer than a lost message."""

    cut: Probability = 0.0
    """Found at one request; until it is mended nothing goes out and nothing comes back."""
    cut_ms_max: DurationMs = 0


class FaultPlan(Message, frozen=True, kw_only=True):
    """All of it; the plan without an argument is a world where nothing goes wrong."""

    network: NetworkFaults = NetworkFaults()
    gateway: GatewayFaults = GatewayFaults()
    database: DatabaseFaults = DatabaseFaults()
    clocks: ClockFaults = ClockFaults()
    cards: CardFaults = CardFaults()
    readers: ReaderFaults = ReaderFaults()
    disks: DiskFaults = DiskFaults()
    lines: LineFaults = LineFaults()


CALM: Final = FaultPlan()
WORST: Final = FaultPlan(
    network=NetworkFaults(
        request_lost=0.25,
        request_delayed=0.3,
        request_duplicated=0.25,
        answer_lost=0.25,
        answer_delayed=0.3,
        answer_repeated=0.1,
        delay_ms_max=12_000,
    ),
    gateway=GatewayFaults(crash_before_commit=0.08, crash_after_commit=0.08, down_ms_max=30_000),
    database=DatabaseFaults(unavailable=0.08, commit_uncertain=0.05, outage_ms_max=30_000),
    clocks=ClockFaults(skewed=0.5, skew_ms_max=400_000),
    cards=CardFaults(torn=0.3, double_tap=0.3),
    readers=ReaderFaults(unplugged=0.15, service_restarted=0.15, away_ms_max=8_000),
    disks=DiskFaults(power_lost=0.04, full=0.08, off_ms_max=60_000, full_ms_max=20_000),
    lines=LineFaults(cut=0.02, cut_ms_max=60_000),
)
"""The most of everything that a drawn plan holds."""


def draw_plan(seed: int, worst: FaultPlan = WORST) -> FaultPlan:
    """Return the plan of a seed: some faults never, the others up to as often and as long as the worst."""
    rng = Dice.rng_of(seed, "plan")
    if rng.randrange(CALM_ONE_IN) == 0:
        return CALM

    def draw(value: float | int) -> float | int:
        if isinstance(value, int):
            return rng.randint(value // 10, value)
        return rng.choice((0.0, round(value * rng.random(), 4), value))

    sections = {
        name: type(section)(**{key: draw(value) for key, value in msgspec.structs.asdict(section).items()})
        for name, section in msgspec.structs.asdict(worst).items()
    }
    return FaultPlan(**sections)


def load_plan(path: Path) -> FaultPlan:
    """Read a plan from a TOML file whose tables and keys are the ones above.

    Raises:
        WorldFileInvalid: unreadable, no TOML, an unknown key or a value out of its range.
    """
    return load_toml(path, FaultPlan)
