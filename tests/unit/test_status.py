import json

import pytest
from admin_world import figures

from serval.admin.status import parse_status, report_of, status_text
from serval.scoreboard import Scoreboard


def test_the_report_is_json_that_is_read_back_the_same() -> None:
    assert parse_status(status_text(figures())) == report_of(figures())


def test_the_report_tells_of_the_server() -> None:
    report = report_of(figures())

    assert (report["version"], report["app"], report["pid"]) == ("1.2.3", "shop:app", 40)
    assert (report["state"], report["ready"], report["generation"]) == ("running", True, 3)
    assert report["uptime_seconds"] == 60.0
    assert report["accept_queues"] == {"127.0.0.1:80": 7}


def test_restarts_are_the_ends_that_nobody_has_asked_for() -> None:
    assert report_of(figures())["restarts"] == 3


def test_the_totals_are_sums() -> None:
    totals = report_of(figures())["totals"]

    assert (totals["requests"], totals["requests_per_second"]) == (22, 11.0)
    assert (totals["in_flight"], totals["connections"], totals["websockets"]) == (8, 12, 2)
    assert (totals["sent_bytes"], totals["received_bytes"]) == (10_000, 140)
    assert (totals["rejected"], totals["abandoned"]) == (6, 4)
    assert totals["p50_seconds"] == pytest.approx(0.0015, rel=0.1)
    assert totals["p99_seconds"] == pytest.approx(1.0, rel=0.3)


def test_a_worker_without_requests_has_no_quantiles() -> None:
    board = Scoreboard(1)
    board.slot(0).pid = 5

    worker = report_of(figures(board))["workers"][0]

    assert (worker["p50_seconds"], worker["p99_seconds"]) == (None, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"version": "1"})])
def test_what_is_no_report_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"status report|Expecting value"):
        parse_status(text)
