"""The walk over all groups in the order of booking: chain, transfers, holds; payments beside them.

Ten million rows pass here, so what every row goes through stays short and makes no objects.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from gateway.audit.accounts import AccountTable
from gateway.audit.codes import BreakCode
from gateway.audit.feeds import Feed
from gateway.audit.matching import Matching
from gateway.audit.report import Broken, Progress
from gateway.audit.seal import seal
from gateway.ledger.chain import GENESIS
from gateway.ledger.model import AMOUNT_MINOR_MAX, LEGS_MAX, PendingState
from gateway.storage.audit_source import AuditSource, GroupRow, TransferRow
from wire.errors import IdError

PROGRESS_EVERY: Final = 5_000
"""Groups between two calls of `progress`."""

_UNREADABLE: Final = (struct.error, ValueError, TypeError, LookupError, AttributeError, IdError)
"""What becomes of a column that holds another type, width or word than any booking writes."""
_STATE_AFTER: Final = {
    "post": PendingState.POSTED.value,
    "void": PendingState.VOIDED.value,
    "expire": PendingState.EXPIRED.value,
}


@dataclass(frozen=True, slots=True)
class _Hold:
    """A pending transfer that has not ended yet."""

    debit_account_id: bytes
    credit_account_id: bytes
    currency: str
    amount_minor: int
    expires_ms: int
    stored_state: str


class GroupWalk:
    """Walks once; what it counted and where the chain stands can be read at any time."""

    def __init__(self, source: AuditSource, accounts: AccountTable, progress: Progress) -> None:
        self.group_count = 0
        self.transfer_count = 0
        self.chain_head = GENESIS
        self._source = source
        self._accounts = accounts
        self._progress = progress
        self._matching: Matching | None = None
        self._open_holds: dict[bytes, _Hold] = {}
        self._hold_count = 0

    def run(self) -> None:
        """Walk all groups.

        Raises:
            Broken: the first thing that is not so.
        """
        total = self._source.count_groups()
        matching = self._matching = Matching(self._source, self._accounts)
        transfers: Feed[int, TransferRow] = Feed(self._source.transfers(), _stray_transfer, LEGS_MAX)
        for group in self._source.groups():
            if self.group_count % PROGRESS_EVERY == 0:
                self._progress("groups", self.group_count, total)
            try:
                self._walk_group(group, transfers, matching)
            except _UNREADABLE as error:
                raise Broken(BreakCode.ROW_UNREADABLE, f"group {group[0]}") from error
            except OverflowError as error:
                raise Broken(BreakCode.COUNTER_OUT_OF_RANGE, f"group {group[0]}") from error
        self._progress("groups", self.group_count, total)
        transfers.check_all_taken()
        matching.check_all_taken()

    @property
    def payment_count(self) -> int:
        """Payments that were charged or held, met so far."""
        return 0 if self._matching is None else self._matching.payment_count

    def check_receipts(self) -> None:
        """See that each merchant's count of receipts is the number of the last.

        Raises:
            Broken: one's is not.
        """
        assert self._matching is not None, "the groups were walked"
        self._matching.check_receipts()

    def check_allowances(self) -> None:
        """See that every allowance was set aside, and given back where its credential has ended.

        Raises:
            Broken: one was not.
        """
        assert self._matching is not None, "the groups were walked"
        self._matching.allowances.check_all()

    def check_holds(self) -> None:
        """See that what is stored of the holds is what the walk left of them.

        Raises:
            Broken: it is not.
        """
        for transfer_id, hold in self._open_holds.items():
            if hold.stored_state != PendingState.OPEN:
                raise _broken_hold(BreakCode.PENDING_STATE_DIFFERS, transfer_id)
        stored_count = self._source.count_pendings()
        if stored_count != self._hold_count:
            where = f"{stored_count} pending transfers stored, {self._hold_count} booked"
            raise Broken(BreakCode.PENDING_WITHOUT_TRANSFER, where)

    def _walk_group(self, group: GroupRow, transfers: Feed[int, TransferRow], matching: Matching) -> None:
        sequence, purpose, booked_ms, leg_count, stored_hash = group
        legs = transfers.take(sequence)
        if sequence != self.group_count + 1:
            raise Broken(BreakCode.SEQUENCE_GAP, f"group {sequence}")
        _check_legs(sequence, leg_count, legs)
        head = seal(self.chain_head, group, legs)
        if head != stored_hash:
            raise Broken(BreakCode.HASH_MISMATCH, f"group {sequence}")
        matching.check_group(sequence, purpose, legs)
        for leg in legs:
            self._walk_leg(leg, booked_ms)
        self.chain_head = head
        self.group_count = sequence
        self.transfer_count += leg_count

    def _walk_leg(self, leg: TransferRow, booked_ms: int) -> None:
        kind, debit_id, credit_id, amount_minor, currency = leg[3:8]
        accounts = self._accounts
        debit, credit = accounts.index_of.get(debit_id), accounts.index_of.get(credit_id)
        if debit is None or credit is None:
            raise _broken_leg(BreakCode.ACCOUNT_MISSING, leg)
        if not accounts.currencies[debit] == accounts.currencies[credit] == currency:
            raise _broken_leg(BreakCode.CURRENCY_MISMATCH, leg)
        if debit == credit:
            raise _broken_leg(BreakCode.ACCOUNTS_EQUAL, leg)
        if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
            is_positive = amount_minor > 0
            raise _broken_leg(
                BreakCode.AMOUNT_TOO_LARGE if is_positive else BreakCode.AMOUNT_NOT_POSITIVE, leg
            )
        pending_minor, posted_minor = 0, amount_minor
        if kind != "single":
            pending_minor = self._follow_hold(leg, booked_ms)
            posted_minor = amount_minor if kind == "post" else 0
        if not accounts.move(debit, credit, pending_minor, posted_minor):
            raise Broken(BreakCode.BALANCE_NEGATIVE, f"account {debit_id.hex()} at {_place_of(leg)}")

    def _follow_hold(self, leg: TransferRow, booked_ms: int) -> int:
        """Open or end the hold that a leg is about; return by how much more is held then."""
        if leg[3] != "pending":
            return -self._end_hold(leg, booked_ms)
        self._open_hold(leg)
        return leg[6]

    def _open_hold(self, leg: TransferRow) -> None:
        transfer_id, expires_ms, stored_state, stored_expires_ms = leg[2], leg[9], leg[10], leg[11]
        if stored_state is None:
            raise _broken_hold(BreakCode.PENDING_MISSING, transfer_id)
        if expires_ms is None or expires_ms != stored_expires_ms:
            raise _broken_hold(BreakCode.PENDING_EXPIRY_DIFFERS, transfer_id)
        self._hold_count += 1
        self._open_holds[transfer_id] = _Hold(leg[4], leg[5], leg[7], leg[6], expires_ms, stored_state)

    def _end_hold(self, leg: TransferRow, booked_ms: int) -> int:
        """Take the hold a leg ends out of the open ones, and return its amount."""
        kind, debit_id, credit_id, amount_minor, currency, pending_id = leg[3:9]
        assert pending_id is not None, "what was sealed ends a hold"
        hold = self._open_holds.pop(pending_id, None)
        if hold is None:
            raise _broken_leg(BreakCode.PENDING_NOT_OPEN, leg)
        same = (hold.debit_account_id, hold.credit_account_id, hold.currency)
        fits = amount_minor <= hold.amount_minor
        if kind != "post":
            fits = amount_minor == hold.amount_minor
        is_over = hold.expires_ms <= booked_ms
        if same != (debit_id, credit_id, currency) or not fits or is_over != (kind == "expire"):
            raise _broken_leg(BreakCode.PENDING_DIFFERS, leg)
        if hold.stored_state != _STATE_AFTER[kind]:
            raise _broken_hold(BreakCode.PENDING_STATE_DIFFERS, pending_id)
        return hold.amount_minor


def _stray_transfer(leg: TransferRow) -> Broken:
    return Broken(BreakCode.TRANSFER_WITHOUT_GROUP, f"group {leg[0]}")


def _check_legs(sequence: int, leg_count: int, legs: list[TransferRow]) -> None:
    if len(legs) > leg_count:
        raise Broken(BreakCode.LEGS_ADDED, f"group {sequence}")
    # They come in the order of their indexes, and no two legs of a group can have the same.
    if len(legs) < leg_count or legs[-1][1] != leg_count - 1:
        raise Broken(BreakCode.LEGS_MISSING, f"group {sequence}")


def _place_of(leg: TransferRow) -> str:
    return f"group {leg[0]}, leg {leg[1]}"


def _broken_leg(code: BreakCode, leg: TransferRow) -> Broken:
    return Broken(code, _place_of(leg))


def _broken_hold(code: BreakCode, transfer_id: bytes) -> Broken:
    return Broken(code, f"pending transfer {transfer_id.hex()}")
