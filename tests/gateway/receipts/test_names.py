"""Names of receipt pages: made by whoever has the vault's key, and by nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.entropy import CROCKFORD
from gateway.receipts.names import HASH_CHARS, ReceiptPages
from gateway.receipts.rate import PAGES_AT_ONCE_MAX, PAGES_PER_S, PageRate
from gateway.receipts.words import Language, choose_language
from gateway.vault import Vault
from wire.ids import make_ulid

PAGES = ReceiptPages(Vault(bytes(range(32))), "https://pay.example.com")
PAYMENT_ID = make_ulid(1_800_000_000_000, bytes(10))


def test_a_name_leads_back_to_its_payment() -> None:
    name = PAGES.name_of(PAYMENT_ID)
    assert len(name) == 52
    assert PAGES.payment_of(name) == PAYMENT_ID
    assert PAGES.url_of(PAYMENT_ID) == f"https://pay.example.com/r/{name}"


def test_a_gateway_without_an_address_tells_of_no_page_and_still_has_them() -> None:
    pages = ReceiptPages(Vault(bytes(range(32))), None)
    assert pages.url_of(PAYMENT_ID) is None
    assert pages.payment_of(PAGES.name_of(PAYMENT_ID)) == PAYMENT_ID


def test_another_vault_key_opens_none_of_them() -> None:
    other = ReceiptPages(Vault(bytes(range(1, 33))), "https://pay.example.com")
    assert other.payment_of(PAGES.name_of(PAYMENT_ID)) is None


@pytest.mark.parametrize("index", range(52))
def test_a_name_with_one_other_character_opens_nothing(index: int) -> None:
    name = PAGES.name_of(PAYMENT_ID)
    for character in CROCKFORD:
        if character != name[index]:
            assert PAGES.payment_of(name[:index] + character + name[index + 1 :]) is None


@given(st.text(max_size=60))
def test_any_text_opens_nothing(text: str) -> None:
    assert PAGES.payment_of(text) is None
    assert PAGES.payment_of(PAYMENT_ID + text[:HASH_CHARS]) is None


def test_names_of_neighbouring_payments_have_nothing_in_common() -> None:
    neighbour = make_ulid(1_800_000_000_000, bytes(9) + b"\x01")
    one, other = PAGES.name_of(PAYMENT_ID)[26:], PAGES.name_of(neighbour)[26:]
    assert sum(a == b for a, b in zip(one, other, strict=True)) < HASH_CHARS // 2


def test_pages_have_a_bound_that_time_lifts_again() -> None:
    rate = PageRate()
    assert all(rate.take(1_000_000) for _ in range(PAGES_AT_ONCE_MAX))
    assert not rate.take(1_000_000)
    assert rate.take(1_000_000 + 1_000 // PAGES_PER_S)
    assert not rate.take(1_000_000 + 1_000 // PAGES_PER_S)


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, None, Language.ENGLISH),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", Language.CHINESE),
        (None, "de, en;q=0.4, zh;q=0.2", Language.ENGLISH),
        (None, "zh;q=0, en;q=0.1", Language.ENGLISH),
        (None, "fr", Language.ENGLISH),
        (None, "zh;q=nonsense", Language.ENGLISH),
        ("zh-Hans", "en", Language.CHINESE),
        ("en", "zh", Language.ENGLISH),
        ("<script>", "zh", Language.CHINESE),
    ],
)
def test_the_switch_comes_before_what_the_browser_asks_for(
    asked: str | None, accepted: str | None, language: Language
) -> None:
    assert choose_language(asked, accepted) is language


@given(st.text(max_size=200))
def test_whatever_a_browser_sends_gives_a_language(accepted: str) -> None:
    assert choose_language(None, accepted) in Language
