"""When the server is gone, slow or read-only: StoreUnavailable, nothing half-booked, and on again after."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.audit import audit
from gateway.errors import ConfigurationError, IdempotencyConflict, StoreUnavailable
from gateway.storage.postgres.database import Patience, connect
from gateway.storage.postgres.migrate import migrate
from gateway.storage.postgres.store import PostgresStore, open_postgres_store
from tests.gateway.storage.postgres.conftest import until_blocked
from tests.postgres_server import PostgresServer, running_server

if TYPE_CHECKING:
    from tests.conftest import Shop
    from tests.gateway.storage.postgres.conftest import Hand

OpenStore = Callable[..., Awaitable[PostgresStore]]
ALL_BACKENDS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop and kill."""
    with running_server() as server:
        yield server


@pytest.fixture
def own_url(own_server: PostgresServer) -> Iterator[str]:
    own_server.create_database("own")
    migrate(own_server.url("own"))
    yield own_server.url("own")
    if not own_server.is_running:
        own_server.start()
    own_server.drop_database("own")


async def assert_nothing_works(store: PostgresStore, shop: Shop) -> None:
    for call in (
        store.book_payment(shop.booking(1)),
        store.find_payment_by_attempt("TERMNA01", shop.booking(1).attempt_id),
        store.fund_wallet("WALLET1", b"another-transfer", 1, shop.now_ms),
        store.add_merchant(shop.merchant),
        store.check_health(),
    ):
        with pytest.raises(StoreUnavailable):
            await call


async def test_stopped_server_makes_everything_unavailable_until_it_is_back(
    own_server: PostgresServer, own_url: str, shop: Shop
) -> None:
    store = await open_postgres_store(own_url)
    await shop.furnish(store)
    own_server.stop()
    await assert_nothing_works(store, shop)
    with pytest.raises(StoreUnavailable):
        await open_postgres_store(own_url)
    own_server.start()
    # The very same request, sent again, is what `retryable` promises.
    assert (await store.book_payment(shop.booking(1))).outcome == "approved"
    await store.check_health()
    await store.close()
    assert audit(own_url).payment_count == 1


async def test_killed_server_leaves_every_attempt_whole_or_undone(
    own_server: PostgresServer, own_url: str, shop: Shop
) -> None:
    store = await open_postgres_store(own_url)
    await shop.furnish(store)
    holder = await asyncpg.connect(own_url)
    await holder.execute("BEGIN; SELECT FROM chain_head FOR UPDATE")
    before = await store.find_payment_by_attempt("TERMNA01", shop.booking(1).attempt_id)
    paying = [asyncio.create_task(store.book_payment(shop.booking(n, amount_minor=1))) for n in range(1, 21)]
    await until_blocked(holder)
    # The first batch is in the middle of being written, and the rest waits behind it.
    own_server.kill()
    answers = await asyncio.gather(*paying, return_exceptions=True)
    assert before is None
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    holder.terminate()
    own_server.start()
    for number in range(1, 21):
        assert await store.find_payment_by_attempt("TERMNA01", shop.booking(number).attempt_id) is None
    again = await asyncio.gather(*(store.book_payment(shop.booking(n, amount_minor=1)) for n in range(1, 21)))
    assert {record.outcome for record in again} == {"approved"}
    await store.close()
    assert audit(own_url).payment_count == 20


