from dataclasses import replace

import pytest
from admin_world import CONSTANTS, NOW, RUNNING, at_work, figures, two_workers

from serval.admin.figures import figures_of
from serval.outlook import Outlook, ServerState
from serval.scoreboard import Scoreboard, WorkerState


def test_a_worker_is_told_by_its_slot() -> None:
    first, second = figures().workers

    assert (first.number, first.pid, second.number, second.pid) == (1, 41, 3, 42)
    assert (first.age_seconds, first.heartbeat_age_seconds) == (50.0, 1.0)
    assert (first.requests, first.in_flight, first.rss_bytes) == (11, 4, 30 * 1024 * 1024)


def test_a_worker_without_a_beat_has_none_that_is_old() -> None:
    board = Scoreboard(1)
    board.slot(0).pid = 9

    assert figures(board).workers[0].heartbeat_age_seconds == 0.0


def test_what_dead_workers_have_counted_stays_in_the_sums() -> None:
    board = two_workers()
    board.release(0)

    assert figures(board).totals.requests == 22
    assert len(figures(board).workers) == 1


@pytest.mark.parametrize("state", [WorkerState.READY, WorkerState.RETIRING])
def test_one_worker_that_takes_requests_makes_the_server_ready(state: WorkerState) -> None:
    board = Scoreboard(2)
    at_work(board.slot(0), pid=1, state=WorkerState.DRAINING)
    at_work(board.slot(1), pid=2, state=state)

    assert figures(board).readiness == ""


@pytest.mark.parametrize(
    "state", sorted({*WorkerState} - {WorkerState.READY, WorkerState.RETIRING})
)
def test_without_such_a_worker_it_is_not_ready(state: WorkerState) -> None:
    board = Scoreboard(1)
    at_work(board.slot(0), pid=1, state=state)

    assert figures(board).readiness == "no worker is ready"


def test_a_server_that_stops_is_not_ready_though_its_workers_serve() -> None:
    stopping = replace(RUNNING, state=ServerState.STOPPING)

    assert figures(outlook=stopping).readiness == "draining"


def test_a_server_is_ready_once_all_of_its_first_workers_are() -> None:
    assert figures(outlook=replace(RUNNING, state=ServerState.BOOTING)).readiness == "booting"


def test_the_uptime_counts_from_the_start() -> None:
    found = figures_of(CONSTANTS, Outlook(), Scoreboard(1), [], NOW)

    assert found.uptime_seconds == 60.0
    assert not found.workers
    assert not found.queues
