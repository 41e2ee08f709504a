"""The writer: group commit, one bad item alone, a failed commit for all, a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import GatewayBusy, GatewayError, NotFound, StoreUnavailable
from gateway.storage.sqlite.database import CHECKPOINT_PAGES, open_connection
from gateway.storage.sqlite.migrate import migrate
from gateway.storage.sqlite.writer import BATCH_MAX, Writer

QUEUE_MAX = 600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite3"
    migrate(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (number INTEGER PRIMARY KEY, batch INTEGER) STRICT")
        connection.execute(
            "CREATE TABLE children (number INTEGER REFERENCES notes DEFERRABLE INITIALLY DEFERRED)"
        )
    return path


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    writer = Writer(path, queue_max=QUEUE_MAX)
    yield writer
    await writer.close()


def note(connection: sqlite3.Connection, number: int) -> int:
    """Write a number, and return how many were written in this transaction before it."""
    connection.execute("INSERT INTO notes (number) VALUES (?)", (number,))
    return connection.total_changes


def numbers_in(path: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM notes ORDER BY number")]


@contextlib.asynccontextmanager
async def held(writer: Writer) -> AsyncIterator[None]:
    """Keep the writer inside a transaction, so that what is submitted meanwhile waits for the next."""
    entered, leave = threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        entered.set()
        leave.wait(10)

    holding = writer.submit(hold)
    await asyncio.to_thread(entered.wait, 10)
    yield
    leave.set()
    await holding


async def test_result_is_on_disk_when_it_is_returned(writer: Writer, path: Path) -> None:
    await writer.submit(lambda connection: note(connection, 1))
    assert numbers_in(path) == [1]


async def test_items_that_arrive_during_a_commit_are_committed_together(writer: Writer, path: Path) -> None:
    commits: list[str] = []

    def watch(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

    await writer.submit(watch)
    commits.clear()
    async with held(writer):
        futures = [writer.submit(lambda c, n=n: note(c, n)) for n in range(BATCH_MAX + 10)]
    await asyncio.gather(*futures)
    # One for the holder, one for a full batch, one for the rest.
    assert len(commits) == 3
    assert numbers_in(path) == list(range(BATCH_MAX + 10))


@pytest.mark.parametrize(
    ("poison", "raised"),
    [
        (NotFound("no such thing"), NotFound),
        (ZeroDivisionError("a bug"), ZeroDivisionError),
        (sqlite3.IntegrityError("a constraint"), GatewayError),
    ],
)
async def test_poisoned_item_fails_alone_and_is_undone(
    writer: Writer, path: Path, poison: Exception, raised: type[Exception]
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        note(connection, 2)
        if isinstance(poison, sqlite3.IntegrityError):
            note(connection, 2)
        raise poison

    async with held(writer):
        before, bad, after = (
            writer.submit(lambda c: note(c, 1)),
            writer.submit(fail),
            writer.submit(lambda c: note(c, 3)),
        )
    with pytest.raises(raised):
        await bad
    await asyncio.gather(before, after)
    assert numbers_in(path) == [1, 3]


async def test_failed_commit_fails_all_of_its_batch_and_books_nothing(writer: Writer, path: Path) -> None:
    def break_commit(connection: sqlite3.Connection) -> None:
        # A deferred foreign key is the one thing SQLite first looks at when it commits.
        connection.execute("INSERT INTO children (number) VALUES (99)")

    async with held(writer):
        futures = [
            writer.submit(lambda c: note(c, 1)),
            writer.submit(break_commit),
            writer.submit(lambda c: note(c, 2)),
        ]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert numbers_in(path) == []
    await writer.submit(lambda c: note(c, 3))
    assert numbers_in(path) == [3]


async def test_item_that_ends_the_transaction_fails_its_batch(writer: Writer, path: Path) -> None:
    async with held(writer):
        futures = [
            writer.submit(lambda c: note(c, 1)),
            writer.submit(lambda c: c.execute("ROLLBACK")),
        ]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    assert numbers_in(path) == []


async def test_full_queue_turns_away_at_once(writer: Writer, path: Path) -> None:
    async with held(writer):
        futures = [writer.submit(lambda c, n=n: note(c, n)) for n in range(QUEUE_MAX)]
        with pytest.raises(GatewayBusy):
            writer.submit(lambda c: note(c, QUEUE_MAX))
    await asyncio.gather(*futures)
    assert numbers_in(path) == list(range(QUEUE_MAX))


async def test_work_of_a_caller_that_left_is_done_all_the_same(writer: Writer, path: Path) -> None:
    async with held(writer):
        left = writer.submit(lambda c: note(c, 1))
        left.cancel()
        stayed = writer.submit(lambda c: note(c, 2))
    await stayed
    assert numbers_in(path) == [1, 2]


async def test_closing_finishes_what_is_queued_and_takes_no_more(writer: Writer, path: Path) -> None:
    async with held(writer):
        waiting = writer.submit(lambda c: note(c, 1))
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
    await asyncio.gather(waiting, closing)
    assert numbers_in(path) == [1]
    with pytest.raises(StoreUnavailable):
        writer.submit(lambda c: note(c, 2))


async def test_writer_waits_for_another_process_that_writes(writer: Writer, path: Path) -> None:
    other = open_connection(path, writable=True)
    other.execute("BEGIN IMMEDIATE")
    note(other, 1)
    future = writer.submit(lambda c: note(c, 2))
    await asyncio.sleep(0)
    assert not future.done()
    other.execute("COMMIT")
    other.close()
    await future
    assert numbers_in(path) == [1, 2]


async def test_every_commit_is_synced_to_a_log_with_foreign_keys_held(writer: Writer) -> None:
    def read_settings(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    # 2 is FULL: the log is synced at every commit, so that a power cut loses nothing that was answered.
    assert await writer.submit(read_settings) == ["wal", 2, 1]


async def test_log_does_not_outgrow_its_checkpoint_by_more_than_a_batch(writer: Writer, path: Path) -> None:
    page_bytes, commit_bytes, commit_count = 4_096, 1 << 20, 40
    assert CHECKPOINT_PAGES * page_bytes < commit_count * commit_bytes, "enough is written for a checkpoint"

    await writer.submit(lambda c: c.execute("CREATE TABLE heaps (heap BLOB)").rowcount)
    for _ in range(commit_count):
        await writer.submit(
            lambda c: c.execute("INSERT INTO heaps VALUES (zeroblob(?))", [commit_bytes]).rowcount
        )

    log_bytes = path.with_name(path.name + "-wal").stat().st_size
    assert log_bytes < CHECKPOINT_PAGES * page_bytes + 2 * commit_bytes
