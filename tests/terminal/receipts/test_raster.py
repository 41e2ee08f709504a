"""Receipts as pictures: black and white, readable QR, both languages where there is a font."""

from __future__ import annotations

import msgspec
import pytest
import zxingcpp
from PIL import Image

from terminal.receipts import fonts
from terminal.receipts.fonts import find_receipt_font
from terminal.receipts.raster import QR_MODULE_PX_MIN, WIDTH_PX_MAX, WIDTH_PX_MIN, render_receipt
from wire.messages.payments import PaymentAnswer, ReceiptFacts

WIDTHS_PX = [WIDTH_PX_MIN, 384, WIDTH_PX_MAX]


def _read_qr(image: Image.Image) -> str:
    (found,) = zxingcpp.read_barcodes(image.convert("L"))
    return str(found.text)


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_the_qr_holds_payment_id_and_receipt_number(approved: PaymentAnswer, width_px: int) -> None:
    image = render_receipt(approved, width_px=width_px)
    assert image.width == width_px
    assert _read_qr(image) == "R1:01ARYZ6S410000000000000000:000042"


def test_a_declined_receipt_has_a_qr_with_the_payment_id(declined: PaymentAnswer) -> None:
    assert _read_qr(render_receipt(declined)) == "R1:01ARYZ6S410000000000000002"


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_the_qr_has_modules_of_three_pixels_and_a_quiet_zone_of_four(
    approved: PaymentAnswer, width_px: int
) -> None:
    image = render_receipt(approved, width_px=width_px).convert("L")
    (found,) = zxingcpp.read_barcodes(image)
    left, top = found.position.top_left.x, found.position.top_left.y
    right, bottom = found.position.bottom_right.x, found.position.bottom_right.y
    # 36 bytes at level M take version 2, 3 at most: 25 or 29 modules a side.
    module_px = (right - left) / 29
    assert module_px >= QR_MODULE_PX_MIN
    zone_px = round(4 * module_px)
    surroundings = image.crop((left - zone_px, top - zone_px, right + zone_px, bottom + zone_px))
    surroundings.paste(
        255, (zone_px - 2, zone_px - 2, zone_px + right - left + 3, zone_px + bottom - top + 3)
    )
    assert min(surroundings.tobytes()) == 255


def test_the_picture_is_black_and_white_and_repeats(approved: PaymentAnswer) -> None:
    image = render_receipt(approved)
    assert image.mode == "1"
    assert image.tobytes() == render_receipt(approved).tobytes()


def test_paid_and_not_paid_look_different_at_arms_length(
    approved: PaymentAnswer, declined: PaymentAnswer
) -> None:
    """Paid is a black banner, not paid a white one in a frame."""

    def darkness(answer: PaymentAnswer, top_px: int) -> float:
        banner = render_receipt(answer).crop((20, top_px, 364, top_px + 40)).convert("L")
        return 1 - sum(banner.tobytes()) / (255 * banner.width * banner.height)

    assert max(darkness(approved, top_px) for top_px in range(60, 140, 10)) > 0.6
    assert max(darkness(declined, top_px) for top_px in range(0, 140, 10)) < 0.4


def test_long_and_hostile_facts_stay_on_the_paper(approved: PaymentAnswer) -> None:
    hostile = ReceiptFacts(
        receipt_number="9" * 500,
        merchant_name="\x1b@" + "最" * 500,
        location_name="Straße\n" * 200,
        instrument_label="W" * 500,
    )
    image = render_receipt(msgspec.structs.replace(approved, receipt=hostile, order_id="~" * 64))
    margin = image.crop((image.width - 4, 0, image.width, image.height)).convert("L")
    assert min(margin.tobytes()) == 255
    assert _read_qr(image).startswith("R1:01ARYZ6S410000000000000000:999")


def test_a_machine_with_a_chinese_font_draws_both_languages(
    approved: PaymentAnswer,
) -> None:
    if not find_receipt_font().has_chinese:
        pytest.skip("this machine has no Chinese font (fonts-wqy-zenhei)")
    assert render_receipt(approved).info["languages"] == "en zh-Hans"


def test_a_machine_without_a_chinese_font_draws_english_and_says_so(
    approved: PaymentAnswer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fonts, "CHINESE_FONTS", ())
    find_receipt_font.cache_clear()
    try:
        image = render_receipt(approved)
        assert image.info["languages"] == "en"
        assert "receipt_font_without_chinese" in capsys.readouterr().out
        assert _read_qr(image) == "R1:01ARYZ6S410000000000000000:000042"
    finally:
        find_receipt_font.cache_clear()
