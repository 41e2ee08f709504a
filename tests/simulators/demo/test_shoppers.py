"""Shoppers are the same from the same seed, and never in two places."""

from __future__ import annotations

import random

from simulators.cli import WORLD_DEFAULT
from simulators.demo.scenario import Presenting, TapStep, carrier_of, device_of
from simulators.demo.shoppers import Crowd
from simulators.world.file import load_world_file

WORLD = load_world_file(WORLD_DEFAULT)


def make_crowd(seed: int, devices: list[str] | None = None) -> Crowd:
    return Crowd(WORLD, random.Random(seed), WORLD.device_names if devices is None else devices)


def draw_many(crowd: Crowd, till: str, count: int = 400) -> list[Presenting]:
    return [step for _ in range(count) if (step := crowd.draw(till)) is not None]


def test_the_same_seed_draws_the_same_shoppers() -> None:
    assert draw_many(make_crowd(3), "till-1") == draw_many(make_crowd(3), "till-1")
    assert draw_many(make_crowd(3), "till-1") != draw_many(make_crowd(4), "till-1")


def test_shoppers_use_the_devices_of_their_till_that_are_on() -> None:
    crowd = make_crowd(3, ["till-2-radio", "till-1-pn532"])

    assert {device_of(step) for step in draw_many(crowd, "till-2")} == {"till-2-radio"}
    assert draw_many(make_crowd(3, []), "till-2") == []


def test_a_thing_at_one_till_is_not_drawn_at_another() -> None:
    crowd = make_crowd(3)
    crowd.take("ana-phone")
    taken = {carrier_of(step) for step in draw_many(crowd, "till-2")}
    crowd.give_back("ana-phone")
    given_back = {carrier_of(step) for step in draw_many(crowd, "till-2")}

    assert "ana-phone" not in taken
    assert "ana-phone" in given_back


def test_most_shoppers_are_honest_and_some_are_not() -> None:
    steps = draw_many(make_crowd(3), "till-1", 1_000)
    crooked = [
        step
        for step in steps
        if (isinstance(step, TapStep) and (step.tamper_amount or step.thing == "gym-tag"))
        or (not isinstance(step, TapStep) and (step.age_s or step.screenshot))
    ]

    assert 0.03 < len(crooked) / len(steps) < 0.25
    assert all(WORLD.money(step.amount).minor > 0 for step in steps)
