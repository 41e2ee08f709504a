"""One audit from its first row to its last."""

from __future__ import annotations

from pathlib import Path

from gateway.audit.accounts import AccountTable
from gateway.audit.codes import BreakCode
from gateway.audit.lives import check_payments
from gateway.audit.offline import check_records
from gateway.audit.report import AuditBreak, AuditReport, Broken, Progress, ignore_progress
from gateway.audit.sources import open_source
from gateway.audit.totals import check_days, check_orders
from gateway.audit.walk import GroupWalk
from gateway.errors import StoreUnavailable
from gateway.storage.audit_source import AuditSource


def audit(database: Path | str, progress: Progress = ignore_progress) -> AuditReport:
    """Audit a database; a gateway may use it meanwhile, the audit sees one snapshot.

    Args:
        database: as `storage.database` of the configuration names it.
        progress: called every thousand rows or so.

    Raises:
        ConfigurationError: the database has another schema version.
        StoreUnavailable: it can't be opened. Damage found later is a break, `file_damaged`.
        KeyboardInterrupt: Ctrl-C, also while the database sorts.
    """
    with open_source(database) as source:
        return audit_books(source, progress)


def audit_books(source: AuditSource, progress: Progress = ignore_progress) -> AuditReport:
    """Audit the books of any store."""
    accounts = AccountTable()
    walk = GroupWalk(source, accounts, progress)
    first_break = None
    try:
        _check_books(source, accounts, walk, progress)
    except Broken as broken:
        first_break = broken.found
    except StoreUnavailable as error:
        first_break = AuditBreak(BreakCode.FILE_DAMAGED, str(error))
    return AuditReport(
        group_count=walk.group_count,
        transfer_count=walk.transfer_count,
        account_count=len(accounts),
        payment_count=walk.payment_count,
        chain_head=walk.chain_head,
        first_break=first_break,
    )


def _check_books(source: AuditSource, accounts: AccountTable, walk: GroupWalk, progress: Progress) -> None:
    accounts.load(source.accounts())
    walk.run()
    accounts.check_counters(source.accounts())
    walk.check_holds()
    walk.check_receipts()
    walk.check_allowances()
    check_payments(source, walk.payment_count, progress)
    check_records(source, progress)
    check_orders(source, progress)
    check_days(source, progress)
