"""Connections to the server, and the one place where asyncpg's errors become ours.

Every wait has a bound: for a connection, for a lock, for a statement, and for a client that fell silent in
the middle of a transaction and would keep others waiting. What runs out of any of them, a lost connection,
a server that shuts down, recovers or became a standby: all are `StoreUnavailable`.

A connection that is lost while it commits leaves open whether the commit was done. The caller is told
`StoreUnavailable` and resends the same request under the same id, which then finds what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import asyncpg

from gateway.errors import (
    ConfigurationError,
    GatewayBusy,
    GatewayError,
    IdempotencyConflict,
    NotFound,
    StoreUnavailable,
)
from gateway.storage.postgres.queries import Statement

SERVER_VERSION_MIN: Final = 15
CALLS_WAITING_MAX: Final = 10_000
CLOSE_TIMEOUT_MS: Final = 2_000
STATEMENTS_CACHED_MAX: Final = 256

READING_SETTINGS: Final[Mapping[str, str]] = {
    "client_min_messages": "warning",
    # What stands between us and the server is not to forget a connection that is idle at night.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""For reading whole tables, as an audit does."""

SESSION_SETTINGS: Final[Mapping[str, str]] = {
    **READING_SETTINGS,
    # Guards count on seeing what was committed meanwhile, whatever the database's default is.
    "default_transaction_isolation": "read committed",
    # Compiling a statement takes longer than any of ours runs.
    "jit": "off",
    # Plans are made once a connection, and must do for tables of any size: all that is asked for is looked
    # up by an index, from a few given keys, in the order in which the statement is written. Small tables the
    # planner would rather read whole, and it would stay with that after they have grown.
    "plan_cache_mode": "force_generic_plan",
    "join_collapse_limit": "1",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""For everything else."""

APPLY_SETTINGS: Final = """
SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS s (name, value)
"""

KEEP_SYNCHRONOUS: Final = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""

GUARD_REFUSED: Final = "TS001"
"""SQLSTATE that our own functions raise, with the guard's name as its message."""

_OVERTAKEN: Final = frozenset({"23505", "40001", "40P01"})
"""Unique violation, serialization failure, deadlock: what goes well when it is decided anew."""

_OUR_BUGS: Final = frozenset({"22", "23", "TS"})
"""SQLSTATE classes: data exception, integrity constraint violation, and what our own triggers raise."""

_MISCONFIGURED: Final[Mapping[str, str]] = {
    "28000": "the database does not let this user in",
    "28P01": "the database does not accept this user's password",
    "3D000": "there is no such database: create it first",
    "3F000": "there is no schema to make tables in",
    "42501": "the database user lacks a permission",
    "42704": "the database does not know a setting of the URL",
}

Row: TypeAlias = Mapping[str, Any]
"""One row by column names; PostgreSQL's types are known to the statement, not to Python."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, 0 being for ever, and how many connections there may be."""

    connections_max: int = 4
    """For reading and for the directory; bookings have one of their own (batches.py)."""
    acquire_ms: int = 5_000
    """For one of those connections to become free."""
    connect_ms: int = 5_000
    statement_ms: int = 5_000
    lock_ms: int = 3_000
    idle_in_transaction_ms: int = 5_000
    """After this long the server rolls back what a silent client left open, and others go on."""
    client_check_ms: int = 2_000
    """How soon the server notices that the client of a waiting statement is gone."""
    command_ms: int = 8_000
    """Longer than any of the server's own, for a network that swallows what is sent."""


PATIENCE: Final = Patience()


class Connection(Protocol):
    """What is used of an asyncpg connection."""

    async def fetch(self, query: str, *args: object) -> list[Row]:
        """Run one statement and return its rows."""

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        """Run one statement and return its first row, or None."""

    async def execute(self, query: str, *args: object) -> str:
        """Run one statement, or a script without arguments; return the command's tag."""

    def cursor(self, query: str, *args: object) -> Awaitable[Cursor]:
        """Run one statement inside a transaction, to be read bit by bit."""

    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[tuple[Any, ...]],
        columns: Sequence[str],
        timeout: float | None,  # noqa: ASYNC109  asyncpg's signature
    ) -> str:
        """Append rows in PostgreSQL's own binary form."""

    def transaction(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Run a block in a transaction that an exception undoes."""

    def is_closed(self) -> bool:
        """Say whether the connection is gone."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  asyncpg's signature
        """End the session in order, or drop the connection when that takes too long."""

    def terminate(self) -> None:
        """Drop the connection without a farewell."""


class Cursor(Protocol):
    """A result that the server keeps, read bit by bit."""

    async def fetch(self, n: int) -> list[Row]:
        """Return the next rows, at most n; none at the end."""


class GuardRefused(Exception):
    """A batch met facts that had changed since it read them; nothing of it was written."""

    def __init__(self, guard: str) -> None:
        super().__init__(guard)
        self.guard = guard


class Database:
    """A bounded pool of connections to one database; bound to the event loop it was opened in."""

    def __init__(self, pool: Any, patience: Patience) -> None:
        self._pool = pool
        self._acquire_s = patience.acquire_ms / 1000
        self._waiting_count = 0

    @classmethod
    async def open(cls, url: str, patience: Patience = PATIENCE) -> Database:
        """Connect once, to see that the URL leads to a server that we can use.

        Raises:
            ConfigurationError: the URL is malformed; no such database, user or password; or the server
                is older than SERVER_VERSION_MIN.
            StoreUnavailable: the server can't be reached now.
        """
        pool = asyncpg.create_pool(
            min_size=0,
            max_size=patience.connections_max,
            init=functools.partial(_prepare, patience=patience, settings=SESSION_SETTINGS),
            reset=_leave_as_it_is,
            **_options(url, patience),
        )
        database = cls(pool, patience)
        try:
            with startup_errors():
                await pool
                async with pool.acquire(timeout=patience.acquire_ms / 1000):
                    pass
        except BaseException:
            await database.close()
            raise
        return database

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; each statement on it is a transaction of its own.

        Raises:
            GatewayBusy: too many are waiting for one already.
            StoreUnavailable: none was free in time, the database can't be used, or the store is closed.
        """
        if self._waiting_count >= CALLS_WAITING_MAX:
            raise GatewayBusy("too many calls are waiting for the database")
        with translated_errors():
            connection = await self._acquire()
            try:
                yield connection
            except asyncpg.ReadOnlySQLTransactionError:
                # This server was the primary once. A fresh connection may find the one that is it now.
                await self._pool.expire_connections()
                raise
            finally:
                await self._pool.release(connection, timeout=CLOSE_TIMEOUT_MS / 1000)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction, which an exception undoes; errors as `connection`."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Let running statements finish, for a bounded time, and close every connection; repeatable."""
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_TIMEOUT_MS / 1000)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # Whatever did not answer in time is dropped; a pool that never opened has nothing to drop.
            with contextlib.suppress(asyncpg.InterfaceError):
                self._pool.terminate()

    async def _acquire(self) -> Connection:
        self._waiting_count += 1
        try:
            acquired: Connection = await self._pool.acquire(timeout=self._acquire_s)
        except TimeoutError as error:
            raise StoreUnavailable("no connection to the database became free in time") from error
        finally:
            self._waiting_count -= 1
        return acquired


