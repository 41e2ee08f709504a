"""From a picture to the texts of the codes in it: zxing-cpp first, then harder tries where they may pay.

zxing-cpp reads most pictures in one or two milliseconds. What it misses is tried again only where the
picture looks as if it held a code, and then only in the first and every RESCUE_EVERY-th picture missed in
a row: sharpened against blur, with a light border against a cut quiet zone, and by zbar, which is ten times
slower but reads through glare and moire, on a mildly blurred picture and on its negative. So an empty
counter costs little, and a code held before the lens gets every try several times a second.

No picture and no code makes `decode` raise: what a code holds is its maker's choice. Sources: readers'
measurements in tests/benchmarks/code_decoding.py, which also holds the figures these tries were chosen by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import structlog
import zxingcpp
from numpy.typing import NDArray

from terminal.scanners.code_scanner import cut_code

Frame: TypeAlias = NDArray[Any]
"""What a camera gives: uint8, height by width (grey) or by 3 more (BGR)."""
GreyFrame: TypeAlias = NDArray[np.uint8]

CODES_PER_FRAME_MAX: Final = 8
FRAME_PX_MAX: Final = 64_000_000
"""Largest picture looked at; a camera's are under nine million."""
RESCUE_EVERY: Final = 5
BLUR_SIGMA_PX: Final = 1.2
"""Mild enough for modules of three pixels, strong enough against moire and noise (measured)."""
SHARPEN_SIGMA_PX: Final = 3.0
SHARPEN_AMOUNT: Final = 6.0
BORDER_PX: Final = 20
TEXTURE_CELL_PX: Final = 32
TEXTURE_STEP_MIN: Final = 5
TEXTURE_CELLS_MIN: Final = 12
"""A code that fills a third of a 640 by 480 picture's height covers 25 cells; an empty counter none."""
STILL_SMALL_PX: Final = 1_000_000
"""Stills below this size are also tried at twice their size."""

_QR: Final = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCodeModel2])
# On its own and only where there is no QR code: searching for bars costs more than for a QR code.
_LINEAR: Final = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.Code128])
_log = structlog.get_logger(__name__)


class CodeDecoder:
    """Decodes a camera's pictures one after another; keeps count of the misses, so one per camera."""

    def __init__(self) -> None:
        self._missed_in_a_row = 0

    def decode(self, frame: Frame) -> list[str]:
        """Return the texts of the codes in one picture of a stream, most often none or one.

        Args:
            frame: grey or BGR, uint8; anything else holds no code.

        Returns:
            At most CODES_PER_FRAME_MAX different texts, each cut to CODE_CHARS_MAX + 1 characters.
        """
        grey = _as_grey(frame)
        if grey is None:
            return []
        texts = _distinct(_read_quickly(grey)) or _distinct(self._rescue(grey))
        self._missed_in_a_row = 0 if texts else self._missed_in_a_row + 1
        return texts

    def decode_still(self, frame: Frame) -> list[str]:
        """Return the texts in a single photograph, trying everything; takes up to a quarter of a second.

        The picture will not come again, so nothing is spared that may read it; else as `decode`.
        """
        grey = _as_grey(frame)
        if grey is None:
            return []
        texts = _distinct(_read_quickly(grey)) or _distinct(_read_thoroughly(grey))
        if texts or grey.size > STILL_SMALL_PX:
            return texts
        twice = _enlarge(grey)
        return _distinct(_read_quickly(twice)) or _distinct(_read_thoroughly(twice))

    def _rescue(self, grey: GreyFrame) -> list[str]:
        if self._missed_in_a_row % RESCUE_EVERY or not _looks_like_code(grey):
            return []
        return _read_thoroughly(grey)


def _as_grey(frame: Frame) -> GreyFrame | None:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or not 0 < frame.size <= 3 * FRAME_PX_MAX:
        return None
    if frame.ndim == 3 and frame.shape[2] == 3:
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    return np.ascontiguousarray(frame) if frame.ndim == 2 else None


def _read_quickly(grey: GreyFrame) -> list[str]:
    return _read_zxing(grey, _QR) or _read_zxing(grey, _LINEAR)


def _read_thoroughly(grey: GreyFrame) -> list[str]:
    tries: tuple[Callable[[], list[str]], ...] = (
        lambda: _read_zxing(_sharpen(grey), _QR),
        lambda: _read_zxing(_add_border(grey), _QR),
        lambda: _read_zbar(_soften(grey)),
        lambda: _read_zbar(255 - _soften(grey)),
    )
    return next((texts for read in tries if (texts := read())), [])


def _read_zxing(grey: GreyFrame, formats: zxingcpp.BarcodeFormats) -> list[str]:
    try:
        # Plain: the code's own characters. The default would rewrite GS1 and binary content for people.
        found = zxingcpp.read_barcodes(grey, formats=formats, text_mode=zxingcpp.TextMode.Plain)
        return [code.text for code in found]
    except (ValueError, TypeError, RuntimeError):
        # A shape it does not take, a text that is no Unicode (a ValueError), or what its C++ throws.
        return []


def _read_zbar(grey: GreyFrame) -> list[str]:
    read = _load_zbar()
    return read(grey) if read else []


@lru_cache(maxsize=1)
def _load_zbar() -> Callable[[GreyFrame], list[str]] | None:
    """Return zbar's reader, or None where its shared library is not installed, and say so once."""
    try:
        from pyzbar import pyzbar
    except ImportError:
        _log.warning("zbar_not_installed", effect="codes under glare or moire are read less often")
        return None
    symbols = [pyzbar.ZBarSymbol.QRCODE, pyzbar.ZBarSymbol.CODE128]

    def read(grey: GreyFrame) -> list[str]:
        try:
            return [code.data.decode("utf-8", errors="replace") for code in pyzbar.decode(grey, symbols)]
        except pyzbar.PyZbarError:
            return []

    return read


def _looks_like_code(grey: GreyFrame) -> bool:
    """Say whether enough of the picture changes from light to dark both across and down."""
    height, width = grey.shape
    if min(height, width) < 2 * TEXTURE_CELL_PX:
        return True
    quarter = cv2.resize(grey, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    across = cv2.absdiff(quarter[:-1, 1:], quarter[:-1, :-1])
    down = cv2.absdiff(quarter[1:, :-1], quarter[:-1, :-1])
    cells = (width // TEXTURE_CELL_PX, height // TEXTURE_CELL_PX)
    both = cv2.resize(cv2.min(across, down), cells, interpolation=cv2.INTER_AREA)
    return int(np.count_nonzero(both >= TEXTURE_STEP_MIN)) >= TEXTURE_CELLS_MIN


def _sharpen(grey: GreyFrame) -> GreyFrame:
    soft = cv2.GaussianBlur(grey, (0, 0), SHARPEN_SIGMA_PX)
    return np.asarray(cv2.addWeighted(grey, 1 + SHARPEN_AMOUNT, soft, -SHARPEN_AMOUNT, 0), dtype=np.uint8)


def _soften(grey: GreyFrame) -> GreyFrame:
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), BLUR_SIGMA_PX), dtype=np.uint8)


def _add_border(grey: GreyFrame) -> GreyFrame:
    sides = (BORDER_PX,) * 4
    return np.asarray(cv2.copyMakeBorder(grey, *sides, cv2.BORDER_CONSTANT, value=(255,)), dtype=np.uint8)


def _enlarge(grey: GreyFrame) -> GreyFrame:
    return np.asarray(cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(cut_code(text) for text in texts if text))[:CODES_PER_FRAME_MAX]
