"""What a scanned text is: one of four forms, or a refusal the cashier understands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.codes import base32, base45
from wire.codes.consumer_qr import dump_consumer_qr
from wire.codes.numeric import make_numeric_code
from wire.codes.scanned import SCANNED_CHARS_MAX, recognise
from wire.errors import PaymentCodeError
from wire.messages.payments import CodeNumericPresentation, QrConsumerPresentation
from wire.notices import NoticeKind, find_notice

_TOKEN = bytes(range(127))
_PAN = "9047112233445566775"
_FORMS = {
    "cpm": dump_consumer_qr(_TOKEN, _PAN),
    "base45": "P1:" + base45.encode(_TOKEN),
    "base32": "P2:" + base32.encode(_TOKEN),
}


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("line_end", ["", "\r", "\n", "\r\n"], ids=repr)
def test_the_same_token_comes_out_of_every_form(form: str, line_end: str) -> None:
    assert recognise(_FORMS[form] + line_end) == QrConsumerPresentation(token=_TOKEN)


def test_eighteen_digits_of_ours_are_a_payment_code() -> None:
    code = make_numeric_code("123456789012345")
    assert recognise(code + "\r") == CodeNumericPresentation(code=code)


def test_the_raw_form_is_as_long_as_protocol_section_1_2_counts() -> None:
    assert len(_FORMS["base45"]) == 194


@given(st.text(max_size=600) | st.text("0123456789P:", max_size=20))
def test_any_text_gives_a_presentation_or_a_refusal_with_a_text(text: str) -> None:
    _assert_presentation_or_refusal(text)


@given(st.sampled_from(sorted(_FORMS)), st.integers(0, 230), st.text(min_size=1, max_size=3))
def test_any_patched_code_gives_a_presentation_or_a_refusal(form: str, offset: int, patch: str) -> None:
    text = _FORMS[form]
    _assert_presentation_or_refusal(text[:offset] + patch + text[offset + len(patch) :])


def _assert_presentation_or_refusal(text: str) -> None:
    try:
        presentation = recognise(text)
    except PaymentCodeError as error:
        assert find_notice(error.code).kind is NoticeKind.REFUSAL  # noqa: PT017 - either is right here
        return
    assert isinstance(presentation, QrConsumerPresentation | CodeNumericPresentation)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "code_not_recognised"),
        ("https://example.com/pay", "code_not_recognised"),
        ("P1:", "code_not_recognised"),
        ("P2:", "code_not_recognised"),
        ("P1:ggw", "code_not_recognised"),
        ("P2:M", "code_not_recognised"),
        ("p1:BB8", "code_not_recognised"),
        ("P3:BB8", "code_not_recognised"),
        (" " + _FORMS["cpm"], "code_not_recognised"),
        ("120061098828009406", "code_not_recognised"),  # WeChat Pay
        ("470000000000000006", "code_not_recognised"),  # wrong check digit
        ("４７0000000000000005", "code_not_recognised"),
        ("000201010212", "code_not_recognised"),  # a merchant's code
        ("P1:" + "0" * SCANNED_CHARS_MAX, "code_too_long"),
        ("hQVDUFY" + "A" * SCANNED_CHARS_MAX, "code_too_long"),
        ("x" * 100_000, "code_too_long"),
    ],
    ids=lambda value: value[:16],
)
def test_what_is_no_payment_code_says_so(text: str, code: str) -> None:
    with pytest.raises(PaymentCodeError) as caught:
        recognise(text)
    assert caught.value.code == code


def test_a_refusal_does_not_repeat_the_text() -> None:
    for hostile in ("SECRET-CODE", "P1:SECRET-CODE!", "P2:SECRET", "hQVDUFYSECRET"):
        with pytest.raises(PaymentCodeError) as caught:
            recognise(hostile)
        assert "SECRET" not in str(caught.value)
