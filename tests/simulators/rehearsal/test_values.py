"""The test values hold together: every code has one or a reason, and each names only what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulators.errors import WorldFileInvalid
from simulators.rehearsal.values import (
    VALUES_PATH,
    WORLD_PATH,
    TestValues,
    check_values,
    find_uncovered,
    load_values,
)
from simulators.world.file import load_toml, load_world_file
from wire.notices import NOTICES

Change = Callable[[TestValues], TestValues]


@pytest.fixture(scope="module")
def values() -> TestValues:
    return load_toml(VALUES_PATH, TestValues)


def test_every_code_an_answer_can_carry_has_a_value_or_a_stated_reason(values: TestValues) -> None:
    """A new code in wire/notices fails here until it can be rehearsed, or it is said why it can't."""
    assert find_uncovered(values) == []


def test_a_new_code_without_a_value_is_found(values: TestValues) -> None:
    codes = frozenset({*NOTICES, "card_on_fire"})
    assert find_uncovered(values, codes) == ["card_on_fire: no value gives it and no reason says why not"]


def test_a_code_that_is_gone_is_found(values: TestValues) -> None:
    codes = frozenset(NOTICES) - {"wallet_frozen", "internal"}
    assert find_uncovered(values, codes) == [
        "internal: there is no such code",
        "wallet_frozen: there is no such code",
    ]


def test_an_excuse_for_what_can_be_rehearsed_is_found(values: TestValues) -> None:
    excused = msgspec.structs.replace(values.unrehearsed[0], codes=["wallet_frozen", "internal"])
    doubled = msgspec.structs.replace(values, unrehearsed=[*values.unrehearsed, excused])
    assert find_uncovered(doubled) == [
        "wallet_frozen: a value gives it, so no reason is needed",
        "internal: excused 2 times",
    ]


def test_the_files_are_read(values: TestValues) -> None:
    loaded, world = load_values()
    assert loaded == values
    assert world == load_world_file(WORLD_PATH)


def replace_first(values: TestValues, **changes: Any) -> TestValues:
    first = msgspec.structs.replace(values.values[0], **changes)
    return msgspec.structs.replace(values, values=[first, *values.values[1:]])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"till": "till-9"}, "there is no till named till-9"),
        ({"status": 200}, "promise an event or a status, and not both"),
        ({"event": None}, "promise an event or a status, and not both"),
        ({"chapter": ""}, "the first value begins a chapter"),
        ({"name": "frozen-wallet"}, "the value frozen-wallet is there 2 times"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(
    values: TestValues, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(WorldFileInvalid, match=complaint):
        check_values(replace_first(values, **changes), load_world_file(WORLD_PATH))


def test_a_thing_that_nobody_carries_is_named(values: TestValues) -> None:
    text = VALUES_PATH.read_text(encoding="utf-8").replace('thing = "frozen-phone"', 'thing = "frosty-phone"')
    wrong = msgspec.toml.decode(text, type=TestValues)
    with pytest.raises(WorldFileInvalid, match="frozen-wallet: there is nothing named frosty-phone"):
        check_values(wrong, load_world_file(WORLD_PATH))


def test_a_misspelt_key_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "values.toml"
    path.write_text(
        VALUES_PATH.read_text(encoding="utf-8").replace("held = ", "hold_it = ", 1), encoding="utf-8"
    )
    with pytest.raises(WorldFileInvalid, match="hold_it"):
        load_toml(path, TestValues)
