"""The benchmark cannot rot: a tiny run of all its pieces, and that it notices what it must notice."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from tests.benchmarks.ledger.cells import Block, CellFailed, LoadClient, measure_cell, order_of
from tests.benchmarks.ledger.figures import make_figures
from tests.benchmarks.ledger.ledgers import LedgerWrong, SqliteLedger, keep_sqlite_town, open_sqlite_ledger
from tests.benchmarks.ledger.machine import describe_machine, describe_versions
from tests.benchmarks.ledger.postgres import measure_pgbench
from tests.benchmarks.ledger.preload import Advance
from tests.benchmarks.ledger.presigning import Customers, Mix, Signers
from tests.benchmarks.ledger.report import make_document, make_picture, show_report
from tests.benchmarks.ledger.scale import SEED, TINY
from tests.benchmarks.ledger.schedule import measure_all
from tests.benchmarks.ledger.targets import POSTGRES, SQLITE, Ledgers
from tests.benchmarks.ledger.town import Town

pytestmark = pytest.mark.processes


def watch(what: str, steps: int) -> Advance:
    return lambda advanced: None


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def client(cache: Path) -> Iterator[LoadClient]:
    with LoadClient(cache / "client.log") as running:
        yield running


@pytest.fixture(scope="module")
def signers(cache: Path) -> Iterator[Signers]:
    with Signers(Customers(Town(TINY.town), SEED), cache / "batches", SEED) as running:
        yield running


@pytest.fixture
def ledger(tmp_path: Path, cache: Path) -> Iterator[SqliteLedger]:
    source = keep_sqlite_town(cache, Town(TINY.town), watch)
    opened = open_sqlite_ledger(source, tmp_path / "ledger", workers=1, name="sqlite_1")
    opened.gateways.await_ready()
    yield opened
    opened.gateways.kill()


def test_tiny_run_measures_and_reports_every_figure_of_its_store(tmp_path: Path, cache: Path) -> None:
    measured = measure_all(TINY, [SQLITE], tmp_path, cache, watch)
    found = make_figures(measured.cells, measured.main_targets)
    missing = {name for name, value in found.items() if value is None}
    assert {name for name in missing if "postgres" not in name and "pgbench" not in name} <= {
        # Measured at other numbers in flight here, or with another number of processes, or in full only.
        "p99_ms_at_64",
        "throughput_at_256_vs_peak",
        "sqlite_two_vs_one",
        "strangers_vs_uniform",
        # So few connections are all served.
        "refusal_p99_ms_at_4x",
    }
    with (tmp_path / "report.txt").open("w") as text:
        show_report(Console(file=text, width=120), TINY, measured, found)
    document = json.loads(
        make_document(TINY, measured, found, describe_machine(tmp_path), describe_versions())
    )
    assert document["figures"] == found
    assert len(document["cells"]) == len(measured.cells)
    assert "SQLite, one process" in (tmp_path / "report.txt").read_text()
    ElementTree.fromstring(make_picture(TINY, measured, "a machine"))


def test_answer_that_is_no_approval_fails_the_cell(
    ledger: SqliteLedger, client: LoadClient, signers: Signers
) -> None:
    batch = signers.sign(Mix.UNIFORM, 8, 1)
    order = order_of(ledger.gateways.ports, batch, 2, 5, 0)
    assert client.run(order).approved == 8
    # The same signed requests again are refused: their nonces were seen.
    with pytest.raises(CellFailed, match=r"8 of 8 requests failed.*HTTP/1\.1 401"):
        client.run(order)


def test_decline_fails_the_cell_although_its_status_is_that_of_an_approval(
    ledger: SqliteLedger, client: LoadClient, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        # Both sign for the one regular there is, and both begin at the same counter: one must be a copy.
        lone = Town(replace(TINY.town, regular_count=1))
        phones = [
            stack.enter_context(Signers(Customers(lone, SEED), tmp_path / str(seed), seed)) for seed in (1, 2)
        ]
        orders = [order_of(ledger.gateways.ports, phone.sign(Mix.UNIFORM, 1, 1), 1, 5, 0) for phone in phones]
        assert client.run(orders[0]).approved == 1
        with pytest.raises(CellFailed, match=r'HTTP/1\.1 201.*"outcome":"declined"'):
            client.run(orders[1])


def test_payment_that_nobody_was_answered_fails_the_ledger(
    ledger: SqliteLedger, client: LoadClient, signers: Signers
) -> None:
    order = order_of(ledger.gateways.ports, signers.sign(Mix.HOT_WALLET, 8, 1), 2, 5, 0)
    ledger.answered = client.run(order).approved - 1
    with pytest.raises(LedgerWrong, match="7 payments were answered as approved and 8 are held"):
        ledger.close(audit=True)


def test_open_load_fires_at_its_rate_and_sends_nothing_twice(
    ledger: SqliteLedger, client: LoadClient, signers: Signers
) -> None:
    batch = signers.sign(Mix.HOT_MERCHANT, 40, 1)
    order = msgspec.structs.replace(order_of(ledger.gateways.ports, batch, 16, 1, 0), rate_per_s=40.0)
    result = client.run(order)
    assert result.sent + result.not_offered == 39  # The last shot would fall on the end.
    assert result.approved + result.refused == result.sent
    ledger.answered = result.approved
    ledger.close(audit=True)


def test_two_gateways_on_postgres_and_pgbench_share_one_durable_server(
    tmp_path: Path, cache: Path, client: LoadClient, signers: Signers
) -> None:
    scale = replace(TINY, processes=(2,), preloaded_count=0)
    ledgers = Ledgers(scale, [POSTGRES], tmp_path, cache, watch)
    with ledgers.running() as server:
        assert server is not None
        assert server.durable
        (ledger,) = ledgers.open_all(tmp_path)
        order = order_of(ledger.gateways.ports, signers.sign(Mix.UNIFORM, 40, 1), 4, 5, 0)
        cell = measure_cell(
            client,
            order,
            target=ledger.name,
            mix=Mix.UNIFORM,
            round_number=1,
            block=Block.LADDER,
            gateway_pids=ledger.gateways.pids,
            server_pids=ledger.server_pids,
        )
        ledger.answered = cell.result.approved
        assert (ledger.name, len(order.ports), cell.result.approved) == ("postgres_2", 2, 40)
        assert measure_pgbench(server, scale.pgbench_s) > 0
        ledger.close(audit=True)
