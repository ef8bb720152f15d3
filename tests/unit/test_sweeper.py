from collections.abc import Callable
from typing import Any

import pytest

from serval.worker.deadlines import Deadlines, Wait
from serval.worker.sweeper import LATE_SECONDS, TICK_SECONDS, Sweeper


class Handle:
    """A timer that can be cancelled."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Handle:
        self.handles.append(Handle(at, call))
        return self.handles[-1]

    @property
    def armed(self) -> list[float]:
        return [handle.at for handle in self.handles if not handle.cancelled]

    def go_to(self, now: float) -> None:
        self.now = now
        due = [one for one in self.handles if not one.cancelled and one.at <= now]
        for handle in due:
            self.handles.remove(handle)
            handle.call()


class Item:
    """Notes what it is told."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.told: list[tuple[Wait, bool]] = []
        self.then = then

    def expired(self, wait: Wait, *, late: bool) -> None:
        self.told.append((wait, late))
        self.then()


def sweeper_on(loop: Any, **seconds: float) -> Sweeper:
    return Sweeper(Deadlines({Wait[name.upper()]: value for name, value in seconds.items()}), loop)


def test_one_timer_is_armed_for_the_oldest_wait() -> None:
    loop = Loop()
    sweeper = sweeper_on(loop, head=10.0, body=20.0)
    for wait in (Wait.HEAD, Wait.BODY, Wait.HEAD):
        sweeper.start(wait, Item())

    assert loop.armed == [110.0 + TICK_SECONDS]


def test_a_shorter_wait_takes_the_place_of_the_timer() -> None:
    loop = Loop()
    sweeper = sweeper_on(loop, head=10.0, body=5.0)
    sweeper.start(Wait.HEAD, Item())
    sweeper.start(Wait.BODY, Item())

    assert loop.armed == [105.0 + TICK_SECONDS]


def test_a_wait_without_limit_needs_no_timer() -> None:
    loop = Loop()
    sweeper_on(loop).start(Wait.HEAD, Item())

    assert loop.armed == []


def test_those_whose_time_is_over_are_told_and_the_next_is_waited_for() -> None:
    loop = Loop()
    sweeper = sweeper_on(loop, head=10.0)
    first, second = Item(), Item()
    sweeper.start(Wait.HEAD, first)
    loop.now = 105.0
    sweeper.start(Wait.HEAD, second)
    loop.go_to(110.0 + TICK_SECONDS)

    assert first.told == [(Wait.HEAD, False)]
    assert second.told == []
    assert loop.armed == [115.0 + TICK_SECONDS]


def test_a_wait_that_has_ended_costs_one_idle_sweep() -> None:
    loop = Loop()
    sweeper = sweeper_on(loop, head=10.0)
    item = Item()
    sweeper.start(Wait.HEAD, item)
    sweeper.stop(Wait.HEAD, item)
    loop.go_to(111.0)

    assert item.told == []
    assert loop.armed == []


def test_who_is_told_may_wait_again() -> None:
    loop = Loop()
    sweeper = sweeper_on(loop, head=10.0, body=3.0)
    item = Item(lambda: sweeper.start(Wait.BODY, item))
    sweeper.start(Wait.HEAD, item)
    loop.go_to(110.0 + TICK_SECONDS)

    assert loop.armed == [113.0 + 2 * TICK_SECONDS]


def test_a_defect_of_one_keeps_its_time_from_none_of_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise RuntimeError

    loop = Loop()
    sweeper = sweeper_on(loop, head=10.0, body=20.0)
    items = [Item(fail), Item()]
    for item in items:
        sweeper.start(Wait.HEAD, item)
    sweeper.start(Wait.BODY, items[0])
    loop.go_to(111.0)

    assert [item.told for item in items] == [[(Wait.HEAD, False)]] * 2
    assert loop.armed == [120.0 + TICK_SECONDS]
    assert caplog.messages == ["a wait for HEAD could not be ended"]


@pytest.mark.parametrize(("behind", "late"), [(0.0, False), (LATE_SECONDS + 0.01, True)])
def test_a_loop_that_was_held_up_is_noticed(behind: float, late: bool) -> None:
    loop = Loop()
    sweeper = sweeper_on(loop, head=10.0)
    item = Item()
    sweeper.start(Wait.HEAD, item)
    loop.go_to(110.0 + TICK_SECONDS + behind)

    assert item.told == [(Wait.HEAD, late)]


@pytest.mark.parametrize("armed", [True, False])
def test_a_closed_sweeper_sleeps_for_good(armed: bool) -> None:
    loop = Loop()
    sweeper = sweeper_on(loop, head=10.0)
    if armed:
        sweeper.start(Wait.HEAD, Item())
    sweeper.close()
    sweeper.start(Wait.HEAD, Item())

    assert loop.armed == []
