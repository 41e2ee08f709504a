"""Payments accepted offline, sealed and chained, on disk before the cashier is told.

    offline-queue-<key id>.records      what is still to be handed in, whole
    offline-settled-<key id>.records    what became of the others, without what could be spent

The names carry the id of the terminal's key, because a chain belongs to one: a terminal that is enrolled
anew begins another at 1. Each line of the queue is a sealed record or a head, which says how far the chain
had come when it was written; so numbers go on even when nothing waits and nothing of what
was settled is left.

A record leaves the queue only when the gateway's word on it is on disk. A kill between the two finds it in
both files, and the settled one counts; a kill before that has it handed in again, for the same word.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import msgspec
import structlog

from terminal.disk import Disk
from terminal.errors import JournalUnwritable
from terminal.offline.record_file import RecordFile
from terminal.offline.rules import DeviceMemory, Exposure
from wire import es256
from wire.errors import TokenError, WireError
from wire.messages.offline import RecordResult
from wire.money import Money
from wire.tokens.credential import parse_credential, read_credential
from wire.tokens.nfc_token import read_nfc_claims
from wire.tokens.offline_record import (
    FIRST_LINK,
    OfflineRecord,
    link_of,
    parse_offline_record,
    seal_offline_record,
    verify_offline_record,
)
from wire.tokens.sign1 import NFC_TOKEN_TYPE, parse_sign1_of

QUEUE_FILE: Final = "offline-queue"
SETTLED_FILE: Final = "offline-settled"
STORED_MAX: Final = 500
"""More records than this are never stored, whatever the gateway's rules allow."""
SETTLED_MAX: Final = 1_000
"""Settled records kept; the file is rewritten when it holds twice as many."""
DEVICES_MAX: Final = SETTLED_MAX + STORED_MAX
"""Devices whose counter and running total are remembered; those not seen for longest go first."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AcceptedPayment:
    """What is to be sealed; the queue adds its place in the chain."""

    attempt_id: str
    order_id: str
    amount: Money
    accepted_ms: int
    clock_set_ms: int
    list_issued_s: int
    token: bytes
    credential: bytes


class _DeviceClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a device said of itself in one payment."""

    key_id: bytes
    counter: int
    running_total_minor: int
    credential_id: bytes
    credential_issued_s: int


@dataclass(frozen=True, slots=True)
class StoredPayment:
    """A payment that is on disk and waits to be handed in."""

    record: OfflineRecord
    sealed: bytes
    link: bytes
    """What the next record holds of this one."""
    device: _DeviceClaims


