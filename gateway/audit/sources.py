"""The one place where an audit finds out which store it is to read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from gateway.storage.audit_source import AuditSource
from gateway.storage.place import is_database_url, needs_postgres_driver
from gateway.storage.sqlite.audit_source import open_audit_source


def open_source(database: Path | str) -> AbstractContextManager[AuditSource]:
    """Open one snapshot of the books, as `storage.database` names them: a SQLite file, or a URL.

    Raises:
        ConfigurationError: the database has another version of the schema.
        StoreUnavailable: it can't be read.
    """
    if is_database_url(str(database)):
        with needs_postgres_driver():
            from gateway.storage.postgres.audit_source import open_audit_source as open_postgres_source
        return open_postgres_source(str(database))
    return open_audit_source(Path(database))
