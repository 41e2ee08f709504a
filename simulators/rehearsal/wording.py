"""The steps of a test value in words, for its table and for its report."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from simulators.networks.gateway_line import LineState
from simulators.rehearsal.values import (
    CAP_DEFAULT,
    Allowance,
    Await,
    AwaitPayment,
    AwaitReader,
    Call,
    Clone,
    Decide,
    Disk,
    Fault,
    Line,
    Mode,
    Operator,
    PayCode,
    ReadTag,
    Repeat,
    Sale,
    Scan,
    Step,
    Tap,
    Watch,
)
from simulators.world.messages import AnswerKind, CodeForm, HeldState

TEXT_SHOWN_MAX: Final = 40

_LINE: Final[Mapping[LineState, str]] = MappingProxyType(
    {
        LineState.CARRIES: "the line is good again",
        LineState.LOSES_ANSWERS: "the line loses every answer",
        LineState.CUT: "the line to the gateway is cut",
    }
)
_HELD: Final[Mapping[HeldState, str]] = MappingProxyType(
    {
        HeldState.READY: "",
        HeldState.LOCKED: ", which is locked",
        HeldState.BLOCKED: ", whose wallet is blocked",
        HeldState.ASKING: ", which asks its owner first",
    }
)
_ANSWER: Final[Mapping[AnswerKind, str]] = MappingProxyType(
    {
        AnswerKind.OWN: "",
        AnswerKind.FORGED: ", its signature forged",
        AnswerKind.STALE: ", its answer played back from another tap",
    }
)
_FORM: Final[Mapping[CodeForm, str]] = MappingProxyType(
    {
        CodeForm.CPM: "code (EMVCo)",
        CodeForm.BASE45: "code",
        CodeForm.BASE32: "code (base32)",
        CodeForm.NUMERIC: "eighteen digits",
    }
)


def say_steps(steps: list[Step]) -> str:
    """Return what is done, one thing after another."""
    return "; ".join(say_step(step) for step in steps)


def say_step(step: Step) -> str:  # noqa: C901 - one line a kind, and nothing else
    """Return what one step does."""
    match step:
        case Sale():
            return _say_sale(step)
        case Tap():
            return _say_tap(step)
        case Scan():
            return _say_scan(step)
        case Call():
            return _say_call(step)
        case ReadTag(thing=thing):
            return f"`POST /v1/staff/tag-reads`, then tap `{thing}`"
        case Watch(count=count):
            return f"{count} screens watch `GET /v1/events`"
        case Await(event=kind):
            return f"wait for `{kind}`"
        case AwaitPayment():
            return "wait for it in `GET /v1/payments`"
        case Decide(phone=phone, agreed=agreed):
            return f"the owner of `{phone}` says {'yes' if agreed else 'no'} on it"
        case PayCode(phone=phone):
            return f"`{phone}` scans the code that the till shows (`sale.code_text`) and pays"
        case Clone(thing=thing):
            return f"somebody copies `{thing}`"
        case Allowance(thing=thing, amount=amount, forged=forged):
            by = " vouched for by a stranger" if forged else ""
            return f"`{thing}` holds an allowance of {amount}{by}"
        case Line(state=state):
            return _LINE[state]
        case Disk(state=state):
            return "the till's disk is full" if state == "full" else "the till's disk has room again"
        case Fault():
            return _say_fault(step)
        case AwaitReader(ready=ready):
            return "wait until all readers work" if ready else "look for it in `GET /v1/readers`"
        case Mode(state=state):
            return f"the till is {state}"
        case Operator(words=words):
            return f"operator: `{' '.join(words)}`"
        case Repeat(steps=steps, until=until, most=most):
            return f"again and again until `{until}` (at most {most} times): {say_steps([*steps])}"


def _say_sale(step: Sale) -> str:
    parts = [f"sale {step.amount}{'' if step.currency is None else ' ' + step.currency}"]
    if step.hold:
        parts.append("held")
    if step.tip_max is not None:
        parts.append(f"{step.tip_max} of it for a tip")
    if step.order is not None:
        parts.append(
            "of the same order" if step.order_amount is None else f"of an order of {step.order_amount}"
        )
    return ", ".join(parts)


def _say_tap(step: Tap) -> str:
    text = f"tap {_named(step.thing)}{_HELD[step.held]}"
    if step.tamper_amount is not None:
        text += f", signing {step.tamper_amount} instead"
    text += _ANSWER[step.answer]
    if step.relayed:
        text += ", signing for another till"
    if step.tear_at_apdu is not None:
        text += ", pulled away too early"
    return f"{text}, and leave it there" if step.stays else text


def _say_scan(step: Scan) -> str:
    if step.text is not None:
        is_long = len(step.text) > TEXT_SHOWN_MAX
        return f"scan a text of {len(step.text)} characters" if is_long else f"scan `{step.text}`"
    if step.screenshot:
        return f"scan a screenshot of `{step.phone}`'s last code"
    text = f"scan {_named(step.phone or '')}'s {_FORM[step.form]}"
    if step.cap != CAP_DEFAULT:
        text += f" for at most {step.cap}"
    if step.age_s:
        text += f", {step.age_s} s old"
    if step.ahead_s:
        text += f", its clock {step.ahead_s} s ahead"
    return f"{text}, forged" if step.forged else text


def _say_fault(step: Fault) -> str:
    options = {"thing": step.thing, "other": step.other, "at": step.at, "ms": step.ms, "count": step.count}
    words = [f"--{name} {option}" for name, option in options.items() if option is not None]
    return f"`{' '.join(['tapscan-sim fault', step.fault, step.device, *words])}`"


def _say_call(step: Call) -> str:
    text = f"`{step.method} {step.path}`"
    if step.body is not None:
        text += f" `{_short(step.body)}`"
    if step.raw is not None:
        text += f" with `{step.raw[:TEXT_SHOWN_MAX]}`"
    if step.padding:
        text += f" and {step.padding} blanks"
    for name, content in step.headers.items():
        text += f", `{name}: {content}`"
    return text if step.with_key else f"{text}, without the access key"


def _named(name: str) -> str:
    return "the copy" if name == "{copy}" else f"`{name}`"


def _short(body: dict[str, Any]) -> str:
    return msgspec.json.encode(body).decode().replace('":', '": ').replace(',"', ', "')
