"""What a link promises beyond the contract: its own answer for everyone, bounds, and a break that is told."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import GatewayBusy, GatewayError, NotFound, StoreUnavailable
from gateway.storage.link.client import open_linked_store
from gateway.storage.link.server import serve_store
from gateway.storage.sqlite.store import open_sqlite_store

if TYPE_CHECKING:
    from tests.conftest import Shop

PAGE = ["first", "second"]


async def test_answers_find_their_calls_in_whatever_order_they_come(
    held: Any, open_link: Any, shop: Shop
) -> None:
    store, _ = await open_link()
    calls = [asyncio.ensure_future(store.find_wallet(f"WALLET{number}")) for number in range(20)]
    await held.until_asked(20)
    assert held.asked == [("find_wallet", f"WALLET{number}") for number in range(20)]
    for number in reversed(range(20)):
        if number % 3 == 0:
            held.answers[number].set_exception(NotFound(f"no {number}"))
        else:
            held.answers[number].set_result(None)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(one) if isinstance(one, NotFound) else one for one in answers] == [
        f"no {number}" if number % 3 == 0 else None for number in range(20)
    ]


async def test_calls_above_the_bound_are_refused_and_room_is_made_by_answers(
    held: Any, open_link: Any
) -> None:
    store, _ = await open_link(in_flight_max=2)
    calls = [asyncio.ensure_future(store.check_health()) for _ in range(2)]
    await held.until_asked(2)
    with pytest.raises(GatewayBusy):
        await store.check_health()
    held.answers[0].set_result(None)
    await calls[0]
    third = asyncio.ensure_future(store.check_health())
    await held.until_asked(3)
    for answer in held.answers[1:]:
        answer.set_result(None)
    await asyncio.gather(*calls, third)


async def test_a_broken_link_fails_everything_in_flight_and_is_told_once(held: Any, open_link: Any) -> None:
    lost = asyncio.Event()
    store, server = await open_link(on_lost=lost.set)
    calls = [asyncio.ensure_future(store.check_health()) for _ in range(3)]
    await held.until_asked(3)
    server._protocol._transport.abort()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    async with asyncio.timeout(10):
        await lost.wait()
    with pytest.raises(StoreUnavailable):
        await store.check_health()


async def test_the_stores_end_notices_that_the_other_is_gone_and_lets_what_was_asked_finish(
    held: Any, open_link: Any
) -> None:
    store, server = await open_link()
    call = asyncio.ensure_future(store.check_health())
    await held.until_asked(1)
    store.link._transport.abort()  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        await server.wait_until_lost()
    held.answers[0].set_result(None)
    with pytest.raises(StoreUnavailable):
        await call


async def test_closing_waits_for_what_is_in_flight_and_is_no_break(held: Any, open_link: Any) -> None:
    lost = asyncio.Event()
    store, server = await open_link(on_lost=lost.set)
    call = asyncio.ensure_future(store.find_wallet("W"))
    await held.until_asked(1)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await store.check_health()
    assert not closing.done()
    held.answers[0].set_result(None)
    assert await call is None
    await closing
    await store.close()
    await server.close()
    assert not lost.is_set()


async def test_a_caller_that_gave_up_breaks_nothing(held: Any, open_link: Any) -> None:
    store, _ = await open_link()
    given_up = asyncio.ensure_future(store.check_health())
    await held.until_asked(1)
    given_up.cancel()
    held.answers[0].set_result(None)
    other = asyncio.ensure_future(store.check_health())
    await held.until_asked(2)
    held.answers[1].set_result(None)
    assert await other is None


async def test_what_is_our_bug_behind_the_link_is_internal_in_front_of_it(held: Any, open_link: Any) -> None:
    store, _ = await open_link()
    call = asyncio.ensure_future(store.check_health())
    await held.until_asked(1)
    held.answers[0].set_exception(AssertionError("debits differ from credits"))
    with pytest.raises(GatewayError) as caught:
        await call
    assert caught.value.code == "internal"
    assert "debits" not in str(caught.value)


async def test_nonsense_ends_the_link_and_nothing_else(held: Any) -> None:
    for nonsense in (b"\xff" * 8, b"\x00\x00\x00\x05\x00\x00\x00\x01\xfe", b"\x00\x00\x00\x01\x00"):
        ours, theirs = socket.socketpair()
        server = await serve_store(held, theirs)
        ours.sendall(nonsense)
        async with asyncio.timeout(10):
            await server.wait_until_lost()
        await server.close()
        ours.close()


WORKER = """
import asyncio, socket, sys
from gateway.storage.link.client import open_linked_store
from tests_shop import Shop

async def main():
    store = await open_linked_store(socket.socket(fileno=int(sys.argv[1])))
    records = await asyncio.gather(*(store.book_payment(Shop().booking(number)) for number in range(1, 33)))
    print(sum(record.outcome == "approved" for record in records), flush=True)
    if sys.argv[2] == "close":
        await store.close()
    else:
        import os
        os._exit(7)

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.parametrize("ending", ["close", "crash"])
async def test_another_process_books_through_the_link(
    tmp_path: Path, make_shop: type[Shop], ending: str
) -> None:
    shop = make_shop()
    store = await open_sqlite_store(tmp_path / "store.sqlite3")
    await shop.furnish(store)
    ours, theirs = socket.socketpair()
    server = await serve_store(store, ours)
    # The shop's records, importable there by a name of its own.
    (tmp_path / "tests_shop.py").write_bytes((Path(__file__).parents[3] / "conftest.py").read_bytes())
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(theirs.fileno()), ending),
        pass_fds=(theirs.fileno(),),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    theirs.close()
    async with asyncio.timeout(60):
        out, _ = await worker.communicate()
        await server.wait_until_lost()
    await server.close()
    found = await store.find_wallet(shop.wallet.wallet_id)
    await store.close()
    assert out == b"32\n"
    assert found is not None
    assert found.available_minor == shop.funds_minor - 32 * 1_250


async def test_two_workers_share_one_store(tmp_path: Path, shop: Shop) -> None:
    behind = await open_sqlite_store(tmp_path / "store.sqlite3")
    await shop.furnish(behind)
    pairs = [socket.socketpair() for _ in range(2)]
    servers = [await serve_store(behind, theirs) for _, theirs in pairs]
    stores = [await open_linked_store(ours) for ours, _ in pairs]
    records = await asyncio.gather(
        *(stores[number % 2].book_payment(shop.booking(number)) for number in range(1, 41))
    )
    for store in stores:
        await store.close()
    for server in servers:
        await server.close()
    await behind.close()
    receipts = sorted(str(record.receipt_number) for record in records)
    assert receipts == [f"{number:06d}" for number in range(1, 41)]
