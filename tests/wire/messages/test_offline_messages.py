"""Whatever a terminal has to hand in or a gateway to say about being offline fits one body."""

from __future__ import annotations

import pytest

from wire.errors import WireError
from wire.messages.base import BODY_BYTES_MAX, dump_message, parse_message
from wire.messages.offline import (
    BATCH_RECORDS_MAX,
    ISSUER_KEYS_MAX,
    BatchAnswer,
    BatchRequest,
    IssuerAnswer,
    IssuerKey,
    OfflineRules,
    RecordResult,
    StatusListAnswer,
)
from wire.notices import NOTICES
from wire.tokens.offline_record import OFFLINE_RECORD_BYTES_MAX, SEQUENCE_MAX
from wire.tokens.status_list import STATUS_LIST_BYTES_MAX

_ULID = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"


def test_the_largest_batch_fits_a_body() -> None:
    batch = BatchRequest(batch_id=_ULID, records=[bytes(OFFLINE_RECORD_BYTES_MAX)] * BATCH_RECORDS_MAX)
    body = dump_message(batch)
    in_base64 = 4 * -(-OFFLINE_RECORD_BYTES_MAX // 3)
    assert len(body) == BATCH_RECORDS_MAX * (in_base64 + 3) + 53 <= BODY_BYTES_MAX
    assert parse_message(body, BatchRequest) == batch


def test_the_longest_answer_to_a_batch_fits_a_body() -> None:
    result = RecordResult(
        sequence=SEQUENCE_MAX,
        outcome="conflict",
        code=max(NOTICES, key=len),
        payment_id=_ULID,
        loss_minor=999_999_999_999,
        loss_bearer="operator",
    )
    answer = BatchAnswer(results=[result] * BATCH_RECORDS_MAX, next_sequence=SEQUENCE_MAX + 1)
    assert len(dump_message(answer)) <= BODY_BYTES_MAX // 2


def test_the_longest_status_list_and_issuer_answer_fit_a_body() -> None:
    listed = StatusListAnswer(etag="f" * 64, status_list=bytes(STATUS_LIST_BYTES_MAX))
    assert len(dump_message(listed)) <= BODY_BYTES_MAX
    key = IssuerKey(key_id=bytes(8), public_key=bytes(33))
    most = 999_999_999_999
    rules = OfflineRules(
        currency="EUR",
        floor_minor=most,
        device_total_minor=most,
        stored_sum_minor=most,
        stored_count=10_000,
        list_age_ms=1,
        clock_age_ms=1,
        record_age_ms=1,
    )
    issuer = IssuerAnswer(keys=[key] * ISSUER_KEYS_MAX, gateway_time_ms=1_784_000_000_000, rules=rules)
    assert len(dump_message(issuer)) <= 1_024


@pytest.mark.parametrize("count", [0, BATCH_RECORDS_MAX + 1])
def test_a_batch_of_no_or_too_many_records_is_refused(count: int) -> None:
    body = dump_message(BatchRequest(batch_id=_ULID, records=[b"sealed"] * count))
    with pytest.raises(WireError):
        parse_message(body, BatchRequest)
