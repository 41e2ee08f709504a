"""The published table is what is rehearsed, and says everything an integrator needs of a value."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from simulators.rehearsal.table import dump_page
from simulators.rehearsal.values import VALUES_PATH, TestValues, Value
from simulators.rehearsal.wording import say_steps
from simulators.world.file import load_toml
from wire.notices import NOTICES

PAGE = Path(__file__).parents[3] / "docs" / "test-values.md"
VALUES = load_toml(VALUES_PATH, TestValues)


def test_the_page_is_made_from_the_values() -> None:
    """If not: python -m simulators.rehearsal.table docs/test-values.md."""
    assert PAGE.read_text(encoding="utf-8") == dump_page(VALUES)


@pytest.mark.parametrize("value", VALUES.values, ids=lambda value: value.name)
def test_a_row_says_what_is_done_what_comes_and_what_the_cashier_reads(value: Value) -> None:
    (row,) = [line for line in dump_page(VALUES).splitlines() if line.startswith(f"| `{value.name}` |")]
    assert row.replace("\\|", "").count("|") == 6
    assert say_steps(value.steps) in row
    assert f"`{value.event}`" in row if value.event is not None else f"HTTP {value.status}" in row
    if value.code:
        notice = NOTICES[value.code]
        assert f"`{value.code}`" in row
        assert notice.cashier_en in row
        assert notice.cashier_zh in row


def test_rows_tell_apart_what_is_done_differently() -> None:
    """Two values are never told in the same words."""
    told = Counter((value.say, say_steps(value.steps)) for value in VALUES.values)
    assert [words for words, count in told.items() if count > 1] == []