async def connect(
    url: str, patience: Patience = PATIENCE, settings: Mapping[str, str] = SESSION_SETTINGS
) -> Connection:
    """Open one connection; the caller closes it.

    Raises:
        ConfigurationError: as `Database.open`.
        StoreUnavailable: the server can't be reached now.
    """
    with startup_errors():
        connection: Connection = await asyncpg.connect(**_options(url, patience))
        try:
            await _prepare(connection, patience, settings)
        except BaseException:
            connection.terminate()
            raise
    return connection


async def end_connection(connection: Connection) -> None:
    """Close a connection in whatever state it is, for a bounded time; raises nothing.

    A statement whose answer was not waited for is cancelled first, else the server would finish it later.
    """
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await connection.close(timeout=CLOSE_TIMEOUT_MS / 1000)


async def fetch(connection: Connection, statement: Statement, values: Mapping[str, object]) -> list[Row]:
    """Run a named query and return its rows."""
    return await connection.fetch(statement.sql, *statement.arguments(values))


async def fetch_row(connection: Connection, statement: Statement, values: Mapping[str, object]) -> Row | None:
    """Run a named query and return its first row, or None."""
    return await connection.fetchrow(statement.sql, *statement.arguments(values))


async def execute(connection: Connection, statement: Statement, values: Mapping[str, object]) -> int:
    """Run a named query and return how many rows it wrote."""
    tag = await connection.execute(statement.sql, *statement.arguments(values))
    return int(tag.rpartition(" ")[2])


