"""Waits that several threads start and stop."""

import math
import threading
from collections.abc import Callable
from typing import Any

from serval.worker.deadlines import Wait
from serval.worker.shared_waits import SharedDeadlines, SharedQueue, SharedSweeper
from serval.worker.sweeper import TICK_SECONDS


class Loop:
    """Notes what it is to call."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.armed: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def call_at(self, at: float, call: Callable[[], None]) -> None:
        self.armed.append(call)


class Item:
    """Waits, and cannot be served when that is over."""

    def __init__(self, sweeper: SharedSweeper) -> None:
        self.sweeper = sweeper
        self.told = 0

    def expired(self, wait: Wait, *, late: bool) -> None:
        self.told += 1
        self.sweeper.retry(wait, self)


def queue_of(seconds: float, **started_at: float) -> SharedQueue[str]:
    queue: SharedQueue[str] = SharedQueue(seconds, threading.Lock())
    for item, at in started_at.items():
        queue.start(item, at)
    return queue


def test_what_is_tried_again_comes_before_all_that_waits() -> None:
    queue = queue_of(10.0, a=1.0, b=2.0, c=8.0)
    taken = queue.take_expired(12.0)
    queue.retry(taken, 12.0)

    assert list(queue) == ["a", "b", "c"]
    assert queue.next_at() == 12.0 + TICK_SECONDS
    assert queue.take_expired(12.0) == []
    assert queue.take_expired(12.0 + TICK_SECONDS) == ["a", "b"]


def test_what_waits_anew_by_then_is_not_tried_again() -> None:
    queue = queue_of(10.0, a=1.0, b=2.0)
    taken = queue.take_expired(12.0)
    queue.start("a", 12.0)
    queue.retry(taken, 12.0)

    assert queue.take_expired(12.0 + TICK_SECONDS) == ["b"]
    assert queue.next_at() == 22.0


def test_all_of_a_sweep_are_put_back_together() -> None:
    loop: Any = Loop()
    sweeper = SharedSweeper(SharedDeadlines({Wait.HEAD: 1.0, Wait.BODY: 1.0}), loop)
    items = [Item(sweeper) for _ in range(3)]
    for wait in (Wait.HEAD, Wait.BODY):
        for item in items:
            sweeper.deadlines[wait].start(item, -math.inf)

    for wait, one in sweeper.deadlines.take_expired(0.0):
        one.expired(wait, late=False)
    (put_back,) = loop.soon
    put_back()

    assert [item.told for item in items] == [2, 2, 2]
    assert [*sweeper.deadlines[Wait.HEAD]] == [*sweeper.deadlines[Wait.BODY]] == items
    assert len(loop.armed) == 1
