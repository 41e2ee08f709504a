"""A scenario: what shoppers do, one line after the other, and what must come of each.

The scenario is data, so a developer can write another one, and a test can write a wrong one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from simulators.errors import WorldFileInvalid
from simulators.world.file import AmountText, ThingName, WorldFile, load_toml
from simulators.world.messages import CapMinor, CodeForm, FormatName
from wire.errors import MoneyError
from wire.messages.base import Message
from wire.messages.payments import EntryMode
from wire.notices import NOTICES, NoticeKind

APPROVED: Final = "approved"
STEPS_MAX: Final = 500
Saying = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


class SaleStep(Message, frozen=True, kw_only=True, tag_field="do"):
    """A sale at a till and what must come of it; the kinds below say what is presented."""

    say: Saying
    amount: AmountText
    expect: str
    mode: EntryMode | None = None
    """Of the payment, where the gateway must approve it."""


class TapStep(SaleStep, frozen=True, kw_only=True, tag="tap"):
    """A card, phone or tag on a field."""

    thing: ThingName
    field: ThingName
    tamper_amount: AmountText | None = None
    tear_at_apdu: Annotated[int, msgspec.Meta(ge=1, le=32)] | None = None


class CodeStep(SaleStep, frozen=True, kw_only=True):
    """A phone's code: a fresh one, or the screenshot of its last."""

    phone: ThingName
    form: CodeForm = CodeForm.CPM
    cap: AmountText = "100.00"
    life_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 60
    age_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0
    screenshot: bool = False


class ShowStep(CodeStep, frozen=True, kw_only=True, tag="show"):
    """A code before a camera."""

    screen: ThingName
    distortion: FormatName = "clean"


class ScanStep(CodeStep, frozen=True, kw_only=True, tag="scan"):
    """A code under a scanner gun."""

    gun: ThingName


class CloneStep(Message, frozen=True, kw_only=True, tag_field="do", tag="clone"):
    """Nothing is sold: somebody copies a card."""

    say: Saying
    card: ThingName
    name: ThingName


Presenting = TapStep | ShowStep | ScanStep
Step = Presenting | CloneStep


class Scenario(Message, frozen=True, kw_only=True):
    """All of it."""

    steps: list[Step]


def load_scenario(path: Path, world: WorldFile) -> Scenario:
    """Read a scenario and check it against the world it is to happen in.

    Raises:
        WorldFileInvalid: no scenario; an unknown key, device or code; an approval without its mode.
    """
    scenario = load_toml(path, Scenario)
    if len(scenario.steps) > STEPS_MAX:
        raise WorldFileInvalid(f"{path}: more than {STEPS_MAX} steps")
    for number, step in enumerate(scenario.steps, start=1):
        try:
            _check_step(step, world)
        except (MoneyError, WorldFileInvalid) as error:
            raise WorldFileInvalid(f"{path}: step {number}: {error}") from None
    return scenario


def device_of(step: Presenting) -> str:
    """Return the name of the field, screen or gun a step uses."""
    match step:
        case TapStep(field=name) | ShowStep(screen=name) | ScanStep(gun=name):
            return name


def carrier_of(step: Presenting) -> str:
    """Return the name of the card, phone or tag a step uses."""
    return step.thing if isinstance(step, TapStep) else step.phone


def _check_step(step: Step, world: WorldFile) -> None:
    if isinstance(step, CloneStep):
        return
    world.money(step.amount)
    world.till_of(device_of(step))
    if step.expect == APPROVED:
        if step.mode is None:
            raise WorldFileInvalid("an approved payment needs its mode")
        return
    notice = NOTICES.get(step.expect)
    if notice is None or notice.kind is NoticeKind.PROBLEM:
        raise WorldFileInvalid(f"expect = {step.expect!r} is no decline and no refusal")


def cap_minor_of(step: CodeStep, world: WorldFile) -> CapMinor:
    """Return a code's cap in minor units of the world's currency."""
    return world.money(step.cap).minor
