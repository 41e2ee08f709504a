"""Frames come out of a stream as they went in, however it is cut, and never longer than the bound."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.link.frames import FRAME_BYTES_MAX, FrameReader, FrameTooLong, dump_frame


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=8))
def test_frames_come_out_whole_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(dump_frame(body[:3], body[3:]) for body in bodies)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    reader = FrameReader()
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert [frame for piece in pieces for frame in reader.feed(piece)] == bodies


def test_a_frame_above_the_bound_is_neither_sent_nor_awaited() -> None:
    with pytest.raises(FrameTooLong):
        dump_frame(bytes(FRAME_BYTES_MAX), b"x")
    with pytest.raises(FrameTooLong):
        FrameReader().feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    assert FrameReader().feed(FRAME_BYTES_MAX.to_bytes(4, "big")) == []
