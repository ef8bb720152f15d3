"""One thread of several looks for events at a time."""

import threading
import time
from collections.abc import Callable

import pytest

from serval.worker.threads.turns import STUCK_SECONDS, Turns

PATIENCE_SECONDS = 20.0


class Worker:
    """A thread as the turns see it."""

    def __init__(self, busy_since: float = 0.0) -> None:
        self.busy_since = busy_since


@pytest.fixture
def turns() -> Turns[Worker]:
    return Turns()


def waiting(turns: Turns[Worker], worker: Worker) -> threading.Thread:
    """A thread that waits for the turn of that worker."""
    thread = threading.Thread(target=turns.take, args=(worker,), daemon=True)
    thread.start()
    return thread


def soon(holds: Callable[[], bool]) -> bool:
    """Whether that comes true."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not holds() and time.monotonic() < give_up_at:
        time.sleep(0.001)
    return holds()


def ended(thread: threading.Thread) -> bool:
    thread.join(PATIENCE_SECONDS)
    return not thread.is_alive()


def test_whoever_asks_first_has_the_turn(turns: Turns[Worker]) -> None:
    worker = Worker()
    turns.take(worker)

    assert turns.holder is worker


def test_a_turn_that_is_passed_on_goes_to_one_that_waits(turns: Turns[Worker]) -> None:
    first, others = Worker(), [Worker() for _ in range(3)]
    turns.take(first)
    threads = [waiting(turns, other) for other in others]

    holder = first
    for _ in threads:
        turns.pass_on(holder)
        assert soon(lambda: turns.holder in others)
        assert turns.holder is not None
        holder = turns.holder
        others.remove(holder)

    assert all(map(ended, threads))


def test_nobody_passes_on_the_turn_of_another(turns: Turns[Worker]) -> None:
    worker = Worker()
    turns.take(worker)
    turns.pass_on(Worker())

    assert turns.holder is worker


def test_a_turn_that_nobody_wants_is_there_for_the_next(turns: Turns[Worker]) -> None:
    first, second = Worker(), Worker()
    turns.take(first)
    turns.pass_on(first)
    turns.take(second)

    assert turns.holder is second


def test_whoever_is_held_up_loses_the_turn(turns: Turns[Worker]) -> None:
    stuck, other = Worker(), Worker()
    turns.take(stuck)
    thread = waiting(turns, other)
    stuck.busy_since = time.monotonic() - STUCK_SECONDS

    assert ended(thread)
    assert turns.holder is other


def test_whoever_waits_for_events_keeps_the_turn_and_is_left_alone(turns: Turns[Worker]) -> None:
    idle, other = Worker(), Worker()
    turns.take(idle)
    thread = waiting(turns, other)

    assert soon(lambda: turns.is_unwatched)
    assert turns.holder is idle
    idle.busy_since = time.monotonic()
    turns.wake()
    assert ended(thread)  # nobody has told it that the work is done
    assert turns.holder is other


def test_a_ring_that_nobody_hears_is_none_too_many(turns: Turns[Worker]) -> None:
    turns.wake()
    turns.wake()
    worker = Worker()
    turns.take(worker)

    assert turns.holder is worker
