"""What befalls a code between a phone's screen and a camera: thirteen named, seeded distortions.

Each takes a `Picture` and returns one, so they compose. Names and ranges are those under which the
decoders were measured: rotation 0-45 degrees, tilt 15-40 degrees, blur of 0.3-0.75 module, noise of
sigma 20-50, contrast of 10-30 %, one or two glare spots, two gratings of 15-40 %, 2-12 % of the side out
of the picture, a finger over one edge, dark mode, and a mild mixture of several.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final, TypeAlias

import cv2
import numpy as np

from simulators.screens.render import (
    BACKGROUND_GREY,
    Corners,
    Picture,
    render_picture,
)

Distortion: TypeAlias = Callable[[Picture, random.Random], Picture]

FILL_RANGE: Final = (0.62, 0.78)
FILL_SMALL: Final = 0.35
LENS_BLUR_MODULES: Final = 0.12
"""No lens is perfectly sharp: every picture of the set has at least this blur."""
SKIN_GREY: Final = 150


def picture_of(name: str, text: str, *, width: int, height: int, seed: int) -> Picture:
    """Return a text's picture with the named distortion; the same seed gives the same picture.

    Raises:
        KeyError: no distortion has this name; DISTORTIONS lists them.
    """
    rng = random.Random(f"{name}/{seed}")  # noqa: S311 - a picture, not a secret
    fill = FILL_SMALL if name == "small" else rng.uniform(*FILL_RANGE)
    picture = render_picture(text, width=width, height=height, fill=fill, seed=seed)
    return DISTORTIONS[name](blur(picture, LENS_BLUR_MODULES), rng)


def rotate(picture: Picture, degrees: float) -> Picture:
    """Turn the scene about the code's middle, stepping back where the code would leave the picture."""
    height, width = picture.pixels.shape
    x, y = picture.corners.mean(axis=0)
    turn = cv2.getRotationMatrix2D((float(x), float(y)), degrees, 1.0)
    turned = cv2.transform(picture.corners[None], turn)[0]
    span = turned.max(axis=0) - turned.min(axis=0)
    scale = min(1.0, 0.98 * width / span[0], 0.98 * height / span[1])
    turn = cv2.getRotationMatrix2D((float(x), float(y)), degrees, float(scale))
    turn[:, 2] += (width / 2 - x, height / 2 - y)
    return _warp(picture, np.vstack([turn, [0, 0, 1]]), picture.module_px * float(scale))


def tilt(picture: Picture, degrees: float, axis_degrees: float) -> Picture:
    """Lean the phone away from the camera about an axis in the picture's plane."""
    height, width = picture.pixels.shape
    # A camera of about 56 degrees field of view, as webcams have.
    focal_px = 0.94 * width
    lean = _rotation_about(axis_degrees, degrees)
    middle = np.array([*picture.corners.mean(axis=0), 0.0])
    away = np.array([0.0, 0.0, focal_px])
    projected = []
    for corner in picture.corners:
        x, y, z = lean @ (np.array([*corner, 0.0]) - middle) + away
        projected.append((focal_px * x / z + width / 2, focal_px * y / z + height / 2))
    target = np.array(projected, dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(picture.corners, target)
    return _warp(picture, np.asarray(matrix), picture.module_px * math.cos(math.radians(degrees)))


def blur(picture: Picture, sigma_modules: float) -> Picture:
    """Put the scene out of focus; the blur is stated in modules."""
    sigma_px = sigma_modules * picture.module_px
    return picture.with_pixels(np.asarray(cv2.GaussianBlur(picture.pixels, (0, 0), sigma_px), dtype=np.uint8))


def add_noise(picture: Picture, sigma: float, seed: int) -> Picture:
    """Add a dim room's sensor noise, sigma in grey levels."""
    noise = np.random.default_rng(seed).normal(0.0, sigma, picture.pixels.shape).astype(np.float32)
    return picture.with_pixels(picture.pixels + noise)


def lower_contrast(picture: Picture, share: float, grey: float) -> Picture:
    """Leave a share of the contrast, about the given grey."""
    return picture.with_pixels(grey + (picture.pixels.astype(np.float32) - 127.5) * np.float32(share))


def add_glare(picture: Picture, spots: int, rng: random.Random) -> Picture:
    """Let lamps shine back from the glass: bright spots that drown what is under them."""
    light = np.zeros(picture.pixels.shape, dtype=np.float32)
    for _ in range(spots):
        x, y = _point_in_code(picture, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9))
        light += _spot(picture, x, y, rng.uniform(0.05, 0.11)) * np.float32(rng.uniform(255, 510))
    return picture.with_pixels(picture.pixels + light)


def add_moire(picture: Picture, depth: float, rng: random.Random) -> Picture:
    """Modulate the light by two gratings, as a screen's pixels and a sensor's make where they beat."""
    height, width = picture.pixels.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = picture.pixels.astype(np.float32)
    for _ in range(2):
        angle, period_px = rng.uniform(0, math.pi), rng.uniform(3.0, 24.0)
        along = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
        light *= 1 + np.float32(depth) * np.sin(along * np.float32(2 * math.pi / period_px))
    return picture.with_pixels(light)