class SettledPayment(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's word on a payment; holds nothing that could be spent."""

    sequence: int
    link: bytes
    attempt_id: str
    order_id: str
    amount_minor: int
    currency: str
    accepted_ms: int
    settled_ms: int
    outcome: Literal["settled", "declined", "conflict"]
    code: str
    payment_id: str | None
    loss_minor: int
    loss_bearer: Literal["operator", "merchant"] | None
    device: _DeviceClaims


class _Head(msgspec.Struct, frozen=True, tag="head"):
    """How far the chain had come."""

    sequence: int
    link: bytes


class _Sealed(msgspec.Struct, frozen=True, tag="sealed"):
    """One record as it will be handed in."""

    sealed: bytes


_Line = TypeVar("_Line")
_QUEUE_LINES: Final[msgspec.json.Decoder[_Head | _Sealed]] = msgspec.json.Decoder(_Head | _Sealed)
_SETTLED_LINES: Final[msgspec.json.Decoder[SettledPayment]] = msgspec.json.Decoder(SettledPayment)
_START: Final = _Head(0, FIRST_LINK)


class OfflineQueue:
    """The one writer of a terminal's chain; its calls block and may come from any thread."""

    def __init__(self, disk: Disk, terminal_key: es256.PrivateKey) -> None:
        """Open the queue, and cut off what a power loss left half-written.

        Raises:
            JournalUnwritable: the files can't be opened for writing.
        """
        self._lock = threading.Lock()
        self._terminal_key = terminal_key
        self._devices: OrderedDict[bytes, _DeviceClaims] = OrderedDict()
        self._waiting: OrderedDict[int, StoredPayment] = OrderedDict()
        self._head = _START
        self._sealed_count = 0
        key_id_hex = es256.key_id_of(terminal_key.public_key()).hex()
        try:
            self._settled_file = RecordFile(disk, f"{SETTLED_FILE}-{key_id_hex}.records")
            self._queue_file = RecordFile(disk, f"{QUEUE_FILE}-{key_id_hex}.records")
            self._load()
        except OSError as error:
            raise _unwritable(error) from None

    @property
    def next_sequence(self) -> int:
        """The number of the next record."""
        with self._lock:
            return self._head.sequence + 1

    @property
    def depth(self) -> int:
        """How many records wait to be handed in."""
        with self._lock:
            return len(self._waiting)

    def exposure(self) -> Exposure:
        """Return sum and count of what waits to be handed in; records of all currencies count in it."""
        with self._lock:
            amounts = [stored.record.amount.minor for stored in self._waiting.values()]
        return Exposure(sum_minor=sum(amounts), count=len(amounts))

    def find_device(self, key_id: bytes) -> DeviceMemory | None:
        """Return what was last seen of a device's key, None if nothing was or too long ago."""
        with self._lock:
            last = self._devices.get(key_id)
            if last is None:
                return None
            stored = [one for one in self._waiting.values() if one.device.key_id == key_id]
        return DeviceMemory(
            counter=last.counter,
            running_total_minor=last.running_total_minor,
            credential_id=last.credential_id,
            credential_issued_s=last.credential_issued_s,
            stored_minor=sum(one.record.amount.minor for one in stored),
        )

    def find_by_token(self, token: bytes) -> StoredPayment | None:
        """Return the waiting record that holds this very token, None if there is none."""
        with self._lock:
            return next((one for one in self._waiting.values() if one.record.token == token), None)

    def find_attempt(self, attempt_id: str) -> StoredPayment | SettledPayment | None:
        """Return what is known of an attempt: that it waits, what became of it, or None for neither.

        After a restart this tells of an attempt that was stored just before the process ended. What was
        settled longer ago than the history goes back is not found.
        """
        with self._lock:
            for waiting in self._waiting.values():
                if waiting.record.attempt_id == attempt_id:
                    return waiting
            settled = (one for one in self._settled.values() if one.attempt_id == attempt_id)
            return next(settled, None)

    def store(self, payment: AcceptedPayment) -> StoredPayment:
        """Seal a payment as the chain's next record; it survives power loss when this returns.

        That it may be accepted was judged before (terminal/offline/acceptance.py).

        Raises:
            JournalUnwritable: it does not count as stored, so it is not accepted, and its number is not used
                up. Should the disk fail both to sync it and to cut it off again, and the process end before
                the next record, `find_attempt` may find it at the next start.
            WireError: a field does not fit its place; nothing was written.
        """
        with self._lock:
            if len(self._waiting) >= STORED_MAX:
                raise JournalUnwritable("too many payments wait to be handed in", code="offline_store_full")
            record = _next_record(payment, self._head)
            stored = _as_stored(record, seal_offline_record(record, self._terminal_key))
            try:
                self._queue_file.append([_dump(_Sealed(stored.sealed))])
            except OSError as error:
                raise _unwritable(error) from None
            self._sealed_count += 1
            self._take_in(stored)
            return stored

    def waiting(self) -> list[StoredPayment]:
        """Return what waits to be handed in, in the chain's order."""
        with self._lock:
            return list(self._waiting.values())

    def settle(self, results: Sequence[tuple[StoredPayment, RecordResult]], *, at_ms: int) -> None:
        """Write the gateway's word on records and let them go; the first word on each stands.

        Both are durable when this returns. A record that does not wait any more is passed over.

        Raises:
            JournalUnwritable: the records wait on, to be handed in again.
        """
        with self._lock:
            settled = [
                _as_settled(stored, result, at_ms)
                for stored, result in results
                if self._waiting.get(stored.record.sequence) == stored
            ]
            if not settled:
                return
            try:
                self._settled_file.append([_dump(one) for one in settled])
            except OSError as error:
                raise _unwritable(error) from None
            for one in settled:
                self._settled[one.sequence] = one
                del self._waiting[one.sequence]
            self._tidy_up()

    def advance_to(self, next_sequence: int) -> None:
        """Give out no number below this one any more; durable when it returns. Never goes back.

        Needed where a till's disk was put back from an older copy: numbers that the gateway has already would
        be conflicts, and a conflict is the merchant's loss. The chain goes on from what is known here, so the
        gateway sees the break and raises its alarm.

        Raises:
            JournalUnwritable: as before.
        """
        with self._lock:
            if next_sequence <= self._head.sequence + 1:
                return
            log.error("offline_sequence_behind", next_sequence=next_sequence)
            head = _Head(next_sequence - 1, self._head.link)
            try:
                self._queue_file.append([_dump(head)])
            except OSError as error:
                raise _unwritable(error) from None
            self._head = head

    def settled(self) -> list[SettledPayment]:
        """Return what became of the records handed in, the newest last; at most 2 * SETTLED_MAX of them."""
        with self._lock:
            return list(self._settled.values())

    def close(self) -> None:
        """Close the files; nothing is lost by not doing so."""
        with self._lock:
            self._queue_file.close()
            self._settled_file.close()

    def _load(self) -> None:
        settled = _read_lines(self._settled_file, _SETTLED_LINES)
        self._settled = OrderedDict((one.sequence, one) for one in settled)
        for one in settled:
            self._remember(one.device)
        for line in _read_lines(self._queue_file, _QUEUE_LINES):
            if isinstance(line, _Head):
                self._head = line
                continue
            self._sealed_count += 1
            stored = self._read_back(line.sealed)
            if stored is not None:
                self._take_in(stored)
        self._forget_settled()

    def _read_back(self, sealed: bytes) -> StoredPayment | None:
        try:
            public_key = self._terminal_key.public_key()
            return _as_stored(verify_offline_record(parse_offline_record(sealed), public_key), sealed)
        except WireError as error:
            # A damaged disk or another's hand. It stays in the copy beside the file; the rest goes on.
            log.error("offline_record_unreadable", reason=str(error))
            self._queue_file.keep_as_damaged()
            return None

    def _take_in(self, stored: StoredPayment) -> None:
        sequence = stored.record.sequence
        # Right behind a head or a record; what was settled out of turn leaves gaps that are none.
        is_next = sequence == self._head.sequence + 1
        if is_next and stored.record.previous_link != self._head.link:
            log.error("offline_chain_broken", sequence=sequence)
        if sequence > self._head.sequence:
            if not is_next:
                log.error("offline_chain_gap", sequence=sequence)
            self._head = _Head(sequence, stored.link)
        self._waiting[sequence] = stored
        self._remember(stored.device)

    def _remember(self, claims: _DeviceClaims) -> None:
        last = self._devices.get(claims.key_id)
        if last is None or claims.counter > last.counter:
            self._devices[claims.key_id] = claims
        self._devices.move_to_end(claims.key_id)
        while len(self._devices) > DEVICES_MAX:
            self._devices.popitem(last=False)

    def _forget_settled(self) -> None:
        """Let go what a kill left in both files."""
        for sequence, one in self._settled.items():
            stored = self._waiting.get(sequence)
            if stored is not None and stored.link == one.link:
                del self._waiting[sequence]
        self._tidy_up()

    def _tidy_up(self) -> None:
        try:
            if self._sealed_count > len(self._waiting):
                lines = [_dump(_Sealed(stored.sealed)) for stored in self._waiting.values()]
                self._queue_file.replace([_dump(self._head), *lines])
                self._sealed_count = len(lines)
            if self._settled_file.line_count >= 2 * SETTLED_MAX:
                while len(self._settled) > SETTLED_MAX:
                    self._settled.popitem(last=False)
                self._settled_file.replace(_dump(one) for one in self._settled.values())
        except OSError as error:
            # The word itself is on disk; the next one, or the next start, tidies up again.
            log.warning("offline_queue_not_tidied", reason=error.strerror)


def _next_record(payment: AcceptedPayment, head: _Head) -> OfflineRecord:
    return OfflineRecord(
        sequence=head.sequence + 1,
        previous_link=head.link,
        attempt_id=payment.attempt_id,
        order_id=payment.order_id,
        amount=payment.amount,
        accepted_ms=payment.accepted_ms,
        clock_set_ms=payment.clock_set_ms,
        list_issued_s=payment.list_issued_s,
        token=payment.token,
        credential=payment.credential,
    )


def _as_stored(record: OfflineRecord, sealed: bytes) -> StoredPayment:
    token = parse_sign1_of(record.token, NFC_TOKEN_TYPE)
    claims = read_nfc_claims(token)
    vouched = read_credential(parse_credential(record.credential))
    if claims.running_total_minor is None:
        raise TokenError("the token of an offline payment has a running total")
    device = _DeviceClaims(
        key_id=token.key_id,
        counter=claims.counter,
        running_total_minor=claims.running_total_minor,
        credential_id=vouched.credential_id,
        credential_issued_s=vouched.issued_s,
    )
    return StoredPayment(record, sealed, link_of(sealed), device)


def _as_settled(stored: StoredPayment, result: RecordResult, at_ms: int) -> SettledPayment:
    record = stored.record
    return SettledPayment(
        sequence=record.sequence,
        link=stored.link,
        attempt_id=record.attempt_id,
        order_id=record.order_id,
        amount_minor=record.amount.minor,
        currency=record.amount.currency.code,
        accepted_ms=record.accepted_ms,
        settled_ms=at_ms,
        outcome=result.outcome,
        code=result.code,
        payment_id=result.payment_id,
        loss_minor=result.loss_minor,
        loss_bearer=result.loss_bearer,
        device=stored.device,
    )


def _read_lines(file: RecordFile, decoder: msgspec.json.Decoder[_Line]) -> list[_Line]:
    lines: list[_Line] = []
    is_readable = True
    for content in file.load():
        try:
            lines.append(decoder.decode(content))
        except msgspec.DecodeError:
            # Written whole, so no torn tail: another version's line, or another's hand.
            is_readable = False
    if not is_readable:
        log.error("offline_line_unreadable")
        file.keep_as_damaged()
    return lines


def _dump(line: object) -> bytes:
    return msgspec.json.encode(line)


def _unwritable(error: OSError) -> JournalUnwritable:
    return JournalUnwritable(f"the offline queue can't be written: {error.strerror}")
