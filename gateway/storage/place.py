"""Where a store is kept: `storage.database` names a SQLite file, or a PostgreSQL database by its URL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from gateway.errors import ConfigurationError

URL_VARIABLE: Final = "TAPSCAN_DATABASE_URL"
"""An environment variable that comes before `storage.database`: a URL holds a password."""

_SCHEMES: Final = ("postgresql://", "postgres://")
_UNREADABLE: Final = "postgresql://…"
_SECRETS: Final = frozenset({"password", "sslpassword"})


def is_database_url(place: str) -> bool:
    """Say whether a place is a PostgreSQL database rather than a file.

    >>> is_database_url("postgresql://pay@db.example.com/tapscan"), is_database_url("../var/tapscan.sqlite3")
    (True, False)
    """
    return place.startswith(_SCHEMES)


def shown_place(place: str) -> str:
    """Return a place as it may be shown and logged: a URL without its password.

    >>> shown_place("postgresql://pay:secret@db.example.com:5433/tapscan?sslmode=require&password=secret")
    'postgresql://pay@db.example.com:5433/tapscan?sslmode=require'
    """
    if not is_database_url(place):
        return place
    try:
        parts = urlsplit(place)
    except ValueError:
        return _UNREADABLE
    login, at, hosts = parts.netloc.rpartition("@")
    # An @ anywhere else: a password with a / ? or # in it that nobody escaped.
    if place.count("@") != parts.netloc.count("@"):
        return _UNREADABLE
    options = [(key, value) for key, value in parse_qsl(parts.query) if key not in _SECRETS]
    query = f"?{urlencode(options)}" if options else ""
    return f"{parts.scheme}://{login.partition(':')[0]}{at}{hosts}{parts.path}{query}"


@contextlib.contextmanager
def needs_postgres_driver() -> Iterator[None]:
    """Import what needs the driver inside this block.

    Raises:
        ConfigurationError: the driver is not installed; says how to get it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigurationError(
            "a postgresql:// database needs a driver: pip install 'tapscan[postgres]'"
        ) from None
