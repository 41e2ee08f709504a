"""Group commit: a lone payment at once, many together, a poisoned one alone, a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import GatewayBusy, GatewayError, NotFound, StoreUnavailable
from gateway.payments.model import PaymentBooking, PaymentRecord
from gateway.storage.postgres.batches import BATCH_MAX, Batches
from gateway.storage.postgres.booking import book_payments

if TYPE_CHECKING:
    from gateway.storage.postgres.store import PostgresStore
    from tests.conftest import Shop
    from tests.gateway.storage.postgres.conftest import Hand

QUEUE_MAX = 600


class Counting:
    """Books as ever, and remembers how many it was given at a time; fails where it is told to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.poison: dict[str, Exception] = {}

    async def __call__(
        self, connection: Any, bookings: Sequence[PaymentBooking]
    ) -> list[PaymentRecord | GatewayError]:
        self.sizes.append(len(bookings))
        for booking in bookings:
            if booking.attempt_id in self.poison:
                raise self.poison[booking.attempt_id]
        return await book_payments(connection, bookings)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
async def batches(store: PostgresStore, postgres_url: str, counting: Counting) -> AsyncIterator[Batches]:
    """Batches beside a furnished store."""
    batches = Batches(postgres_url, queue_max=QUEUE_MAX, book_together=counting)
    yield batches
    await batches.close()


async def test_lone_payments_are_booked_at_once(batches: Batches, shop: Shop, counting: Counting) -> None:
    for number in range(3):
        assert (await batches.submit_booking(shop.booking(number))).outcome == "approved"
    assert counting.sizes == [1, 1, 1]


async def test_payments_that_arrive_while_one_is_written_are_written_together(
    batches: Batches, shop: Shop, counting: Counting, hand: Hand
) -> None:
    await hand.take_head()
    first = batches.submit_booking(shop.booking(0, amount_minor=1))
    await hand.until_waiting()
    rest = [batches.submit_booking(shop.booking(n, amount_minor=1)) for n in range(1, BATCH_MAX + 51)]
    await hand.let_go()
    records = await asyncio.gather(first, *rest)
    assert counting.sizes == [1, BATCH_MAX, 50]
    assert [record.receipt_number for record in records] == [f"{n:06d}" for n in range(1, BATCH_MAX + 52)]


@pytest.mark.parametrize("poison", [ZeroDivisionError("a bug"), AssertionError(), GatewayError("internal")])
async def test_poisoned_attempt_fails_alone(
    batches: Batches, shop: Shop, counting: Counting, hand: Hand, poison: Exception
) -> None:
    counting.poison[shop.booking(3).attempt_id] = poison
    await hand.take_head()
    first = batches.submit_booking(shop.booking(0))
    await hand.until_waiting()
    rest = [batches.submit_booking(shop.booking(number)) for number in range(1, 6)]
    await hand.let_go()
    answers = await asyncio.gather(first, *rest, return_exceptions=True)
    assert answers[3] is poison
    assert [answer.outcome for answer in answers if answer is not poison] == ["approved"] * 5


async def test_value_that_the_database_can_not_hold_fails_alone_and_for_good(
    batches: Batches, shop: Shop, hand: Hand
) -> None:
    await hand.take_head()
    first = batches.submit_booking(shop.booking(0))
    await hand.until_waiting()
    bad = [
        batches.submit_booking(shop.booking(1, order_id="table\x00")),
        batches.submit_booking(shop.booking(2, amount_minor=1 << 70)),
    ]
    good = batches.submit_booking(shop.booking(3))
    await hand.let_go()
    answers = await asyncio.gather(first, *bad, good, return_exceptions=True)
    assert [type(answer) for answer in answers] == [PaymentRecord, GatewayError, GatewayError, PaymentRecord]


async def test_unusable_database_fails_the_batch_once_and_not_one_by_one(
    batches: Batches, shop: Shop, counting: Counting
) -> None:
    unavailable = StoreUnavailable("gone")
    counting.poison = {shop.booking(number).attempt_id: unavailable for number in range(20)}
    futures = [batches.submit_booking(shop.booking(number)) for number in range(20)]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert answers == [unavailable] * 20
    assert counting.sizes == [20]
    counting.poison.clear()
    assert (await batches.submit_booking(shop.booking(0))).outcome == "approved"


async def test_call_that_fails_leaves_the_others(batches: Batches, shop: Shop) -> None:
    async def fail(_: Any) -> None:
        raise NotFound("no such thing")

    before, call, after = (
        batches.submit_booking(shop.booking(1)),
        batches.submit(fail),
        batches.submit_booking(shop.booking(2)),
    )
    answers = await asyncio.gather(before, call, after, return_exceptions=True)
    assert [type(answer) for answer in answers] == [PaymentRecord, NotFound, PaymentRecord]


async def test_full_queue_turns_away_at_once(batches: Batches, shop: Shop, hand: Hand) -> None:
    await hand.take_head()
    futures = [batches.submit_booking(shop.booking(0, amount_minor=1))]
    await hand.until_waiting()
    futures += [batches.submit_booking(shop.booking(n, amount_minor=1)) for n in range(1, QUEUE_MAX + 1)]
    with pytest.raises(GatewayBusy):
        batches.submit_booking(shop.booking(QUEUE_MAX + 1))
    await hand.let_go()
    assert {record.outcome for record in await asyncio.gather(*futures)} == {"approved"}


async def test_work_of_a_caller_that_left_is_done_all_the_same(
    batches: Batches, shop: Shop, store: PostgresStore, hand: Hand
) -> None:
    await hand.take_head()
    first = batches.submit_booking(shop.booking(0))
    await hand.until_waiting()
    left, stayed = batches.submit_booking(shop.booking(1)), batches.submit_booking(shop.booking(2))
    left.cancel()
    await hand.let_go()
    await asyncio.gather(first, stayed)
    assert await store.find_payment_by_attempt("TERMNA01", shop.booking(1).attempt_id) is not None


async def test_closing_finishes_what_is_queued_and_takes_no_more(
    batches: Batches, shop: Shop, hand: Hand
) -> None:
    await hand.take_head()
    waiting = [batches.submit_booking(shop.booking(number)) for number in range(3)]
    closing = asyncio.create_task(batches.close())
    await hand.until_waiting()
    await hand.let_go()
    await closing
    assert [(await one).outcome for one in waiting] == ["approved"] * 3
    with pytest.raises(StoreUnavailable):
        batches.submit_booking(shop.booking(3))
