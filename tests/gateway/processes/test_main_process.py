"""A gateway in several processes: serves as one, loses none of them unnoticed, and leaves none behind."""

from __future__ import annotations

import signal
import socket
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from tests.gateway.processes.conftest import Gateway

pytestmark = pytest.mark.processes
StartGateway = Callable[..., "Gateway"]
WAIT_S = 60
RSS_BYTES_MAX = 200 * 1024 * 1024


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_workers_serve_as_one_gateway_and_stop_when_told(
    start_gateway: StartGateway, request: pytest.FixtureRequest, kind: str
) -> None:
    place = {} if kind == "sqlite" else {"database": request.getfixturevalue("postgres_url")}
    gateway = start_gateway(**place)
    main, workers = psutil.Process(gateway.process.pid), gateway.workers()
    assert sorted(gateway.ready["workers"]) == sorted(one.pid for one in workers)
    assert len(workers) == 2
    gateway.open_shop()
    requests = [gateway.request() for _ in range(30)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(gateway.pay, requests * 2))
    # Each sent twice, to whichever worker took the connection: decided once, answered alike.
    assert sorted(status for status, _ in answers) == [200] * 30 + [201] * 30
    assert {answer["outcome"] for _, answer in answers} == {"approved"}
    receipts = {answer["receipt"]["receipt_number"] for _, answer in answers}
    assert receipts == {f"{number:06d}" for number in range(1, 31)}
    assert max(one.memory_info().rss for one in (main, *workers)) < RSS_BYTES_MAX
    assert gateway.stop() == 0
    assert psutil.wait_procs(workers, WAIT_S)[1] == []
    assert gateway.run("audit")["audit"] == "ok"
    events = gateway.events()
    assert [events[-1]["event"], events[-1].get("worker")] == ["stopped", None]
    served = {line["worker"] for line in events if line["event"] == "request"}
    assert served == {1, 2}


def test_a_worker_that_dies_is_started_again_and_the_others_go_on(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    gateway.open_shop()
    before = gateway.workers()
    psutil.Process(gateway.ready["workers"][0]).kill()
    (lost,) = gateway.until_logged("worker_lost")
    assert (lost["pid"], lost["status"]) == (gateway.ready["workers"][0], -signal.SIGKILL)
    gateway.until_logged("worker_accepting", 3)
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(gateway.pay, [gateway.request() for _ in range(12)]))
    assert [status for status, _ in answers] == [201] * 12
    after = {one.pid for one in gateway.workers()}
    assert len(after) == 2
    assert len(after & {one.pid for one in before}) == 1
    assert gateway.stop() == 0


def test_a_payment_in_flight_is_answered_before_the_gateway_closes(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    gateway.open_shop()
    other = sqlite3.connect(
        gateway.toml.parent / "data" / "g.sqlite3", isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    request = gateway.request()
    received: list[tuple[int, dict[str, Any]]] = []
    paying = threading.Thread(target=lambda: received.append(gateway.pay(request)))
    paying.start()
    gateway.until_all_have_looked()
    gateway.process.send_signal(signal.SIGTERM)
    gateway.until_logged("worker_stopping", 2)
    other.execute("ROLLBACK")
    other.close()
    paying.join(WAIT_S)
    assert [status for status, _ in received] == [201]
    assert gateway.process.wait(WAIT_S) == 0
    assert gateway.run("audit")["payments"] == 1


def test_when_the_main_process_dies_its_workers_say_so_and_go(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    workers = gateway.workers()
    gateway.open_shop()
    other = sqlite3.connect(
        gateway.toml.parent / "data" / "g.sqlite3", isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    request = gateway.request()
    received: list[tuple[int, dict[str, Any]]] = []
    paying = threading.Thread(target=lambda: received.append(gateway.pay(request)))
    paying.start()
    gateway.until_all_have_looked()
    gateway.process.send_signal(signal.SIGKILL)
    paying.join(WAIT_S)
    other.execute("ROLLBACK")
    other.close()
    assert [(status, answer["code"]) for status, answer in received] == [(503, "store_unavailable")]
    gateway.process.wait(WAIT_S)
    assert psutil.wait_procs(workers, WAIT_S)[1] == []
    # Nobody holds the port any more.
    with socket.create_server(("127.0.0.1", gateway.port)):
        pass
    # The same attempt, sent again to a gateway that lives, is decided once.
    successor = start_gateway()
    assert successor.pay(request)[0] == 201
    assert successor.pay(request)[0] == 200
    assert successor.stop() == 0
