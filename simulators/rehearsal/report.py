"""What comes of a rehearsed value: every step with what the till API said, and whether it was as promised."""

from __future__ import annotations

from typing import Any

import msgspec

from simulators.rehearsal.values import Value
from wire.messages.base import Message
from wire.messages.till import SaleEvent
from wire.notices import NOTICES


class StepReport(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One step as it went."""

    did: str
    request: Any = None
    """What was sent to the till API: method, path and body."""
    status: int | None = None
    answer: Any = None
    """What the till API answered, word for word."""
    event: Any = None
    """The event of the sale that was waited for, word for word."""


class Told(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What the till API said in the end, or should say."""

    event: str = ""
    status: int | None = None
    code: str = ""


class Report(Message, frozen=True, kw_only=True, omit_defaults=True):
    """All of it."""

    value: str
    say: str
    till: str
    till_url: str
    promised: Told
    told: Told
    as_promised: bool
    cashier_text: dict[str, str] = msgspec.field(default_factory=dict)
    """Of the code that was told, by language tag."""
    complaint: str = ""
    """What went otherwise, in words; empty if all was as promised."""
    steps: list[StepReport] = msgspec.field(default_factory=list)


def promised_by(value: Value) -> Told:
    """Return what a value promises."""
    return Told(event=value.event or "", status=value.status, code=value.code)


def told_by_event(event: SaleEvent) -> Told:
    """Return what an event of a sale tells."""
    return Told(event=event.kind.value, code=code_of_event(event))


def told_by_answer(status: int, answer: Any) -> Told:
    """Return what an answer of the till API tells: a problem's code, or a payment's decline."""
    code = ""
    if isinstance(answer, dict):
        decline = answer.get("decline") or {}
        code = answer.get("code") or decline.get("code") or ""
    return Told(status=status, code=str(code))


def code_of_event(event: SaleEvent) -> str:
    """Return the code an event carries; empty where it has none."""
    if event.refusal is not None:
        return event.refusal.code
    if event.decline is not None:
        return event.decline.code
    answer = event.sale.answer
    return answer.confirmation.code if answer is not None and answer.confirmation is not None else ""


def make_report(value: Value, till_url: str, told: Told, steps: list[StepReport], complaint: str) -> Report:
    """Put a report together."""
    promised = promised_by(value)
    if not complaint and told != promised:
        complaint = f"promised {_in_words(promised)}, told {_in_words(told)}"
    notice = NOTICES.get(told.code)
    return Report(
        value=value.name,
        say=value.say,
        till=value.till,
        till_url=till_url,
        promised=promised,
        told=told,
        as_promised=not complaint,
        cashier_text={} if notice is None else notice.cashier_text,
        complaint=complaint,
        steps=steps,
    )


def _in_words(told: Told) -> str:
    words = [told.event, "" if told.status is None else f"HTTP {told.status}", told.code]
    return " ".join(word for word in words if word) or "nothing"
