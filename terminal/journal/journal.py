"""Payment attempts on disk, written and synced before they are sent.

    attempts.journal   attempts without a final word, whole, each time their stage changes
    settled.journal    what became of attempts, without what was presented

Two append-only files rather than a database, because what must be proved is small: one write and one sync
lie between a tap and its send, a torn tail is a line without a valid checksum, and a token is gone from
disk as soon as its attempt is answered, which a database's free pages and write-ahead log do not promise.

A line is the CRC-32 of its JSON in eight hex digits, a space, the JSON. A line counts once its newline
is on disk; since every append is synced before the next begins, power loss can spoil nothing but the tail.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from terminal.disk import Disk
from terminal.errors import JournalUnwritable
from terminal.journal.records import (
    STAGES_AFTER,
    AttemptRecord,
    JournalEntry,
    SettledRecord,
    changed_by,
    list_entries,
    open_by_id,
    settled_by_answer,
    settled_by_id,
    settled_by_refusal,
    settled_unasked,
)
from wire.messages.payments import PaymentAnswer, PaymentRequest
from wire.messages.till import AttemptStage

ATTEMPTS_FILE: Final = "attempts.journal"
SETTLED_FILE: Final = "settled.journal"
UNRESOLVED_MAX: Final = 200
"""More attempts without an answer than this, and nothing more is sold until some are resolved."""
SETTLED_MAX: Final = 1_000
"""Settled attempts kept; the file is rewritten when it holds twice as many."""
LINES_PER_ATTEMPT_MAX: Final = 4
"""An open attempt has a line for every stage; the file is rewritten when there are more than so many."""

_CHECKSUM_CHARS: Final = 8


log: structlog.stdlib.BoundLogger = structlog.get_logger()

Record = TypeVar("Record", AttemptRecord, SettledRecord)


class Journal:
    """The one writer of a data folder's journal; its calls block and may come from any thread."""

    def __init__(self, disk: Disk) -> None:
        """Open the journal, and cut off what a power loss left half-written.

        Raises:
            JournalUnwritable: the files can't be opened for writing.
        """
        self._lock = threading.Lock()
        try:
            self._attempts_file = _Lines(disk, ATTEMPTS_FILE)
            self._settled_file = _Lines(disk, SETTLED_FILE)
            self._settled = settled_by_id(self._settled_file.load(SettledRecord))
            self._unresolved = open_by_id(self._attempts_file.load(AttemptRecord), self._settled)
            self._forget_tokens()
        except OSError as error:
            raise _unwritable(error) from None

    def record_attempt(self, request: PaymentRequest, *, at_ms: int, sale_id: str = "") -> None:
        """Write an attempt; it survives power loss when this returns, and may be sent.

        Args:
            sale_id: whose attempt it is; empty where nobody will ask.

        Raises:
            JournalUnwritable: it is not on disk, so it must not be sent.
        """
        with self._lock:
            if len(self._unresolved) >= UNRESOLVED_MAX:
                raise JournalUnwritable("too many attempts are without an answer")
            record = AttemptRecord(at_ms=at_ms, request=request, sale_id=sale_id)
            self._append(self._attempts_file, record)
            self._unresolved[request.attempt_id] = record

    def change_stage(
        self, attempt_id: str, stage: AttemptStage, *, at_ms: int, only_from: AttemptStage | None = None
    ) -> bool:
        """Write what is to become of an open attempt; it survives power loss when this returns.

        An attempt in the stage REVERSING must never be sent as a payment again.

        Args:
            only_from: the stage it must be in, where another one was decided on meanwhile; None for any.

        Returns:
            Whether the attempt now has that stage; False where it is settled, unknown here, or in a stage
            that does not lead to it.

        Raises:
            JournalUnwritable: the attempt is in the stage it was in.
        """
        with self._lock:
            record = self._unresolved.get(attempt_id)
            if record is None:
                return False
            if record.stage is stage:
                return True
            if only_from not in (None, record.stage) or stage not in STAGES_AFTER[record.stage]:
                return False
            self._replace(msgspec.structs.replace(record, stage=stage, stage_ms=at_ms))
            return True

    def record_confirmation(self, answer: PaymentAnswer, *, at_ms: int) -> bool:
        """Write that the gateway waits for the holder of an attempt; durable when this returns.

        Returns:
            Whether the attempt waits now; False where it is settled, unknown here, or being taken back.

        Raises:
            JournalUnwritable: the attempt is in the stage it was in.
        """
        with self._lock:
            record = self._unresolved.get(answer.attempt_id)
            if record is None or AttemptStage.CONFIRMING not in STAGES_AFTER[record.stage]:
                return record is not None and record.stage is AttemptStage.CONFIRMING
            self._replace(
                msgspec.structs.replace(record, stage=AttemptStage.CONFIRMING, stage_ms=at_ms, answer=answer)
            )
            return True

    def record_answer(self, answer: PaymentAnswer, *, at_ms: int) -> bool:
        """Write the gateway's final word on an attempt, and forget what was presented.

        A second word on the same attempt is ignored: the first one stands. So is one that is not final: see
        `settled_by_answer`.

        Returns:
            Whether this answer settled the attempt.

        Raises:
            JournalUnwritable: the attempt counts as unresolved until it can be written.
        """
        with self._lock:
            attempt = self._unresolved.get(answer.attempt_id)
            record = None if attempt is None else settled_by_answer(attempt, answer, at_ms=at_ms)
            return record is not None and self._settle(record)

    def record_change(self, answer: PaymentAnswer, *, at_ms: int) -> bool:
        """Write how a settled payment stands after it was captured, voided or refunded.

        Returns:
            Whether it is a payment of this journal.

        Raises:
            JournalUnwritable: it is not written.
        """
        with self._lock:
            known = self._settled.get(answer.attempt_id)
            if known is None or known.answer is None or known.answer.payment_id != answer.payment_id:
                return False
            record = changed_by(known, answer, at_ms=at_ms)
            self._append(self._settled_file, record)
            self._settled[record.attempt_id] = record
            self._tidy_up()
            return True

    def settled(self) -> Sequence[SettledRecord]:
        """Return the last words on attempts, the newest last; at most 2 * SETTLED_MAX of them."""
        with self._lock:
            return [*self._settled.values()]

    def record_unasked(self, answer: PaymentAnswer, *, at_ms: int) -> bool:
        """Write the final word on a payment that no attempt of this journal asked for: by the till's code.

        Returns:
            Whether it is news.

        Raises:
            JournalUnwritable: it is not written.
        """
        with self._lock:
            if answer.attempt_id in self._settled or answer.attempt_id in self._unresolved:
                return False
            record = settled_unasked(answer, at_ms=at_ms)
            if record is None:
                return False
            self._append(self._settled_file, record)
            self._settled[record.attempt_id] = record
            self._tidy_up()
            return True

    def record_refusal(self, attempt_id: str, code: str, *, at_ms: int) -> bool:
        """Write that the gateway refused an attempt and that nothing of it was booked.

        Returns:
            Whether this settled the attempt.

        Raises:
            JournalUnwritable: as `record_answer`.
        """
        with self._lock:
            attempt = self._unresolved.get(attempt_id)
            return attempt is not None and self._settle(settled_by_refusal(attempt, code, at_ms=at_ms))

    def find(self, attempt_id: str) -> AttemptRecord | SettledRecord | None:
        """Return what is known of an attempt: that it is open, what became of it, or None for neither."""
        with self._lock:
            return self._unresolved.get(attempt_id) or self._settled.get(attempt_id)

    def unresolved(self) -> list[AttemptRecord]:
        """Return the attempts without a final word, oldest first."""
        with self._lock:
            return list(self._unresolved.values())

    def list(self) -> list[JournalEntry]:
        """Return every attempt kept, unresolved first, then the newest first."""
        with self._lock:
            return list_entries(self._unresolved.values(), self._settled.values())

    def close(self) -> None:
        """Close the files; nothing is lost by not doing so."""
        with self._lock:
            self._attempts_file.close()
            self._settled_file.close()

    def _replace(self, record: AttemptRecord) -> None:
        self._append(self._attempts_file, record)
        self._unresolved[record.attempt_id] = record
        if self._attempts_file.line_count > LINES_PER_ATTEMPT_MAX * len(self._unresolved):
            self._tidy_up()

    def _settle(self, record: SettledRecord) -> bool:
        self._append(self._settled_file, record)
        self._settled[record.attempt_id] = record
        del self._unresolved[record.attempt_id]
        self._tidy_up()
        return True

    def _tidy_up(self) -> None:
        try:
            self._forget_tokens()
            self._forget_old()
        except OSError as error:
            # The word itself is on disk; the next one, or the next start, tidies up again.
            log.warning("journal_not_tidied", reason=error.strerror)

    def _append(self, file: _Lines, record: AttemptRecord | SettledRecord) -> None:
        try:
            file.append(_dump_line(record))
        except OSError as error:
            raise _unwritable(error) from None

    def _forget_tokens(self) -> None:
        if self._attempts_file.line_count > len(self._unresolved):
            self._attempts_file.rewrite(_dump_line(record) for record in self._unresolved.values())

    def _forget_old(self) -> None:
        if self._settled_file.line_count < 2 * SETTLED_MAX:
            return
        while len(self._settled) > SETTLED_MAX:
            self._settled.popitem(last=False)
        self._settled_file.rewrite(_dump_line(record) for record in self._settled.values())


