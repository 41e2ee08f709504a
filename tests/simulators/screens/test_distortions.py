"""Each distortion does what its name and its range say, repeats by its seed, and composes with others."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from simulators.screens import distortions
from simulators.screens.distortions import DISTORTIONS, picture_of
from simulators.screens.render import Picture, render_picture

TEXT = "P1:" + "6BF8UC+XK4" * 20
NAMES = [
    "clean",
    "small",
    "rotated",
    "perspective",
    "blur",
    "noise",
    "low_contrast",
    "glare",
    "moire",
    "crop",
    "finger",
    "inverted",
    "combo",
]


@pytest.fixture
def plain() -> Picture:
    return render_picture(TEXT, fill=0.7, seed=1)


def _code_pixels(picture: Picture) -> np.ndarray:
    (left, top), _, (right, bottom), _ = picture.corners.round().astype(int).clip(0)
    return picture.pixels[top:bottom, left:right].astype(float)


def _edge_strength(picture: Picture) -> float:
    return float(np.abs(np.diff(_code_pixels(picture), axis=1)).mean())


def test_the_set_has_the_thirteen_measured_distortions() -> None:
    assert list(DISTORTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_picture_and_another_seed_another(name: str) -> None:
    pictures = [picture_of(name, TEXT, width=640, height=480, seed=seed).pixels for seed in (1, 1, 2)]
    assert all(pixels.shape == (480, 640) and pixels.dtype == np.uint8 for pixels in pictures)
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("degrees", [10.0, 45.0, 90.0])
def test_rotation_turns_the_code_and_keeps_it_in_the_picture(plain: Picture, degrees: float) -> None:
    turned = distortions.rotate(plain, degrees)
    x, y = turned.corners[1] - turned.corners[0]
    assert np.degrees(np.arctan2(-y, x)) == pytest.approx(degrees, abs=0.5)
    assert turned.corners.min() >= 0
    assert (turned.corners.max(axis=0) <= (640, 480)).all()


def test_tilt_brings_one_edge_nearer_than_the_other(plain: Picture) -> None:
    leaning = distortions.tilt(plain, 30, axis_degrees=0)
    top = np.linalg.norm(leaning.corners[1] - leaning.corners[0])
    bottom = np.linalg.norm(leaning.corners[2] - leaning.corners[3])
    assert max(top, bottom) / min(top, bottom) > 1.1


def test_blur_softens_edges_the_more_the_larger_it_is(plain: Picture) -> None:
    strengths = [_edge_strength(distortions.blur(plain, sigma)) for sigma in (0.1, 0.3, 0.75)]
    assert strengths == sorted(strengths, reverse=True)


def test_noise_has_the_stated_sigma(plain: Picture) -> None:
    grey = Picture(np.full((480, 640), 128, np.uint8), plain.corners, plain.module_px)
    assert distortions.add_noise(grey, 30.0, seed=1).pixels.std() == pytest.approx(30.0, rel=0.05)


def test_low_contrast_leaves_the_stated_share(plain: Picture) -> None:
    dim = distortions.lower_contrast(plain, 0.2, grey=128)
    assert int(dim.pixels.max()) - int(dim.pixels.min()) == pytest.approx(0.2 * 255, abs=2)


def test_glare_brightens_some_of_the_code_and_darkens_nothing(plain: Picture) -> None:
    shiny = distortions.add_glare(plain, 1, random.Random(1))
    difference = _code_pixels(shiny) - _code_pixels(plain)
    assert difference.min() >= 0
    assert 0.01 < (difference > 100).mean() < 0.3


def test_moire_leaves_dark_modules_dark(plain: Picture) -> None:
    striped = distortions.add_moire(plain, 0.3, random.Random(1))
    before, after = _code_pixels(plain), _code_pixels(striped)
    assert after[before == 0].max() == 0
    assert after[before == 255].std() > 10


@pytest.mark.parametrize(("side", "edge"), [(0, 0), (1, 0), (2, 640), (3, 480)])
def test_crop_puts_the_stated_share_out_of_the_picture(plain: Picture, side: int, edge: int) -> None:
    axis = side % 2
    cut = distortions.crop(plain, 0.1, side)
    low, high = cut.corners[:, axis].min(), cut.corners[:, axis].max()
    out = (edge - low) if edge == 0 else (high - edge)
    assert out / (high - low) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("side", range(4))
def test_finger_reaches_over_the_stated_edge_only(plain: Picture, side: int) -> None:
    held = distortions.lay_finger(plain, side, along=0.5, depth=0.1)
    changed = _code_pixels(held) != _code_pixels(plain)
    half = changed.shape[0] // 2
    halves = [changed[:, :half], changed[:half], changed[:, half:], changed[half:]]
    assert halves[side].any()
    assert not halves[(side + 2) % 4].any()
    assert changed.mean() < 0.1


def test_dark_mode_is_the_negative(plain: Picture) -> None:
    assert np.array_equal(distortions.invert(plain).pixels, 255 - plain.pixels)


def test_distortions_compose(plain: Picture) -> None:
    steps: list[Callable[[Picture], Picture]] = [
        lambda picture: distortions.rotate(picture, 20),
        lambda picture: distortions.tilt(picture, 15, 45),
        lambda picture: distortions.blur(picture, 0.2),
        distortions.invert,
    ]
    picture = plain
    for step in steps:
        picture = step(picture)
    assert picture.module_px < plain.module_px
    assert picture.pixels.shape == plain.pixels.shape
