"""The figures are what they say: medians over rounds, ratios of neighbours, the worse of two stores."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

from tests.benchmarks.ledger.cells import Block, Cell
from tests.benchmarks.ledger.figures import Figures, make_figures
from tests.benchmarks.ledger.load_client import Latencies, Result
from tests.benchmarks.ledger.plot import Line, draw_plot
from tests.benchmarks.ledger.presigning import Mix

ROUNDS = (1, 2, 3)


def cell(
    target: str,
    per_s: float,
    *,
    in_flight: int = 64,
    number: int = 1,
    mix: Mix = Mix.UNIFORM,
    block: Block = Block.LADDER,
    p99_ms: float = 10.0,
    rss_mib: float = 100.0,
) -> Cell:
    result = Result(
        sent=1,
        approved=1,
        refused=0,
        failed=0,
        complaints=[],
        window_s=1.0,
        approved_per_s=per_s,
        refused_per_s=0.0,
        offered_per_s=4 * per_s,
        not_offered=0,
        approval=Latencies(1, p99_ms / 2, p99_ms, p99_ms),
        refusal=Latencies(1, 1.0, 2.0, 3.0),
        answer_bytes=500,
        answer_body_bytes=400,
        client_cpu_share=0.1,
        client_us_per_request=30.0,
    )
    return Cell(
        target=target,
        mix=mix,
        in_flight=in_flight,
        round=number,
        block=block,
        result=result,
        gateway_us_per_payment=1.0,
        server_us_per_payment=1.0,
        rss_mib=rss_mib,
        others_share=0.0,
    )


def rounds(target: str, *per_s: float, in_flight: int = 64) -> list[Cell]:
    return [
        cell(target, each, in_flight=in_flight, number=number)
        for number, each in zip(ROUNDS, per_s, strict=True)
    ]


def figures_of(*cells: list[Cell], main: tuple[str, ...] = ("sqlite_1", "postgres_2")) -> Figures:
    return make_figures([each for some in cells for each in some], main, [2000.0, 2200.0, 900.0], [3000.0])


def test_best_gateway_stands_against_the_one_process_baseline() -> None:
    found = figures_of(
        rounds("noop_1", 8000, 10000, 50000),
        rounds("noop_2", 15000, 16000, 17000),
        rounds("sqlite_1", 2000, 2500, 3000),
        rounds("sqlite_2", 3000, 4000, 5000),
    )
    assert found["sqlite_vs_noop"] == 0.4
    assert found["sqlite_vs_noop_in_two_processes"] == 0.25
    assert found["sqlite_two_vs_one"] == 1.6


def test_postgres_stands_against_the_median_of_pgbench() -> None:
    found = figures_of(rounds("postgres_1", 2000, 2000, 2000), rounds("postgres_2", 3000, 3000, 3000))
    assert found["postgres_vs_pgbench"] == 1.5
    assert found["postgres_vs_pgbench_prepared"] == 1.0
    assert found["postgres_two_vs_one"] == 1.5


def test_worse_of_two_stores_is_the_figure() -> None:
    found = figures_of(
        rounds("sqlite_1", 1000, 1000, 1000),
        rounds("sqlite_1", 900, 800, 700, in_flight=256),
        rounds("postgres_2", 1000, 1000, 1000),
        rounds("postgres_2", 990, 990, 990, in_flight=256),
        [cell("postgres_2", 1, number=4, p99_ms=70.0, rss_mib=150.0)] * 9,
    )
    assert found["throughput_at_256_vs_peak"] == 0.8
    assert found["p99_ms_at_64"] == 70.0
    assert found["rss_mib"] == 150.0


def test_mix_is_held_against_the_uniform_cell_of_its_own_round() -> None:
    """The machine slows down by half in each round; the ratio stays what it is."""
    compared = [
        cell("sqlite_1", per_s / 2**number, number=number, mix=mix, block=Block.COMPARED)
        for number in ROUNDS
        for mix, per_s in ((Mix.UNIFORM, 1000), (Mix.HOT_MERCHANT, 950), (Mix.HOT_WALLET, 1100))
    ]
    full = [
        cell("sqlite_1_preloaded", 900 / 2**number, number=number, block=Block.COMPARED) for number in ROUNDS
    ]
    # Cells of the ladder are no neighbours of these.
    found = figures_of(compared, full, rounds("sqlite_1", 5000, 5000, 5000))
    assert found["hot_merchant_vs_uniform"] == 0.95
    assert found["hot_wallet_vs_uniform"] == 1.1
    assert found["preloaded_vs_empty"] == 0.9


def test_goodput_under_overload_is_a_share_of_the_peak() -> None:
    found = figures_of(
        rounds("sqlite_1", 1000, 1000, 1000), [cell("sqlite_1", 850, in_flight=3000, block=Block.OVERLOAD)]
    )
    assert found["goodput_at_4x_vs_peak"] == 0.85
    assert found["offered_vs_peak"] == 3.4
    assert found["refusal_p99_ms_at_4x"] == 2.0


def test_what_was_not_measured_is_none() -> None:
    found = make_figures([], ())
    assert set(found.values()) == {None} | {value for name, value in found.items() if name.endswith("_per_s")}


def test_picture_holds_every_line_and_no_label_covers_another() -> None:
    lines = [Line(f"line <{number}>", "#000", ((1, 100.0), (64, 1000.0 + number))) for number in range(4)]
    picture = ElementTree.fromstring(draw_plot("a & b", "c", lines, (1, 64)))
    namespace = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f"{namespace}polyline")) == 4
    labels = [text for text in picture.findall(f"{namespace}text") if (text.text or "").startswith("line <")]
    heights = sorted(float(label.attrib["y"]) for label in labels)
    assert all(upper - lower > 16.5 for lower, upper in itertools.pairwise(heights))