def read_journal(disk: Disk) -> list[JournalEntry]:
    """Read a journal without touching it, also while a daemon writes it; order as `Journal.list`.

    Raises:
        JournalUnwritable: the files can't be read.
    """
    try:
        # Attempts first: one that is settled between the two reads is then in both, never in neither.
        attempts, _, _ = _parse_lines(disk.read(ATTEMPTS_FILE), AttemptRecord)
        settled, _, _ = _parse_lines(disk.read(SETTLED_FILE), SettledRecord)
    except OSError as error:
        raise JournalUnwritable(f"the journal can't be read: {error.strerror}") from None
    by_id = settled_by_id(settled)
    return list_entries(open_by_id(attempts, by_id).values(), by_id.values())


class _Lines:
    """A file of checksummed lines that only ever ends in whole ones."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._name = name
        self._file = disk.open(name)
        self._good_bytes = 0
        self._is_spoilt = False
        self.line_count = 0

    def load(self, kind: type[Record]) -> list[Record]:
        """Read every whole line and cut the tail after the last of them."""
        content = self._disk.read(self._name)
        records, self._good_bytes, damaged_count = _parse_lines(content, kind)
        self.line_count = len(records)
        if damaged_count:
            # Not a torn tail but a damaged disk or another version's line: kept for whoever looks into it.
            log.error("journal_damaged", file=self._name, line_count=damaged_count)
            self._disk.write(f"{Path(self._name).stem}.damaged", content)
            self.rewrite(_dump_line(record) for record in records)
        elif len(content) > self._good_bytes:
            self._cut_tail()
        return records

    def append(self, line: bytes) -> None:
        """Add a line and sync it; after an error the file is as before."""
        if self._is_spoilt:
            self._cut_tail()
        self._is_spoilt = True
        try:
            self._file.append(line)
        except OSError:
            with suppress(OSError):
                self._cut_tail()
            raise
        self._good_bytes += len(line)
        self.line_count += 1
        self._is_spoilt = False

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Replace the content in one step: after a power loss it is the old or the new one."""
        kept = list(lines)
        content = b"".join(kept)
        if kept:
            self._file.replace(content)
        # Until the new name or length is durable, nothing may be appended.
        self._good_bytes, self._is_spoilt = len(content), True
        self._cut_tail()
        self.line_count = len(kept)

    def close(self) -> None:
        """Give the file back; may be called twice."""
        self._file.close()

    def _cut_tail(self) -> None:
        self._file.cut(self._good_bytes)
        self._is_spoilt = False


def _parse_lines(content: bytes, kind: type[Record]) -> tuple[list[Record], int, int]:
    """Return the readable records, the length up to the last good line, and how many before it are bad."""
    records: list[Record] = []
    good_bytes = position = bad_count = damaged_count = 0
    for line in content.split(b"\n")[:-1]:
        position += len(line) + 1
        checksum, _, payload = line.partition(b" ")
        if checksum != _checksum(payload):
            bad_count += 1
            continue
        try:
            records.append(msgspec.json.decode(payload, type=kind))
        except msgspec.DecodeError:
            # Written whole, so no torn tail: it must not be cut off as one.
            bad_count += 1
        good_bytes, damaged_count = position, bad_count
    return records, good_bytes, damaged_count


def _dump_line(record: AttemptRecord | SettledRecord) -> bytes:
    payload = msgspec.json.encode(record)
    return _checksum(payload) + b" " + payload + b"\n"


def _checksum(payload: bytes) -> bytes:
    return f"{zlib.crc32(payload):0{_CHECKSUM_CHARS}x}".encode("ascii")


def _unwritable(error: OSError) -> JournalUnwritable:
    return JournalUnwritable(f"the journal can't be written: {error.strerror}")
