"""The people at a till, put together for a daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from terminal.disk import Disk
from terminal.gateway_client.client import GatewayClient
from terminal.journal.journal import Journal
from terminal.people.desk import StaffDesk
from terminal.people.gateway import StaffGateway
from terminal.people.offline_pins import OfflinePins
from terminal.people.roster import Roster
from terminal.people.shift_book import ShiftBook
from terminal.people.shift_desk import ShiftDesk, ShiftPorts
from terminal.people.tag_reads import TagReads
from terminal.sale.desk import SaleDesk
from wire.messages.till import DaemonEvent, OfflineView


@dataclass(frozen=True, slots=True)
class PeopleSurroundings:
    """What the people at a till need of the daemon around them."""

    gateway: GatewayClient
    disk: Disk
    journal: Journal
    desk: SaleDesk
    currency: str
    idle_ms: int
    publish: Callable[[DaemonEvent], object]
    """Takes events whose sequence is still 0."""
    describe_offline: Callable[[], OfflineView | None]
    now_ms: Callable[[], int]
    entropy: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class People:
    """All there is: `roster.run` and `shifts.run` are to be run, `staff.stop` to be called at the end."""

    staff: StaffDesk
    tags: TagReads
    shifts: ShiftDesk
    roster: Roster


def open_people(around: PeopleSurroundings) -> People:
    """Open what a daemon needs for the people at it.

    Raises:
        JournalUnwritable: the shifts on disk can't be read.
    """
    gateway = StaffGateway(around.gateway)
    roster = Roster(gateway, around.disk)
    tags = TagReads(around.desk, around.publish, now_ms=around.now_ms, entropy=around.entropy)
    staff = StaffDesk(
        gateway,
        roster,
        tags,
        OfflinePins(around.entropy),
        around.publish,
        idle_ms=around.idle_ms,
        now_ms=around.now_ms,
        entropy=around.entropy,
    )
    ports = ShiftPorts(
        gateway,
        around.journal,
        around.currency,
        around.publish,
        around.describe_offline,
        around.now_ms,
        around.entropy,
    )
    return People(staff, tags, ShiftDesk(ShiftBook(around.disk), ports), roster)
