"""From a text to the picture a till's camera takes of the phone that shows it.

The picture is grey, like a camera's luminance plane, and knows where its code lies, so that distortions
can be stated in modules and shares of the code's side, as readers' figures are (simulators/screens/
distortions.py). QR codes come from the `qrcode` library, so that the terminal's decoders never read
their own writer's work; Code 128 from zxing-cpp, the only one here that writes it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

import cv2
import numpy as np
import qrcode
import qrcode.constants
import qrcode.exceptions
import zxingcpp
from numpy.typing import NDArray

from simulators.errors import SimulatorError

GreyImage: TypeAlias = NDArray[np.uint8]
"""Height by width, 0 is black."""
Corners: TypeAlias = NDArray[np.float32]
"""Four points x, y in pixels: top left, top right, bottom right, bottom left."""

MODULE_PX_MIN: Final = 3.0
"""Smallest module both engines of the terminal read when a picture is a little soft (measured)."""
QUIET_MODULES: Final = 4
"""Light margin of a QR code (ISO/IEC 18004 section 5.3.8)."""
FILL_DEFAULT: Final = 0.7
FILL_MAX: Final = 0.95
SCREEN_MARGIN: Final = 1.12
"""How much larger the lit part of the phone is than the code with its quiet zone."""
BACKGROUND_GREY: Final = 96
BEZEL_GREY: Final = 18
LINEAR_MODULES_HIGH: Final = 40
"""Height of a Code 128 in its own modules; a wallet draws it about a quarter as high as wide."""
LINEAR_CODE: Final = re.compile(r"[0-9]{18}", re.ASCII)
"""Texts shown as Code 128: the numeric payment codes (protocol section 4)."""


class CodeTooLarge(SimulatorError):
    """The text has no code, or none whose modules a camera could tell apart in this picture."""

    code = "code_too_large"


@dataclass(frozen=True, slots=True)
class Picture:
    """What a camera took, and where the code with its quiet zone is in it."""

    pixels: GreyImage
    corners: Corners
    module_px: float

    @property
    def side_px(self) -> float:
        """Length of the code's upper edge, quiet zone included."""
        return float(np.linalg.norm(self.corners[1] - self.corners[0]))

    def with_pixels(self, pixels: NDArray[np.float32] | GreyImage) -> Picture:
        """Return the same scene with other light, clipped to what a camera can hold."""
        return replace(self, pixels=np.clip(pixels, 0, 255).astype(np.uint8))


def render_picture(
    text: str, *, width: int = 640, height: int = 480, fill: float | None = None, seed: int = 0
) -> Picture:
    """Show a text on a phone in the middle of a camera's picture.

    Args:
        text: a numeric payment code becomes Code 128, anything else a QR code at level M.
        fill: share of the picture's height the code with its quiet zone takes; by default 0.7, or more
            where modules would be smaller than MODULE_PX_MIN. One that is given is kept to.
        seed: of the backdrop and where the phone lies; the same seed gives the same picture.

    Raises:
        CodeTooLarge: no QR code holds the text, or its modules would be too small here.
    """
    modules = code_modules(text)
    rng = random.Random(seed)  # noqa: S311 - a backdrop, not a secret
    side_px = _choose_width_px(modules, width, height, fill)
    code = _scale(modules, side_px)
    scene = _paint_backdrop(width, height, rng)
    left, top = _place_phone(scene, code, rng)
    high, wide = code.shape
    corners = np.array(
        [[left, top], [left + wide, top], [left + wide, top + high], [left, top + high]], dtype=np.float32
    )
    return Picture(scene, corners, wide / modules.shape[1])


def render_frame(text: str, *, width: int = 640, height: int = 480, seed: int = 0) -> GreyImage:
    """Return only the pixels of `render_picture`: what a stream or a file shows."""
    return render_picture(text, width=width, height=height, seed=seed).pixels


