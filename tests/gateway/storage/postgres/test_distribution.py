"""The essentials of the contract, and an audit, on the PostgreSQL that the distribution installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from gateway.audit import audit
from gateway.storage.postgres.database import SERVER_VERSION_MIN
from gateway.storage.postgres.migrate import migrate
from tests.contract.conftest import OpenStore, open_store, store
from tests.contract.test_store import (
    test_copied_key_is_reported_even_when_the_presentation_is_refused,
    test_daily_limit_is_reached_exactly_and_never_passed,
    test_decision_survives_closing_the_store,
    test_expired_nonces_are_forgotten,
    test_fresh_code_withdraws_the_instruments_earlier_unused_one,
    test_hold_that_is_over_does_not_keep_money_from_a_payment,
    test_key_of_one_terminal_can_not_be_enrolled_for_another,
    test_many_attempts_on_one_order_at_once_pay_once,
    test_many_attempts_with_one_token_at_once_pay_once,
    test_many_sends_of_one_attempt_at_once_are_decided_once,
    test_numeric_code_pays_once_within_its_time,
    test_payment_is_approved_and_moves_money_once,
    test_payment_is_declined_without_funds_and_takes_what_is_left_with_them,
    test_two_claims_under_one_counter_suspend_the_instrument,
    test_two_processes_agree_on_one_token_and_on_the_limit,
    test_wallet_is_funded_once_per_transfer,
    test_withdrawn_terminal_is_turned_away_and_nothing_is_stored,
)
from tests.databases import Database, postgres_database
from tests.postgres_server import PostgresServer, distribution_programs, running_server

if TYPE_CHECKING:
    from gateway.storage.store import Store
    from tests.conftest import Shop

# Collected here once more, with this module's `database`.
__all__ = [
    "OpenStore",
    "open_store",
    "store",
    "test_copied_key_is_reported_even_when_the_presentation_is_refused",
    "test_daily_limit_is_reached_exactly_and_never_passed",
    "test_decision_survives_closing_the_store",
    "test_expired_nonces_are_forgotten",
    "test_fresh_code_withdraws_the_instruments_earlier_unused_one",
    "test_hold_that_is_over_does_not_keep_money_from_a_payment",
    "test_key_of_one_terminal_can_not_be_enrolled_for_another",
    "test_many_attempts_on_one_order_at_once_pay_once",
    "test_many_attempts_with_one_token_at_once_pay_once",
    "test_many_sends_of_one_attempt_at_once_are_decided_once",
    "test_numeric_code_pays_once_within_its_time",
    "test_payment_is_approved_and_moves_money_once",
    "test_payment_is_declined_without_funds_and_takes_what_is_left_with_them",
    "test_two_claims_under_one_counter_suspend_the_instrument",
    "test_two_processes_agree_on_one_token_and_on_the_limit",
    "test_wallet_is_funded_once_per_transfer",
    "test_withdrawn_terminal_is_turned_away_and_nothing_is_stored",
]


@pytest.fixture(scope="module")
def distribution_server() -> Iterator[PostgresServer]:
    """The server of /usr/lib/postgresql."""
    programs = distribution_programs()
    if programs is None:
        pytest.skip("no PostgreSQL of a distribution in /usr/lib/postgresql: apt-get install postgresql")
    if float(programs.parent.name) < SERVER_VERSION_MIN:
        pytest.skip(f"the distribution's PostgreSQL is older than {SERVER_VERSION_MIN}")
    with running_server(programs) as server:
        server.create_database("migrated")
        migrate(server.url("migrated"))
        yield server


@pytest.fixture
def distribution_url(distribution_server: PostgresServer) -> Iterator[str]:
    yield distribution_server.create_database("test", "migrated")
    distribution_server.drop_database("test")


@pytest.fixture
def database(distribution_url: str) -> Database:
    return postgres_database(distribution_url)


async def test_books_of_a_distributions_server_are_whole(
    store: Store, shop: Shop, distribution_url: str
) -> None:
    for number in range(5):
        await store.book_payment(shop.booking(number))
    assert audit(distribution_url).payment_count == 5
