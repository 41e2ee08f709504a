"""A scenario fits its world, and the demo's covers what it promises to show."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from simulators.cli import SCENARIO_DEFAULT, WORLD_DEFAULT
from simulators.demo.scenario import (
    APPROVED,
    CloneStep,
    Presenting,
    Scenario,
    ShowStep,
    carrier_of,
    device_of,
    load_scenario,
)
from simulators.errors import WorldFileInvalid
from simulators.world.file import WorldFile, load_world_file
from wire.messages.payments import EntryMode

TAP = """
[[steps]]
do = "tap"
say = "A tap"
thing = "ana-phone"
field = "till-1-pn532"
amount = "12.50"
expect = "approved"
mode = "nfc_app"
"""


@pytest.fixture(scope="module")
def world() -> WorldFile:
    return load_world_file(WORLD_DEFAULT)


@pytest.fixture(scope="module")
def scenario(world: WorldFile) -> Scenario:
    return load_scenario(SCENARIO_DEFAULT, world)


def sales_of(scenario: Scenario) -> list[Presenting]:
    return [step for step in scenario.steps if not isinstance(step, CloneStep)]


def test_every_entry_mode_settles_through_every_device_that_reads_it(
    scenario: Scenario, world: WorldFile
) -> None:
    kind_of = {entry.name: str(entry.kind) for entry in world.fields}
    kind_of |= {entry.name: "camera" for entry in world.screens} | {entry.name: "gun" for entry in world.guns}
    settled = defaultdict(set)
    for step in sales_of(scenario):
        if step.expect == APPROVED:
            settled[step.mode].add(kind_of[device_of(step)])

    assert settled == {
        EntryMode.NFC_APP: {"pn532", "udp", "vpcd"},
        EntryMode.NFC_SDM: {"pn532", "udp", "vpcd"},
        EntryMode.QR_CONSUMER: {"camera", "gun"},
        EntryMode.CODE_NUMERIC: {"camera", "gun"},
    }


def test_every_kind_of_fraud_is_refused_under_its_own_code(scenario: Scenario) -> None:
    refused = {step.expect for step in sales_of(scenario)} - {APPROVED}

    assert refused >= {
        "token_replayed",
        "token_expired",
        "amount_mismatch",
        "card_counter_old",
        "uid_only_card",
        "insufficient_funds",
    }


def test_the_camera_sees_more_than_clean_pictures(scenario: Scenario) -> None:
    seen = {step.distortion for step in sales_of(scenario) if isinstance(step, ShowStep)}

    assert seen >= {"clean", "inverted", "rotated", "perspective", "noise"}


def test_amounts_of_a_wallet_never_exceed_what_it_holds(scenario: Scenario, world: WorldFile) -> None:
    wallet_of = {entry.name: entry.wallet for entry in world.instruments}
    spent: dict[str, int] = defaultdict(int)
    for step in sales_of(scenario):
        if step.expect == APPROVED:
            thing = carrier_of(step)
            spent[wallet_of[thing]] += world.money(step.amount).minor

    for wallet in world.wallets:
        assert spent[wallet.name] <= world.money(wallet.funds).minor


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('mode = "nfc_app"', "", "mode"),
        ('expect = "approved"', 'expect = "aproved"', "aproved"),
        ('expect = "approved"', 'expect = "gateway_busy"', "gateway_busy"),
        ('field = "till-1-pn532"', 'field = "till-9"', "till-9"),
        ('amount = "12.50"', 'amount = "twelve"', "step 1"),
        ('thing = "ana-phone"', 'thing = "ana-phone"\ntear_at = 2', "tear_at"),
        ('do = "tap"', 'do = "steal"', "steal"),
    ],
)
def test_load_names_what_does_not_fit(
    tmp_path: Path, world: WorldFile, old: str, new: str, named: str
) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(TAP.replace(old, new), encoding="utf-8")

    with pytest.raises(WorldFileInvalid, match=named):
        load_scenario(path, world)
