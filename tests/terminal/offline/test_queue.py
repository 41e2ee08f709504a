"""What was accepted offline is never lost, reordered or counted twice, whenever the power fails."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

import terminal.offline.queue as queue_module
from terminal.disk import FolderDisk
from terminal.errors import JournalUnwritable
from terminal.offline.queue import OfflineQueue, SettledPayment, StoredPayment
from terminal.offline.rules import Exposure
from tests.terminal.offline.conftest import NOW_MS, TERMINAL_KEY, OfflinePhone, payment
from wire import es256
from wire.errors import WireError
from wire.messages.offline import RecordResult
from wire.tokens.offline_record import (
    FIRST_LINK,
    link_of,
    parse_offline_record,
    verify_offline_record,
)

Open = Callable[[], OfflineQueue]
KEY_ID_HEX = es256.key_id_of(TERMINAL_KEY.public_key()).hex()
QUEUE_NAME = f"offline-queue-{KEY_ID_HEX}.records"
SETTLED_NAME = f"offline-settled-{KEY_ID_HEX}.records"
DAMAGED_NAME = f"offline-queue-{KEY_ID_HEX}.damaged"


@pytest.fixture
def open_queue(tmp_path: Path) -> Iterator[Open]:
    opened: list[OfflineQueue] = []

    def open_one() -> OfflineQueue:
        for queue in opened:
            queue.close()
        opened.append(OfflineQueue(FolderDisk(tmp_path), TERMINAL_KEY))
        return opened[-1]

    yield open_one
    for queue in opened:
        queue.close()


def _settle(queue: OfflineQueue, *stored: StoredPayment) -> None:
    results = [(one, RecordResult(sequence=one.record.sequence, outcome="settled")) for one in stored]
    queue.settle(results, at_ms=NOW_MS)


def _assert_chained(stored: list[StoredPayment], *, after: bytes = FIRST_LINK, number: int = 1) -> None:
    """Walk the chain as whoever receives it would."""
    for sequence, one in enumerate(stored, start=number):
        record = verify_offline_record(parse_offline_record(one.sealed), TERMINAL_KEY.public_key())
        assert record == one.record
        assert (record.sequence, record.previous_link) == (sequence, after)
        after = link_of(one.sealed)


def test_records_are_numbered_from_one_and_chained(open_queue: Open) -> None:
    queue = open_queue()
    assert queue.next_sequence == 1
    stored = [queue.store(payment(number)) for number in (1, 2, 3)]
    assert queue.waiting() == stored
    _assert_chained(stored)
    assert (queue.next_sequence, queue.depth, queue.exposure()) == (4, 3, Exposure(3_000, 3))


def test_a_record_is_synced_before_it_counts_as_stored(
    open_queue: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = open_queue()
    synced: list[bytes] = []
    really_sync = os.fdatasync

    def watch_sync(descriptor: int) -> None:
        really_sync(descriptor)
        synced.append((tmp_path / QUEUE_NAME).read_bytes())

    monkeypatch.setattr(os, "fdatasync", watch_sync)
    queue.store(payment(1))
    assert len(synced) == 1
    assert synced[0] == (tmp_path / QUEUE_NAME).read_bytes()


def test_everything_is_there_again_after_a_restart(open_queue: Open) -> None:
    queue = open_queue()
    phone = OfflinePhone()
    stored = [queue.store(payment(number, phone)) for number in (1, 2, 3, 4)]
    _settle(queue, stored[0], stored[2])
    expected = (
        queue.waiting(),
        queue.settled(),
        queue.next_sequence,
        queue.exposure(),
        queue.find_device(phone.key_id),
    )
    again = open_queue()
    assert expected == (
        again.waiting(),
        again.settled(),
        again.next_sequence,
        again.exposure(),
        again.find_device(phone.key_id),
    )
    assert [one.record.sequence for one in again.waiting()] == [2, 4]


def test_a_power_loss_at_any_byte_of_the_last_record_leaves_the_ones_before(
    open_queue: Open, tmp_path: Path
) -> None:
    queue = open_queue()
    first, second = queue.store(payment(1)), queue.store(payment(2))
    before = len((tmp_path / QUEUE_NAME).read_bytes())
    queue.store(payment(3))
    whole = (tmp_path / QUEUE_NAME).read_bytes()
    for length in range(before, len(whole)):
        (tmp_path / QUEUE_NAME).write_bytes(whole[:length])
        torn = open_queue()
        assert torn.waiting() == [first, second]
        assert (tmp_path / QUEUE_NAME).read_bytes() == whole[:before]
        if length % 97 == 0:
            # What is stored next takes the number that was never given out.
            _assert_chained([first, second, torn.store(payment(4))])
    assert not list(tmp_path.glob("*.damaged"))


def test_a_power_loss_that_leaves_noise_in_the_tail_leaves_the_records_before(
    open_queue: Open, tmp_path: Path
) -> None:
    queue = open_queue()
    first = queue.store(payment(1))
    with (tmp_path / QUEUE_NAME).open("ab") as file:
        file.write(b"\x00" * 300 + b"\n" + b"1234")
    again = open_queue()
    assert again.waiting() == [first]
    _assert_chained([first, again.store(payment(2))])


def test_a_damaged_record_in_the_middle_is_kept_aside_and_the_rest_goes_on(
    open_queue: Open, tmp_path: Path
) -> None:
    queue = open_queue()
    stored = [queue.store(payment(number)) for number in (1, 2, 3)]
    content = bytearray((tmp_path / QUEUE_NAME).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / QUEUE_NAME).write_bytes(content)
    again = open_queue()
    assert again.waiting() == [stored[0], stored[2]]
    assert again.next_sequence == 4
    assert (tmp_path / DAMAGED_NAME).read_bytes() == content
    assert again.store(payment(4)).record.previous_link == stored[2].link


def test_a_record_that_another_hand_changed_is_kept_aside(open_queue: Open, tmp_path: Path) -> None:
    """The checksum is right, so the disk is not to blame; the seal is not."""
    queue = open_queue()
    first = queue.store(payment(1))
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    other_key = ec.derive_private_key(0xBAD, ec.SECP256R1())
    other = OfflineQueue(FolderDisk(other_folder), other_key)
    other.store(payment(2))
    other.close()
    forged = next(other_folder.glob("offline-queue-*")).read_bytes()
    with (tmp_path / QUEUE_NAME).open("ab") as file:
        file.write(forged)
    again = open_queue()
    assert again.waiting() == [first]
    assert forged in (tmp_path / DAMAGED_NAME).read_bytes()


def test_numbers_go_on_when_all_is_handed_in_and_the_history_is_lost(
    open_queue: Open, tmp_path: Path
) -> None:
    queue = open_queue()
    stored = [queue.store(payment(number)) for number in (1, 2)]
    _settle(queue, *stored)
    queue.close()
    (tmp_path / SETTLED_NAME).unlink()
    again = open_queue()
    assert (again.depth, again.next_sequence, again.settled()) == (0, 3, [])
    _assert_chained([again.store(payment(3))], after=stored[1].link, number=3)


def test_numbers_the_gateway_has_are_not_given_out_again(open_queue: Open) -> None:
    """A till whose disk was put back from an older copy."""
    queue = open_queue()
    first = queue.store(payment(1))
    queue.advance_to(2)
    queue.advance_to(1)
    assert queue.next_sequence == 2
    queue.advance_to(40)
    for one in (queue, open_queue()):
        assert (one.next_sequence, one.waiting()) == (40, [first])
    again = open_queue()
    later = again.store(payment(2))
    assert (later.record.sequence, later.record.previous_link) == (40, first.link)
    _settle(again, first)
    restarted = open_queue()
    assert (restarted.next_sequence, restarted.waiting()) == (41, [later])


def test_a_kill_between_the_word_and_the_queue_lets_the_word_count(open_queue: Open, tmp_path: Path) -> None:
    queue = open_queue()
    stored = [queue.store(payment(number)) for number in (1, 2, 3)]
    before = (tmp_path / QUEUE_NAME).read_bytes()
    _settle(queue, stored[0], stored[1])
    (tmp_path / QUEUE_NAME).write_bytes(before)
    again = open_queue()
    assert again.waiting() == [stored[2]]
    assert [one.sequence for one in again.settled()] == [1, 2]
    assert again.next_sequence == 4


def test_a_torn_word_counts_as_none(open_queue: Open, tmp_path: Path) -> None:
    queue = open_queue()
    stored = [queue.store(payment(number)) for number in (1, 2)]
    before = (tmp_path / QUEUE_NAME).read_bytes()
    _settle(queue, *stored)
    words = (tmp_path / SETTLED_NAME).read_bytes()
    first_word = words.index(b"\n") + 1
    for length in range(0, len(words), 7):
        (tmp_path / QUEUE_NAME).write_bytes(before)
        (tmp_path / SETTLED_NAME).write_bytes(words[:length])
        assert open_queue().waiting() == (stored if length < first_word else stored[1:])


def test_an_attempt_is_found_waiting_settled_or_not_at_all(open_queue: Open) -> None:
    queue = open_queue()
    stored = [queue.store(payment(number)) for number in (1, 2)]
    _settle(queue, stored[0])
    for one in (queue, open_queue()):
        assert one.find_attempt(payment(2).attempt_id) == stored[1]
        settled = one.find_attempt(payment(1).attempt_id)
        assert isinstance(settled, SettledPayment)
        assert (settled.sequence, settled.outcome) == (1, "settled")
        assert one.find_attempt(payment(3).attempt_id) is None


def test_the_first_word_on_a_record_stands(open_queue: Open) -> None:
    queue = open_queue()
    stored = queue.store(payment(1))
    declined = RecordResult(sequence=1, outcome="declined", code="offline_rules_broken")
    queue.settle([(stored, declined)], at_ms=NOW_MS)
    _settle(queue, stored)
    assert [(one.outcome, one.code) for one in queue.settled()] == [("declined", "offline_rules_broken")]
    assert len(open_queue().settled()) == 1


def test_what_is_settled_holds_nothing_that_could_be_spent(open_queue: Open, tmp_path: Path) -> None:
    queue = open_queue()
    stored = queue.store(payment(1))
    _settle(queue, stored)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (stored.sealed, stored.record.token, stored.record.credential):
        assert base64.b64encode(secret)[:40] not in kept


def test_a_device_is_remembered_by_what_it_last_said(open_queue: Open) -> None:
    queue = open_queue()
    phone = OfflinePhone()
    assert queue.find_device(phone.key_id) is None
    stored = [queue.store(payment(number, phone)) for number in (1, 2)]
    queue.store(payment(3))
    seen = queue.find_device(phone.key_id)
    assert seen is not None
    assert (seen.counter, seen.running_total_minor, seen.stored_minor) == (2, 2_000, 2_000)
    assert (seen.credential_id, seen.credential_issued_s) == (
        phone.claims.credential_id,
        phone.claims.issued_s,
    )
    _settle(queue, *stored)
    for reopened in (queue, open_queue()):
        seen = reopened.find_device(phone.key_id)
        assert seen is not None
        assert (seen.counter, seen.running_total_minor, seen.stored_minor) == (2, 2_000, 0)


def test_devices_and_history_and_queue_are_bounded(
    open_queue: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "STORED_MAX", 3)
    monkeypatch.setattr(queue_module, "SETTLED_MAX", 4)
    monkeypatch.setattr(queue_module, "DEVICES_MAX", 5)
    queue = open_queue()
    for number in range(1, 4):
        queue.store(payment(number))
    with pytest.raises(JournalUnwritable) as caught:
        queue.store(payment(9))
    assert caught.value.code == "offline_store_full"
    for number in range(4, 30):
        _settle(queue, queue.waiting()[0])
        queue.store(payment(number))
        assert len(queue.settled()) < 2 * 4
    assert (tmp_path / SETTLED_NAME).read_bytes().count(b"\n") < 2 * 4
    assert queue.find_device(OfflinePhone(1).key_id) is None
    assert queue.find_device(OfflinePhone(29).key_id) is not None
    assert queue.next_sequence == 30


def test_what_does_not_fit_is_not_stored(open_queue: Open, tmp_path: Path) -> None:
    queue = open_queue()
    good = payment(1)
    for changes in ({"order_id": ""}, {"token": good.credential}, {"credential": b"none"}):
        with pytest.raises(WireError):
            queue.store(queue_module.AcceptedPayment(**{**_fields(good), **changes}))
    assert (queue.depth, queue.next_sequence) == (0, 1)
    assert (tmp_path / QUEUE_NAME).read_bytes() == b""


def _fields(one: queue_module.AcceptedPayment) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}


def test_a_failed_sync_stores_nothing_and_the_number_is_given_again(
    open_queue: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = open_queue()
    first = queue.store(payment(1))
    content = (tmp_path / QUEUE_NAME).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _fail)
        with pytest.raises(JournalUnwritable):
            queue.store(payment(2))
        with pytest.raises(JournalUnwritable):
            _settle(queue, first)
    assert (tmp_path / QUEUE_NAME).read_bytes() == content
    assert queue.waiting() == [first]
    _assert_chained([first, queue.store(payment(3))])
    assert len(open_queue().waiting()) == 2


def _fail(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_queue_that_can_not_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / QUEUE_NAME).mkdir()
    with pytest.raises(JournalUnwritable):
        OfflineQueue(FolderDisk(tmp_path), TERMINAL_KEY)


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """In a process of its own, since a limit on file sizes holds for all of its files."""
    script = """
