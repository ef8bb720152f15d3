import asyncio
import sys
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serval.errors import ConfigError
from serval.scoreboard import POOL_BUSY, POOL_TOKENS, POOL_WAITING, Scoreboard
from serval.worker.anyio_pool import PoolWatch, resize_pool


class Pool:
    """AnyIO's default limiter, as it is now."""

    def __init__(self, busy: int = 0, waiting: int = 0) -> None:
        self.total_tokens = 40.0
        self.borrowed_tokens = busy
        self.waiting = waiting

    def statistics(self) -> SimpleNamespace:
        return SimpleNamespace(tasks_waiting=self.waiting)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    found = Pool()
    module = SimpleNamespace(current_default_thread_limiter=lambda: found)
    monkeypatch.setitem(sys.modules, "anyio.to_thread", module)
    return found


def test_the_pool_is_shown_to_the_supervisor(pool: Pool) -> None:
    slot = Scoreboard(1).slot(0)
    pool.borrowed_tokens, pool.waiting = 40, 3

    assert list(PoolWatch().look(10.0, slot)) == []

    shown = [slot.counters[index] for index in (POOL_TOKENS, POOL_BUSY, POOL_WAITING)]
    assert shown == [40, 40, 3]


class Loop:
    """Another thread's event loop, which comes to its turns when told so; its tasks end at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._calls: list[Callable[[], object]] = []
        self.is_closed = False

    def call_soon_threadsafe(self, call: Callable[..., object], *args: object) -> None:
        if self.is_closed:
            raise RuntimeError("Event loop is closed")
        self._calls.append(lambda: call(*args))

    def create_task(self, coro: Coroutine[Any, Any, Pool]) -> SimpleNamespace:
        coro.close()
        return SimpleNamespace(
            done=lambda: True, cancelled=lambda: False, result=lambda: self._pool
        )

    def turn(self) -> int:
        """Make the calls that are due, and say how many those were."""
        calls, self._calls = self._calls, []
        for call in calls:
            call()
        return len(calls)


def watching(*loops: Loop) -> PoolWatch:
    return PoolWatch(lambda: cast("list[asyncio.AbstractEventLoop]", loops))


def shown(watch: PoolWatch) -> list[int]:
    slot = Scoreboard(1).slot(0)
    list(watch.look(0.0, slot))
    return [slot.counters[index] for index in (POOL_TOKENS, POOL_BUSY, POOL_WAITING)]


def test_the_pools_of_other_loops_are_added_once_each_has_told_its_own(
    pool: Pool,
) -> None:
    second, third = (Loop(Pool(busy=40, waiting=number)) for number in (1, 2))
    pool.borrowed_tokens = 5
    watch = watching(second, third)

    before = shown(watch)
    turns = second.turn(), third.turn()
    after = shown(watch)

    assert before == [40, 5, 0]
    assert after == [120, 85, 3]
    assert turns == (1, 1)
    assert (second.turn(), third.turn()) == (0, 0), "asked again"


def test_a_loop_that_has_gone_counts_no_more(pool: Pool) -> None:
    loop, closed = Loop(Pool(busy=7)), Loop(Pool())
    closed.is_closed = True
    loops = [loop, closed]
    watch = PoolWatch(lambda: cast("list[asyncio.AbstractEventLoop]", loops))
    shown(watch)
    loop.turn()
    there = shown(watch)
    loops.clear()

    assert (there, shown(watch)) == ([80, 7, 0], [40, 0, 0])


def test_a_loop_that_answers_after_it_has_gone_is_forgotten(
    pool: Pool,
) -> None:
    loop = Loop(Pool())
    loops = [loop]
    watch = PoolWatch(lambda: cast("list[asyncio.AbstractEventLoop]", loops))
    shown(watch)
    loops.clear()
    shown(watch)
    loop.turn()

    assert shown(watch) == [40, 0, 0]


def test_one_exhausted_pool_of_several_is_told_of(pool: Pool) -> None:
    loop = Loop(Pool(busy=40, waiting=3))
    watch = watching(loop)
    shown(watch)
    loop.turn()

    said = [*watch.look(1.0, None), *watch.look(2.5, None)]

    assert [line.partition(":")[0] for line in said] == [
        "all 40 threads of AnyIO's pool have been taken for 1.5 s and 3 calls wait for one"
    ]


def test_a_pool_that_changes_while_its_calls_are_counted_has_none_that_wait(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> SimpleNamespace:
        raise RuntimeError("Set changed size during iteration")

    pool.borrowed_tokens = 40
    monkeypatch.setattr(pool, "statistics", change)

    assert shown(PoolWatch()) == [40, 40, 0]


def test_a_pool_without_a_limit_is_shown_as_one_with_many_threads(pool: Pool) -> None:
    slot = Scoreboard(1).slot(0)
    pool.total_tokens = float("inf")

    list(PoolWatch().look(10.0, slot))

    assert slot.counters[POOL_TOKENS] == sys.maxsize


def test_a_pool_that_stays_exhausted_is_told_of_once_a_minute(pool: Pool) -> None:
    watch = PoolWatch()
    pool.borrowed_tokens, pool.waiting = 40, 3

    said = {at: list(watch.look(at, None)) for at in (0.0, 0.9, 1.5, 2.0, 61.0, 61.6)}

    assert [at for at, lines in said.items() if lines] == [1.5, 61.6]
    assert said[1.5] == [
        "all 40 threads of AnyIO's pool have been taken for 1.5 s and 3 calls wait for one: what "
        "is not async stands still; more threads come with anyio_tokens"
    ]


@pytest.mark.parametrize(("busy", "waiting"), [(39, 1), (40, 0)])
def test_a_pool_that_recovers_in_between_is_not_told_of(
    pool: Pool, busy: int, waiting: int
) -> None:
    watch = PoolWatch()

    for at, state in enumerate([(40, 1), (busy, waiting), (40, 1)]):
        pool.borrowed_tokens, pool.waiting = state
        assert list(watch.look(at * 0.9, None)) == []


def test_without_anyio_there_is_nothing_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "anyio.to_thread", raising=False)

    assert not PoolWatch().is_there
    assert list(PoolWatch().look(0.0, None)) == []
    resize_pool(0)


def test_a_size_for_a_pool_that_cannot_be_is_an_error_of_the_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "anyio.to_thread", None)

    with pytest.raises(ConfigError, match="anyio_tokens is for AnyIO, which is not installed"):
        resize_pool(7)


def test_the_pool_of_the_running_loop_gets_the_size() -> None:
    to_thread = pytest.importorskip("anyio.to_thread")

    async def resized() -> float:
        resize_pool(7)
        return float(to_thread.current_default_thread_limiter().total_tokens)

    assert asyncio.run(resized()) == 7
