"""Two sides agree on one key, and nobody else on the same."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import es256
from wire.errors import WireError
from wire.messages.base import dump_message, parse_message
from wire.messages.sessions import SessionAnswer, SessionRequest
from wire.request_sessions import (
    SEED_BYTES,
    SESSION_ID_BYTES_MAX,
    SESSION_ID_BYTES_MIN,
    SESSION_KEY_BYTES,
    RequestSession,
    agree_on_key,
    make_agreement_key,
)

SESSION_ID = bytes(range(62))
seeds = st.binary(min_size=SEED_BYTES, max_size=SEED_BYTES)


@given(seeds, seeds, st.binary(min_size=SESSION_ID_BYTES_MIN, max_size=SESSION_ID_BYTES_MAX))
def test_both_sides_derive_the_same_key(ours: bytes, theirs: bytes, session_id: bytes) -> None:
    one, other = make_agreement_key(ours), make_agreement_key(theirs)
    key = agree_on_key(one, other.public_key(), session_id)
    assert key == agree_on_key(other, one.public_key(), session_id)
    assert len(key) == SESSION_KEY_BYTES


def test_another_session_of_the_same_keys_has_another_key() -> None:
    one, other = make_agreement_key(b"1" * SEED_BYTES), make_agreement_key(b"2" * SEED_BYTES)
    keys = {agree_on_key(one, other.public_key(), bytes([number]) * 24) for number in range(8)}
    assert len(keys) == 8


@pytest.mark.parametrize("seed", [bytes(SEED_BYTES), b"\xff" * SEED_BYTES])
def test_every_seed_makes_a_key(seed: bytes) -> None:
    key = make_agreement_key(seed)
    assert es256.load_public_key(es256.dump_public_key(key.public_key())) == key.public_key()


def test_a_session_shows_nothing_of_its_key() -> None:
    session = RequestSession(SESSION_ID, b"K" * SESSION_KEY_BYTES)
    assert "K" not in repr(session)
    assert (b"K" * SESSION_KEY_BYTES).hex() not in f"{session}"


def test_messages_survive_the_wire_and_bound_what_they_hold() -> None:
    answer = SessionAnswer(
        session_id=SESSION_ID, public_key=bytes(33), lifetime_ms=1, gateway_time_ms=1_767_225_600_000
    )
    assert parse_message(dump_message(answer), SessionAnswer) == answer
    for changes in (
        {"session_id": bytes(SESSION_ID_BYTES_MIN - 1)},
        {"session_id": bytes(SESSION_ID_BYTES_MAX + 1)},
        {"public_key": bytes(32)},
        {"lifetime_ms": 0},
        {"lifetime_ms": 7 * 86_400_000 + 1},
    ):
        body = dump_message(msgspec.structs.replace(answer, **changes))
        with pytest.raises(WireError):
            parse_message(body, SessionAnswer)
    with pytest.raises(WireError):
        parse_message(b"{}", SessionRequest)
