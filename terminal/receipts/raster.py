"""A receipt as a picture: Chinese, English and a QR code in black and white.

Printers differ in the code pages they know and few tell; a picture comes out the same on all of them. It
is drawn without grey, since a printer would turn grey into a dither that no scanner reads.
"""

from __future__ import annotations

from typing import Final

from PIL import Image, ImageDraw
from qrcode import constants
from qrcode.main import QRCode

from terminal.receipts.content import ReceiptContent, Row, Wording, make_content
from terminal.receipts.fonts import ReceiptFont, find_receipt_font
from wire.messages.payments import PaymentAnswer
from wire.messages.till import OfflinePayment

WIDTH_PX_MIN: Final = 320
WIDTH_PX_MAX: Final = 576
"""Dots in a line of a 58 mm printer (384) and of an 80 mm one (576)."""
HEIGHT_PX_MAX: Final = 4_000
"""Half a metre of paper; the longest receipt needs a third."""
QR_MODULE_PX_MIN: Final = 3
"""Below three pixels a module decoders begin to miss (measured with zxing-cpp and pyzbar)."""

_WHITE: Final = 1
_BLACK: Final = 0
_MARGIN_PX: Final = 8
_QUIET_ZONE_MODULES: Final = 4
_QR_SHARE: Final = 0.5
"""Part of the width that the QR code fills, as far as whole modules allow."""

_HEADING_PX: Final = 34
_TEXT_PX: Final = 22
_VERDICT_PX: Final = 40
_AMOUNT_PX: Final = 56


def render_receipt(answer: PaymentAnswer | OfflinePayment, *, width_px: int = 384) -> Image.Image:
    """Draw the receipt of an answer, approved or declined.

    Args:
        answer: what the gateway decided, or what was accepted without asking it.
        width_px: dots of the printer's line, WIDTH_PX_MIN to WIDTH_PX_MAX.

    Returns:
        A picture of mode "1". Its `info["languages"]` is "en zh-Hans", or "en" on a machine without a
        Chinese font.
    """
    return render_content(make_content(answer), width_px=width_px)


def render_content(content: ReceiptContent, *, width_px: int = 384) -> Image.Image:
    """Draw what any slip of paper says; as `render_receipt`."""
    assert WIDTH_PX_MIN <= width_px <= WIDTH_PX_MAX, "no printer has a line of this width"
    paper = _Paper(width_px, find_receipt_font())
    _draw(paper, content)
    return paper.cut()


def _draw(paper: _Paper, content: ReceiptContent) -> None:
    for index, heading in enumerate(content.headings):
        paper.write_centred(heading, _HEADING_PX if index == 0 else _TEXT_PX)
    paper.feed(10)
    paper.write_banner(content.verdict, is_filled=content.is_paid)
    paper.write_centred(content.amount, _AMOUNT_PX)
    if content.reason:
        for text in paper.languages_of(content.reason):
            paper.write_centred(text, _TEXT_PX)
    paper.rule()
    for row in content.rows:
        paper.write_row(row)
    paper.rule()
    if content.qr_text:
        paper.draw_qr(content.qr_text)
    if content.closing:
        paper.write_centred("  ".join(paper.languages_of(content.closing)), _TEXT_PX)
    paper.feed(16)


