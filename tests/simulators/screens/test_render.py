"""A rendered picture holds its code where it says, at sizes a camera can read, and repeats by its seed."""

from __future__ import annotations

import numpy as np
import pytest
import zxingcpp

from simulators.screens.render import (
    MODULE_PX_MIN,
    CodeTooLarge,
    code_modules,
    idle_frame,
    render_frame,
    render_picture,
)

CPM_TEXT = "hQVDUFYwMWE7" + "TwnwUE9TUEFZ" * 17
NUMERIC = "471234567890123451"


@pytest.mark.parametrize(("length", "modules"), [(200, 49), (300, 57), (450, 69)])
def test_base45_text_takes_the_symbol_the_protocol_measured(length: int, modules: int) -> None:
    # Versions 8, 10 and 13 at level M, in alphanumeric mode (protocol section 1.2), plus the quiet zone.
    assert code_modules("P1:" + "A" * (length - 3)).shape == (modules + 8, modules + 8)


def test_code_is_of_error_correction_level_m() -> None:
    found = zxingcpp.read_barcodes(render_frame(CPM_TEXT))
    assert [code.ec_level for code in found] == ["M"]


def test_numeric_code_is_shown_as_code_128() -> None:
    found = zxingcpp.read_barcodes(render_frame(NUMERIC))
    assert [(code.format, code.text) for code in found] == [(zxingcpp.BarcodeFormat.Code128, NUMERIC)]


@pytest.mark.parametrize("text", ["P1:A", CPM_TEXT, NUMERIC])
def test_modules_are_no_smaller_than_the_decoders_need(text: str) -> None:
    assert render_picture(text).module_px >= MODULE_PX_MIN


@pytest.mark.parametrize("text", ["P1:" + "A" * 3000, "x" * 5000])
def test_code_that_would_be_too_fine_is_refused(text: str) -> None:
    with pytest.raises(CodeTooLarge):
        render_picture(text)


@pytest.mark.parametrize("text", [CPM_TEXT, NUMERIC])
def test_code_lies_where_the_picture_says(text: str) -> None:
    picture = render_picture(text, seed=4)
    (left, top), _, (right, bottom), _ = picture.corners.round().astype(int)
    inside = picture.pixels[top:bottom, left:right]
    assert [code.text for code in zxingcpp.read_barcodes(np.ascontiguousarray(inside))] == [text]
    outside = picture.pixels.copy()
    outside[top:bottom, left:right] = 255
    assert zxingcpp.read_barcodes(outside) == []


def test_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    pictures = [render_picture(CPM_TEXT, seed=seed).pixels for seed in (1, 1, 2)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_idle_camera_sees_a_dark_counter_without_a_code() -> None:
    frame = idle_frame()
    assert frame.shape == (480, 640)
    assert frame.mean() < 40
    assert zxingcpp.read_barcodes(frame) == []
