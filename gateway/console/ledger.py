"""`tapscan-gateway audit | backup | restore | move`: whether the books are right, and copies of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.console.output import Record, show_record
from gateway.console.session import DEFAULT_CONFIG, ConfigOption, JsonOption, Session, session_of
from gateway.errors import BackupRefused, ConfigurationError

if TYPE_CHECKING:
    from gateway.audit import AuditReport
    from gateway.config import GatewayConfig
    from gateway.console.progress import Show

INTERRUPTED: Final = 130
"""What a shell reports of a command that Ctrl-C ended."""

QuietOption = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def audit(
    context: typer.Context,
    quiet: QuietOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Recompute every counter and walk the hash chain; exit status 1 at the first break, which is named."""
    session = session_of(context)
    settings = session.load_config(config)

    from gateway.console.progress import show_progress
    from gateway.storage.opening import has_database
    from gateway.storage.place import shown_place

    if not has_database(settings.storage.database):
        raise ConfigurationError(f"there is no database {shown_place(settings.storage.database)}")
    examination = _Examination(session)
    with _interruptible("interrupted: nothing is known about the books"), show_progress(quiet=quiet) as show:
        report = examination.audit(settings.storage.database, show)
    found = report.first_break
    record: Record = {
        "audit": "ok" if report.is_ok else "broken",
        **examination.record,
        "first_break": found and f"{found.code}: {found.where}",
    }
    show_record(record, as_json=as_json)
    if not report.is_ok:
        raise typer.Exit(1)


def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="The file to write, in an existing folder.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Check and audit the copy before it gets its name.")
    ] = True,
    quiet: QuietOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Copy the database into one file, while the gateway goes on. The vault key is not in it."""
    session = session_of(context)
    settings = session.load_config(config)
    database = _database_file_of(settings)

    from gateway.console.progress import show_progress
    from gateway.storage.sqlite.backup import back_up

    if not database.exists():
        raise ConfigurationError(f"there is no database {database}")
    examination = _Examination(session)
    with _interruptible("interrupted: no backup was made"), show_progress(quiet=quiet) as show:
        examine = examination.examining(show) if verify else None
        back_up(database, target, force=force, examine=examine, progress=show)
    record: Record = {
        "backup": str(target.resolve()),
        "bytes": target.stat().st_size,
        "audit": "ok" if verify else "not done",
        **examination.record,
        "vault_key": f"not in the backup: keep a copy of {_vault_key_of(session, settings)} apart from it",
    }
    show_record(record, as_json=as_json)


def restore(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="There is a database: keep it under another name, with the date.")
    ] = False,
    quiet: QuietOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Put a backup in the database's place, once it passed the audit. The gateway must not be running."""
    session = session_of(context)
    settings = session.load_config(config)
    database = _database_file_of(settings)

    from gateway.console.progress import show_progress
    from gateway.storage.sqlite.backup import restore as restore_file

    examination = _Examination(session)
    interrupted = "interrupted: `tapscan-gateway audit` says which database is in place"
    with _interruptible(interrupted), show_progress(quiet=quiet) as show:
        kept = restore_file(
            source,
            database,
            force=force,
            now_ms=session.now_ms(),
            examine=examination.examining(show),
            progress=show,
        )
    record: Record = {
        "restored": str(database),
        "replaced": None if kept is None else str(kept),
        "audit": "ok",
        **examination.record,
        "vault_key": f"must be the one the backup was used with: {_vault_key_of(session, settings)}",
    }
    show_record(record, as_json=as_json)


def move(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="The SQLite database to move.")],
    quiet: QuietOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Copy a SQLite database into the empty PostgreSQL one that the configuration names, and audit the copy.

    No gateway may be running on either. The file stays as it is; the vault key must go along.
    """
    session = session_of(context)
    settings = session.load_config(config)
    if settings.database_url is None:
        raise ConfigurationError("storage.database must be the postgresql:// URL to move to")

    from gateway.console.progress import show_progress
    from gateway.storage.place import needs_postgres_driver, shown_place
    from gateway.storage.sqlite.database_lock import take_database

    if not source.exists():
        raise ConfigurationError(f"there is no database {source}")
    with needs_postgres_driver():
        from gateway.storage.postgres.move import move_ledger
    examination = _Examination(session)
    with (
        contextlib.ExitStack() as stack,
        _interruptible("interrupted: nothing was moved"),
        show_progress(quiet=quiet) as show,
    ):
        stack.callback(take_database(source).release)
        row_count = move_ledger(source, settings.database_url, show)
        found = examination.audit(settings.database_url, show).first_break
    record: Record = {
        "moved": shown_place(settings.database_url),
        "rows": row_count,
        "audit": "ok" if found is None else f"{found.code}: {found.where}",
        **examination.record,
        "vault_key": f"must be the one the file was used with: {_vault_key_of(session, settings)}",
    }
    show_record(record, as_json=as_json)
    if found is not None:
        raise typer.Exit(1)


class _Examination:
    """One audit and what is shown of it."""

    def __init__(self, session: Session) -> None:
        self.record: Record = {}
        self._session = session

    def audit(self, database: Path | str, show: Show) -> AuditReport:
        """Audit a database, broken or not."""
        from gateway.audit import audit as audit_books

        started_ms = self._session.now_ms()
        report = audit_books(database, show)
        taken_ms = max(1, self._session.now_ms() - started_ms)
        self.record = {
            "groups": report.group_count,
            "transfers": report.transfer_count,
            "accounts": report.account_count,
            "payments": report.payment_count,
            "chain_head": report.chain_head.hex(),
            "seconds": taken_ms / 1000,
            "groups_per_s": report.group_count * 1000 // taken_ms,
        }
        return report

    def examining(self, show: Show) -> Callable[[Path], None]:
        """Return what audits a copy and refuses a broken one."""

        def examine(copy: Path) -> None:
            found = self.audit(copy, show).first_break
            if found is not None:
                raise BackupRefused(
                    f"the copy does not pass the audit: {found.code}: {found.where}", code="books_broken"
                )

        return examine


@contextlib.contextmanager
def _interruptible(said: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"tapscan-gateway: {said}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _database_file_of(settings: GatewayConfig) -> Path:
    if settings.database_url is not None:
        raise BackupRefused(
            "a PostgreSQL database is copied with pg_dump or pg_basebackup; see that a copy is whole by "
            "restoring it elsewhere and running `tapscan-gateway audit` there",
            code="not_a_file",
        )
    return settings.database_path


def _vault_key_of(session: Session, settings: GatewayConfig) -> str:
    from gateway.vault import KEY_VARIABLE

    return KEY_VARIABLE if KEY_VARIABLE in session.env else str(settings.vault_key_path)
