"""A receipt as lines of characters, where a Chinese character is as wide as two Latin ones."""

from __future__ import annotations

import unicodedata
from typing import Final

from terminal.receipts.content import ReceiptContent, Row, make_content
from wire.messages.payments import PaymentAnswer
from wire.messages.till import OfflinePayment

WIDTH_CHARS_MIN: Final = 24
"""A narrower paper is treated as this wide; below it no row holds a label and a fact."""


def format_receipt(
    answer: PaymentAnswer | OfflinePayment, language: str = "en", width_chars: int = 32
) -> str:
    """Write the receipt of an answer as text.

    Args:
        answer: approved or declined; a declined one reads NOT PAID and says why. What was accepted offline
            says so.
        language: `zh` and its kinds give Chinese, everything else English.
        width_chars: columns of the paper or screen; 32 is a 58 mm printer's.

    Returns:
        Lines of at most `width_chars` columns, each ended by a newline.
    """
    return format_content(make_content(answer), language, width_chars)


def format_content(content: ReceiptContent, language: str = "en", width_chars: int = 32) -> str:
    """Write what any slip of paper says; as `format_receipt`."""
    lines = _lines(content, language, max(width_chars, WIDTH_CHARS_MIN))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def wrap_columns(text: str, width: int) -> list[str]:
    """Break text into lines of at most `width` columns: at blanks, and inside a word longer than a line.

    Chinese has no blanks, so a line of it breaks at any character.
    """
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if _columns(joined) <= width:
            lines[-1] = joined
        elif _columns(word) <= width and word.isascii():
            lines.append(word)
        else:
            lines[-1:] = _break_anywhere(joined, width)
    return lines


def _lines(content: ReceiptContent, language: str, width: int) -> list[str]:
    rule = "-" * width
    lines = [line for heading in content.headings for line in _centred(heading, width)]
    lines += [rule, *_spread(content.verdict.in_language(language), content.amount, width), rule]
    if content.reason:
        lines += [*wrap_columns(content.reason.in_language(language), width), rule]
    for row in content.rows:
        lines += _row(row, language, width)
    lines.append(rule)
    if content.closing:
        lines += _centred(content.closing.in_language(language), width)
    return lines


def _row(row: Row, language: str, width: int) -> list[str]:
    return _spread(row.label.in_language(language), row.fact.in_language(language), width)


def _spread(left: str, right: str, width: int) -> list[str]:
    """Put two texts at the two edges of a line, or on lines of their own where they do not fit one."""
    gap = width - _columns(left) - _columns(right)
    if gap >= 1:
        return [left + " " * gap + right]
    right_lines = wrap_columns(right, width)
    return [*wrap_columns(left, width), *(" " * (width - _columns(line)) + line for line in right_lines)]


def _centred(text: str, width: int) -> list[str]:
    return [" " * ((width - _columns(line)) // 2) + line for line in wrap_columns(text, width)]


def _break_anywhere(text: str, width: int) -> list[str]:
    lines = [""]
    for character in text:
        if _columns(lines[-1] + character) > width:
            lines.append("")
        lines[-1] += character
    return lines


def _columns(text: str) -> int:
    """Return the width of a text in columns: wide characters take two (Unicode annex 11)."""
    return sum(_character_columns(character) for character in text)


def _character_columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
