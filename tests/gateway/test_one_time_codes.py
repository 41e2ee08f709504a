"""Codes that people type: read back however they are typed, and nothing else passes for one."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.one_time_codes import draw_code, dump_code, parse_code


@given(st.integers(0, 2**60 - 1))
def test_a_code_is_read_back_however_it_is_typed(seed: int) -> None:
    rng = random.Random(seed)
    code = draw_code(rng.randbytes)
    printed = dump_code(code)
    assert re.fullmatch(r"(.{4}-){2}.{4}", printed)
    sloppy = printed.lower().replace("0", "o").replace("1", rng.choice("il")).replace("-", " ")
    assert parse_code(printed) == parse_code(sloppy) == code


@given(st.text(max_size=40))
def test_any_text_is_a_code_or_none(text: str) -> None:
    code = parse_code(text)
    assert code is None or re.fullmatch("[0-9A-HJKMNP-TV-Z]{12}", code)
