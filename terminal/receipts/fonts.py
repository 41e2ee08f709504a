"""Which fonts this machine has to draw a receipt with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import structlog
from PIL import ImageFont

_LOG: Final = structlog.get_logger(__name__)

CHINESE_FONTS: Final = (
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",  # Debian fonts-wqy-zenhei, which set-up installs
    "/usr/share/fonts/wqy-zenhei/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
)
"""Fonts with Latin and Simplified Chinese, in order of preference."""


@dataclass(frozen=True, slots=True)
class ReceiptFont:
    """A font file, or Pillow's built-in Latin font where `path` is None."""

    path: str | None

    @property
    def has_chinese(self) -> bool:
        """Whether Chinese characters come out as such."""
        return self.path is not None

    def at_size(self, size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """Return the font at this height in pixels."""
        return _load(self.path, size_px)


@cache
def find_receipt_font() -> ReceiptFont:
    """Return the best font this machine has; looked for once.

    Without a Chinese font receipts are English only, and one log line says so and what to install.
    """
    for path in CHINESE_FONTS:
        if Path(path).is_file():
            return ReceiptFont(path)
    _LOG.warning("receipt_font_without_chinese", install="fonts-wqy-zenhei")
    return ReceiptFont(None)


@cache
def _load(path: str | None, size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if path is None:
        return ImageFont.load_default(size_px)
    return ImageFont.truetype(path, size_px)
