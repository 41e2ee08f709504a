"""The decoder reads what cameras give it, and nothing a camera or a code does makes it raise."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from types import ModuleType

import cv2
import numpy as np
import pytest
import qrcode
import structlog
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from simulators.screens.distortions import DISTORTIONS, picture_of
from simulators.screens.render import GreyImage, idle_frame, render_frame
from terminal.scanners import decoder as decoder_module
from terminal.scanners.code_scanner import CODE_CHARS_MAX
from terminal.scanners.decoder import RESCUE_EVERY, CodeDecoder

BASE45_TEXT = "P1:6BF$*F0 %-./:" + "8UC+XK4QT3Z" * 20
NUMERIC = "471234567890123451"
READABLE_ALWAYS = sorted(set(DISTORTIONS) - {"blur", "glare", "crop"})
"""Distortions that cost every decoder some pictures are in tests/benchmarks/code_decoding.py."""


@pytest.fixture
def zbar_cache() -> Iterator[None]:
    decoder_module._load_zbar.cache_clear()
    yield
    decoder_module._load_zbar.cache_clear()


def _qr_of_bytes(data: bytes) -> GreyImage:
    symbol = zxingcpp.create_barcode(data, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    return np.array(symbol.to_image(scale=4))


@pytest.mark.parametrize("name", READABLE_ALWAYS)
@pytest.mark.parametrize("width", [640, 1280])
def test_distorted_code_is_read_word_for_word(name: str, width: int) -> None:
    picture = picture_of(name, BASE45_TEXT, width=width, height=width * 3 // 4, seed=3)
    assert CodeDecoder().decode(picture.pixels) == [BASE45_TEXT]


@pytest.mark.parametrize(
    "text", [BASE45_TEXT + "  ", "hQVDUFYwMWE7TwnwUE9T+/=", NUMERIC, NUMERIC[:-1], " A", "A\x1dB"]
)
def test_text_is_read_with_every_blank_and_sign(text: str) -> None:
    assert CodeDecoder().decode(render_frame(text)) == [text]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("text", [BASE45_TEXT, NUMERIC])
def test_phone_may_be_held_any_way_round(text: str, turns: int) -> None:
    assert CodeDecoder().decode(np.rot90(render_frame(text), turns)) == [text]


def test_colour_picture_is_read_like_a_grey_one() -> None:
    grey = render_frame(BASE45_TEXT)
    assert CodeDecoder().decode(np.dstack([grey] * 3)) == [BASE45_TEXT]


def test_two_codes_in_one_picture_are_both_read_once() -> None:
    left, right = render_frame(BASE45_TEXT), render_frame("P2:ABCDEFGH234567")
    texts = CodeDecoder().decode(np.hstack([left, right, right]))
    assert sorted(texts) == sorted([BASE45_TEXT, "P2:ABCDEFGH234567"])


def test_empty_counter_holds_no_code() -> None:
    decoder = CodeDecoder()
    assert [decoder.decode(idle_frame(seed=seed)) for seed in range(2 * RESCUE_EVERY)] == [
        []
    ] * 2 * RESCUE_EVERY


def test_blurred_code_is_read_where_zxing_alone_fails() -> None:
    seeds = [
        seed
        for seed in range(12)
        if not zxingcpp.read_barcodes(
            picture_of("blur", BASE45_TEXT, width=640, height=480, seed=seed).pixels
        )
    ]
    assert seeds, "no picture of this set is hard for zxing-cpp"
    read = [
        CodeDecoder().decode(picture_of("blur", BASE45_TEXT, width=640, height=480, seed=seed).pixels)
        for seed in seeds
    ]
    assert read.count([BASE45_TEXT]) >= len(seeds) / 2


def test_rescue_is_tried_again_after_some_missed_pictures_but_not_in_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    def count(grey: GreyImage) -> list[str]:
        tried.append(1)
        return []

    monkeypatch.setattr(decoder_module, "_read_thoroughly", count)
    unreadable = picture_of("crop", BASE45_TEXT, width=640, height=480, seed=0).pixels[:, 60:300]
    decoder = CodeDecoder()
    for _ in range(2 * RESCUE_EVERY + 1):
        assert decoder.decode(unreadable) == []
    assert len(tried) == 3


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 0), np.uint8),
        np.zeros((0, 640), np.uint8),
        np.zeros((480, 640, 0), np.uint8),
        np.zeros((1, 1), np.uint8),
        np.zeros((3, 2, 3), np.uint8),
        np.zeros((480, 640), np.float64),
        np.zeros((480, 640, 3), np.int32),
        np.zeros((480, 640, 4), np.uint8),
        np.zeros((2, 2, 2, 2), np.uint8),
        np.array(5, np.uint8),
        None,
        "frame",
    ],
    ids=repr,
)
def test_what_is_no_picture_holds_no_code(frame: object) -> None:
    assert CodeDecoder().decode(frame) == []  # type: ignore[arg-type]  # what a broken capture hands over
    assert CodeDecoder().decode_still(frame) == []  # type: ignore[arg-type]  # likewise


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        dtype=st.sampled_from([np.uint8, np.bool_, np.uint16, np.float32]),
        shape=arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=80),
    )
)
def test_any_array_gives_texts_and_never_an_exception(frame: np.ndarray) -> None:
    assert isinstance(CodeDecoder().decode(frame), list)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=600))
def test_code_of_any_bytes_gives_texts_and_never_an_exception(data: bytes) -> None:
    picture = _qr_of_bytes(data)
    for texts in (CodeDecoder().decode(picture), decoder_module._read_zbar(picture)):
        for text in texts:
            # A lone surrogate would pass as a str here and break whoever sends or logs it.
            assert text.encode("utf-8").decode("utf-8") == text


def test_longest_code_there_is_comes_cut() -> None:
    symbol = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_L, border=4, box_size=4)
    symbol.add_data("A" * 4296)
    symbol.make()
    picture = np.array(symbol.make_image().convert("L"))
    assert CodeDecoder().decode(picture) == ["A" * (CODE_CHARS_MAX + 1)]


@pytest.mark.parametrize("symbology", ["DataMatrix", "Aztec", "PDF417", "EAN13"])
def test_other_kinds_of_code_are_not_read(symbology: str) -> None:
    content = "4006381333931" if symbology == "EAN13" else "P1:ABC"
    bars = zxingcpp.create_barcode(content, getattr(zxingcpp.BarcodeFormat, symbology))
    assert CodeDecoder().decode(np.array(bars.to_image(scale=4))) == []


@pytest.mark.usefixtures("zbar_cache")
def test_missing_zbar_is_said_once_and_the_rest_still_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_zbar(name: str, *args: object, **kwargs: object) -> ModuleType:
        if name.startswith("pyzbar"):
            raise ImportError("Unable to find zbar shared library")
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(builtins, "__import__", without_zbar)
    torn = picture_of("crop", BASE45_TEXT, width=640, height=480, seed=0).pixels[:, 60:300]
    with structlog.testing.capture_logs() as logs:
        assert CodeDecoder().decode(torn) == []
        assert CodeDecoder().decode(torn) == []
        assert CodeDecoder().decode(render_frame(BASE45_TEXT)) == [BASE45_TEXT]
    assert [entry["event"] for entry in logs] == ["zbar_not_installed"]


def test_still_of_a_tiny_code_is_read_at_twice_its_size() -> None:
    tiny = picture_of("clean", BASE45_TEXT, width=640, height=480, seed=5).pixels
    smaller = cv2.resize(tiny, None, fx=0.22, fy=0.22, interpolation=cv2.INTER_AREA)
    assert CodeDecoder().decode(smaller) == []
    assert CodeDecoder().decode_still(smaller) == [BASE45_TEXT]
