"""Refusals and declines in the words of wire/notices.py, also where a newer gateway has newer codes."""

from __future__ import annotations

from wire.messages.payments import Decline
from wire.messages.till import Refusal
from wire.notices import NOTICES, Notice, find_notice


def make_refusal(reader: str, code: str) -> Refusal:
    """Return why something presented was not sent, as the cashier reads it."""
    return Refusal(code=code, cashier_text=_find_notice(code).cashier_text, reader=reader)


def make_decline(code: str) -> Decline:
    """Return why nothing was charged, as cashier and payer read it."""
    notice = _find_notice(code)
    return Decline(
        code=code,
        retryable=notice.retryable,
        cashier_text=notice.cashier_text,
        holder_text=notice.holder_text,
        next_step=notice.next_step,
        next_step_text=notice.next_step_text,
    )


def _find_notice(code: str) -> Notice:
    # A newer gateway may know codes that this terminal does not.
    return NOTICES.get(code) or find_notice("internal")
