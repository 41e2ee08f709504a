"""When a till stops asking, and when it asks again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminal.offline.mode import (
    Exchange,
    Mode,
    ModeKeeper,
    ModeRules,
    ModeState,
    classify_exchange,
    next_mode,
)

RULES = ModeRules(bad_exchanges_to_leave=3, good_exchanges_to_return=2, slow_ms=1_000)
DURATIONS = st.lists(st.none() | st.integers(0, 2_000), max_size=60)


def _play(*durations_ms: int | None) -> list[Mode]:
    """Return the changes that these exchanges make."""
    changes: list[Mode] = []
    keeper = ModeKeeper(RULES, changes.append)
    for duration_ms in durations_ms:
        keeper.note(duration_ms)
    assert keeper.mode == (changes[-1] if changes else Mode.ONLINE)
    return changes


@pytest.mark.parametrize(
    ("duration_ms", "exchange"),
    [
        (None, Exchange.SILENT),
        (0, Exchange.GOOD),
        (1_000, Exchange.GOOD),
        (1_001, Exchange.SLOW),
    ],
)
def test_an_exchange_is_what_its_duration_says(duration_ms: int | None, exchange: Exchange) -> None:
    assert classify_exchange(duration_ms, RULES) is exchange


def test_it_goes_offline_at_the_third_bad_exchange_in_a_row_silent_or_slow() -> None:
    assert _play(None, 5_000) == []
    assert _play(None, 5_000, None) == [Mode.OFFLINE]
    assert _play(None, None, 10, None, None) == []


def test_it_comes_back_at_the_second_good_exchange_in_a_row() -> None:
    assert _play(None, None, None, 10) == [Mode.OFFLINE]
    assert _play(None, None, None, 10, 10) == [Mode.OFFLINE, Mode.ONLINE]
    assert _play(None, None, None, 10, None, 10) == [Mode.OFFLINE]
    assert _play(None, None, None, 10, 9_000, 10, 10) == [Mode.OFFLINE, Mode.ONLINE]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("exchange", Exchange)
def test_every_state_takes_every_exchange(mode: Mode, exchange: Exchange) -> None:
    after = next_mode(ModeState(mode), exchange, RULES)
    speaks_for = (exchange is Exchange.GOOD) == (mode is Mode.ONLINE)
    assert after == ModeState(mode, 0 if speaks_for else 1)


@given(DURATIONS)
def test_changes_alternate_and_each_has_its_run_of_reasons(durations_ms: list[int | None]) -> None:
    is_good = [duration is not None and duration <= RULES.slow_ms for duration in durations_ms]
    changes: list[tuple[int, Mode]] = []
    index = 0
    keeper = ModeKeeper(RULES, lambda mode: changes.append((index, mode)))
    for index, duration_ms in enumerate(durations_ms, start=1):  # noqa: B007 -- read by the callback
        keeper.note(duration_ms)
    expected = Mode.OFFLINE
    for at, mode in changes:
        assert mode is expected
        count = 3 if mode is Mode.OFFLINE else 2
        assert is_good[at - count : at] == [mode is Mode.ONLINE] * count
        expected = Mode.ONLINE if mode is Mode.OFFLINE else Mode.OFFLINE
