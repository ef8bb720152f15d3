import os
from dataclasses import replace

import pytest

from serval.scoreboard import (
    ABANDONED,
    HEARTBEAT_AT,
    IN_FLIGHT,
    LATENCY,
    RECEIVED_BYTES,
    REFUSED,
    REQUESTS,
    SENT_BYTES,
    SERVING_MICROSECONDS,
    Scoreboard,
    Slot,
    WorkerState,
)

COUNTERS = (
    "pid",
    "generation",
    "requests",
    "rejected",
    "accepted",
    "connections",
    "in_flight",
    "websockets",
    "rss_bytes",
)
TIMES = ("started_at", "ready_at", "heartbeat_at", "lag_seconds", "request_rate")


def values(slot: Slot) -> list[float]:
    return [getattr(slot, name) for name in COUNTERS + TIMES]


def test_a_new_slot_is_empty() -> None:
    slot = Scoreboard(1).slot(0)

    assert slot.state is WorkerState.EMPTY
    assert values(slot) == [0] * len(COUNTERS + TIMES)


def test_every_field_has_a_place_of_its_own() -> None:
    slot = Scoreboard(1).slot(0)

    for number, name in enumerate(COUNTERS + TIMES, start=1):
        setattr(slot, name, number)
    slot.state = WorkerState.DRAINING

    assert values(slot) == list(range(1, len(COUNTERS + TIMES) + 1))
    assert slot.state is WorkerState.DRAINING


def test_slots_do_not_overlap() -> None:
    board = Scoreboard(3)

    for name in COUNTERS + TIMES:
        setattr(board.slot(1), name, 7)

    assert not any(values(board.slot(0)))
    assert not any(values(board.slot(2)))


def test_the_hot_path_writes_by_index() -> None:
    slot = Scoreboard(1).slot(0)

    slot.counters[REQUESTS] += 1
    slot.counters[IN_FLIGHT] -= 1
    slot.gauges[HEARTBEAT_AT] = 2.5

    assert (slot.requests, slot.in_flight, slot.heartbeat_at) == (1, -1, 2.5)


def test_clearing_a_slot_forgets_everything() -> None:
    slot = Scoreboard(1).slot(0)
    for name in COUNTERS + TIMES:
        setattr(slot, name, 7)

    slot.clear()

    assert not any(values(slot))


def test_totals_outlive_the_worker_that_counted_them() -> None:
    board = Scoreboard(2)
    board.slot(0).requests = 5
    board.slot(0).rejected = 2
    board.slot(0).accepted = 3
    board.slot(1).requests = 10

    board.release(0)
    board.slot(0).requests = 1

    totals = board.totals()
    assert (totals.requests, totals.rejected, totals.accepted, totals.deaths) == (16, 2, 3, 1)


def test_bytes_times_and_refusals_outlive_a_worker_too() -> None:
    board = Scoreboard(2)
    for slot in board:
        slot.counters[ABANDONED] = 1
        slot.counters[SENT_BYTES] = 1000
        slot.counters[RECEIVED_BYTES] = 200
        slot.counters[SERVING_MICROSECONDS] = 30
        slot.counters[LATENCY + 2] = 4
        slot.counters[REFUSED + 1] = 5

    before = board.totals()
    board.release(0)

    after = board.totals()
    assert (after.sent_bytes, after.received_bytes, after.serving_microseconds) == (2000, 400, 60)
    assert after.latency[2] == sum(after.latency) == 8
    assert after.refused[1] == sum(after.refused) == 10
    assert replace(after, deaths=0) == before


def test_a_board_counts_and_lists_its_slots() -> None:
    board = Scoreboard(4)

    assert len(board) == 4
    assert [slot.index for slot in board] == [0, 1, 2, 3]


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_what_a_forked_process_writes_is_seen_by_its_parent() -> None:
    slot = Scoreboard(1).slot(0)

    pid = os.fork()
    if pid == 0:
        slot.requests = 42
        os._exit(0)
    os.waitpid(pid, 0)

    assert slot.requests == 42
