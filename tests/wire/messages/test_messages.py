"""The JSON of both interfaces: every message comes back as it went, and nothing else gets in."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import messages
from wire.errors import WireError
from wire.messages import (
    cards,
    enrolment,
    intents,
    offline,
    payments,
    problem,
    sessions,
    shifts,
    staff,
    terminals,
    till,
    till_page,
    wallet,
)
from wire.messages.base import BODY_BYTES_MAX, Message, dump_message, parse_message
from wire.messages.payments import (
    CodeNumericPresentation,
    Decline,
    EntryMode,
    NfcAppPresentation,
    NfcSdmPresentation,
    PaymentAnswer,
    PaymentRequest,
    PaymentState,
    Presentation,
    QrConsumerPresentation,
    ReceiptFacts,
    entry_mode_of,
)

_ULID = "01ARYZ6S410000000000000000"
_DECLINE = Decline(
    code="insufficient_funds",
    retryable=False,
    cashier_text={"en": "No.", "zh-Hans": "余额不足。"},
    holder_text={"en": "No."},
)
_RECEIPT = ReceiptFacts(
    receipt_number="000042",
    merchant_name="最佳咖啡",
    location_name="Main Street",
    instrument_label="Card ·· 4821",
    page_url="https://pay.example.com/r/0123",
)
_REQUEST = PaymentRequest(
    attempt_id=_ULID,
    order_id="ORDER-17",
    amount_minor=1_250,
    currency="EUR",
    presentation=NfcAppPresentation(token=bytes(range(165))),
    presented_ms=1_784_000_000_000,
    card_exchange_ms=187,
)
_ANSWER = PaymentAnswer(
    payment_id=_ULID,
    attempt_id=_ULID,
    order_id="ORDER-17",
    outcome="approved",
    state=PaymentState.SUCCEEDED,
    amount_minor=1_250,
    currency="EUR",
    entry_mode=EntryMode.NFC_APP,
    terminal_id="TERMNA01",
    decided_ms=1_784_000_000_000,
    receipt=_RECEIPT,
)
_ORDER = payments.OrderDetails(
    amount_minor=1_250,
    tax_minor=200,
    lines=(
        payments.LineItem(name="Oolong 乌龙", total_minor=900, quantity=2, tax_minor=144),
        payments.LineItem(name="Cake", total_minor=350, tax_minor=56),
    ),
)
_CONFIRMATION = payments.Confirmation(
    code="confirm_above_limit",
    ways=(payments.ConfirmationWay.PIN, payments.ConfirmationWay.DEVICE),
    confirm_by_ms=1_784_000_060_000,
    cashier_text={"en": "Confirm."},
    holder_text={"en": "Confirm."},
)
_STAFF = payments.StaffProof(staff_id=_ULID, pin="2580")
_TAG = payments.StaffTag(picc_data_hex="AB" * 16, mac_hex="CD" * 8)
_MEMBER = staff.StaffEntry(staff_id=_ULID, name="米拉", role=staff.StaffRole.CASHIER)
_SIGNED_IN = staff.SignedInStaff(
    staff_id=_ULID,
    name="米拉",
    role=staff.StaffRole.CASHIER,
    rights=[staff.StaffRight.SELL],
    signed_in_ms=1_784_000_000_000,
    idle_ends_ms=1_784_000_900_000,
)
_CARD = cards.CardView(instrument_id=_ULID, label="Card ·· 4821", status="active", key_version=2)
_ITEM = till_page.CatalogueItem(name="Oolong", name_zh="乌龙茶", price_minor=450, tax_basis_points=700)
_WORD = staff.StaffWord(tag_read_id=_ULID)
_BY = shifts.StaffName(staff_id=_ULID, name="米拉")
_BY_MODE = shifts.EntryModeTotal(entry_mode=EntryMode.NFC_APP, payment_count=2, charged_minor=2_500)
_TOTALS = shifts.ShiftTotals(payment_count=2, charged_minor=2_500, by_entry_mode=[_BY_MODE])
_MARK = shifts.ShiftMark(shift_id=_ULID, opened_ms=1_784_000_000_000)
_WAITING = wallet.WaitingPayment(
    payment_id=_ULID,
    merchant_id="MERCHANT0000001",
    merchant_name="最佳咖啡",
    location_name="Main Street",
    amount_minor=1_250,
    currency="EUR",
    instrument_label="Card ·· 4821",
    code="confirm_above_limit",
    confirm_by_ms=1_784_000_060_000,
)
_INTENT = intents.IntentView(
    intent_id=_ULID,
    merchant_id="MERCHANT0000001",
    merchant_name="最佳咖啡",
    location_name="Main Street",
    terminal_id="TERMNA01",
    amount_minor=1_250,
    currency="EUR",
    expires_ms=1_784_000_060_000,
    order=_ORDER,
)
_NOTICE = terminals.TerminalNotice(sequence=7, payment=_ANSWER)
_SALE = till.SaleView(
    sale_id=_ULID,
    order_id="ORDER-17",
    amount_minor=1_250,
    currency="EUR",
    state=till.SaleState.APPROVED,
    created_ms=1_784_000_000_000,
    deadline_ms=1_784_000_060_000,
    attempt_count=1,
    answer=_ANSWER,
)
_REFUSAL = till.Refusal(code="uid_only_card", cashier_text={"en": "No."}, reader="contactless:usb")
_READER = till.ReaderView(path="camera:0", state=till.ReaderState.FAULTY, since_ms=1, reason="unplugged")
_UNRESOLVED = till.UnresolvedAttempt(
    attempt_id=_ULID,
    order_id="ORDER-17",
    amount_minor=1_250,
    currency="EUR",
    at_ms=1_784_000_000_000,
    stage=till.AttemptStage.UNKNOWN,
    reverses_ms=1_784_000_180_000,
    failure_count=3,
    trouble="gateway_unreachable",
    next_try_ms=1_784_000_030_000,
)
_OFFLINE_RESULT = till.OfflineResult(
    attempt_id=_ULID,
    order_id="ORDER-17",
    amount_minor=1_250,
    currency="EUR",
    accepted_ms=1_784_000_000_000,
    outcome="conflict",
    code="offline_record_conflict",
    cashier_text={"en": "No."},
    loss_minor=1_250,
    loss_bearer="merchant",
)
_DRAINED = till.OfflineDrained(settled_count=16, waiting_count=1, set_aside_count=1)
_OFFLINE = till.OfflineView(
    mode="offline",
    since_ms=1,
    waiting_count=1,
    waiting_minor=1_250,
    currency="EUR",
    oldest_ms=1_784_000_000_000,
    synced_ms=1_784_000_000_000,
    refusal="offline_store_full",
    conflict_count=1,
    merchant_loss_minor=1_250,
    results=[_OFFLINE_RESULT],
)
_ISSUER_KEY = offline.IssuerKey(key_id=bytes(8), public_key=b"\x02" + bytes(32))
_RULES = offline.OfflineRules(
    currency="EUR",
    floor_minor=1_500,
    device_total_minor=2_500,
    stored_sum_minor=50_000,
    stored_count=200,
    list_age_ms=86_400_000,
    clock_age_ms=86_400_000,
    record_age_ms=7 * 86_400_000,
)
_RESULT = offline.RecordResult(
    sequence=7,
    outcome="settled",
    code="insufficient_funds",
    payment_id=_ULID,
    loss_minor=1_250,
    loss_bearer="operator",
)
EXAMPLES: list[Message] = [
    NfcAppPresentation(token=b"\x00\xff"),
    QrConsumerPresentation(token=bytes(127)),
    NfcSdmPresentation(picc_data_hex="0123456789ABCDEF" * 2, mac_hex="0123456789ABCDEF"),
    CodeNumericPresentation(code="470000000000000005"),
    _REQUEST,
    _DECLINE,
    _RECEIPT,
    _ANSWER,
    payments.LineItem(name="Oolong 乌龙", total_minor=900, quantity=2, tax_minor=144),
    _ORDER,
    _CONFIRMATION,
    payments.CaptureRequest(capture_id=_ULID, amount_minor=1_000, tip_minor=100),
    payments.VoidRequest(void_id=_ULID, staff=_STAFF),
    _TAG,
    payments.StaffProof(tag=_TAG),
    _MEMBER,
    staff.StaffPage(members=[_MEMBER], is_last=True),
    staff.SignInRequest(sign_in_id=_ULID, staff=_STAFF),
    staff.SignInAnswer(member=_MEMBER, rights=[staff.StaffRight.SELL]),
    _WORD,
    staff.VoidOrder(void_id=_ULID, staff=_WORD),
    staff.RefundOrder(refund_id=_ULID, total_minor=500, staff=_WORD),
    _SIGNED_IN,
    staff.StaffState(is_required=True, signed_in=_SIGNED_IN),
    staff.StaffView(is_required=True, members=[_MEMBER]),
    staff.TagRead(tag_read_id=_ULID, state="waiting", expires_ms=1_784_000_000_000),
    shifts.ShiftOpening(shift_id=_ULID, staff_id=_ULID),
    shifts.ShiftClosing(shift_id=_ULID, age_ms=5_000),
    _BY,
    _BY_MODE,
    _TOTALS,
    _MARK,
    shifts.ShiftAnswer(shift_id=_ULID, currency="EUR", opened_ms=1, totals=_TOTALS, opened_by=_BY),
    shifts.ShiftView(shift_id=_ULID, currency="EUR", opened_ms=1, totals=_TOTALS, is_provisional=True),
    payments.ConfirmRequest(confirmation_id=_ULID, pin="2580"),
    _STAFF,
    payments.RefundRequest(refund_id=_ULID, total_minor=500, staff=_STAFF, reason="cold tea"),
    payments.RefundAnswer(
        refund_id=_ULID, amount_minor=500, total_minor=500, refunded_ms=1_784_000_000_000, payment=_ANSWER
    ),
    payments.ReversalRequest(
        attempt_id=_ULID,
        order_id="ORDER-17",
        amount_minor=1_250,
        currency="EUR",
        entry_mode=EntryMode.NFC_APP,
    ),
    enrolment.EnrolmentRequest(code="ABCD-EFGH", public_key=b"\x02" + bytes(32), software="tapscan 0.1"),
    enrolment.EnrolmentAnswer(
        terminal_id="TERMNA01",
        merchant_id="MERCHANT0000001",
        merchant_name="最佳咖啡",
        location_name="Main Street",
        currency="EUR",
        gateway_time_ms=1_784_000_000_000,
    ),
    wallet.PaymentCodeRequest(),
    offline.CredentialRequest(credential_id=_ULID, allowance_minor=5_000, per_payment_minor=1_500),
    offline.CredentialAnswer(credential=bytes(180), expires_ms=1_784_000_000_000, allowance_minor=5_000),
    _ISSUER_KEY,
    _RULES,
    offline.IssuerAnswer(keys=[_ISSUER_KEY], gateway_time_ms=1_784_000_000_000, rules=_RULES),
    offline.StatusListAnswer(etag="0123456789abcdef", status_list=bytes(150)),
    offline.BatchRequest(batch_id=_ULID, records=[bytes(520), bytes(521)]),
    _RESULT,
    offline.BatchAnswer(results=[_RESULT], next_sequence=8),
    wallet.PaymentCodeAnswer(code="470000000000000005", expires_ms=1_784_000_060_000),
    _WAITING,
    wallet.WaitingPayments(payments=[_WAITING]),
    wallet.HolderDecision(
        decision_id=_ULID,
        payment_id=_ULID,
        merchant_id="MERCHANT0000001",
        amount_minor=1_250,
        currency="EUR",
        agreed=True,
    ),
    wallet.WalletPayment(
        payment_id=_ULID,
        state=PaymentState.SUCCEEDED,
        amount_minor=1_250,
        currency="EUR",
        merchant_name="最佳咖啡",
        location_name="Main Street",
        decided_ms=1_784_000_000_000,
    ),
    _INTENT,
    intents.CounterView(
        terminal_id="TERMNA01",
        merchant_id="MERCHANT0000001",
        merchant_name="最佳咖啡",
        location_name="Main Street",
        currency="EUR",
        open_amount_max_minor=5_000,
        intent=_INTENT,
    ),
    intents.IntentRequest(
        intent_id=_ULID, order_id="ORDER-17", amount_minor=1_250, currency="EUR", life_ms=60_000, order=_ORDER
    ),
    intents.IntentAnswer(intent_id=_ULID, code_text="000201", expires_ms=1_784_000_060_000),
    intents.IntentPayment(attempt_id=_ULID, token=bytes(160)),
    intents.CounterPayment(attempt_id=_ULID, amount_minor=1_250, currency="EUR", token=bytes(160)),
    _NOTICE,
    terminals.TerminalEvents(events=[_NOTICE], last=7),
    problem.Problem(
        type="about:blank",
        title="Not found",
        status=404,
        code="not_found",
        retryable=False,
        cashier_text={"en": "No."},
    ),
    till.SaleRequest(amount_minor=1_250, currency="EUR", order_id="ORDER-17", deadline_ms=60_000),
    _REFUSAL,
    _SALE,
    till.SaleEvent(sequence=7, at_ms=1, kind=till.SaleEventKind.REFUSED, sale=_SALE, refusal=_REFUSAL),
    _READER,
    till.DaemonView(
        terminal_id="TERMNA01",
        merchant_name="最佳咖啡",
        location_name="Main Street",
        currency="EUR",
        gateway_reachable=True,
        unresolved_attempt_count=0,
        readers=[_READER],
        unresolved=[_UNRESOLVED],
    ),
    till.TillPayment(
        payment_id=_ULID,
        order_id="ORDER-17",
        decided_ms=1_784_000_000_000,
        amount_minor=1_250,
        currency="EUR",
        entry_mode=payments.EntryMode.NFC_APP,
        state=payments.PaymentState.SUCCEEDED,
        charged_minor=1_250,
        refunded_minor=100,
    ),
    _UNRESOLVED,
    _OFFLINE_RESULT,
    _DRAINED,
    _OFFLINE,
    till.OfflinePayment(
        attempt_id=_ULID,
        order_id="ORDER-17",
        amount_minor=1_250,
        currency="EUR",
        accepted_ms=1_784_000_000_000,
        sequence=7,
        terminal_id="TERMNA01",
        merchant_name="最佳咖啡",
        location_name="Main Street",
    ),
    till.DaemonEvent(
        sequence=8,
        at_ms=1,
        kind=till.DaemonEventKind.OFFLINE_RESULT,
        progress=_DRAINED,
        result=_OFFLINE_RESULT,
    ),
    till.PinEntry(pin="2468"),
    sessions.SessionRequest(public_key=b"\x02" + bytes(32)),
    sessions.SessionAnswer(
        session_id=b"s" * 24, public_key=b"\x02" + bytes(32), lifetime_ms=3_600_000, gateway_time_ms=1
    ),
    cards.CardSessionRequest(session_id=_ULID, purpose=cards.CardPurpose.PERSONALISE, code="0123-4567-89AB"),
    cards.CardAnswerRequest(answer_id=_ULID, step=3, answer=b"\x91\x00"),
    _CARD,
    cards.CardSessionAnswer(
        session_id=_ULID,
        state="done",
        step=4,
        stage=cards.CardStage.PROOF,
        stage_number=6,
        stage_count=6,
        command=b"\x00\xa4\x04\x00",
        card=_CARD,
    ),
    till_page.PageLinkRequest(page=till_page.PageKind.CUSTOMER),
    till_page.PageLink(urls=("http://127.0.0.1:8181/page/enter#x",), expires_ms=1_784_000_000_000),
    till_page.PageEntry(link="a-link-of-16-chars"),
    till_page.PageEntered(page=till_page.PageKind.TILL),
    _ITEM,
    till_page.PageView(
        terminal_id="TERMNA01",
        merchant_name="最佳咖啡",
        location_name="Main Street",
        currency="EUR",
        exponent=2,
        language="en",
        has_printer=True,
        sequence=7,
        now_ms=1,
        items=(_ITEM,),
        sale=_SALE,
        order=_ORDER,
    ),
    till_page.DisplayView(
        merchant_name="最佳咖啡",
        location_name="Main Street",
        currency="EUR",
        exponent=2,
        language="zh-Hans",
        now_ms=1,
        sale_id=_ULID,
        amount_minor=1_250,
        has_code=True,
    ),
]


def _kinds(base: type[Message] = Message) -> Iterator[type[Message]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


@pytest.fixture(params=EXAMPLES, ids=lambda message: type(message).__name__)
def message(request: pytest.FixtureRequest) -> Message:
    chosen: Message = request.param
    return chosen


def test_every_kind_of_message_has_an_example() -> None:
    for module in pkgutil.iter_modules(messages.__path__):
        importlib.import_module(f"{messages.__name__}.{module.name}")
    kinds = {kind for kind in _kinds() if kind.__module__.startswith(messages.__name__)}
    assert {type(example) for example in EXAMPLES} == kinds


def test_a_message_comes_back_as_it_went(message: Message) -> None:
    assert parse_message(dump_message(message), type(message)) == message


def test_a_field_too_many_is_refused_at_every_depth(message: Message) -> None:
    document = json.loads(dump_message(message))
    for place in [document, *(value for value in document.values() if isinstance(value, dict))]:
        place["surplus"] = 1
        if not _is_text_map(place):
            with pytest.raises(WireError) as caught:
                parse_message(json.dumps(document).encode(), type(message))
            assert caught.value.code == "malformed"
        del place["surplus"]


def _is_text_map(place: dict[str, object]) -> bool:
    return set(place) <= {"en", "zh-Hans", "surplus"} and len(place) > 1


def test_a_message_can_not_be_changed(message: Message) -> None:
    for name in message.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(message, name, None)


def test_every_presentation_names_its_entry_mode() -> None:
    presentations = [example for example in EXAMPLES if isinstance(example, Presentation)]
    # What a wallet pays at its till's code is presented to nobody.
    presented = {entry_mode_of(presentation) for presentation in presentations}
    assert presented == set(EntryMode) - {EntryMode.QR_MERCHANT}
    for presentation in presentations:
        assert json.loads(dump_message(presentation))["entry_mode"] == entry_mode_of(presentation)


def _request_with(**changes: object) -> bytes:
    return json.dumps({**json.loads(dump_message(_REQUEST)), **changes}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"attempt_id": _ULID + "\n"},
        {"attempt_id": _ULID.lower()},
        {"attempt_id": _ULID[:-1]},
        {"attempt_id": "8" + _ULID[1:]},
        {"attempt_id": "x" + _ULID},
        {"order_id": "A\n"},
        {"order_id": ""},
        {"order_id": "A B"},
        {"order_id": "A" * 65},
        {"order_id": "é"},
        {"currency": "EUR\n"},
        {"currency": "eur"},
        {"currency": "EURO"},
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"amount_minor": 1_000_000_000_000},
        {"amount_minor": 12.0},
        {"amount_minor": 12.5},
        {"amount_minor": "12"},
        {"amount_minor": True},
        {"amount_minor": None},
        {"presented_ms": -1},
        {"presented_ms": 1 << 48},
        {"card_exchange_ms": 60_001},
        {"presentation": None},
        {"presentation": {}},
        {"presentation": {"entry_mode": "uid", "uid": "04"}},
        {"presentation": {"entry_mode": "nfc_app"}},
        {"presentation": {"entry_mode": "nfc_app", "token": ""}},
        {"presentation": {"entry_mode": "nfc_app", "token": "not base64!"}},
        {"presentation": {"entry_mode": "nfc_app", "token": "AAAA" * 400}},
        {"presentation": {"entry_mode": "code_numeric", "code": "47000000000000000"}},
        {"presentation": {"entry_mode": "code_numeric", "code": "470000000000000005\n"}},
        {"presentation": {"entry_mode": "nfc_sdm", "picc_data_hex": "0" * 32, "mac_hex": "a" * 16}},
        {"presentation": {"entry_mode": "nfc_sdm", "picc_data_hex": "0" * 31 + "\n", "mac_hex": "A" * 16}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_payment_request_of_another_form_is_refused(changes: dict[str, object]) -> None:
    assert parse_message(_request_with(), PaymentRequest) == _REQUEST
    with pytest.raises(WireError) as caught:
        parse_message(_request_with(**changes), PaymentRequest)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    "absent", ["attempt_id", "order_id", "amount_minor", "currency", "presentation", "presented_ms"]
)
def test_a_payment_request_with_a_field_missing_is_refused(absent: str) -> None:
    document = json.loads(dump_message(_REQUEST))
    del document[absent]
    with pytest.raises(WireError):
        parse_message(json.dumps(document).encode(), PaymentRequest)


def test_the_longest_body_is_read_and_one_byte_more_is_too_large() -> None:
    body = dump_message(_REQUEST)
    longest = body + b" " * (BODY_BYTES_MAX - len(body))
    assert parse_message(longest, PaymentRequest) == _REQUEST
    with pytest.raises(WireError) as caught:
        parse_message(longest + b" ", PaymentRequest)
    assert caught.value.code == "body_too_large"


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_typed_error(body: bytes) -> None:
    with pytest.raises(WireError):
        parse_message(body, PaymentRequest)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(PaymentRequest.__struct_fields__)), _JSON)
def test_any_json_in_any_field_gives_a_message_or_a_typed_error(name: str, value: object) -> None:
    try:
        request = parse_message(_request_with(**{name: value}), PaymentRequest)
    except WireError:
        return
    assert parse_message(dump_message(request), PaymentRequest) == request


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'"\\ud800"', b"[" * 10_000, b"{}x", b"NaN", b"[]", b"null"],
    ids=lambda body: repr(body[:8]),
)
def test_a_body_that_is_no_message_is_malformed(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        parse_message(body, PaymentRequest)
    assert caught.value.code == "malformed"


_SECRET = "SECRETVALUE"


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": f"{_SECRET} {_SECRET}"},
        {"amount_minor": _SECRET},
        {_SECRET: 1},
        {f"x - at `$.{_SECRET}": 1},
        {f"x - at `{_SECRET}`": 1},
        {"presentation": {"entry_mode": _SECRET}},
        {"presentation": {"entry_mode": f"x` - at `$.{_SECRET}`"}},
        {"presentation": {"entry_mode": "nfc_app", "token": _SECRET}},
        {"presentation": {"entry_mode": "nfc_app", _SECRET: 1}},
        {"presentation": {"entry_mode": "code_numeric", "code": _SECRET}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_an_error_never_carries_what_was_sent(changes: dict[str, object]) -> None:
    """Not even where the sender dresses a value as a part of the parser's own message."""
    with pytest.raises(WireError) as caught:
        parse_message(_request_with(**changes), PaymentRequest)
    assert _SECRET not in str(caught.value)


def test_an_error_names_the_field() -> None:
    with pytest.raises(WireError, match=r"\$\.amount_minor"):
        parse_message(_request_with(amount_minor=0), PaymentRequest)


def test_equal_messages_have_equal_bytes() -> None:
    """A repeat is compared by the digest of its canonical spelling."""
    again = parse_message(json.dumps(json.loads(dump_message(_REQUEST)), indent=2).encode(), PaymentRequest)
    assert dump_message(again) == dump_message(_REQUEST)
    assert msgspec.json.decode(dump_message(again))["presentation"]["entry_mode"] == "nfc_app"
