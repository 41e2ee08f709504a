"""The journal survives power loss at any byte, forgets tokens, and stays bounded."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal.disk import FolderDisk
from terminal.errors import JournalUnwritable
from terminal.journal import journal as journal_module
from terminal.journal.journal import ATTEMPTS_FILE, SETTLED_FILE, Journal, read_journal
from tests.terminal.conftest import make_answer, make_request
from wire.messages.payments import PaymentRequest, PaymentState
from wire.messages.till import AttemptStage

TOKEN = b"SECRET-TOKEN"
Open = Callable[[], Journal]


@pytest.fixture
def open_journal(tmp_path: Path) -> Open:
    """Open the journal of the test's folder; opening it again is what a restart does."""
    return lambda: Journal(FolderDisk(tmp_path))


def unresolved_ids(journal: Journal) -> list[str]:
    return [record.request.attempt_id for record in journal.unresolved()]


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_attempt_survives_a_restart_with_all_that_a_resend_needs(open_journal: Open, tmp_path: Path) -> None:
    request = make_request(1)
    open_journal().record_attempt(request, at_ms=5)
    (record,) = open_journal().unresolved()
    assert (record.request, record.at_ms) == (request, 5)
    assert stat.S_IMODE((tmp_path / ATTEMPTS_FILE).stat().st_mode) == 0o600


