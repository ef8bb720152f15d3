import pytest
from admin_world import figures, two_workers

from serval.admin.screen import duration, screen_of, since, size
from serval.admin.status import StatusReport, report_of
from serval.scoreboard import LATENCY, Scoreboard


def report(board: Scoreboard | None = None) -> StatusReport:
    return report_of(figures(board))


def test_the_summary_tells_of_the_server() -> None:
    text = "\n".join(screen_of(report()).summary)

    for part in (
        "shop:app  running  generation 3  up 60s  pid 40  serval 1.2.3",
        "2 of 2 workers ready, 3 restarts, 60MiB",
        "22 requests, 11.0/s, 8 in flight, 6 rejected; p50 1.6ms, p99 968ms",
        "12 connections, 2 WebSockets, 7 waiting to be accepted",
    ):
        assert part in text


def test_the_table_has_a_line_for_each_worker_in_columns() -> None:
    head, first, second = screen_of(report()).table

    assert head.split()[:3] == ["WORKER", "PID", "STATE"]
    assert first.split()[:6] == ["1", "41", "ready", "3", "50s", "11"]
    assert second.split()[:2] == ["3", "42"]
    assert len(head) == len(first) == len(second)


def test_without_workers_there_is_a_table_all_the_same() -> None:
    assert len(screen_of(report(Scoreboard(1))).table) == 1


def test_the_times_of_a_moment_are_those_of_its_requests() -> None:
    board = two_workers()
    before = report(board)
    board.slot(0).counters[LATENCY + 15] += 5

    found = since(report(board), before)

    assert found["totals"]["p50_seconds"] == pytest.approx(7.0, rel=0.3)
    assert found["workers"][0]["p50_seconds"] == pytest.approx(7.0, rel=0.3)
    assert found["workers"][1]["p50_seconds"] is None
    assert found["totals"]["requests"] == before["totals"]["requests"]


def test_a_worker_that_is_new_is_shown_since_its_start() -> None:
    board = two_workers()
    before = report(board)
    board.slot(0).pid = 99

    found = since(report(board), before)

    assert found["workers"][0]["p50_seconds"] == pytest.approx(0.0015, rel=0.2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0ms"),
        (0.00125, "1.2ms"),
        (0.25, "250ms"),
        (1.5, "1.5s"),
        (42.9, "42s"),
        (125.0, "2m05s"),
        (7500.0, "2h05m"),
        (90_000.0, "1d01h"),
    ],
)
def test_a_time_has_some_three_digits(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "-"), (31_457_280, "30MiB"), (20 * 1024**3, "20.0GiB")]
)
def test_memory_is_in_mebibytes_until_it_is_much(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text