class _Paper:
    """A strip of paper that is written from top to bottom."""

    def __init__(self, width_px: int, font: ReceiptFont) -> None:
        self._width_px = width_px
        self._font = font
        self._image = Image.new("1", (width_px, HEIGHT_PX_MAX), _WHITE)
        self._draw = ImageDraw.Draw(self._image)
        # No anti-aliasing: every dot is burnt or it is not.
        self._draw.fontmode = "1"
        self._y_px = 12

    def languages_of(self, wording: Wording) -> list[str]:
        """Return the wording in each language this font can write."""
        same = wording.english == wording.chinese
        return [wording.english] if same or not self._font.has_chinese else [wording.english, wording.chinese]

    def feed(self, height_px: int) -> None:
        self._y_px += height_px

    def rule(self) -> None:
        self.feed(8)
        for x_px in range(_MARGIN_PX, self._width_px - _MARGIN_PX, 8):
            self._draw.line((x_px, self._y_px, x_px + 3, self._y_px), fill=_BLACK, width=2)
        self.feed(10)

    def write_centred(self, text: str, size_px: int) -> None:
        for line in self._wrap(text, size_px):
            self._write((self._width_px - self._length_px(line, size_px)) // 2, line, size_px)
            self.feed(size_px * 5 // 4)

    def write_banner(self, verdict: Wording, *, is_filled: bool) -> None:
        """Write the verdict so that it is read at arm's length: black when paid, a frame when not."""
        box = (_MARGIN_PX, self._y_px, self._width_px - _MARGIN_PX - 1, self._y_px + _VERDICT_PX * 3 // 2)
        self._draw.rectangle(box, fill=_BLACK if is_filled else _WHITE, outline=_BLACK, width=3)
        text = "  ".join(self.languages_of(verdict))
        self._draw.text(
            (self._width_px // 2, (box[1] + box[3]) // 2),
            text,
            fill=_WHITE if is_filled else _BLACK,
            font=self._font.at_size(_VERDICT_PX),
            anchor="mm",
        )
        self._y_px = box[3] + 12

    def write_row(self, row: Row) -> None:
        """Write a label at the left edge and its fact at the right, below it where both do not fit."""
        label = " ".join(self.languages_of(row.label))
        fact = " ".join(self.languages_of(row.fact))
        self._write(_MARGIN_PX, label, _TEXT_PX)
        room_px = self._width_px - 2 * _MARGIN_PX
        if self._length_px(label, _TEXT_PX) + 16 + self._length_px(fact, _TEXT_PX) > room_px:
            self.feed(_TEXT_PX * 5 // 4)
        for line in self._wrap(fact, _TEXT_PX):
            x_px = self._width_px - _MARGIN_PX - self._length_px(line, _TEXT_PX)
            self._write(x_px, line, _TEXT_PX)
            self.feed(_TEXT_PX * 5 // 4 + 2)

    def draw_qr(self, text: str) -> None:
        code = QRCode(error_correction=constants.ERROR_CORRECT_M, border=_QUIET_ZONE_MODULES)
        code.add_data(text)
        code.make(fit=True)
        modules = code.get_matrix()
        module_px = max(QR_MODULE_PX_MIN, int(self._width_px * _QR_SHARE) // len(modules))
        left_px = (self._width_px - module_px * len(modules)) // 2
        for row_index, row in enumerate(modules):
            for column_index, is_dark in enumerate(row):
                if is_dark:
                    self._fill_square(
                        left_px + column_index * module_px, self._y_px + row_index * module_px, module_px
                    )
        self.feed(module_px * len(modules))

    def cut(self) -> Image.Image:
        """Return what was written, without the rest of the roll."""
        assert self._y_px <= HEIGHT_PX_MAX, "a receipt is bounded by the bounds of its facts"
        image = self._image.crop((0, 0, self._width_px, self._y_px))
        image.info["languages"] = "en zh-Hans" if self._font.has_chinese else "en"
        return image

    def _fill_square(self, x_px: int, y_px: int, side_px: int) -> None:
        self._draw.rectangle((x_px, y_px, x_px + side_px - 1, y_px + side_px - 1), fill=_BLACK)

    def _write(self, x_px: int, text: str, size_px: int) -> None:
        self._draw.text((x_px, self._y_px), text, fill=_BLACK, font=self._font.at_size(size_px))

    def _length_px(self, text: str, size_px: int) -> int:
        return int(self._draw.textlength(text, font=self._font.at_size(size_px)))

    def _wrap(self, text: str, size_px: int) -> list[str]:
        """Break text into lines that fit, at a blank where the line has one, else anywhere."""
        room_px = self._width_px - 2 * _MARGIN_PX
        lines = []
        while text and self._length_px(text, size_px) > room_px:
            fitting = self._fitting_chars(text, size_px, room_px)
            blank = text.rfind(" ", 1, fitting + 1)
            end = blank if blank > 0 else fitting
            lines.append(text[:end].rstrip())
            text = text[end:].lstrip()
        return [*lines, text] if text else lines

    def _fitting_chars(self, text: str, size_px: int, room_px: int) -> int:
        """Return how many first characters fit the room; one at least, so that wrapping ends."""
        count = 1
        while count < len(text) and self._length_px(text[: count + 1], size_px) <= room_px:
            count += 1
        return count