async def test_lost_answer_of_a_commit_is_found_again_by_its_attempt(
    store: PostgresStore, shop: Shop, hand: Hand, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """The commit is done, its answer is lost: the caller resends, and gets the decision that was made."""
    first = await store.book_payment(shop.booking(1))
    database = postgres_url.partition("@/")[2].partition("?")[0]
    postgres_server.run_sql(ALL_BACKENDS.format(database))
    answers = await asyncio.gather(store.book_payment(shop.booking(1)), return_exceptions=True)
    again = await store.book_payment(shop.booking(1))
    assert answers[0] == first or isinstance(answers[0], StoreUnavailable)
    assert again == first


async def test_connections_that_were_cut_are_opened_anew(
    store: PostgresStore, shop: Shop, postgres_server: PostgresServer, postgres_url: str
) -> None:
    await store.list_merchants()
    database = postgres_url.partition("@/")[2].partition("?")[0]
    postgres_server.run_sql(ALL_BACKENDS.format(database))
    calls = (store.book_payment(shop.booking(1)), store.list_merchants())
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        assert not isinstance(answer, BaseException) or isinstance(answer, StoreUnavailable)
    assert (await store.book_payment(shop.booking(1))).outcome == "approved"
    assert await store.list_merchants() == [shop.merchant]


@pytest.mark.parametrize("patience", [Patience(lock_ms=100), Patience(lock_ms=0, statement_ms=100)])
async def test_lock_held_elsewhere_for_too_long_makes_bookings_unavailable(
    open_store: OpenStore, shop: Shop, hand: Hand, patience: Patience, postgres_url: str
) -> None:
    store = await open_store(patience=patience)
    await shop.furnish(store)
    await hand.take_head()
    answers = await asyncio.gather(
        *(store.book_payment(shop.booking(number)) for number in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    with pytest.raises(StoreUnavailable):
        await store.revoke_terminal("TERMNA01")
    # Reading goes on.
    assert await store.list_merchants() == [shop.merchant]
    await hand.let_go()
    assert (await store.book_payment(shop.booking(0))).outcome == "approved"
    assert audit(postgres_url).payment_count == 1


async def test_answer_that_does_not_come_in_time_leaves_the_outcome_to_a_resend(
    open_store: OpenStore, shop: Shop, hand: Hand, postgres_url: str
) -> None:
    """The server was told to give up, and may have been quicker: only the attempt id tells."""
    patient = await open_store()
    await shop.furnish(patient)
    store = await open_store(patience=Patience(lock_ms=0, command_ms=500))
    await hand.take_head()
    answers = await asyncio.gather(
        *(store.book_payment(shop.booking(number)) for number in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    await hand.let_go()
    again = await asyncio.gather(*(patient.book_payment(shop.booking(number)) for number in range(3)))
    assert {record.outcome for record in again} == {"approved"}
    report = audit(postgres_url)
    assert (report.first_break, report.payment_count) == (None, 3)


async def test_client_that_falls_silent_with_the_head_in_its_hand_loses_it(
    store: PostgresStore, shop: Shop, postgres_url: str
) -> None:
    silent = await connect(postgres_url, Patience(idle_in_transaction_ms=100))
    await silent.execute("BEGIN; SELECT FROM chain_head FOR UPDATE")
    assert (await store.book_payment(shop.booking(1))).outcome == "approved"
    silent.terminate()


async def test_exhausted_pool_turns_away_after_its_time(
    open_store: OpenStore, shop: Shop, postgres_url: str
) -> None:
    store = await open_store(patience=Patience(connections_max=1, acquire_ms=100))
    await shop.furnish(store)
    blocker = await asyncpg.connect(postgres_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE merchants")
    slow = asyncio.create_task(store.list_merchants())
    await until_blocked(blocker)
    with pytest.raises(StoreUnavailable, match="free in time"):
        await store.find_wallet("WALLET1")
    await transaction.rollback()
    await blocker.close()
    assert await slow == [shop.merchant]
    assert await store.find_wallet("WALLET1") is not None


async def test_read_only_server_is_unavailable_for_writing_until_another_one_answers(
    own_server: PostgresServer, own_url: str, shop: Shop
) -> None:
    """What a standby answers, and a primary that was demoted under open connections."""
    store = await open_postgres_store(own_url)
    await shop.furnish(store)
    own_server.run_sql("ALTER DATABASE own SET default_transaction_read_only = on")
    own_server.run_sql(ALL_BACKENDS.format("own"))
    await asyncio.gather(store.check_health(), store.book_payment(shop.booking(1)), return_exceptions=True)
    for call in (
        store.check_health(),
        store.book_payment(shop.booking(1)),
        store.revoke_terminal("TERMNA01"),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    assert await store.list_merchants() == [shop.merchant]
    own_server.run_sql("ALTER DATABASE own RESET default_transaction_read_only")
    # Nobody cut these connections: those that met a read-only server are given up by themselves.
    assert (await store.book_payment(shop.booking(1))).outcome == "approved"
    await asyncio.gather(store.check_health(), return_exceptions=True)
    await store.check_health()
    await store.close()
    assert audit(own_url).payment_count == 1


async def test_closed_store_is_unavailable(open_store: OpenStore, shop: Shop) -> None:
    store = await open_store()
    await store.close()
    await store.close()
    await assert_nothing_works(store, shop)


async def test_errors_quote_no_values(
    store: PostgresStore, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(IdempotencyConflict) as caught:
        await store.add_merchant(replace(shop.merchant, account_id=b"merchant-other--"))
    text = "".join(traceback.format_exception(caught.value))
    assert "UniqueViolation" in text
    assert shop.merchant.merchant_id not in text + caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://pay:s3cret@127.0.0.1:1/tapscan",
        "postgresql://pay:s3cret@127.0.0.1:port/tapscan",
        "postgresql://pay:s3cret@[::1/tapscan",
        "postgresql://pay:s3cret@127.0.0.1:1/tapscan?sslmode=s3cret",
    ],
)
async def test_password_is_in_no_error(url: str) -> None:
    with pytest.raises((ConfigurationError, StoreUnavailable)) as caught:
        await open_postgres_store(url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)).replace(url, "")


async def test_server_that_is_too_old_is_refused(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.storage.postgres.database.SERVER_VERSION_MIN", 99)
    with pytest.raises(ConfigurationError, match="older than PostgreSQL 99"):
        await open_postgres_store(postgres_url)
