"""Verification: what is authentic and fits, what is refused with which code, and what that spends."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.holders.model import InstrumentKind
from gateway.payments.model import CardCounter, PaymentCodeUse, Refused, TokenUse, Verified
from gateway.payments.verify import TERMS_AGE_MS_MAX
from wire import es256
from wire.messages.payments import (
    CodeNumericPresentation,
    NfcAppPresentation,
    NfcSdmPresentation,
    QrConsumerPresentation,
)
from wire.money import Money, find_currency
from wire.tokens.sign1 import parse_sign1

if TYPE_CHECKING:
    from tests.gateway.payments.conftest import CheckoutCounter

MakeLink = Callable[..., NfcSdmPresentation]
USD = find_currency("USD")
STRANGER = ec.derive_private_key(0x57A4, ec.SECP256R1())
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


# Taps of a payment application ---------------------------------------------------------------------------


async def test_tap_signed_for_this_request_is_verified(counter: CheckoutCounter) -> None:
    tap = counter.tap(counter=7, nonce=b"nonce--7")
    verdict = await counter.verify(tap)
    digest = hashlib.sha256(parse_sign1(tap.token).payload).digest()
    use = TokenUse(counter.shop.instrument.key_id, 7, digest, b"nonce--7")
    assert verdict == Verified("INSTRUMENT1", use)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": Money(1, find_currency("EUR"))}, "amount_mismatch"),
        ({"amount": Money(1_250, USD)}, "currency_mismatch"),
        ({"terminal_id": "TERMNA02"}, "terminal_mismatch"),
        ({"merchant_id": "MERCHANT0000002"}, "terminal_mismatch"),
        ({"transaction_type": 0x20}, "token_invalid"),
    ],
)
async def test_tap_signed_for_something_else_is_refused_and_spent(
    counter: CheckoutCounter, changes: dict[str, object], code: str
) -> None:
    verdict = await counter.verify(counter.tap(counter=7, **changes))
    assert isinstance(verdict, Refused)
    assert (verdict.code, verdict.instrument_id) == (code, "INSTRUMENT1")
    assert verdict.spent.counter == 7


@pytest.mark.parametrize(
    ("age_ms", "code"),
    [
        (TERMS_AGE_MS_MAX, None),
        (TERMS_AGE_MS_MAX + 1_000, "token_expired"),
        (-TERMS_AGE_MS_MAX, None),
        (-TERMS_AGE_MS_MAX - 1_000, "token_not_yet_valid"),
    ],
)
async def test_tap_is_fresh_within_five_minutes_either_way(
    counter: CheckoutCounter, age_ms: int, code: str | None
) -> None:
    verdict = await counter.verify(counter.tap(at_s=(counter.shop.now_ms - age_ms) // 1000))
    assert getattr(verdict, "code", None) == code


async def test_wrong_signature_is_invalid_and_spends_nothing(counter: CheckoutCounter) -> None:
    good = counter.tap().token
    forged = good[:-1] + bytes((good[-1] ^ 1,))
    assert await counter.verify(NfcAppPresentation(token=forged)) == Refused("token_invalid")


async def test_unknown_key_is_no_instrument(counter: CheckoutCounter) -> None:
    assert await counter.verify(counter.tap(private_key=STRANGER)) == Refused("instrument_unknown")
    assert await counter.verify(counter.qr(key=STRANGER)) == Refused("instrument_unknown")


async def test_one_kind_of_token_is_not_taken_for_another(counter: CheckoutCounter) -> None:
    as_tap = NfcAppPresentation(token=counter.qr().token)
    as_code = QrConsumerPresentation(token=counter.tap().token)
    assert await counter.verify(as_tap) == await counter.verify(as_code) == Refused("token_invalid")


async def test_both_spellings_of_a_signature_are_one_use(counter: CheckoutCounter) -> None:
    good = counter.tap(counter=7)
    s = int.from_bytes(good.token[-32:], "big")
    other = NfcAppPresentation(token=good.token[:-32] + (P256_ORDER - s).to_bytes(32, "big"))
    first, second = await counter.verify(good), await counter.verify(other)
    assert other.token != good.token
    assert isinstance(first, Verified)
    assert first == second


# Codes on a screen -----------------------------------------------------------------------------------------


async def test_code_is_verified_up_to_its_cap(counter: CheckoutCounter) -> None:
    at_cap = await counter.verify(counter.qr(cap=Money(1_250, find_currency("EUR"))))
    above = await counter.verify(counter.qr(counter=2, cap=Money(1_249, find_currency("EUR"))))
    assert isinstance(at_cap, Verified)
    assert at_cap.single_use.terminal_nonce is None
    assert isinstance(above, Refused)
    assert (above.code, above.spent.counter) == ("amount_above_token_cap", 2)


async def test_code_of_another_currency_is_refused(counter: CheckoutCounter) -> None:
    verdict = await counter.verify(counter.qr(cap=Money(5_000, USD)))
    assert isinstance(verdict, Refused)
    assert verdict.code == "currency_mismatch"


@pytest.mark.parametrize(
    ("age_s", "code"), [(89, None), (90, "token_expired"), (-30, None), (-31, "token_not_yet_valid")]
)
async def test_code_lives_a_minute_with_half_a_minute_of_leeway_and_is_spent_outside_it(
    counter: CheckoutCounter, age_s: int, code: str | None
) -> None:
    verdict = await counter.verify(counter.qr(counter=9, age_s=age_s))
    assert getattr(verdict, "code", None) == code
    use = verdict.single_use if isinstance(verdict, Verified) else verdict.spent
    assert use.counter == 9


async def test_code_that_lives_too_long_is_invalid(counter: CheckoutCounter) -> None:
    assert await counter.verify(counter.qr(life_s=3_600)) == Refused("token_invalid")


async def test_applet_card_shows_no_codes(counter: CheckoutCounter) -> None:
    key = STRANGER.public_key()
    card = replace(
        counter.shop.instrument,
        instrument_id="APPLET1",
        kind=InstrumentKind.APPLET_CARD,
        key_id=es256.key_id_of(key),
        public_key=es256.dump_public_key(key),
    )
    await counter.store.add_instrument(card)
    shown = await counter.verify(counter.qr(key=STRANGER))
    typed = await counter.verify(await counter.code("APPLET1"))
    assert isinstance(await counter.verify(counter.tap(private_key=STRANGER)), Verified)
    assert shown.code == typed.code == "entry_mode_not_allowed"
    assert shown.spent is not None
    assert typed.spent is not None


# Links of NTAG 424 cards ------------------------------------------------------------------------------------


async def test_link_is_verified_under_whichever_batch_it_was_made(
    counter: CheckoutCounter, make_link: MakeLink
) -> None:
    keys = [await counter.add_batch(number) for number in range(1, 17)]
    await counter.add_card(3, keys[2][1])
    assert await counter.verify(make_link(*keys[2], counter=41)) == Verified("CARD1", CardCounter(41))


async def test_link_of_a_batch_added_later_is_found(counter: CheckoutCounter, make_link: MakeLink) -> None:
    meta_key, file_master = bytes((2,)) * 16, bytes((102,)) * 16
    assert await counter.verify(make_link(meta_key, file_master)) == Refused("token_invalid")
    assert await counter.add_batch(2) == (meta_key, file_master)
    await counter.add_card(2, file_master)
    assert isinstance(await counter.verify(make_link(meta_key, file_master)), Verified)


async def test_first_links_of_a_batch_are_found_though_they_come_at_once(
    counter: CheckoutCounter, make_link: MakeLink
) -> None:
    """After a start nobody knows the batch: whoever asks second must not take the first one's for his own."""
    meta_key, file_master = await counter.add_batch(1)
    await counter.add_card(1, file_master)
    links = [make_link(meta_key, file_master, number) for number in range(1, 9)]
    verdicts = await asyncio.gather(*(counter.verify(link) for link in links))
    assert verdicts == [Verified("CARD1", CardCounter(number)) for number in range(1, 9)]


