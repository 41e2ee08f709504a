"""Faults are data: off by default, drawn from a seed, read from a file; dice repeat and stay apart."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from simulators.errors import WorldFileInvalid
from simulators.faults.dice import Dice
from simulators.faults.plan import CALM, WORST, FaultKind, FaultPlan, draw_plan, load_plan


def numbers_of(plan: FaultPlan) -> list[float]:
    return [
        value
        for section in msgspec.structs.asdict(plan).values()
        for value in msgspec.structs.astuple(section)
    ]


def test_everything_is_off_by_default() -> None:
    assert set(numbers_of(FaultPlan())) == {0}


def test_a_plan_is_drawn_from_its_seed_alone_and_never_worse_than_the_worst() -> None:
    plans = [draw_plan(seed) for seed in range(200)]
    assert plans == [draw_plan(seed) for seed in range(200)]
    for plan in plans:
        assert all(drawn <= worst for drawn, worst in zip(numbers_of(plan), numbers_of(WORST), strict=True))
    assert CALM in plans
    for index, worst in enumerate(numbers_of(WORST)):
        drawn = {numbers_of(plan)[index] for plan in plans}
        assert max(drawn) > 0.9 * worst, index
        assert len(drawn) > 3


def test_a_plan_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text("[network]\nanswer_lost = 0.5\ndelay_ms_max = 100\n[disks]\npower_lost = 0.25\n")
    plan = load_plan(path)
    assert (plan.network.answer_lost, plan.disks.power_lost, plan.gateway) == (0.5, 0.25, CALM.gateway)


@pytest.mark.parametrize("text", ["[network]\nanswer_loss = 0.5\n", "[disks]\nfull = 1.5\n", "seed = 3\n"])
def test_a_misspelt_or_impossible_fault_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(WorldFileInvalid):
        load_plan(path)


def test_dice_repeat_and_one_things_luck_is_not_anothers() -> None:
    one, other = Dice(5), Dice(5)
    for _ in range(10):
        other.happens(FaultKind.DISK_FULL, 0.5, "till-9")
    drawn = [
        (dice.happens(FaultKind.ANSWER_LOST, 0.5, "till-1"), dice.below("till-1", 100))
        for dice in (one, other)
    ]
    assert drawn[0] == drawn[1]


def test_what_is_off_or_healed_never_happens_and_the_rest_is_counted() -> None:
    dice = Dice(1)
    assert not any(dice.happens(FaultKind.CARD_TORN, 0.0, "x") for _ in range(100))
    assert sum(dice.happens(FaultKind.CARD_TORN, 1.0, "x") for _ in range(3)) == 3
    dice.note(FaultKind.WRITE_TORN)
    dice.is_healed = True
    assert not dice.happens(FaultKind.CARD_TORN, 1.0, "x")
    assert dice.counts == {"card_torn": 3, "write_torn": 1}
