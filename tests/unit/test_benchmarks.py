"""What the benchmarks make of what their tools say, and the README of what they found."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from benchmarks.comparison import CHART, README, RESULTS, drawn, table_line, with_comparison
from benchmarks.h2load import command, told
from benchmarks.measurement import Measurement
from benchmarks.report import goals, summed_up
from benchmarks.works import WORKS

STEADY: Final = next(work for work in WORKS if work.rate)
# Five requests, begun 0.2 ms after one another, as h2load writes them.
LOG: Final = "".join(f"{1_000_000 + 200 * i}\t200\t{100 + i}\n" for i in range(5))


def summary(data_bytes: int) -> str:
    return f"traffic: 1B (1) total, 1B (1) headers (space savings 0.00%), 1B ({data_bytes}) data\n"


RIGHT: Final = summary(5 * len(STEADY.answer))


def test_the_connections_of_a_steady_load_share_its_rate_and_begin_one_after_another() -> None:
    given = command(STEADY, ("127.0.0.1", 80), 2.0, Path("log"))

    assert {"-c100", "-n10000", "--rps=50", "-r5", "--rate-period=1ms"} <= set(given)
    assert given[-1] == "http://127.0.0.1:80/"


def test_latencies_at_a_steady_load_are_those_of_its_log() -> None:
    load = told(STEADY, 5, LOG, RIGHT)

    assert load.units == 5
    assert load.seconds == pytest.approx(0.0008)
    assert load.p50_us == pytest.approx(102)
    assert load.p99_us == pytest.approx(104)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (LOG.replace("200\t104", "500\t104"), RIGHT),
        (LOG.partition("\n")[2], RIGHT),
        (LOG, summary(5 * len(STEADY.answer) - 1)),
        (LOG, ""),
    ],
    ids=["another status", "an answer less", "a byte less", "no summary"],
)
def test_a_steady_load_that_was_not_answered_rightly_has_no_figures(log: str, said: str) -> None:
    with pytest.raises(ConnectionError, match="good answers of 5"):
        told(STEADY, 5, log, said)


def test_a_load_that_was_slower_than_asked_for_has_no_figures() -> None:
    with pytest.raises(ConnectionError, match="requests a second, not 20,000"):
        told(replace(STEADY, rate=20_000), 5, LOG, RIGHT)


@pytest.mark.parametrize(("ours", "verdict"), [(50.0, "0.50"), (200.0, "2.00  MISSED")])
def test_our_latency_is_compared_with_the_best_peers(ours: float, verdict: str) -> None:
    rows = [
        summed_up(name, [Measurement("steady", name, 0, 10, 1.0, 20.0, 10.0, p99_us)])
        for name, p99_us in [("serval", ours), ("uvicorn", 300.0), ("granian", 100.0)]
    ]

    assert goals(STEADY, rows) == [
        f"  goal: p99 no worse than the best peer's, granian's, reached: {verdict}"
    ]


# --- what the README shows --------------------------------------------------------------------


def test_the_table_of_the_readme_is_that_of_the_results() -> None:
    results = json.loads(RESULTS.read_text())

    assert README.read_text() == with_comparison(README.read_text(), results)


def test_the_chart_is_that_of_the_results_and_the_readme_shows_it() -> None:
    results = json.loads(RESULTS.read_text())

    assert CHART.read_text() == drawn(results)
    assert "](benchmarks/chart.svg)" in README.read_text()


def test_the_least_cost_stands_out_whoever_has_it() -> None:
    rows = [
        summed_up(name, [Measurement("hello", name, 0, 10, 1.0, cost)])
        for name, cost in [("serval", 20.04), ("uvicorn", 1234.5), ("granian", 19.0)]
    ]

    assert table_line(WORKS[0], rows) == f"| {WORKS[0].title} | 20.0 | 1,234 | **19.0** |"
