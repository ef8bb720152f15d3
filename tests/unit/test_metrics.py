import re
from collections.abc import Iterator

import pytest
from admin_world import figures, two_workers

from serval.admin.metrics import metrics_text
from serval.outlook import Outlook
from serval.scoreboard import Scoreboard

LABEL = r'[a-z]+="(\\.|[^"\\])*"'
SAMPLE = re.compile(rf"(?P<name>[a-z_]+)(\{{(?P<labels>{LABEL}(,{LABEL})*)\}})? (?P<value>\S+)")


def series(text: str) -> dict[str, float]:
    """Each sample by its name and labels; every line must be one that a scraper understands."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            key, _, value = line.rpartition(" ")
            assert key not in found
            found[key] = float(value)
    return found


def families(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            yield name, kind


def test_counters_are_sums_over_all_workers() -> None:
    found = series(metrics_text(figures()))

    assert found["serval_requests_total"] == 22
    assert found["serval_response_body_bytes_total"] == 10_000
    assert found["serval_request_body_bytes_total"] == 140
    assert found["serval_abandoned_requests_total"] == 4
    assert found['serval_requests_refused_total{reason="field-too-long",status="431"}'] == 6
    assert found['serval_requests_refused_total{reason="other",status=""}'] == 0
    assert found["serval_connections_accepted_total"] == 16
    assert found["serval_loop_lag_seconds_count"] == 120
    assert found["serval_loop_lag_seconds_sum"] == 0.1
    assert found['serval_worker_pool_threads_busy{worker="1"}'] == 39
    assert found['serval_worker_exits_total{reason="crash"}'] == 2
    assert found["serval_reloads_total"] == 2


def test_no_counter_falls_when_a_worker_is_replaced() -> None:
    board = two_workers()
    before = series(metrics_text(figures(board)))

    board.release(0)
    after = series(metrics_text(figures(board)))

    counters = [key for key in before if re.search(r"_(total|bucket|count|sum)\b", key)]
    assert len(counters) > 30
    assert {key: after[key] for key in counters} == {key: before[key] for key in counters}


def test_the_histogram_is_cumulative_and_ends_with_all() -> None:
    found = series(metrics_text(figures()))
    buckets = [found[key] for key in found if key.startswith("serval_request_duration_seconds_b")]

    assert buckets == sorted(buckets)
    assert buckets[-1] == found["serval_request_duration_seconds_count"] == 22
    assert found['serval_request_duration_seconds_bucket{le="0.002"}'] == 20
    assert found['serval_request_duration_seconds_bucket{le="+Inf"}'] == 22
    assert found["serval_request_duration_seconds_sum"] == pytest.approx(2.04)


def test_gauges_tell_workers_apart() -> None:
    found = series(metrics_text(figures()))

    assert found['serval_worker_up{worker="1"}'] == 1
    assert found['serval_worker_in_flight_requests{worker="3"}'] == 4
    assert found['serval_worker_loop_lag_seconds{worker="1"}'] == 0.0015
    assert found['serval_worker_resident_memory_bytes{worker="1"}'] == 31_457_280
    assert found['serval_workers{state="ready"}'] == 2


def test_only_gauges_have_a_worker_label() -> None:
    text = metrics_text(figures())
    kinds = dict(families(text))

    labelled = {key.partition("{")[0] for key in series(text) if 'worker="' in key}

    assert {kinds[name] for name in labelled} == {"gauge"}


def test_each_family_has_its_help_and_its_type_before_its_samples() -> None:
    lines = metrics_text(figures()).splitlines()
    seen: list[str] = []
    for line in lines:
        if line.startswith("# HELP "):
            seen.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2] == seen[-1]
        else:
            assert line.startswith(seen[-1])

    assert len(seen) == len(set(seen))


def test_the_listening_queues_are_shown() -> None:
    found = series(metrics_text(figures()))

    assert found['serval_accept_queue_connections{listener="127.0.0.1:80"}'] == 7


def test_a_label_is_escaped() -> None:
    text = metrics_text(figures(outlook=Outlook(exits={'a"b\\c\nd': 1})))

    assert r'serval_worker_exits_total{reason="a\"b\\c\nd"} 1' in text


def test_large_counts_keep_their_last_digit() -> None:
    board = Scoreboard(1)
    board.slot(0).requests = 2**53 + 1

    assert f"serval_requests_total {2**53 + 1}\n" in metrics_text(figures(board))