import resource, signal, sys
from pathlib import Path
from terminal.disk import FolderDisk
from terminal.errors import JournalUnwritable
from terminal.offline.queue import OfflineQueue
from tests.terminal.offline.conftest import TERMINAL_KEY, payment
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
queue = OfflineQueue(FolderDisk(folder), TERMINAL_KEY)
first = queue.store(payment(1))
size = next(folder.glob("offline-queue-*")).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
try:
    queue.store(payment(2))
except JournalUnwritable:
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
queue.store(payment(3))
print([one.record.order_id for one in OfflineQueue(FolderDisk(folder), TERMINAL_KEY).waiting()])
"""
    root = Path(__file__).parents[3]
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == ["refused", "['order-1', 'order-3']"]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["store", "settle", "reopen", "tear"]), st.integers(0, 1_000)),
    max_size=25,
)


@settings(max_examples=40)
@given(operations=OPERATIONS)
def test_no_order_of_operations_loses_reorders_or_renumbers(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("queue")
    queue = OfflineQueue(FolderDisk(folder), TERMINAL_KEY)
    sealed: dict[int, bytes] = {}
    settled: set[int] = set()
    for number, (what, choice) in enumerate(operations, start=1):
        waiting = queue.waiting()
        if what == "store":
            stored = queue.store(payment(number))
            assert stored.record.sequence == len(sealed) + 1
            sealed[stored.record.sequence] = stored.sealed
        elif what == "settle" and waiting:
            chosen = waiting[choice % len(waiting) :][:3]
            _settle(queue, *chosen)
            settled.update(one.record.sequence for one in chosen)
        elif what in ("reopen", "tear"):
            queue.close()
            if what == "tear":
                # Half a record that was never told as stored.
                with (folder / QUEUE_NAME).open("ab") as file:
                    file.write(b"0123abcd {" * (choice % 50))
            queue = OfflineQueue(FolderDisk(folder), TERMINAL_KEY)
        expected = {sequence: one for sequence, one in sealed.items() if sequence not in settled}
        assert {one.record.sequence: one.sealed for one in queue.waiting()} == expected
        assert [one.record.sequence for one in queue.waiting()] == sorted(expected)
        assert queue.exposure() == Exposure(1_000 * len(expected), len(expected))
    after = FIRST_LINK
    for sequence in sorted(sealed):
        record = verify_offline_record(parse_offline_record(sealed[sequence]), TERMINAL_KEY.public_key())
        assert record.previous_link == after
        after = link_of(sealed[sequence])
    queue.close()
