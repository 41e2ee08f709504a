"""From a card in the field to a sealed record on disk, and what a copy of the card can get."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.cards.offline_allowance import OfflineAllowance
from simulators.cards.payment_card import PaymentCard
from terminal.disk import FolderDisk
from terminal.offline.acceptance import AcceptedOffline, OfflineAcceptance, RefusedOffline
from terminal.offline.queue import OfflineQueue
from terminal.offline.rules import Trust
from tests.terminal.offline.conftest import (
    EUR,
    HOUR_MS,
    MERCHANT_ID,
    NOW_MS,
    STATUS_LIST,
    TERMINAL_ID,
    TERMINAL_KEY,
    OfflinePhone,
    rules,
    trust,
)
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_terms import QUALIFIERS_OFFLINE, PaymentTerms
from wire.cards.presentation_dialogue import OfflineTap, read_presentation
from wire.errors import CardError
from wire.ids import make_ulid
from wire.money import Money
from wire.tokens.offline_record import parse_offline_record, verify_offline_record


class OfflineTill:
    """One till that is offline, with a reader that holds dialogues with simulated cards."""

    def __init__(self, folder: Path, believed: Trust | None = None, *, seed: int = 1) -> None:
        self.queue = OfflineQueue(FolderDisk(folder), TERMINAL_KEY)
        self.believed = believed or trust()
        self.now_ms = NOW_MS
        self._rng = random.Random(seed)
        self._sale_number = 0
        self.acceptance = OfflineAcceptance(
            self.queue,
            lambda: self.believed,
            merchant_id=MERCHANT_ID,
            terminal_id=TERMINAL_ID,
            now_ms=lambda: self.now_ms,
        )

    def sell(self, card: PaymentCard, amount_minor: int = 1_000) -> AcceptedOffline | str:
        """Return the acceptance, or the code of what refused: the terminal beforehand, card, rules."""
        amount = Money(amount_minor, EUR)
        refusal = self.acceptance.refusal_before_tap(amount)
        if refusal is not None:
            return refusal
        self._sale_number += 1
        terms = PaymentTerms(
            amount=amount,
            nonce=self._rng.randbytes(8),
            merchant_id=MERCHANT_ID,
            terminal_id=TERMINAL_ID,
            at_s=self.now_ms // 1000,
            qualifiers=QUALIFIERS_OFFLINE,
        )
        card.power_on()
        try:
            tap = hold_dialogue(read_presentation(lambda: terms), card.transmit)
        except CardError as error:
            return error.code
        assert isinstance(tap, OfflineTap)
        verdict = self.acceptance.accept(
            tap.token,
            tap.credential,
            attempt_id=make_ulid(self.now_ms, self._sale_number.to_bytes(10, "big")),
            order_id=f"order-{self._sale_number}",
            amount=amount,
        )
        return verdict.code if isinstance(verdict, RefusedOffline) else verdict


@pytest.fixture
def till(tmp_path: Path) -> Iterator[OfflineTill]:
    till = OfflineTill(tmp_path)
    yield till
    till.queue.close()


@pytest.fixture
def card(phone: OfflinePhone) -> PaymentCard:
    return PaymentCard(phone.key, rng=random.Random(3), allowance=OfflineAllowance(phone.credential))


def test_a_tap_becomes_a_sealed_record_that_says_what_the_terminal_knew(
    till: OfflineTill, card: PaymentCard
) -> None:
    accepted = till.sell(card)
    assert isinstance(accepted, AcceptedOffline)
    record = verify_offline_record(parse_offline_record(accepted.payment.sealed), TERMINAL_KEY.public_key())
    assert (record.sequence, record.order_id, record.amount) == (1, "order-1", Money(1_000, EUR))
    assert (record.accepted_ms, record.clock_set_ms) == (NOW_MS, NOW_MS - HOUR_MS)
    assert record.list_issued_s == STATUS_LIST.issued_s
    assert till.queue.waiting() == [accepted.payment]


def test_an_honest_card_pays_until_the_till_or_its_allowance_says_no(
    till: OfflineTill, card: PaymentCard
) -> None:
    assert isinstance(till.sell(card), AcceptedOffline)
    assert isinstance(till.sell(card, 1_500), AcceptedOffline)
    assert till.sell(card, 1) == "offline_device_limit_reached"
    assert till.queue.depth == 2
    till.believed = trust(rules=rules(device_total_minor=50_000))
    assert isinstance(till.sell(card, 1_500), AcceptedOffline)
    assert till.sell(card) == "card_allowance_exceeded"


def test_a_till_that_may_not_accept_asks_no_card(till: OfflineTill, card: PaymentCard) -> None:
    till.believed = trust(rules=None)
    assert till.sell(card) == "offline_not_ready"
    till.believed = trust()
    assert till.sell(card, 1_501) == "offline_amount_too_high"
    till.now_ms += 25 * HOUR_MS
    assert till.sell(card) == "offline_clock_unsure"
    assert card.received == []


def test_the_till_that_meets_card_and_copy_refuses_the_second(till: OfflineTill, card: PaymentCard) -> None:
    copy = card.clone()
    assert isinstance(till.sell(card, 500), AcceptedOffline)
    assert till.sell(copy, 500) == "card_copy_suspected"
    # By numbers alone the copy's next tap would do: it could have paid 5.00 somewhere else in between.
    assert till.sell(copy, 400) == "card_copy_suspected"
    assert till.sell(card, 400) == "card_copy_suspected"
    assert till.queue.exposure().sum_minor == 500


def test_nobody_else_can_bring_a_key_under_suspicion(
    till: OfflineTill, card: PaymentCard, phone: OfflinePhone
) -> None:
    assert isinstance(till.sell(card), AcceptedOffline)
    # The key's own name, a counter that was used, another's signature.
    forged = phone.tap(500, counter=1, key=OfflinePhone(2).key)
    forged = forged.replace(OfflinePhone(2).key_id, phone.key_id)
    verdict = till.acceptance.accept(
        forged,
        phone.credential,
        attempt_id=make_ulid(NOW_MS, bytes(10)),
        order_id="order-9",
        amount=Money(500, EUR),
    )
    assert verdict == RefusedOffline("offline_token_invalid")
    assert isinstance(till.sell(card), AcceptedOffline)


@pytest.mark.parametrize("till_count", [1, 2, 5])
def test_copies_spend_at_most_the_device_limit_at_each_till(
    tmp_path: Path, phone: OfflinePhone, till_count: int
) -> None:
    """The bound of docs/adr/0008, decision 8: N tills offline together, k at each."""
    original = PaymentCard(phone.key, rng=random.Random(3), allowance=OfflineAllowance(phone.credential))
    spent_minor = 0
    for number in range(till_count):
        folder = tmp_path / str(number)
        folder.mkdir()
        till = OfflineTill(folder, seed=number)
        copies = [original.clone() for _ in range(3)]
        rng = random.Random(number)
        for _ in range(30):
            accepted = till.sell(rng.choice(copies), rng.choice((100, 500, 900)))
            if isinstance(accepted, AcceptedOffline):
                spent_minor += accepted.payment.record.amount.minor
        assert till.queue.exposure().sum_minor <= rules().device_total_minor
        till.queue.close()
    assert 0 < spent_minor <= till_count * rules().device_total_minor


def test_a_restart_offline_forgets_no_limit_and_no_counter(tmp_path: Path, card: PaymentCard) -> None:
    till = OfflineTill(tmp_path)
    copy = card.clone()
    assert isinstance(till.sell(card), AcceptedOffline)
    till.queue.close()
    till = OfflineTill(tmp_path, seed=2)
    assert isinstance(till.sell(card, 1_500), AcceptedOffline)
    assert till.sell(card, 100) == "offline_device_limit_reached"
    assert till.sell(copy, 500) == "card_copy_suspected"
    till.queue.close()


def test_the_same_tap_once_more_is_the_same_payment_and_no_suspicion(
    till: OfflineTill, card: PaymentCard
) -> None:
    accepted = till.sell(card)
    assert isinstance(accepted, AcceptedOffline)
    record = accepted.payment.record
    verdicts = [
        till.acceptance.accept(
            record.token,
            record.credential,
            attempt_id=attempt_id,
            order_id=record.order_id,
            amount=record.amount,
        )
        for attempt_id in (record.attempt_id, make_ulid(NOW_MS, b"other-read"))
    ]
    assert verdicts == [accepted, RefusedOffline("already_presented")]
    assert till.queue.depth == 1
    assert isinstance(till.sell(card), AcceptedOffline)


def test_what_can_not_be_stored_is_not_accepted(
    till: OfflineTill, card: PaymentCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", _fail)
        assert till.sell(card) == "journal_unwritable"
    assert till.queue.depth == 0
    accepted = till.sell(card)
    assert isinstance(accepted, AcceptedOffline)
    assert accepted.payment.record.sequence == 1


def _fail(_: int) -> None:
    raise OSError(28, "No space left on device")
