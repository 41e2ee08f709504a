"""Staff tags read at this till: readers are lent for half a minute, and what was read is good for one thing.

A screen only ever names a read; the link itself stays in here until it goes to the gateway. While a staff
tag is waited for no terms are made, so a phone or a payment card that comes instead signs nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from terminal.errors import SaleRefused
from terminal.presentations import Noticed, PresentationEvent, Presented, TermsSource
from terminal.sale.desk import SaleDesk
from wire.errors import CardError
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import NfcSdmPresentation, StaffTag
from wire.messages.staff import TagRead
from wire.messages.till import DaemonEvent, DaemonEventKind
from wire.notices import find_notice

READ_MS_MAX: Final = 30_000
"""How long readers wait for a tag."""
USE_MS_MAX: Final = 120_000
"""How long a tag that was read may be used."""
READS_KEPT_MAX: Final = 16

_UID_ONLY: Final = "uid_only_card"
_REFUSAL_OF: Final = {_UID_ONLY: "staff_tag_uid_only", "card_not_supported": "staff_tag_not_staff"}
"""What a reader says of something as a means to pay, said of it as a tag."""

State = Literal["waiting", "read", "refused", "timed_out", "cancelled"]


def refuse_to_pay() -> NoReturn:
    """Stand in for a sale's terms: whatever would sign them is no staff tag.

    Raises:
        CardError: `staff_tag_not_staff`, always.
    """
    raise CardError("a staff tag is waited for", code="staff_tag_not_staff")


@dataclass(slots=True)
class _Read:
    tag_read_id: str
    expires_ms: int
    state: State = "waiting"
    code: str = ""
    tag: StaffTag | None = field(default=None, repr=False)
    used_for: str | None = None

    @property
    def view(self) -> TagRead:
        return TagRead(
            tag_read_id=self.tag_read_id,
            state=self.state,
            expires_ms=self.expires_ms,
            code=self.code,
            cashier_text=find_notice(self.code).cashier_text if self.code else {},
        )


class TagReads:
    """Lends the readers of a sale desk; at most one read waits at a time."""

    def __init__(
        self,
        desk: SaleDesk,
        publish: Callable[[DaemonEvent], object],
        *,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        """Prepare.

        Args:
            publish: takes events whose sequence is still 0.
        """
        self._desk = desk
        self._publish = publish
        self._now_ms = now_ms
        self._entropy = entropy
        self._reads: OrderedDict[str, _Read] = OrderedDict()
        self._waiting: _Read | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def terms(self) -> TermsSource:
        """What readers are armed with while a tag is waited for."""
        return refuse_to_pay

    def start(self) -> TagRead:
        """Arm the readers for a staff tag.

        Raises:
            SaleRefused: `sale_in_progress`; `tag_read_waiting`: one is waited for already.
        """
        if self._waiting is not None:
            raise SaleRefused(code="tag_read_waiting")
        self._desk.lend_readers(self)
        now_ms = self._now_ms()
        read = _Read(make_ulid(now_ms, self._entropy(ENTROPY_BYTES)), now_ms + READ_MS_MAX)
        self._reads[read.tag_read_id] = self._waiting = read
        while len(self._reads) > READS_KEPT_MAX:
            self._reads.popitem(last=False)
        self._timer = asyncio.get_running_loop().call_later(READ_MS_MAX / 1000, self._end, "timed_out")
        return read.view

    def find(self, tag_read_id: str) -> TagRead:
        """Return a read as it stands; SaleRefused: `not_found`."""
        return self._find(tag_read_id).view

    def cancel(self, tag_read_id: str) -> TagRead:
        """Wait no more, or forget what was read; SaleRefused: `not_found`."""
        read = self._find(tag_read_id)
        if read is self._waiting:
            self._end("cancelled")
        elif read.state == "read":
            read.state, read.tag = "cancelled", None
        return read.view

    def use(self, tag_read_id: str, purpose_id: str) -> StaffTag:
        """Return the link of a tag that was read, for one thing; the same thing may ask again.

        Raises:
            SaleRefused: `not_found`: no such read, nothing was read, too long ago, or used for another thing.
                `tag_read_waiting`: it is waited for still.
        """
        read = self._find(tag_read_id)
        if read.state == "waiting":
            raise SaleRefused(code="tag_read_waiting")
        is_usable = read.used_for in (None, purpose_id) and self._now_ms() < read.expires_ms
        if read.tag is None or not is_usable:
            raise SaleRefused("no tag was read, or it was used", code="not_found")
        read.used_for = purpose_id
        return read.tag

    def present(self, event: PresentationEvent) -> None:
        """Take what a reader tells while the readers are lent."""
        read = self._waiting
        if read is None or isinstance(event, Noticed):
            return
        if isinstance(event, Presented) and isinstance(event.presentation, NfcSdmPresentation):
            link = event.presentation
            read.tag = StaffTag(picc_data_hex=link.picc_data_hex, mac_hex=link.mac_hex)
            read.expires_ms = self._now_ms() + USE_MS_MAX
            self._end("read")
            return
        if isinstance(event, Presented):
            read.code = "staff_tag_not_staff"
        else:
            read.code = _REFUSAL_OF.get(event.code, event.code)
        self._end("refused")

    def give_back(self) -> None:
        """Let go of the readers, because a sale needs them or the daemon stops."""
        if self._waiting is not None:
            self._end("cancelled")

    def _find(self, tag_read_id: str) -> _Read:
        try:
            return self._reads[tag_read_id]
        except KeyError:
            raise SaleRefused(code="not_found") from None

    def _end(self, state: State) -> None:
        read, self._waiting = self._waiting, None
        assert read is not None, "it was waited for"
        read.state = state
        if self._timer is not None:
            self._timer.cancel()
        self._desk.take_readers_back(self)
        self._publish(
            DaemonEvent(
                sequence=0, at_ms=self._now_ms(), kind=DaemonEventKind.STAFF_TAG_READ, tag_read=read.view
            )
        )
