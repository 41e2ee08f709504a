"""A text as a QR code in SVG: one path, black on white, with its quiet zone."""

from __future__ import annotations

from typing import Final

from qrcode import constants
from qrcode.main import QRCode

TEXT_CHARS_MAX: Final = 512
QUIET_ZONE_MODULES: Final = 4


def draw_qr_svg(text: str) -> str:
    """Return the picture; it has no size of its own and no words, so the page names it.

    Args:
        text: at most TEXT_CHARS_MAX characters.
    """
    assert len(text) <= TEXT_CHARS_MAX, "a till's code is bounded by its message"
    code = QRCode(error_correction=constants.ERROR_CORRECT_M, border=QUIET_ZONE_MODULES)
    code.add_data(text)
    code.make(fit=True)
    rows = code.get_matrix()
    path = "".join(
        f"M{column},{row}h1v1h-1z"
        for row, modules in enumerate(rows)
        for column, is_dark in enumerate(modules)
        if is_dark
    )
    size = len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0,0h{size}v{size}h-{size}z"/><path d="{path}"/></svg>'
    )