def crop(picture: Picture, share: float, side: int) -> Picture:
    """Move the code until a share of its side is out of the picture, by side: left, top, right, bottom.

    The side includes the quiet zone, so the first 5-7 % take no module away, and what follows cuts two
    finder patterns.
    """
    height, width = picture.pixels.shape
    low, high = picture.corners.min(axis=0), picture.corners.max(axis=0)
    out_px = (high - low) * share
    move_x = {0: -low[0] - out_px[0], 2: width - high[0] + out_px[0]}.get(side, 0.0)
    move_y = {1: -low[1] - out_px[1], 3: height - high[1] + out_px[1]}.get(side, 0.0)
    matrix = np.array([[1, 0, move_x], [0, 1, move_y], [0, 0, 1]], dtype=np.float64)
    return _warp(picture, matrix, picture.module_px)


def lay_finger(picture: Picture, side: int, along: float, depth: float) -> Picture:
    """Hold the phone with a finger that reaches over one edge of the code."""
    across = {0: (depth - 0.25, along), 1: (along, depth - 0.25), 2: (1.25 - depth, along)}
    x, y = _point_in_code(picture, *across.get(side, (along, 1.25 - depth)))
    long, wide = round(0.25 * picture.side_px), round(0.09 * picture.side_px)
    axes = (long, wide) if side in (0, 2) else (wide, long)
    pixels = picture.pixels.copy()
    cv2.ellipse(pixels, (round(x), round(y)), axes, 0, 0, 360, SKIN_GREY, thickness=-1)
    return picture.with_pixels(pixels)


def invert(picture: Picture) -> Picture:
    """Show the code in dark mode: light modules on a dark screen."""
    return picture.with_pixels(255 - picture.pixels)


def _clean(picture: Picture, rng: random.Random) -> Picture:
    return picture


def _rotated(picture: Picture, rng: random.Random) -> Picture:
    return rotate(picture, rng.uniform(0, 45))


def _perspective(picture: Picture, rng: random.Random) -> Picture:
    return tilt(picture, rng.uniform(15, 40), rng.uniform(0, 360))


def _blur(picture: Picture, rng: random.Random) -> Picture:
    return blur(picture, rng.uniform(0.3, 0.75))


def _noise(picture: Picture, rng: random.Random) -> Picture:
    return add_noise(picture, rng.uniform(20, 50), rng.getrandbits(32))


def _low_contrast(picture: Picture, rng: random.Random) -> Picture:
    dim = lower_contrast(picture, rng.uniform(0.1, 0.3), rng.uniform(70, 185))
    return add_noise(dim, 3.0, rng.getrandbits(32))


def _glare(picture: Picture, rng: random.Random) -> Picture:
    return add_glare(picture, rng.randint(1, 2), rng)


def _moire(picture: Picture, rng: random.Random) -> Picture:
    return add_moire(picture, rng.uniform(0.15, 0.40), rng)


def _crop(picture: Picture, rng: random.Random) -> Picture:
    return crop(picture, rng.uniform(0.02, 0.12), rng.randrange(4))


def _finger(picture: Picture, rng: random.Random) -> Picture:
    return lay_finger(picture, rng.randrange(4), rng.uniform(0.2, 0.8), rng.uniform(0.06, 0.14))


def _inverted(picture: Picture, rng: random.Random) -> Picture:
    return invert(picture)


def _combo(picture: Picture, rng: random.Random) -> Picture:
    turned = rotate(picture, rng.uniform(-20, 20))
    leaning = tilt(turned, rng.uniform(5, 20), rng.uniform(0, 360))
    soft = blur(leaning, rng.uniform(0.15, 0.3))
    dim = lower_contrast(soft, rng.uniform(0.5, 0.8), rng.uniform(100, 150))
    return add_noise(dim, rng.uniform(5, 15), rng.getrandbits(32))


DISTORTIONS: Final[dict[str, Distortion]] = {
    "clean": _clean,
    "small": _clean,  # its code takes a third of the picture's height: see picture_of
    "rotated": _rotated,
    "perspective": _perspective,
    "blur": _blur,
    "noise": _noise,
    "low_contrast": _low_contrast,
    "glare": _glare,
    "moire": _moire,
    "crop": _crop,
    "finger": _finger,
    "inverted": _inverted,
    "combo": _combo,
}


def _warp(picture: Picture, matrix: np.typing.NDArray[np.float64], module_px: float) -> Picture:
    height, width = picture.pixels.shape
    pixels = cv2.warpPerspective(
        picture.pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(BACKGROUND_GREY,)
    )
    corners = cv2.perspectiveTransform(picture.corners[None], matrix)[0]
    return Picture(np.asarray(pixels, dtype=np.uint8), _as_corners(corners), module_px)


def _as_corners(points: object) -> Corners:
    return np.asarray(points, dtype=np.float32).reshape(4, 2)


def _rotation_about(axis_degrees: float, degrees: float) -> np.typing.NDArray[np.float64]:
    axis = math.radians(axis_degrees)
    vector = np.array([math.cos(axis), math.sin(axis), 0.0]) * math.radians(degrees)
    return np.asarray(cv2.Rodrigues(vector)[0], dtype=np.float64)


def _point_in_code(picture: Picture, across: float, down: float) -> tuple[float, float]:
    """Return the pixel at these shares of the code's width and height."""
    top_left, top_right, _, bottom_left = picture.corners
    x, y = top_left + (top_right - top_left) * across + (bottom_left - top_left) * down
    return float(x), float(y)


def _spot(picture: Picture, x: float, y: float, radius_share: float) -> np.typing.NDArray[np.float32]:
    height, width = picture.pixels.shape
    sigma_px = radius_share * picture.side_px
    across = np.exp(-((np.arange(width) - x) ** 2) / (2 * sigma_px**2))
    down = np.exp(-((np.arange(height) - y) ** 2) / (2 * sigma_px**2))
    return np.outer(down, across).astype(np.float32)
