"""Nonces: remembered for the window, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import AuthenticationFailed
from gateway.http.nonces import NonceWindow

KEY, OTHER_KEY = b"k" * 8, b"o" * 8
WINDOW_MS = 600_000


def make_window(nonces_max: int = 1_000) -> NonceWindow:
    return NonceWindow(window_ms=WINDOW_MS, nonces_max=nonces_max)


def is_replay(window: NonceWindow, nonce: str, now_ms: int, key_id: bytes = KEY) -> bool:
    try:
        window.use(key_id, nonce, now_ms=now_ms)
    except AuthenticationFailed:
        return True
    return False


def test_a_nonce_is_taken_once_per_key() -> None:
    window = make_window()
    assert not is_replay(window, "n", 0)
    assert is_replay(window, "n", 0)
    assert not is_replay(window, "n", 0, OTHER_KEY)


@given(st.integers(0, WINDOW_MS), st.lists(st.integers(1, WINDOW_MS // 3), max_size=20))
def test_a_nonce_is_a_replay_throughout_the_window_whenever_it_began(
    first_ms: int, steps_ms: list[int]
) -> None:
    window = make_window()
    is_replay(window, "earlier", 0)
    assert not is_replay(window, "n", first_ms)
    at_ms = first_ms
    for index, step_ms in enumerate(steps_ms):
        at_ms += step_ms
        is_replay(window, f"other-{index}", at_ms)
        if at_ms - first_ms < WINDOW_MS:
            assert is_replay(window, "n", at_ms)


def test_a_nonce_is_forgotten_after_two_windows() -> None:
    window = make_window()
    assert not is_replay(window, "n", 0)
    assert not is_replay(window, "n", 2 * WINDOW_MS)
    assert len(window) == 1


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    window = make_window(nonces_max=100)
    for index in range(1_000):
        assert not is_replay(window, f"n{index}", 0)
    assert len(window) <= 200
    assert is_replay(window, "n999", 0)
    assert not is_replay(window, "n0", 0)


def test_a_clock_set_back_does_not_forget() -> None:
    window = make_window()
    is_replay(window, "n", 10_000_000)
    assert is_replay(window, "n", 5_000_000)


def test_the_error_has_its_code() -> None:
    window = make_window()
    window.use(KEY, "n", now_ms=0)
    with pytest.raises(AuthenticationFailed) as caught:
        window.use(KEY, "n", now_ms=0)
    assert caught.value.code == "nonce_replayed"