def test_attempt_is_synced_whole_before_it_counts(
    open_journal: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal()
    synced: list[bytes] = []
    really_sync = os.fdatasync

    def watch_sync(descriptor: int) -> None:
        really_sync(descriptor)
        synced.append((tmp_path / ATTEMPTS_FILE).read_bytes())

    monkeypatch.setattr(os, "fdatasync", watch_sync)
    journal.record_attempt(make_request(1), at_ms=1)
    assert len(synced) == 1
    assert synced[0].endswith(b"\n")
    assert token_of(make_request(1)) in synced[0]


@pytest.mark.parametrize("decline_code", [None, "insufficient_funds"])
def test_answered_attempt_is_settled_and_its_token_is_gone_from_disk(
    open_journal: Open, tmp_path: Path, decline_code: str | None
) -> None:
    journal = open_journal()
    first, second = make_request(1), make_request(2)
    journal.record_attempt(first, at_ms=1)
    journal.record_attempt(second, at_ms=2)
    token = token_of(first)
    assert token in all_bytes(tmp_path)
    journal.record_answer(make_answer(first, decline_code), at_ms=3)
    assert token not in all_bytes(tmp_path)
    assert token_of(second) in all_bytes(tmp_path)
    again = open_journal()
    assert unresolved_ids(again) == [second.attempt_id]
    assert [(entry.outcome, entry.code) for entry in again.list()] == [
        ("unresolved", ""),
        ("declined" if decline_code else "approved", decline_code or ""),
    ]


def test_refused_attempt_is_settled_with_its_code(open_journal: Open) -> None:
    journal = open_journal()
    journal.record_attempt(make_request(1), at_ms=1)
    journal.record_refusal(make_request(1).attempt_id, "terminal_revoked", at_ms=2)
    (entry,) = open_journal().list()
    assert (entry.outcome, entry.code) == ("refused", "terminal_revoked")


def test_first_final_word_stands(open_journal: Open) -> None:
    journal = open_journal()
    request = make_request(1)
    journal.record_attempt(request, at_ms=1)
    journal.record_answer(make_answer(request), at_ms=2)
    journal.record_answer(make_answer(request, "wallet_frozen"), at_ms=3)
    journal.record_answer(make_answer(make_request(9)), at_ms=3)
    assert [entry.outcome for entry in open_journal().list()] == ["approved"]


def test_listing_puts_unresolved_first_and_the_newest_first_within_each(open_journal: Open) -> None:
    journal = open_journal()
    for number in range(4):
        journal.record_attempt(make_request(number), at_ms=number)
    for number in (1, 2):
        journal.record_answer(make_answer(make_request(number)), at_ms=10)
    assert [entry.order_id for entry in journal.list()] == ["order-3", "order-0", "order-2", "order-1"]


def test_power_loss_at_every_byte_of_an_attempt_keeps_all_before_it(tmp_path: Path) -> None:
    whole = write_attempts(tmp_path / "whole", 2)
    line_ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    assert len(line_ends) == 2
    for size in range(len(whole) + 1):
        folder = tmp_path / f"torn-{size}"
        folder.mkdir()
        (folder / ATTEMPTS_FILE).write_bytes(whole[:size])
        kept = sum(end <= size for end in line_ends)
        expected = [make_request(number).attempt_id for number in range(kept)]
        journal = Journal(FolderDisk(folder))
        assert unresolved_ids(journal) == expected, size
        # What comes after the tear is written whole and read back.
        journal.record_attempt(make_request(7), at_ms=7)
        journal.close()
        assert unresolved_ids(Journal(FolderDisk(folder))) == [*expected, make_request(7).attempt_id], size


def test_power_loss_at_every_byte_of_an_answer_leaves_the_attempt_asked_about(tmp_path: Path) -> None:
    attempts = write_attempts(tmp_path / "attempts", 1)
    request = make_request(0)
    settled_folder = tmp_path / "settled"
    settled_folder.mkdir()
    journal = Journal(FolderDisk(settled_folder))
    journal.record_attempt(request, at_ms=1)
    journal.record_answer(make_answer(request), at_ms=2)
    settled = (settled_folder / SETTLED_FILE).read_bytes()
    for size in range(len(settled) + 1):
        folder = tmp_path / f"torn-{size}"
        folder.mkdir()
        # The attempt is only forgotten after the answer is on disk: at the tear both files are there.
        (folder / ATTEMPTS_FILE).write_bytes(attempts)
        (folder / SETTLED_FILE).write_bytes(settled[:size])
        torn = Journal(FolderDisk(folder))
        is_answered = size == len(settled)
        assert unresolved_ids(torn) == ([] if is_answered else [request.attempt_id]), size
        assert (TOKEN in all_bytes(folder) or b"U0VDUkVU" in all_bytes(folder)) is not is_answered
        torn.close()


@given(tail=st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_garbage_at_the_tail_costs_no_attempt_before_it(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    folder = tmp_path_factory.mktemp("tail")
    whole = write_attempts(folder, 2)
    (folder / ATTEMPTS_FILE).write_bytes(whole + tail)
    assert unresolved_ids(Journal(FolderDisk(folder))) == [
        make_request(0).attempt_id,
        make_request(1).attempt_id,
    ]
    assert (folder / ATTEMPTS_FILE).read_bytes() == whole


def test_damage_in_the_middle_costs_only_its_line_and_is_kept_aside(tmp_path: Path) -> None:
    whole = write_attempts(tmp_path, 3)
    damaged = whole.replace(b"order-1", b"order-?")
    (tmp_path / ATTEMPTS_FILE).write_bytes(damaged)
    assert unresolved_ids(Journal(FolderDisk(tmp_path))) == [
        make_request(0).attempt_id,
        make_request(2).attempt_id,
    ]
    assert (tmp_path / "attempts.damaged").read_bytes() == damaged


def test_line_of_a_newer_version_is_kept_aside_and_not_cut_off_as_torn(tmp_path: Path) -> None:
    payload = b'{"at_ms":1,"request":{"shape":"of tomorrow"}}'
    newer = b"%08x %s\n" % (zlib.crc32(payload), payload)
    (tmp_path / ATTEMPTS_FILE).write_bytes(newer)
    assert unresolved_ids(Journal(FolderDisk(tmp_path))) == []
    assert (tmp_path / "attempts.damaged").read_bytes() == newer


def test_attempts_without_answer_are_bounded(open_journal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "UNRESOLVED_MAX", 3)
    journal = open_journal()
    for number in range(3):
        journal.record_attempt(make_request(number), at_ms=1)
    with pytest.raises(JournalUnwritable):
        journal.record_attempt(make_request(3), at_ms=1)
    journal.record_answer(make_answer(make_request(0)), at_ms=1)
    journal.record_attempt(make_request(3), at_ms=1)


def test_settled_attempts_are_bounded_on_disk_and_the_newest_stay(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SETTLED_MAX", 5)
    journal = open_journal()
    for number in range(23):
        journal.record_attempt(make_request(number), at_ms=number)
        journal.record_answer(make_answer(make_request(number)), at_ms=number)
    kept = open_journal().list()
    assert 5 <= len(kept) < 10
    assert kept[0].order_id == "order-22"


def test_reading_beside_a_writing_daemon_changes_nothing(tmp_path: Path) -> None:
    whole = write_attempts(tmp_path, 2)
    (tmp_path / ATTEMPTS_FILE).write_bytes(whole[:-3])
    assert [entry.order_id for entry in read_journal(FolderDisk(tmp_path))] == ["order-0"]
    assert (tmp_path / ATTEMPTS_FILE).read_bytes() == whole[:-3]
    assert read_journal(FolderDisk(tmp_path / "nowhere")) == []


FULL_DISK_PROGRAM = """
import resource, sys
from pathlib import Path
import msgspec
from terminal.disk import FolderDisk
from terminal.errors import JournalUnwritable
from terminal.journal.journal import ATTEMPTS_FILE, Journal
from wire.messages.payments import PaymentRequest

folder = Path(sys.argv[1])
first, second = msgspec.json.decode(sys.stdin.buffer.read(), type=list[PaymentRequest])
journal = Journal(FolderDisk(folder))
journal.record_attempt(first, at_ms=1)
# The kernel lets no file grow beyond here: the write stops in the middle of the line, as on a full disk.
size = (folder / ATTEMPTS_FILE).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
try:
    journal.record_attempt(second, at_ms=2)
except JournalUnwritable:
    assert (folder / ATTEMPTS_FILE).stat().st_size == size
    assert len(journal.unresolved()) == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.record_attempt(second, at_ms=3)
    sys.exit(0)
sys.exit("the attempt was taken for stored")
"""


def test_full_disk_leaves_the_journal_as_it_was_and_usable(tmp_path: Path) -> None:
    requests = [make_request(1), make_request(2)]
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK_PROGRAM, str(tmp_path)],
        input=dump_list(requests),
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert unresolved_ids(Journal(FolderDisk(tmp_path))) == [request.attempt_id for request in requests]


def test_journal_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / ATTEMPTS_FILE).mkdir()
    with pytest.raises(JournalUnwritable):
        Journal(FolderDisk(tmp_path))


def token_of(request: PaymentRequest) -> bytes:
    return dump_list([request]).split(b'"token":"')[1].split(b'"')[0]


def dump_list(requests: list[PaymentRequest]) -> bytes:
    return msgspec.json.encode(requests)


def write_attempts(folder: Path, count: int) -> bytes:
    folder.mkdir(exist_ok=True)
    journal = Journal(FolderDisk(folder))
    for number in range(count):
        journal.record_attempt(make_request(number), at_ms=number)
    journal.close()
    return (folder / ATTEMPTS_FILE).read_bytes()


def test_stage_survives_a_restart_and_is_one_line(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    request = make_request(1)
    journal.record_attempt(request, at_ms=1)
    before = (tmp_path / ATTEMPTS_FILE).read_bytes()
    assert journal.change_stage(request.attempt_id, AttemptStage.REVERSING, at_ms=7)
    assert (tmp_path / ATTEMPTS_FILE).read_bytes().startswith(before)
    (record,) = open_journal().unresolved()
    assert (record.stage, record.stage_ms, record.at_ms) == (AttemptStage.REVERSING, 7, 1)
    assert record.request == request


def test_stage_leads_only_where_the_table_says(open_journal: Open) -> None:
    journal = open_journal()
    attempt_id = make_request(1).attempt_id
    journal.record_attempt(make_request(1), at_ms=1)
    assert journal.change_stage(attempt_id, AttemptStage.KEPT, at_ms=2)
    assert not journal.change_stage(attempt_id, AttemptStage.UNKNOWN, at_ms=3)
    assert not journal.change_stage(
        attempt_id, AttemptStage.REVERSING, at_ms=3, only_from=AttemptStage.UNKNOWN
    )
    assert journal.change_stage(attempt_id, AttemptStage.REVERSING, at_ms=3)
    assert not journal.change_stage(attempt_id, AttemptStage.KEPT, at_ms=4)
    assert not journal.change_stage(make_request(2).attempt_id, AttemptStage.KEPT, at_ms=4)


def test_attempt_that_is_taken_back_is_not_settled_by_an_approval(open_journal: Open) -> None:
    journal = open_journal()
    request = make_request(1)
    journal.record_attempt(request, at_ms=1)
    journal.change_stage(request.attempt_id, AttemptStage.REVERSING, at_ms=2)
    assert not journal.record_answer(make_answer(request), at_ms=3)
    closed = msgspec.structs.replace(
        make_answer(request, "payment_reversed"), outcome="closed", state=PaymentState.REVERSED
    )
    assert journal.record_answer(closed, at_ms=4)
    assert [(entry.outcome, entry.code) for entry in open_journal().list()] == [
        ("closed", "payment_reversed")
    ]


def test_stages_do_not_grow_the_file_without_bound(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    journal.record_attempt(make_request(0), at_ms=1)
    for number in range(1, 40):
        journal.record_attempt(make_request(number), at_ms=1)
        journal.change_stage(make_request(number).attempt_id, AttemptStage.KEPT, at_ms=2)
        journal.record_answer(make_answer(make_request(number)), at_ms=3)
    assert (tmp_path / ATTEMPTS_FILE).read_bytes().count(b"\n") == 1
