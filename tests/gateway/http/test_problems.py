"""Every failure has one code, every code one status: walked over the trees, so that none is forgotten."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import gateway.errors
import wire.errors
import wire.es256
from gateway.errors import GatewayError
from gateway.http.problems import STATUS, code_of, problem_of, respond_with_problem
from terminal.till_api.problems import STATUS_OF as TILL_STATUS
from wire.errors import WireError
from wire.messages.problem import Problem
from wire.notices import NOTICES, NoticeKind

PROBLEM_CODES = {code for code, notice in NOTICES.items() if notice.kind is NoticeKind.PROBLEM}
TOLD_BY_THE_TERMINAL_ITSELF = {
    "till_not_enrolled",
    "journal_unwritable",
    "gateway_unreachable",
    "printer_unavailable",
}
"""Problems a terminal's own command line or sale shows; no HTTP interface answers them."""


def _tree(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


@pytest.mark.parametrize("code", sorted(PROBLEM_CODES))
def test_every_problem_has_a_status_in_the_interface_that_answers_it(code: str) -> None:
    assert code in STATUS or code in TILL_STATUS or code in TOLD_BY_THE_TERMINAL_ITSELF


def test_the_table_knows_only_problems_and_agrees_with_the_tills() -> None:
    assert set(STATUS) <= PROBLEM_CODES
    assert {STATUS[code] == TILL_STATUS[code] for code in STATUS.keys() & TILL_STATUS.keys()} == {True}


@pytest.mark.parametrize("kind", _tree(GatewayError), ids=lambda kind: kind.__name__)
def test_every_gateway_error_maps_to_its_own_code_or_stays_inside(kind: type[GatewayError]) -> None:
    error = kind("what exactly")
    code = code_of(error)
    assert code == (kind.code if kind.code in PROBLEM_CODES else "internal")
    assert NOTICES[code].retryable == kind.retryable


@pytest.mark.parametrize("kind", _tree(WireError), ids=lambda kind: kind.__name__)
def test_every_wire_error_is_the_callers_fault(kind: type[WireError]) -> None:
    assert 400 <= STATUS[code_of(kind("what exactly"))] < 500


@pytest.mark.parametrize(
    "code", ["signature_missing", "signature_invalid", "signature_expired", "digest_mismatch"]
)
def test_a_signature_error_keeps_its_code(code: str) -> None:
    assert code_of(wire.errors.SignatureError(code=code)) == code


@given(st.text(max_size=30))
def test_any_code_an_error_carries_gives_a_well_formed_problem(code: str) -> None:
    for error in (GatewayError(code=code), WireError(code=code)):
        problem = problem_of(error, request_id="0011223344556677")
        assert problem.status == STATUS[problem.code]
        assert problem.instance == "urn:tapscan:request:0011223344556677"
        assert problem.cashier_text["zh-Hans"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (web.HTTPNotFound(), "not_found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), "method_not_allowed"),
        (web.HTTPRequestEntityTooLarge(1), "body_too_large"),
        (web.HTTPExpectationFailed(), "malformed"),
        (web.HTTPBadGateway(), "internal"),
        (ValueError("secret-token"), "internal"),
        (asyncio.QueueFull(), "internal"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_ours_is_translated(error: Exception, code: str) -> None:
    response = respond_with_problem(error, request_id="00")
    assert isinstance(response.body, bytes)
    problem = msgspec.json.decode(response.body, type=Problem)
    assert (problem.code, problem.status) == (code, response.status)
    assert b"secret" not in response.body


def test_a_detail_is_shown_where_it_helps_the_caller_and_kept_where_it_is_about_us() -> None:
    told = problem_of(WireError("a field is not of its type"), request_id="00")
    kept = problem_of(gateway.errors.StoreUnavailable("disk /dev/sda1 is full"), request_id="00")
    assert told.detail == "a field is not of its type"
    assert kept.detail is None
