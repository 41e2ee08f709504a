"""Every code a person may meet has its words, in both languages, in one place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from wire import errors, es256, notices
from wire.notices import (
    CHINESE,
    ENGLISH,
    NEXT_STEP_TEXTS,
    NOTICES,
    NextStep,
    Notice,
    NoticeKind,
    find_notice,
)

_HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(params=NOTICES.values(), ids=NOTICES)
def notice(request: pytest.FixtureRequest) -> Notice:
    chosen: Notice = request.param
    return chosen


def test_a_code_is_snake_case_and_finds_itself(notice: Notice) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", notice.code)
    assert find_notice(notice.code) is notice


def test_no_code_is_there_twice() -> None:
    """Read from the source: in the finished dictionary a second row would only have won."""
    sources = Path(notices.__file__).parent.glob("*.py")
    rows = [
        node.elts[0].value
        for source in sources
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Tuple) and len(node.elts) >= 3 and isinstance(node.elts[0], ast.Constant)
    ]
    assert sorted(map(str, rows)) == sorted(NOTICES)


def test_the_cashier_is_told_in_both_languages(notice: Notice) -> None:
    assert set(notice.cashier_text) == {ENGLISH, CHINESE}
    _assert_languages(notice.cashier_en, notice.cashier_zh)


def test_what_concerns_the_payer_is_told_the_payer_in_both_languages(notice: Notice) -> None:
    if notice.kind in (NoticeKind.DECLINE, NoticeKind.CONFIRMATION):
        assert set(notice.holder_text) == {ENGLISH, CHINESE}
        _assert_languages(notice.holder_en, notice.holder_zh)
    else:
        assert notice.holder_text == {}


def test_only_a_failure_to_do_the_job_is_worth_sending_again(notice: Notice) -> None:
    """A decline is final for its attempt, and what a reader refused stays what it is."""
    assert notice.kind is NoticeKind.PROBLEM or not notice.retryable


def test_every_next_step_has_its_words_in_both_languages() -> None:
    assert set(NEXT_STEP_TEXTS) == set(NextStep)
    for english, chinese in NEXT_STEP_TEXTS.values():
        _assert_languages(english, chinese)


def test_an_unknown_code_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        find_notice("no_such_code")


def test_every_code_the_wire_raises_has_a_notice() -> None:
    package = Path(errors.__file__).parent
    raised = {
        keyword.value.value
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }
    assert "token_expired" in raised
    defaults = {
        kind.code for kind in (errors.WireError, *errors.WireError.__subclasses__(), es256.SignatureMismatch)
    }
    assert raised | defaults <= set(NOTICES)


def _assert_languages(english: str, chinese: str) -> None:
    assert english.endswith((".", "!"))
    assert english.isascii()
    assert _HAN.search(chinese)
    assert chinese.endswith(("。", "！"))
