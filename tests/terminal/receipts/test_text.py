"""Receipts as text: the right words, in lines no wider than the paper."""

from __future__ import annotations

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminal.receipts.content import make_content
from terminal.receipts.text import WIDTH_CHARS_MIN, format_receipt, wrap_columns
from wire.messages.payments import EntryMode, PaymentAnswer, PaymentState, ReceiptFacts
from wire.messages.till import OfflinePayment


def _columns(line: str) -> int:
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in line
    )


def test_a_paid_receipt_reads_as_agreed(approved: PaymentAnswer) -> None:
    assert format_receipt(approved) == (
        "      最佳咖啡 Best Coffee\n"
        "         Main Street 1\n"
        "--------------------------------\n"
        "PAID                   12.50 EUR\n"
        "--------------------------------\n"
        "Receipt                   000042\n"
        "Paid with           Card ·· 4821\n"
        "Presented by                 tap\n"
        "Time        2026-11-18 11:06 UTC\n"
        "Order                    TABLE-7\n"
        "Till                    TERMNA01\n"
        "Payment\n"
        "      01ARYZ6S410000000000000000\n"
        "--------------------------------\n"
        "           Thank you\n"
    )


def test_a_declined_receipt_says_not_paid_and_why(declined: PaymentAnswer) -> None:
    text = format_receipt(declined)
    assert declined.decline is not None
    assert "NOT PAID" in text
    assert "Thank you" not in text
    assert declined.decline.holder_text["en"] in " ".join(text.split())


@pytest.mark.parametrize("language", ["zh", "zh-Hans", "ZH-CN"])
def test_chinese_receipts_are_chinese(
    approved: PaymentAnswer, declined: PaymentAnswer, language: str
) -> None:
    assert declined.decline is not None
    assert "已付款" in format_receipt(approved, language)
    not_paid = format_receipt(declined, language)
    assert "未付款" in not_paid
    assert "PAID" not in not_paid
    assert declined.decline.holder_text["zh-Hans"][:10] in not_paid.replace("\n", "")


@pytest.mark.parametrize("language", ["en", "de", ""])
def test_other_languages_fall_back_to_english(approved: PaymentAnswer, language: str) -> None:
    assert format_receipt(approved, language) == format_receipt(approved)


@pytest.mark.parametrize("entry_mode", EntryMode)
def test_every_entry_mode_has_words(approved: PaymentAnswer, entry_mode: EntryMode) -> None:
    text = format_receipt(msgspec.structs.replace(approved, entry_mode=entry_mode))
    assert entry_mode not in text


def test_money_is_written_with_its_own_decimals(approved: PaymentAnswer) -> None:
    assert "1250 JPY" in format_receipt(msgspec.structs.replace(approved, currency="JPY"))
    assert "1.250 KWD" in format_receipt(msgspec.structs.replace(approved, currency="KWD"))


@given(
    name=st.text(max_size=300),
    label=st.text(max_size=300),
    width=st.integers(0, 80),
    language=st.sampled_from(["en", "zh-Hans"]),
)
def test_no_line_is_wider_than_the_paper_and_none_holds_a_control_character(
    name: str, label: str, width: int, language: str
) -> None:
    answer = PaymentAnswer(
        payment_id="01ARYZ6S410000000000000000",
        attempt_id="01ARYZ6S410000000000000001",
        order_id="x" * 64,
        outcome="approved",
        state=PaymentState.SUCCEEDED,
        amount_minor=999_999_999_999,
        currency="EUR",
        entry_mode=EntryMode.CODE_NUMERIC,
        terminal_id="TERMNA01",
        decided_ms=(1 << 48) - 1,
        receipt=ReceiptFacts(
            receipt_number="000042", merchant_name=name, location_name=label, instrument_label=label
        ),
    )
    lines = format_receipt(answer, language, width).split("\n")
    assert max(map(_columns, lines)) <= max(width, WIDTH_CHARS_MIN)
    assert all(line.isprintable() for line in lines)


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters=" "), max_size=40), st.integers(2, 20)
)
def test_wrapping_loses_no_character(word: str, width: int) -> None:
    assert "".join(wrap_columns(f"{word} {word}", width)).replace(" ", "") == word + word


def test_wrapping_breaks_latin_at_blanks_and_chinese_anywhere() -> None:
    assert wrap_columns("Ask for another way to pay.", 12) == ["Ask for", "another way", "to pay."]
    assert wrap_columns("该卡片或设备已停用", 8) == ["该卡片或", "设备已停", "用"]


@pytest.mark.parametrize(("language", "words"), [("en", "ACCEPTED OFFLINE"), ("zh-Hans", "离线受理")])
def test_receipt_of_what_was_accepted_offline_says_so(language: str, words: str) -> None:
    payment = OfflinePayment(
        attempt_id="01ARYZ6S410000000000000001",
        order_id="table-7",
        amount_minor=1_250,
        currency="EUR",
        accepted_ms=1_800_000_000_000,
        sequence=7,
        terminal_id="TERM0001",
        merchant_name="Corner Shop",
        location_name="High Street",
    )
    text = format_receipt(payment, language)
    assert words in text
    assert "12.50 EUR" in text
    assert "table-7" in text
    assert ("PAID" in text) is False
    assert make_content(payment).qr_text == "RO1:01ARYZ6S410000000000000001"