def idle_frame(width: int = 640, height: int = 480, seed: int = 0) -> GreyImage:
    """Return what the camera sees while nobody shows a phone: a dark counter with sensor noise."""
    noise = np.random.default_rng(seed).normal(24.0, 3.0, (height, width))
    return np.clip(noise, 0, 255).astype(np.uint8)


@lru_cache(maxsize=256)
def code_modules(text: str) -> GreyImage:
    """Return a text's code with its quiet zone, one pixel a module, 0 or 255.

    Raises:
        CodeTooLarge: no QR code holds the text.
    """
    modules = _linear_modules(text) if LINEAR_CODE.fullmatch(text) else _qr_modules(text)
    modules.setflags(write=False)
    return modules


def _qr_modules(text: str) -> GreyImage:
    symbol = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, border=QUIET_MODULES)
    symbol.add_data(text)
    try:
        symbol.make(fit=True)
    except (qrcode.exceptions.DataOverflowError, ValueError):
        raise CodeTooLarge("no QR code holds this text") from None
    dark = np.array(symbol.get_matrix(), dtype=bool)
    return np.where(dark, np.uint8(0), np.uint8(255))


def _linear_modules(digits: str) -> GreyImage:
    bars = zxingcpp.create_barcode(digits, zxingcpp.BarcodeFormat.Code128)
    row = np.array(bars.to_image(scale=1))[0]
    return np.tile(row, (LINEAR_MODULES_HIGH, 1)).astype(np.uint8)


def _choose_width_px(modules: GreyImage, width: int, height: int, fill: float | None) -> int:
    rows, columns = (int(count) for count in modules.shape)
    # A code wider than high (Code 128) is bounded by the picture's width, a square one by its height.
    whole = min(width, height * columns / rows)
    if fill is not None:
        return round(whole * fill)
    side_px = max(whole * FILL_DEFAULT, MODULE_PX_MIN * columns)
    if side_px > whole * FILL_MAX:
        raise CodeTooLarge(f"{columns} modules need a picture larger than {width} by {height} pixels")
    return round(side_px)


def _scale(modules: GreyImage, side_px: int) -> GreyImage:
    rows, columns = modules.shape
    # Enlarged without loss first, then averaged down: each pixel gets the light that falls on it.
    large = np.kron(modules, np.ones((8, 8), dtype=np.uint8))
    size = (side_px, round(side_px * rows / columns))
    return np.asarray(cv2.resize(large, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _paint_backdrop(width: int, height: int, rng: random.Random) -> GreyImage:
    """Return an unevenly lit counter with a few things lying on it."""
    slope_x, slope_y = rng.uniform(-40, 40), rng.uniform(-40, 40)
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    scene = np.clip(BACKGROUND_GREY + slope_x * x + slope_y * y, 0, 255).astype(np.uint8)
    for _ in range(6):
        left, top = rng.randrange(width), rng.randrange(height)
        corner = (left + rng.randrange(width // 4), top + rng.randrange(height // 4))
        cv2.rectangle(scene, (left, top), corner, rng.randrange(40, 170), thickness=-1)
    return scene


def _place_phone(scene: GreyImage, code: GreyImage, rng: random.Random) -> tuple[int, int]:
    """Paint bezel, lit screen and code into the scene; return the code's top left corner."""
    height, width = scene.shape
    high, wide = code.shape
    spare_x, spare_y = max(0, (width - wide) // 8), max(0, (height - high) // 8)
    left = (width - wide) // 2 + rng.randint(-spare_x, spare_x)
    top = (height - high) // 2 + rng.randint(-spare_y, spare_y)
    for grow, grey in ((SCREEN_MARGIN + 0.06, BEZEL_GREY), (SCREEN_MARGIN, 255)):
        side = round((grow - 1) / 2 * wide)
        # A phone is taller than wide: its screen goes on above and below the code.
        first, last = (left - side, top - 2 * side), (left + wide + side, top + high + 2 * side)
        cv2.rectangle(scene, first, last, grey, thickness=-1)
    scene[top : top + high, left : left + wide] = code
    return left, top
