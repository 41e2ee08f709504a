"""What one end protects the other opens, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.cards.ntag424.secure_messaging import (
    CommMode,
    SecureSession,
    derive_session_keys,
    open_answer,
    open_command,
    pad,
    protect_answer,
    protect_command,
    unpad,
)
from wire.errors import EncodingError

SESSION = SecureSession(
    derive_session_keys(bytes(16), bytes(range(16)), bytes(range(16, 32))), b"\x01\x02\x03\x04"
)
MODES = (CommMode.MAC, CommMode.FULL)
PROTECTED = st.sampled_from(MODES)


@given(header=st.binary(max_size=7), data=st.binary(max_size=64), mode=st.sampled_from(CommMode))
def test_what_is_protected_is_opened(header: bytes, data: bytes, mode: CommMode) -> None:
    field = protect_command(SESSION, 0x5F, header, data, mode)
    assert open_command(SESSION, 0x5F, field, len(header), mode) == data
    assert open_answer(SESSION, 0, protect_answer(SESSION, 0, data, mode), mode) == data


@given(data=st.binary(min_size=1, max_size=64), mode=PROTECTED, place=st.integers(0, 10_000))
def test_a_changed_bit_opens_nothing(data: bytes, mode: CommMode, place: int) -> None:
    for field, opened in (
        (
            protect_command(SESSION, 0x5F, b"\x02", data, mode),
            lambda changed: open_command(SESSION, 0x5F, changed, 1, mode),
        ),
        (protect_answer(SESSION, 0, data, mode), lambda changed: open_answer(SESSION, 0, changed, mode)),
    ):
        changed = bytearray(field)
        changed[place % len(field)] ^= 1 << place % 8
        with pytest.raises(EncodingError):
            opened(bytes(changed))


@pytest.mark.parametrize("mode", MODES)
def test_nothing_opens_twice_or_elsewhere(mode: CommMode) -> None:
    field = protect_command(SESSION, 0x5F, b"\x02", b"data", mode)
    for session, instruction in (
        (SESSION.counted(), 0x5F),
        (SecureSession(SESSION.keys, b"\x00\x02\x03\x04"), 0x5F),
        (SESSION, 0x5C),
    ):
        with pytest.raises(EncodingError):
            open_command(session, instruction, field, 1, mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_command_is_no_answer(mode: CommMode) -> None:
    with pytest.raises(EncodingError):
        open_answer(SESSION, 0x5F, protect_command(SESSION, 0x5F, b"", b"data", mode)[:-1], mode)
    for short in (b"", bytes(7)):
        with pytest.raises(EncodingError):
            open_answer(SESSION, 0, short, mode)
        with pytest.raises(EncodingError):
            open_command(SESSION, 0x5F, short, 0, mode)


@given(data=st.binary(max_size=48))
def test_padding_comes_off_again(data: bytes) -> None:
    assert len(pad(data)) % 16 == 0
    assert unpad(pad(data)) == data


@pytest.mark.parametrize("padded", [b"", bytes(16), b"\x80" + bytes(16), b"\x01" * 16])
def test_other_padding_is_refused(padded: bytes) -> None:
    with pytest.raises(EncodingError):
        unpad(padded)
