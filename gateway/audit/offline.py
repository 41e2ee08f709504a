"""Every record taken from a terminal is what was sealed, stands in its chain, and became what it says.

Seals were verified when records came in; a terminal's key may have changed since. What a record says is read
from its sealed bytes once more, and their hash is what the next record, and the payment, are tied to.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from gateway.audit.codes import BreakCode
from gateway.audit.report import Broken, Progress
from gateway.audit.totals import watched
from gateway.storage.audit_source import AuditSource, OfflineRecordRow
from wire.errors import WireError
from wire.tokens.offline_record import FIRST_LINK, parse_offline_record, read_offline_record

_OUTCOME_OF: Final = {"settled": "approved", "declined": "declined"}
"""What became of the payment that a record became."""


def check_records(source: AuditSource, progress: Progress) -> None:
    """See that records hold what was sealed, follow each other, and agree with their payments.

    A chain with a gap, or one that does not fit, is no break where that was said when the record came in: it
    is the terminal's, and somebody's to look at. One that nobody was told about is ours.

    Raises:
        Broken: one does not.
    """
    terminal_id, sequence, link = "", 0, FIRST_LINK
    for row in watched(source.offline_records(), "records", progress):
        if row.terminal_id != terminal_id:
            terminal_id, sequence, link = row.terminal_id, 0, FIRST_LINK
        _check_place(row, sequence, link)
        _check_seal(row)
        _check_payment(row)
        _check_loss(row)
        sequence, link = row.sequence, row.link


def _check_place(row: OfflineRecordRow, sequence: int, link: bytes) -> None:
    """See that a record follows the one before it, or that an alarm says that it does not."""
    if row.sequence != sequence + 1:
        if not row.is_gap_told:
            raise _broken(BreakCode.RECORD_GAP, row)
    elif row.previous_link != link and not row.is_break_told:
        raise _broken(BreakCode.RECORD_CHAIN_BROKEN, row)


def _check_seal(row: OfflineRecordRow) -> None:
    """See that what stands beside the sealed bytes is what is in them."""
    try:
        record = read_offline_record(parse_offline_record(row.sealed))
    except WireError as error:
        raise _broken(BreakCode.RECORD_DIFFERS_FROM_SEAL, row) from error
    amount = record.amount
    sealed = (record.sequence, record.previous_link, record.attempt_id, amount.minor, amount.currency.code)
    stored = (row.sequence, row.previous_link, row.attempt_id, row.amount_minor, row.currency)
    if sha256(row.sealed).digest() != row.link or sealed != stored or record.accepted_ms != row.accepted_ms:
        raise _broken(BreakCode.RECORD_DIFFERS_FROM_SEAL, row)


def _check_payment(row: OfflineRecordRow) -> None:
    """See that its own payment is this record, and that another's has its attempt or its tap."""
    if row.has_payment:
        stored = (row.payment_outcome, row.payment_digest, row.payment_terminal_id, row.payment_attempt_id)
        wanted = (_OUTCOME_OF.get(row.outcome), row.link, row.terminal_id, row.attempt_id)
        is_right = stored == wanted and (row.payment_amount_minor, row.payment_currency) == (
            row.amount_minor,
            row.currency,
        )
    elif row.outcome == "settled":
        is_right = (row.payment_terminal_id, row.payment_attempt_id) == (row.terminal_id, row.attempt_id)
    else:
        is_right = row.outcome == "conflict" and row.payment_outcome is not None
    if not is_right:
        raise _broken(BreakCode.RECORD_DIFFERS_FROM_PAYMENT, row)


def _check_loss(row: OfflineRecordRow) -> None:
    """See who bears what: the operator a part, which the walk saw move; a merchant all or nothing."""
    if row.outcome != "settled":
        wanted: tuple[int, str | None] = (row.amount_minor, "merchant")
    elif row.has_payment and row.loss_minor:
        wanted = (row.loss_minor, "operator")
    else:
        wanted = (0, None)
    if (row.loss_minor, row.loss_bearer) != wanted:
        raise _broken(BreakCode.RECORD_LOSS_DIFFERS, row)


def _broken(code: BreakCode, row: OfflineRecordRow) -> Broken:
    return Broken(code, f"record {row.sequence} of terminal {row.terminal_id}")
