"""Every code an answer can carry, with what it tells the cashier and the payer, in two languages.

Five kinds never mix (house style, "Errors"):

* a **decline** is the gateway's final word on an attempt; nothing was charged, or it was given back;
* a **confirmation** is why the gateway wants the holder to agree first;
* a **refusal** is the terminal's: what was presented was not even sent;
* a **problem** is a failure to do the job, an RFC 9457 error;
* a **condition** is why a reader or scanner of a till does not work.

Codes are stable, snake_case and never reused. `retryable` answers one question: may this same request,
unchanged, succeed later?
"""

from __future__ import annotations

from typing import Final

from wire.notices.conditions import list_conditions
from wire.notices.confirmations import list_confirmations
from wire.notices.declines import list_declines
from wire.notices.model import CHINESE, ENGLISH, NEXT_STEP_TEXTS, NextStep, Notice, NoticeKind
from wire.notices.problems import list_problems
from wire.notices.refusals import list_refusals

__all__ = [
    "CHINESE",
    "ENGLISH",
    "NEXT_STEP_TEXTS",
    "NOTICES",
    "NextStep",
    "Notice",
    "NoticeKind",
    "find_notice",
]


def find_notice(code: str) -> Notice:
    """Return the notice of a code.

    Raises:
        KeyError: no such code: a bug of ours, since codes never come from outside.
    """
    return NOTICES[code]


def _index(notices: list[Notice]) -> dict[str, Notice]:
    index = {notice.code: notice for notice in notices}
    assert len(index) == len(notices), "a code is there twice; a dictionary alone would hide it"
    return index


NOTICES: Final = _index(
    [*list_declines(), *list_confirmations(), *list_refusals(), *list_problems(), *list_conditions()]
)