async def test_forged_link_is_invalid(counter: CheckoutCounter, make_link: MakeLink) -> None:
    meta_key, file_master = await counter.add_batch(1)
    await counter.add_card(1, file_master)
    good = make_link(meta_key, file_master)
    forged = replace_field(good, mac_hex="0" * 16)
    moved_on = replace_field(good, picc_data_hex=make_link(meta_key, file_master, 2).picc_data_hex)
    for link in (forged, moved_on):
        assert await counter.verify(link) == Refused("token_invalid")


async def test_genuine_card_that_nobody_registered_is_unknown(
    counter: CheckoutCounter, make_link: MakeLink
) -> None:
    keys = await counter.add_batch(1)
    assert await counter.verify(make_link(*keys)) == Refused("instrument_unknown")


async def test_card_registered_under_another_batch_is_unknown(
    counter: CheckoutCounter, make_link: MakeLink
) -> None:
    keys = await counter.add_batch(1)
    await counter.add_batch(2)
    await counter.add_card(2, keys[1])
    assert await counter.verify(make_link(*keys)) == Refused("instrument_unknown")


def replace_field(link: NfcSdmPresentation, **changes: str) -> NfcSdmPresentation:
    return NfcSdmPresentation(**({"picc_data_hex": link.picc_data_hex, "mac_hex": link.mac_hex} | changes))


# Numeric codes ---------------------------------------------------------------------------------------------


async def test_numeric_code_is_verified_by_its_hash(counter: CheckoutCounter) -> None:
    code = await counter.code()
    assert await counter.verify(code) == Verified(
        "INSTRUMENT1", PaymentCodeUse(counter.vault.hash_code(code.code))
    )


async def test_numeric_code_that_is_wrong_late_or_mistyped_is_invalid(counter: CheckoutCounter) -> None:
    late = await counter.code(life_ms=0)
    never_issued = CodeNumericPresentation(code="470000000000000005")
    mistyped = CodeNumericPresentation(code="470000000000000006")
    another_wallets = CodeNumericPresentation(code="280000000000000000")
    for code in (late, never_issued, mistyped, another_wallets):
        assert await counter.verify(code) == Refused("payment_code_invalid")


# Anything at all -------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_bytes_are_refused_and_never_break(counter: CheckoutCounter, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([counter.tap().token, counter.qr().token]))
    place, mask = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(1, 255))
    damaged = good[:place] + bytes((good[place] ^ mask,)) + good[place + 1 :]
    token = data.draw(st.one_of(st.just(damaged), st.binary(min_size=1, max_size=1_024)))
    for presentation in (NfcAppPresentation(token=token), QrConsumerPresentation(token=token)):
        verdict = await counter.verify(presentation)
        assert isinstance(verdict, Refused)
        assert verdict.code in ("token_invalid", "instrument_unknown")
        assert verdict.spent is None
