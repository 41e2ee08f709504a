"""Every rule of docs/adr/0008, decision 4: kept, at its bound, and one past it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from terminal.offline.rules import (
    TAP_AGE_MS_MAX,
    AcceptableTap,
    DeviceMemory,
    Exposure,
    OfflineSale,
    RefusedTap,
    Trust,
    device_key_id_of,
    judge_sale,
    judge_tap,
)
from tests.terminal.offline.conftest import (
    DAY_MS,
    EUR,
    HOUR_MS,
    MERCHANT_ID,
    NOW_MS,
    STATUS_LIST,
    TERMINAL_ID,
    OfflinePhone,
    rules,
    sale_of,
    trust,
)
from wire.cards.payment_terms import QUALIFIERS_ONLINE
from wire.money import Money, find_currency
from wire.notices import NoticeKind, find_notice
from wire.tokens.nfc_token import mint_nfc_token, read_nfc_claims
from wire.tokens.sign1 import parse_sign1
from wire.tokens.status_list import StatusList, make_status_list

NOTHING = Exposure(0, 0)
FORGED = "offline_credential_invalid"
SUSPENDED = "offline_credential_suspended"
OTHER_KEY = ec.derive_private_key(0xBAD, ec.SECP256R1())


def _judge(
    token: bytes,
    credential: bytes,
    *,
    amount_minor: int = 1_000,
    sale: OfflineSale | None = None,
    believed: Trust | None = None,
    exposure: Exposure = NOTHING,
    device: DeviceMemory | None = None,
    now_ms: int = NOW_MS,
) -> str | AcceptableTap:
    verdict = judge_tap(
        token,
        credential,
        sale or sale_of(amount_minor),
        believed or trust(),
        exposure,
        device,
        now_ms=now_ms,
    )
    if isinstance(verdict, RefusedTap):
        assert find_notice(verdict.code).kind is NoticeKind.REFUSAL
        return verdict.code
    return verdict


def _memory(phone: OfflinePhone, **changes: object) -> DeviceMemory:
    facts: dict[str, object] = {
        "counter": 4,
        "running_total_minor": 2_000,
        "credential_id": phone.claims.credential_id,
        "credential_issued_s": phone.claims.issued_s,
        "stored_minor": 0,
    }
    return DeviceMemory(**{**facts, **changes})


def test_a_tap_that_keeps_every_rule_is_acceptable(phone: OfflinePhone) -> None:
    verdict = _judge(phone.tap(), phone.credential)
    assert verdict == AcceptableTap(NOW_MS - HOUR_MS, STATUS_LIST.issued_s)
    assert judge_sale(sale_of(1_000), trust(), NOTHING, now_ms=NOW_MS) is None
    assert device_key_id_of(phone.tap()) == phone.key_id


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"believed": trust(rules=None)}, "offline_not_ready"),
        ({"believed": trust(status_list=None)}, "offline_not_ready"),
        ({"believed": trust(issuers=())}, "offline_not_ready"),
        ({"believed": trust(rules=rules(currency="CNY"))}, "offline_not_ready"),
        ({"believed": trust(clock_set_ms=None)}, "offline_clock_unsure"),
        ({"believed": trust(clock_set_ms=NOW_MS - DAY_MS)}, None),
        ({"believed": trust(clock_set_ms=NOW_MS - DAY_MS - 1)}, "offline_clock_unsure"),
        ({"believed": trust(clock_set_ms=NOW_MS)}, None),
        ({"believed": trust(clock_set_ms=NOW_MS + 1)}, "offline_clock_unsure"),
        ({"believed": trust(status_list=make_status_list((NOW_MS - DAY_MS) // 1000, 900, ()))}, None),
        (
            {"believed": trust(status_list=make_status_list((NOW_MS - DAY_MS) // 1000 - 1, 900, ()))},
            "offline_list_too_old",
        ),
        ({"believed": trust(status_list=make_status_list(NOW_MS // 1000 + 30, 900, ()))}, None),
        (
            {"believed": trust(status_list=make_status_list(NOW_MS // 1000 + 31, 900, ()))},
            "offline_clock_unsure",
        ),
        ({"believed": trust(rules=rules(floor_minor=1_000))}, None),
        ({"believed": trust(rules=rules(floor_minor=999))}, "offline_amount_too_high"),
        ({"exposure": Exposure(49_000, 199)}, None),
        ({"exposure": Exposure(49_001, 199)}, "offline_store_full"),
        ({"exposure": Exposure(49_000, 200)}, "offline_store_full"),
        ({"believed": trust(rules=rules(device_total_minor=1_000))}, None),
        ({"believed": trust(rules=rules(device_total_minor=999))}, "offline_device_limit_reached"),
        ({"believed": trust(issuers=(OTHER_KEY,))}, "offline_credential_invalid"),
        ({"believed": trust(issuers=(OTHER_KEY, ec.derive_private_key(0x155E, ec.SECP256R1())))}, None),
        ({"believed": trust(status_list=make_status_list(NOW_MS // 1000, 900, [101]))}, SUSPENDED),
        ({"believed": trust(status_list=StatusList(NOW_MS // 1000, 900, bytes(12)))}, SUSPENDED),
        ({"amount_minor": 1_001}, "offline_token_invalid"),
        ({"sale": OfflineSale(Money(1_000, EUR), MERCHANT_ID, "TERM0002")}, "offline_token_invalid"),
        ({"sale": OfflineSale(Money(1_000, EUR), "MERCHANT0000002", TERMINAL_ID)}, "offline_token_invalid"),
    ],
)  # fmt: skip
def test_facts_of_the_terminal_decide(
    phone: OfflinePhone, changes: dict[str, object], code: str | None
) -> None:
    verdict = _judge(phone.tap(), phone.credential, **changes)
    assert isinstance(verdict, AcceptableTap) if code is None else verdict == code


Make = Callable[[OfflinePhone], tuple[bytes, bytes]]
"""From a phone to what it presents: token and credential."""


def _tapped(**tap: Any) -> Make:
    return lambda phone: (phone.tap(**tap), phone.credential)


def _vouched(**claims: object) -> Make:
    return lambda phone: (phone.tap(), OfflinePhone(phone.number, changes=claims).credential)


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def _other_currency(phone: OfflinePhone) -> tuple[bytes, bytes]:
    foreign = OfflinePhone(phone.number, changes={"allowance": Money(5_000, find_currency("CNY"))})
    return phone.tap(), foreign.credential


def _online(phone: OfflinePhone) -> tuple[bytes, bytes]:
    terms = read_nfc_claims(parse_sign1(phone.tap())).terms
    block = terms.encode()[:-4] + QUALIFIERS_ONLINE
    return mint_nfc_token(block, 1, bytes(4), phone.key), phone.credential


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_tapped(key=OTHER_KEY), "offline_credential_invalid"),
        (lambda phone: (phone.tap(), OfflinePhone(2).credential), "offline_credential_invalid"),
        (lambda _: (OfflinePhone().tap(), OfflinePhone(issuer=OTHER_KEY).credential), FORGED),
        (lambda phone: (phone.tap(), _flip(phone.credential)), "offline_credential_invalid"),
        (lambda phone: (_flip(phone.tap()), phone.credential), "offline_token_invalid"),
        (lambda phone: (phone.credential, phone.credential), "offline_token_invalid"),
        (lambda phone: (phone.tap(), phone.tap()), "offline_credential_invalid"),
        (lambda phone: (b"", b""), "offline_token_invalid"),
        (_online, "offline_token_invalid"),
        (_other_currency, "offline_credential_invalid"),
        (_tapped(transaction_type=0x20), "offline_token_invalid"),
        (_tapped(at_s=(NOW_MS - TAP_AGE_MS_MAX) // 1000), None),
        (_tapped(at_s=(NOW_MS - TAP_AGE_MS_MAX) // 1000 - 1), "offline_token_invalid"),
        (_tapped(at_s=(NOW_MS + TAP_AGE_MS_MAX) // 1000 + 1), "offline_token_invalid"),
        (_tapped(total_minor=5_000), None),
        (_tapped(total_minor=5_001), "card_allowance_exceeded"),
        (_tapped(total_minor=999), "card_copy_suspected"),
        (_vouched(per_payment_minor=999), "card_allowance_exceeded"),
        (_vouched(per_payment_minor=1_000), None),
        (_vouched(expires_s=NOW_MS // 1000 - 30), "offline_credential_expired"),
        (_vouched(expires_s=NOW_MS // 1000 - 29), None),
        (_vouched(issued_s=NOW_MS // 1000 + 31), "offline_credential_invalid"),
        (_vouched(expires_s=NOW_MS // 1000 + 8 * 86_400), "offline_credential_invalid"),
    ],
)  # fmt: skip
def test_what_the_card_says_decides(phone: OfflinePhone, make: Make, code: str | None) -> None:
    verdict = _judge(*make(phone))
    assert isinstance(verdict, AcceptableTap) if code is None else verdict == code


@pytest.mark.parametrize(
    ("counter", "total_minor", "changes", "code"),
    [
        (5, 3_000, {}, None),
        (9, 4_000, {}, None),  # it paid elsewhere in between
        (5, 2_999, {}, "card_copy_suspected"),  # it has not counted this payment, or forgotten another
        (5, 2_000, {}, "card_copy_suspected"),
        (4, 3_000, {}, "card_copy_suspected"),  # the counter last seen
        (3, 3_000, {}, "card_copy_suspected"),
        (5, 1_000, {"credential_id": b"elsewise"}, None),  # a new credential begins at nothing
        (4, 1_000, {"credential_id": b"elsewise"}, "card_copy_suspected"),
        (5, 3_000, {"credential_issued_s": NOW_MS // 1000}, "card_copy_suspected"),  # an older credential
        (5, 3_000, {"stored_minor": 1_500}, None),
        (5, 3_000, {"stored_minor": 1_501}, "offline_device_limit_reached"),
    ],
)
def test_what_was_seen_of_the_key_decides(
    phone: OfflinePhone, counter: int, total_minor: int, changes: dict[str, object], code: str | None
) -> None:
    token = phone.tap(counter=counter, total_minor=total_minor)
    verdict = _judge(token, phone.credential, device=_memory(phone, **changes))
    assert isinstance(verdict, AcceptableTap) if code is None else verdict == code


@given(
    amount=st.integers(1, 40),
    floor=st.integers(0, 40),
    per_payment=st.integers(1, 40),
    allowance=st.integers(1, 120),
    total=st.integers(1, 120),
    stored_sum=st.integers(0, 100),
    stored_count=st.integers(0, 5),
    sum_max=st.integers(0, 140),
    count_max=st.integers(0, 5),
    device_max=st.integers(0, 80),
    device_stored=st.integers(0, 60),
    counters=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    last_total=st.integers(0, 100),
)
def test_a_tap_is_acceptable_exactly_when_every_number_keeps_its_rule(
    amount: int,
    floor: int,
    per_payment: int,
    allowance: int,
    total: int,
    stored_sum: int,
    stored_count: int,
    sum_max: int,
    count_max: int,
    device_max: int,
    device_stored: int,
    counters: tuple[int, int],
    last_total: int,
) -> None:
    """The rules once more as one sentence, over numbers small enough to meet at their bounds."""
    phone = OfflinePhone(1, changes={"per_payment_minor": per_payment, "allowance": Money(allowance, EUR)})
    believed = trust(
        rules=rules(
            floor_minor=floor,
            stored_sum_minor=sum_max,
            stored_count=count_max,
            device_total_minor=device_max,
        )
    )
    counter, last_counter = counters
    device = _memory(phone, counter=last_counter, running_total_minor=last_total, stored_minor=device_stored)
    verdict = _judge(
        phone.tap(amount, counter=counter, total_minor=total),
        phone.credential,
        amount_minor=amount,
        believed=believed,
        exposure=Exposure(stored_sum, stored_count),
        device=device,
    )
    keeps = (
        amount <= floor
        and amount <= per_payment
        and amount <= total <= allowance
        and stored_sum + amount <= sum_max
        and stored_count + 1 <= count_max
        and device_stored + amount <= device_max
        and counter > last_counter
        and total >= last_total + amount
    )
    assert isinstance(verdict, AcceptableTap) == keeps


@given(st.binary(max_size=250), st.binary(max_size=250))
def test_any_bytes_are_refused_and_never_raise(token: bytes, credential: bytes) -> None:
    phone = OfflinePhone()
    assert isinstance(_judge(token, phone.credential), str)
    assert isinstance(_judge(phone.tap(), credential), str)
    assert device_key_id_of(token) is None
