"""Every record gets its word once, in order, whatever is lost, killed or unreadable on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from terminal.disk import FolderDisk, FolderFile
from terminal.errors import GatewayRefused, GatewayUnreachable, JournalUnwritable, TerminalError
from terminal.gateway_client.client import GatewayClient, GatewayTimings
from terminal.gateway_client.http_transport import HttpTransport
from terminal.offline.gateway import OfflineGateway, OfflineGatewayClient
from terminal.offline.queue import OfflineQueue, StoredPayment
from terminal.offline.uploader import OfflineUploader, UploadProgress
from tests.terminal.conftest import until
from tests.terminal.offline.conftest import NOW_MS, TERMINAL_KEY, payment
from tests.terminal.offline.gateways import (
    BUSY,
    HTTP_FAULTS,
    REVOKED,
    UNREACHABLE,
    DirectGateway,
    HttpGateway,
    OfflineBook,
)
from wire.messages.offline import BATCH_RECORDS_MAX, BatchAnswer, RecordResult


async def _at_once(work: Callable[[], None]) -> None:
    work()


class Till:
    """A queue, its uploader, and what they told."""

    def __init__(self, queue: OfflineQueue, gateway: OfflineGateway, *, seed: int = 5) -> None:
        rng = random.Random(seed)
        self.queue = queue
        self.progress: list[UploadProgress] = []
        self.results: list[int] = []
        self.uploader = OfflineUploader(
            queue,
            gateway,
            on_progress=self.progress.append,
            on_result=self._take_result,
            retry_delay_ms=1,
            retry_delay_ms_max=4,
            now_ms=lambda: NOW_MS,
            entropy=rng.randbytes,
            jitter=rng.random,
            run_blocking=_at_once,
        )

    def _take_result(self, stored: StoredPayment, _: RecordResult) -> None:
        self.results.append(stored.record.sequence)

    async def drain_until_done(self, tries_max: int = 500) -> None:
        for _ in range(tries_max):
            try:
                if (await self.uploader.drain()).is_done:
                    return
            except TerminalError:
                continue
        raise AssertionError("it never came to an end")


@pytest.fixture
def book() -> Iterator[OfflineBook]:
    book = OfflineBook()
    yield book
    assert book.complaints == []


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[OfflineQueue]:
    queue = OfflineQueue(FolderDisk(tmp_path), TERMINAL_KEY)
    yield queue
    queue.close()


def _fill(queue: OfflineQueue, count: int) -> list[bytes]:
    return [queue.store(payment(number)).sealed for number in range(1, count + 1)]


async def test_everything_is_handed_in_by_batches_in_order(queue: OfflineQueue, book: OfflineBook) -> None:
    sealed = _fill(queue, 37)
    till = Till(queue, DirectGateway(book))
    done = await till.uploader.drain()
    assert list(book.booked.values()) == sealed
    assert book.batch_sizes == [BATCH_RECORDS_MAX, BATCH_RECORDS_MAX, 5]
    assert [(one.settled_count, one.waiting_count) for one in till.progress] == [(16, 21), (32, 5), (37, 0)]
    assert done == UploadProgress(37, 0, 0)
    assert done.is_done
    assert till.results == list(range(1, 38))
    assert [one.sequence for one in queue.settled()] == list(range(1, 38))


async def test_draining_nothing_asks_nobody(queue: OfflineQueue, book: OfflineBook) -> None:
    assert (await Till(queue, DirectGateway(book)).uploader.drain()).is_done
    assert book.batch_sizes == []


@pytest.mark.parametrize("fault", [UNREACHABLE, BUSY, REVOKED])
async def test_a_failure_stops_the_drain_and_leaves_the_rest_waiting(
    queue: OfflineQueue, book: OfflineBook, fault: TerminalError
) -> None:
    sealed = _fill(queue, 20)
    gateway = DirectGateway(book)
    gateway.faults.extend([None, fault])
    till = Till(queue, gateway)
    with pytest.raises(type(fault)):
        await till.uploader.drain()
    assert (queue.depth, len(book.batch_sizes)) == (4, 1)
    await till.drain_until_done()
    assert list(book.booked.values()) == sealed


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[OfflineGatewayClient]:
    transport = HttpTransport(connect_timeout_ms=500, try_timeout_ms=2_000)
    rng = random.Random(9)
    client = GatewayClient(
        url,
        TERMINAL_KEY,
        transport,
        GatewayTimings(retry_delay_ms=1, retry_delay_ms_max=2),
        now_ms=lambda: NOW_MS,
        entropy=rng.randbytes,
        jitter=rng.random,
    )
    async with client:
        yield OfflineGatewayClient(client)


@pytest.mark.parametrize("seed", range(6))
async def test_each_record_is_acknowledged_once_and_in_order_over_a_lossy_network(
    queue: OfflineQueue, book: OfflineBook, seed: int
) -> None:
    sealed = _fill(queue, 40)
    rng = random.Random(seed)
    server = HttpGateway(book, TERMINAL_KEY.public_key(), NOW_MS)
    server.faults.extend(rng.choice([None, *HTTP_FAULTS]) for _ in range(12))
    async with server.serve(), _client(server.url) as gateway:
        till = Till(queue, gateway, seed=seed)
        await till.drain_until_done()
    assert list(book.booked.values()) == sealed
    assert till.results == list(range(1, 41))
    assert (queue.depth, len(queue.settled())) == (0, 40)


@pytest.mark.parametrize("fault", HTTP_FAULTS, ids=lambda fault: fault.__name__)
async def test_no_fault_of_the_network_settles_a_record(
    queue: OfflineQueue, book: OfflineBook, fault: Callable[..., object]
) -> None:
    _fill(queue, 3)
    server = HttpGateway(book, TERMINAL_KEY.public_key(), NOW_MS)
    server.faults.append(fault)  # type: ignore[arg-type]
    async with server.serve(), _client(server.url) as gateway:
        till = Till(queue, gateway)
        with pytest.raises((GatewayUnreachable, GatewayRefused)):
            await till.uploader.drain()
        assert (queue.depth, till.results) == (3, [])
        await till.drain_until_done()
    assert till.results == [1, 2, 3]


class Killed(BaseException):
    """The process ends here; nobody catches it, as nobody catches a SIGKILL."""


class KillingDisk(FolderDisk):
    """Ends the process before or after the disk operation whose turn it is."""

    def __init__(self, folder: Path, kill_at: int) -> None:
        super().__init__(folder)
        self.kill_at = kill_at
        self.step_count = 0

    def step(self) -> None:
        self.step_count += 1
        if self.step_count == self.kill_at:
            raise Killed

    def open(self, name: str) -> KillingFile:
        return KillingFile(self, name)


class KillingFile(FolderFile):
    def __init__(self, disk: KillingDisk, name: str) -> None:
        super().__init__(disk._folder / name)
        self._disk = disk

    def append(self, content: bytes) -> None:
        self._disk.step()
        super().append(content)
        self._disk.step()

    def replace(self, content: bytes) -> None:
        self._disk.step()
        super().replace(content)
        self._disk.step()

    def cut(self, size_bytes: int) -> None:
        self._disk.step()
        super().cut(size_bytes)
        self._disk.step()


async def test_a_kill_between_any_two_steps_has_nothing_lost_or_settled_twice(tmp_path: Path) -> None:
    kill_at, was_killed = 0, True
    while was_killed:
        kill_at += 1
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        filling = OfflineQueue(FolderDisk(folder), TERMINAL_KEY)
        sealed = _fill(filling, BATCH_RECORDS_MAX + 2)
        filling.close()
        book = OfflineBook()
        disk = KillingDisk(folder, kill_at)
        gateway = DirectGateway(book)
        gateway.after_booking = disk.step
        first = OfflineQueue(disk, TERMINAL_KEY)
        try:
            await Till(first, gateway).uploader.drain()
            was_killed = False
        except Killed:
            first.close()
        restarted = OfflineQueue(FolderDisk(folder), TERMINAL_KEY)
        await Till(restarted, DirectGateway(book)).drain_until_done()
        assert list(book.booked.values()) == sealed
        assert book.complaints == []
        assert [one.sequence for one in restarted.settled()] == list(range(1, len(sealed) + 1))
        assert (restarted.depth, restarted.next_sequence) == (0, len(sealed) + 1)
        restarted.close()
    # Per batch: the gateway's booking, and each side of an append, a replace and a cut.
    assert kill_at > 2 * 7


@pytest.mark.parametrize("unreadable", [{1}, {7}, {16}, {3, 4, 18}, set(range(1, 21))])
async def test_records_the_gateway_can_not_read_never_stop_the_rest(
    queue: OfflineQueue, book: OfflineBook, unreadable: set[int]
) -> None:
    _fill(queue, 20)
    book.unreadable = set(unreadable)
    till = Till(queue, DirectGateway(book))
    done = await till.uploader.drain()
    assert done == UploadProgress(20 - len(unreadable), len(unreadable), len(unreadable))
    assert done.is_done
    assert sorted(book.booked) == [number for number in range(1, 21) if number not in unreadable]
    assert {one.record.sequence for one in queue.waiting()} == unreadable
    # The next drain tries each of them once, alone, and a new payment does not wait for them.
    queue.store(payment(21))
    book.batch_sizes.clear()
    await till.uploader.drain()
    assert book.batch_sizes == [1] * (1 + len(unreadable))
    assert till.results[-1] == 21
    # Once the gateway can read them, they are handed in.
    book.unreadable.clear()
    assert (await till.uploader.drain()) == UploadProgress(len(unreadable), 0, 0)
    assert len(queue.settled()) == 21


async def test_a_refusal_of_the_whole_terminal_is_not_blamed_on_a_record(
    queue: OfflineQueue, book: OfflineBook
) -> None:
    _fill(queue, 16)
    gateway = DirectGateway(book)
    gateway.faults.append(REVOKED)
    till = Till(queue, gateway)
    with pytest.raises(GatewayRefused):
        await till.uploader.drain()
    assert book.batch_sizes == []
    assert queue.depth == 16


async def test_every_outcome_ends_the_waiting_and_is_kept(queue: OfflineQueue, book: OfflineBook) -> None:
    _fill(queue, 3)
    book.outcomes = {
        1: RecordResult(
            sequence=1,
            outcome="declined",
            code="offline_rules_broken",
            loss_minor=1_000,
            loss_bearer="merchant",
        ),
        2: RecordResult(sequence=2, outcome="conflict", code="offline_record_conflict"),
        3: RecordResult(sequence=0, outcome="declined", code="offline_record_invalid"),
    }
    await Till(queue, DirectGateway(book)).uploader.drain()
    assert [(one.sequence, one.outcome, one.code, one.loss_bearer) for one in queue.settled()] == [
        (1, "declined", "offline_rules_broken", "merchant"),
        (2, "conflict", "offline_record_conflict", None),
        (3, "declined", "offline_record_invalid", None),
    ]


async def test_a_till_that_was_set_back_takes_up_the_gateways_count(
    queue: OfflineQueue, book: OfflineBook
) -> None:
    _fill(queue, 1)
    gateway = DirectGateway(book)
    conflict = RecordResult(sequence=1, outcome="conflict", code="offline_record_conflict")
    gateway.answers.append(BatchAnswer(results=[conflict], next_sequence=40))
    await Till(queue, gateway).uploader.drain()
    assert queue.store(payment(2)).record.sequence == 40


async def test_results_about_other_records_settle_nothing(queue: OfflineQueue, book: OfflineBook) -> None:
    _fill(queue, 2)
    gateway = DirectGateway(book)
    swapped = [RecordResult(sequence=sequence, outcome="settled") for sequence in (2, 1)]
    gateway.answers.append(BatchAnswer(results=swapped, next_sequence=3))
    till = Till(queue, gateway)
    with pytest.raises(GatewayUnreachable):
        await till.uploader.drain()
    assert (queue.depth, till.results) == (2, [])
    await till.drain_until_done()


async def test_a_disk_that_does_not_take_the_word_has_it_asked_for_again(
    queue: OfflineQueue, book: OfflineBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = _fill(queue, 3)
    till = Till(queue, DirectGateway(book))
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", _fail)
        with pytest.raises(JournalUnwritable):
            await till.uploader.drain()
    assert (queue.depth, till.results) == (3, [])
    await till.drain_until_done()
    assert (list(book.booked.values()), till.results) == (sealed, [1, 2, 3])


def _fail(_: int) -> None:
    raise OSError(28, "No space left on device")


async def test_run_goes_on_through_failures_and_drains_when_woken(
    queue: OfflineQueue, book: OfflineBook
) -> None:
    sealed = _fill(queue, 3)
    gateway = DirectGateway(book)
    gateway.faults.extend([UNREACHABLE, BUSY, ValueError("a bug"), UNREACHABLE])
    till = Till(queue, gateway)
    running = asyncio.create_task(till.uploader.run())
    await until(lambda: till.results == [1, 2, 3])
    assert list(book.booked.values()) == sealed
    for number in (4, 5):
        queue.store(payment(number))
        till.uploader.wake()
        await until(lambda: len(till.results) == number)  # noqa: B023 -- awaited at once
    running.cancel()
    await asyncio.wait({running})


async def test_two_drains_at_once_hand_in_each_record_once(queue: OfflineQueue, book: OfflineBook) -> None:
    _fill(queue, 40)
    till = Till(queue, DirectGateway(book))
    await asyncio.gather(till.uploader.drain(), till.uploader.drain())
    assert book.batch_sizes == [16, 16, 8]
    assert till.results == list(range(1, 41))
