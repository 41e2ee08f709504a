"""Copies of the database: whole or not there, put back where nobody works, never from what is damaged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.audit import audit
from gateway.errors import BackupRefused, ConfigurationError, StoreUnavailable
from gateway.storage.sqlite.backup import back_up, restore
from gateway.storage.sqlite.store import open_sqlite_store

if TYPE_CHECKING:
    from tests.conftest import Shop

CHILD = Path(__file__).with_name("crashing_gateway.py")
BACKUPS_UNDER_LOAD = 4
ANSWERS_BETWEEN = 40
SERVICE_USER = 65_534
NOW_MS = 1_767_225_600_123
ASIDE = "store.sqlite3.replaced-20260101T000000123Z"


def examine(path: Path) -> None:
    assert audit(path).is_ok


def ignore(doing: str, done: int, total: int | None) -> None:
    pass


def copy_to(database: Path, target: Path, **options: object) -> None:
    back_up(database, target, **({"force": False, "examine": examine, "progress": ignore} | options))


def restore_from(source: Path, database: Path, **options: object) -> Path | None:
    given = {"force": False, "now_ms": NOW_MS, "examine": examine, "progress": ignore}
    return restore(source, database, **(given | options))


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def keep_books(path: Path, shop: Shop, payments: int) -> None:
    store = await open_sqlite_store(path)
    await shop.furnish(store)
    for number in range(payments):
        await store.book_payment(shop.booking(number, amount_minor=1))
    await store.close()


@pytest.fixture(scope="module")
def _books(tmp_path_factory: pytest.TempPathFactory, make_shop: type[Shop]) -> Path:
    path = tmp_path_factory.mktemp("books") / "store.sqlite3"
    asyncio.run(keep_books(path, make_shop(), payments=30))
    return path


@pytest.fixture
def books(_books: Path, tmp_path: Path) -> Path:
    """A closed database of 30 payments in a folder of its own."""
    (tmp_path / "books").mkdir()
    return Path(shutil.copy(_books, tmp_path / "books" / "store.sqlite3"))


@pytest.fixture
def backup(books: Path, tmp_path: Path) -> Path:
    target = tmp_path / "backup.sqlite3"
    copy_to(books, target)
    return target


@contextlib.contextmanager
def paying_gateway(path: Path) -> Iterator[Callable[[], int]]:
    """A process that pays without end; the callable reads its next answer, the number of a payment."""
    command = [sys.executable, str(CHILD), str(path), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = child.stdout

        def next_answer() -> int:
            number, outcome = lines.readline().split()
            assert outcome == "approved"
            return int(number)

        try:
            yield next_answer
        finally:
            child.send_signal(signal.SIGKILL)


class TestBackup:
    def test_it_is_one_private_file_that_passes_the_audit(self, books: Path, backup: Path) -> None:
        assert audit(backup).chain_head == audit(books).chain_head
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        assert files_in(backup.parent) == {"backup.sqlite3", "books"}

    def test_it_can_be_read_where_nothing_can_be_written(self, backup: Path) -> None:
        uri = f"{backup.as_uri()}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)

    def test_it_tells_how_far_it_is(self, books: Path, tmp_path: Path) -> None:
        told: list[tuple[str, int, int | None]] = []
        copy_to(books, tmp_path / "copy.sqlite3", progress=lambda *step: told.append(step))
        assert [doing for doing, done, total in told if done == total] == ["copy", "check"]

    def test_a_file_that_is_there_stays_unless_forced(self, books: Path, backup: Path) -> None:
        before = backup.read_bytes()
        with pytest.raises(BackupRefused) as caught:
            copy_to(books, backup)
        assert caught.value.code == "target_exists"
        assert backup.read_bytes() == before
        backup.write_text("something else")
        copy_to(books, backup, force=True)
        assert audit(backup).is_ok

    def test_a_file_that_appears_meanwhile_stays(self, books: Path, tmp_path: Path) -> None:
        target = tmp_path / "copy.sqlite3"
        with pytest.raises(BackupRefused) as caught:
            copy_to(books, target, examine=lambda _: target.write_text("another's"))
        assert caught.value.code == "target_exists"
        assert target.read_text() == "another's"

    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
    def test_it_is_never_written_over_the_database(self, books: Path, suffix: str) -> None:
        with pytest.raises(BackupRefused) as caught:
            copy_to(books, books.with_name(books.name + suffix), force=True)
        assert caught.value.code == "target_is_database"
        assert audit(books).is_ok

    def test_it_is_never_written_over_a_database_in_use(self, books: Path, tmp_path: Path) -> None:
        other = Path(shutil.copy(books, tmp_path / "other.sqlite3"))
        with contextlib.closing(sqlite3.connect(other)) as connection:
            connection.execute("UPDATE health SET check_count = 1")
            connection.commit()
            with pytest.raises(BackupRefused) as caught:
                copy_to(books, other, force=True)
        assert caught.value.code == "target_exists"

    def test_one_that_does_not_pass_leaves_nothing(self, books: Path, tmp_path: Path) -> None:
        def refuse(path: Path) -> None:
            raise BackupRefused("no", code="books_broken")

        with pytest.raises(BackupRefused):
            copy_to(books, tmp_path / "copy.sqlite3", examine=refuse)
        assert files_in(tmp_path) == {"books"}

    def test_an_interrupted_one_leaves_nothing(self, books: Path, tmp_path: Path) -> None:
        def interrupt(doing: str, done: int, total: int | None) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            copy_to(books, tmp_path / "copy.sqlite3", progress=interrupt)
        assert files_in(tmp_path) == {"books"}

    def test_a_damaged_index_is_found(self, books: Path, tmp_path: Path) -> None:
        with contextlib.closing(sqlite3.connect(books)) as connection:
            index = "SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'token_uses' AND type = 'index'"
            # An index that says nothing would let every token be used once more.
            pages = [page for (page,) in connection.execute(index)]
            (size,) = connection.execute("PRAGMA page_size").fetchone()
        with books.open("r+b") as file:
            file.seek((pages[-1] - 1) * size + 3)
            file.write(b"\0\0")
        with pytest.raises(BackupRefused) as caught:
            copy_to(books, tmp_path / "copy.sqlite3")
        assert caught.value.code == "source_damaged"
        copy_to(books, tmp_path / "copy.sqlite3", examine=None)

    def test_a_folder_that_is_not_there_is_named(self, books: Path, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match="nowhere"):
            copy_to(books, tmp_path / "nowhere" / "copy.sqlite3")

    @pytest.mark.processes
    async def test_under_load_each_copy_holds_all_that_was_answered_before(
        self, tmp_path: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # So that the gateway commits many times between the first step and the last.
        monkeypatch.setattr("gateway.storage.sqlite.backup.PAGES_PER_STEP", 1)
        path = tmp_path / "store.sqlite3"
        with paying_gateway(path) as next_answer:
            answered: list[int] = []
            for round_number in range(BACKUPS_UNDER_LOAD):
                answered += [next_answer() for _ in range(ANSWERS_BETWEEN)]
                target = tmp_path / f"copy-{round_number}.sqlite3"
                await asyncio.to_thread(copy_to, path, target, progress=NeverBack())
                place = tmp_path / f"restored-{round_number}.sqlite3"
                assert restore_from(target, place) is None
                await assert_answered(place, shop, answered)
        assert audit(path).is_ok


class NeverBack:
    """Fails when a copy begins anew, as it does when it sees what others write meanwhile."""

    def __init__(self) -> None:
        self.done_count = 0

    def __call__(self, doing: str, done: int, total: int | None) -> None:
        if doing == "copy":
            assert done >= self.done_count, "the copy began anew"
            self.done_count = done


async def assert_answered(path: Path, shop: Shop, numbers: list[int]) -> None:
    store = await open_sqlite_store(path)
    for number in numbers:
        record = await store.find_payment_by_attempt("TERMNA01", shop.booking(number).attempt_id)
        assert record is not None, number
        assert record.outcome == "approved"
    await store.close()


class TestRestore:
    async def test_what_comes_back_is_what_was_backed_up_and_can_be_used(
        self, backup: Path, tmp_path: Path, shop: Shop
    ) -> None:
        place = tmp_path / "store.sqlite3"
        assert restore_from(backup, place) is None
        assert audit(place).chain_head == audit(backup).chain_head
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        store = await open_sqlite_store(place)
        assert (await store.book_payment(shop.booking(99))).outcome == "approved"
        assert (await store.book_payment(shop.booking(3, amount_minor=1))).outcome == "approved"
        await store.close()
        assert audit(place).payment_count == 31

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for somebody else")
    def test_root_restores_for_whom_the_folder_is(self, backup: Path, tmp_path: Path) -> None:
        folder = tmp_path / "service"
        folder.mkdir()
        os.chown(folder, SERVICE_USER, SERVICE_USER)
        restore_from(backup, folder / "store.sqlite3")
        owners = {path.name: path.stat().st_uid for path in folder.iterdir()}
        assert owners == {"store.sqlite3": SERVICE_USER, "store.sqlite3.lock": SERVICE_USER}

    def test_it_leaves_the_backup_as_it_was(self, backup: Path, tmp_path: Path) -> None:
        before = backup.read_bytes()
        restore_from(backup, tmp_path / "store.sqlite3")
        assert backup.read_bytes() == before
        assert files_in(tmp_path) == {"books", "backup.sqlite3", "store.sqlite3", "store.sqlite3.lock"}

    def test_one_that_does_not_pass_changes_nothing(self, books: Path, backup: Path) -> None:
        def refuse(path: Path) -> None:
            raise BackupRefused("no", code="books_broken")

        before = books.read_bytes()
        with pytest.raises(BackupRefused):
            restore_from(backup, books, force=True, examine=refuse)
        assert books.read_bytes() == before
        assert files_in(books.parent) == {"store.sqlite3", "store.sqlite3.lock"}

    def test_a_database_that_is_there_stays_unless_forced(self, books: Path, backup: Path) -> None:
        with pytest.raises(BackupRefused) as caught:
            restore_from(backup, books)
        assert caught.value.code == "database_exists"

    async def test_the_replaced_one_is_kept_whole_with_the_date(
        self, books: Path, backup: Path, shop: Shop
    ) -> None:
        store = await open_sqlite_store(books)
        await store.book_payment(shop.booking(98))
        await store.close()
        head = audit(books).chain_head
        kept = restore_from(backup, books, force=True)
        assert kept is not None
        assert kept.name == ASIDE
        assert audit(kept).chain_head == head
        assert audit(books).chain_head == audit(backup).chain_head
        assert files_in(books.parent) == {"store.sqlite3", "store.sqlite3.lock", ASIDE}

    def test_what_a_crash_left_in_the_log_is_kept_with_it(self, backup: Path, tmp_path: Path) -> None:
        path = tmp_path / "crashed" / "store.sqlite3"
        path.parent.mkdir()
        with paying_gateway(path) as next_answer:
            answered = [next_answer() for _ in range(ANSWERS_BETWEEN)]
        assert (path.parent / "store.sqlite3-wal").stat().st_size > 0
        kept = restore_from(backup, path, force=True)
        assert kept is not None
        assert audit(kept).payment_count >= len(answered)
        assert audit(path).payment_count == 30

    def test_a_log_without_its_database_is_never_taken_for_the_new_ones(
        self, books: Path, backup: Path
    ) -> None:
        with contextlib.closing(sqlite3.connect(books)) as connection:
            connection.execute("UPDATE health SET check_count = 77")
            connection.commit()
            log = (books.parent / "store.sqlite3-wal").read_bytes()
        books.unlink()
        (books.parent / "store.sqlite3-wal").write_bytes(log)
        assert restore_from(backup, books) is None
        with contextlib.closing(sqlite3.connect(books)) as connection:
            assert connection.execute("SELECT check_count FROM health").fetchone() == (0,)
        assert (books.parent / f"{ASIDE}-wal").read_bytes() == log

    def test_a_database_that_can_not_be_read_any_more_is_set_aside(self, books: Path, backup: Path) -> None:
        garbage = b"nothing that was ever a database" * 200
        books.write_bytes(garbage)
        (books.parent / "store.sqlite3-wal").write_bytes(b"nor this")
        kept = restore_from(backup, books, force=True)
        assert kept is not None
        assert kept.read_bytes() == garbage
        assert (books.parent / f"{ASIDE}-wal").read_bytes() == b"nor this"
        assert audit(books).is_ok

    async def test_an_open_store_keeps_its_database(self, books: Path, backup: Path) -> None:
        store = await open_sqlite_store(books)
        with pytest.raises(BackupRefused) as caught:
            restore_from(backup, books, force=True)
        assert caught.value.code == "database_in_use"
        await store.close()
        assert restore_from(backup, books, force=True) is not None

    @pytest.mark.processes
    def test_another_process_keeps_its_database_until_it_is_gone(self, backup: Path, tmp_path: Path) -> None:
        path = tmp_path / "store.sqlite3"
        with paying_gateway(path) as next_answer:
            next_answer()
            with pytest.raises(BackupRefused) as caught:
                restore_from(backup, path, force=True)
            assert caught.value.code == "database_in_use"
            next_answer()
        assert restore_from(backup, path, force=True) is not None

    def test_another_program_that_has_it_open_is_seen_too(self, books: Path, backup: Path) -> None:
        with contextlib.closing(sqlite3.connect(books)) as connection:
            connection.execute("SELECT count(*) FROM payments").fetchone()
            with pytest.raises(BackupRefused) as caught:
                restore_from(backup, books, force=True)
        assert caught.value.code == "database_in_use"
        assert files_in(books.parent) == {"store.sqlite3", "store.sqlite3.lock"}

    async def test_nobody_starts_while_it_runs(self, backup: Path, tmp_path: Path) -> None:
        place = tmp_path / "store.sqlite3"

        examined: list[Path] = []

        def start(path: Path) -> None:
            with pytest.raises(StoreUnavailable, match="replaced"):
                asyncio.run(open_sqlite_store(place))
            examined.append(path)

        await asyncio.to_thread(restore_from, backup, place, examine=start)
        assert len(examined) == 1
        await (await open_sqlite_store(place)).close()

    @pytest.mark.parametrize("keep_bytes", [0, 100, 4_096, 100_000])
    def test_a_cut_off_backup_is_refused(self, backup: Path, books: Path, keep_bytes: int) -> None:
        backup.write_bytes(backup.read_bytes()[:keep_bytes])
        assert_refused(backup, books)

    def test_a_garbled_page_is_found_wherever_it_is(self, backup: Path, books: Path) -> None:
        whole = backup.read_bytes()
        for place in range(0, len(whole), 4_096):
            backup.write_bytes(whole[:place] + b"\xff" * 512 + whole[place + 512 :])
            assert_refused(backup, books)

    def test_what_is_no_database_is_refused(self, backup: Path, books: Path) -> None:
        backup.write_text("a receipt, not a backup " * 500)
        assert_refused(backup, books)

    def test_another_programs_database_is_refused(self, tmp_path: Path, books: Path) -> None:
        other = tmp_path / "other.sqlite3"
        with contextlib.closing(sqlite3.connect(other)) as connection:
            connection.execute("CREATE TABLE theirs (a)")
        assert_refused(other, books, code="source_unusable")

    def test_a_backup_that_is_not_there_is_refused(self, tmp_path: Path, books: Path) -> None:
        assert_refused(tmp_path / "missing.sqlite3", books, code="source_unusable")

    def test_the_database_itself_is_no_backup(self, books: Path) -> None:
        assert_refused(books, books, code="target_is_database")

    def test_a_backup_of_a_newer_program_is_refused(self, backup: Path, books: Path) -> None:
        with contextlib.closing(sqlite3.connect(backup)) as connection:
            connection.execute("PRAGMA user_version = 999")
        with pytest.raises(ConfigurationError, match="newer"):
            restore_from(backup, books, force=True)


def assert_refused(source: Path, database: Path, code: str | None = None) -> None:
    before = audit(database).chain_head
    with pytest.raises(BackupRefused, match=source.name) as caught:
        restore_from(source, database, force=True)
    assert caught.value.code in ({code} if code else {"source_damaged", "source_unusable"})
    assert audit(database).chain_head == before
    assert files_in(database.parent) <= {database.name, f"{database.name}.lock"}