async def open_cursor(connection: Connection, statement: Statement, values: Mapping[str, object]) -> Cursor:
    """Run a named query inside a transaction, and leave its rows with the server until they are read."""
    return await connection.cursor(statement.sql, *statement.arguments(values))


async def insert(connection: Connection, statement: Statement, values: Mapping[str, object]) -> int:
    """Insert a row whose key may be taken and whose parents may be missing; return the row count.

    Raises:
        IdempotencyConflict: a unique key is taken.
        NotFound: a row it refers to does not exist.
    """
    try:
        return await execute(connection, statement, values)
    except asyncpg.UniqueViolationError as error:
        raise IdempotencyConflict("this id or key is taken") from _without_values(error)
    except asyncpg.ForeignKeyViolationError as error:
        raise NotFound("something this belongs to does not exist") from _without_values(error)


async def copy_rows(
    connection: Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Append many rows to a table, read from `rows` as the server takes them."""
    await connection.copy_records_to_table(table, records=rows, columns=columns, timeout=None)


async def call_guarded(connection: Connection, query: str, arguments: Sequence[object]) -> Row:
    """Call a function that writes under guards, and return its one row.

    Raises:
        GuardRefused: a guard refused, or somebody else took a unique key or won a deadlock meanwhile.
    """
    try:
        row = await connection.fetchrow(query, *arguments)
    except asyncpg.PostgresError as error:
        if error.sqlstate == GUARD_REFUSED:
            raise GuardRefused(str(error)) from None
        if error.sqlstate in _OVERTAKEN:
            raise GuardRefused(error.constraint_name or error.sqlstate) from _without_values(error)
        raise
    assert row is not None, "a function returns a row"
    return row


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what asyncpg raises into our errors; the message says what, never with which values.

    A constraint that fails here was not foreseen by a statement, and a value that PostgreSQL can't hold
    should never have come so far: both are our own bugs, `internal`.
    """
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        code = getattr(error, "sqlstate", None) or type(error).__name__
        cause = _without_values(error)
        if code[:2] in _OUR_BUGS:
            raise GatewayError(f"the database refuses with {code}") from cause
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
            raise GatewayError("a value is not one the database can hold") from cause
        raise StoreUnavailable(f"the database answers {code}") from cause


@contextlib.contextmanager
def startup_errors() -> Iterator[None]:
    """As `translated_errors`, for a process that starts: what no waiting would mend is ConfigurationError."""
    try:
        with translated_errors(), _url_errors():
            yield
    except StoreUnavailable as unavailable:
        reason = _MISCONFIGURED.get(getattr(unavailable.__cause__, "sqlstate", None) or "")
        if reason is None:
            raise
        raise ConfigurationError(reason) from unavailable.__cause__


@contextlib.contextmanager
def _url_errors() -> Iterator[None]:
    # The driver raises these while it reads the URL, and quotes from it what may be a password.
    try:
        yield
    except ValueError:
        raise ConfigurationError("the database URL can't be read") from None


def _options(url: str, patience: Patience) -> dict[str, Any]:
    return {
        "dsn": url,
        "timeout": patience.connect_ms / 1000,
        "command_timeout": patience.command_ms / 1000 or None,
        "statement_cache_size": STATEMENTS_CACHED_MAX,
        "server_settings": {"application_name": "tapscan-gateway"},
    }


async def _prepare(connection: Any, patience: Patience, settings: Mapping[str, str]) -> None:
    if connection.get_server_version().major < SERVER_VERSION_MIN:
        raise ConfigurationError(f"the server is older than PostgreSQL {SERVER_VERSION_MIN}")
    bounds = {
        "statement_timeout": str(patience.statement_ms),
        "lock_timeout": str(patience.lock_ms),
        "idle_in_transaction_session_timeout": str(patience.idle_in_transaction_ms),
        "client_connection_check_interval": str(patience.client_check_ms),
    }
    every = {**settings, **bounds}
    # Not with the greeting, which an older server would not understand, and a pooler would not pass on.
    await connection.execute(APPLY_SETTINGS, list(every), list(every.values()))
    # What was answered has to survive a power cut; stricter settings than `on` stay as they are.
    await connection.execute(KEEP_SYNCHRONOUS)


async def _leave_as_it_is(_: Any) -> None:
    """Spare the round trip that would reset a connection: nothing of ours changes its settings."""


def _without_values(error: Exception) -> Exception:
    # PostgreSQL's detail quotes the row that failed, and a log shows the cause of what it is given.
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None
        error.query = None
    return error
