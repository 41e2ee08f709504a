"""Counts, sums and the one line the demo ends with."""

from __future__ import annotations

import json

from simulators.demo.tally import Outcome, Tally, code_of
from wire.messages.payments import Decline, EntryMode
from wire.messages.till import Refusal, SaleEvent, SaleEventKind, SaleState, SaleView

SALE = SaleView(
    sale_id="01ARYZ6S410000000000000000",
    order_id="order",
    amount_minor=100,
    currency="EUR",
    state=SaleState.ARMED,
    created_ms=0,
    deadline_ms=1,
)


def approved(mode: EntryMode, minor: int, ms: int, till: str = "till-1") -> Outcome:
    return Outcome(till, "phone", "approved", minor, mode, tap_to_answer_ms=ms)


def test_the_last_line_names_every_entry_mode_even_those_nobody_used() -> None:
    tally = Tally()
    tally.add(approved(EntryMode.QR_CONSUMER, 100, 10))
    tally.add(approved(EntryMode.QR_CONSUMER, 250, 30, "till-2"))
    tally.add(Outcome("till-1", "tag", "uid_only_card", 300))
    tally.add(Outcome("till-1", "phone", "token_expired", 300, EntryMode.QR_CONSUMER, tap_to_answer_ms=20))

    line = tally.dump_json("ok")

    assert "\n" not in line
    assert json.loads(line) == {
        "payments": {"nfc_app": 0, "nfc_sdm": 0, "qr_consumer": 2, "code_numeric": 0},
        "declined": {"token_expired": 1, "uid_only_card": 1},
        "audit": "ok",
        "p50_tap_to_answer_ms": 20,
    }
    assert tally.taken_minor == {"till-1": 100, "till-2": 250}
    assert tally.spent_minor == {"phone": 350}


def test_no_median_without_a_measurement() -> None:
    assert json.loads(Tally().dump_json("failed"))["p50_tap_to_answer_ms"] is None


def test_every_kind_of_event_either_ends_the_wait_with_a_code_or_does_not() -> None:
    refusal = Refusal(code="uid_only_card", cashier_text={}, reader="contactless:usb")
    decline = Decline(code="insufficient_funds", retryable=False, cashier_text={}, holder_text={})
    codes = {
        kind: code_of(SaleEvent(sequence=1, at_ms=0, kind=kind, sale=SALE, refusal=refusal, decline=decline))
        for kind in SaleEventKind
    }

    assert codes == {
        SaleEventKind.ARMED: None,
        SaleEventKind.CODE_SHOWN: None,
        SaleEventKind.READING: None,
        SaleEventKind.SUBMITTING: None,
        SaleEventKind.REFUSED: "uid_only_card",
        SaleEventKind.DECLINED: "insufficient_funds",
        SaleEventKind.APPROVED: "approved",
        SaleEventKind.ACCEPTED_OFFLINE: "accepted_offline",
        SaleEventKind.UNKNOWN: "unknown",
        SaleEventKind.CONFIRMING: None,
        SaleEventKind.NOT_CONFIRMED: None,
        SaleEventKind.KEPT: None,
        SaleEventKind.REVERSING: None,
        SaleEventKind.CLOSED: "insufficient_funds",
        SaleEventKind.CANCELLED: "cancelled",
        SaleEventKind.TIMED_OUT: "timed_out",
    }
