import asyncio
import sys
from types import SimpleNamespace

import pytest

from serval.errors import ConfigError
from serval.scoreboard import POOL_BUSY, POOL_TOKENS, POOL_WAITING, Scoreboard
from serval.worker.anyio_pool import PoolWatch, resize_pool


class Pool:
    """AnyIO's default limiter, as it is now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.total_tokens = 40.0
        self.borrowed_tokens = 0
        self.waiting = 0
        module = SimpleNamespace(current_default_thread_limiter=lambda: self)
        monkeypatch.setitem(sys.modules, "anyio.to_thread", module)

    def statistics(self) -> SimpleNamespace:
        return SimpleNamespace(tasks_waiting=self.waiting)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    return Pool(monkeypatch)


def test_the_pool_is_shown_to_the_supervisor(pool: Pool) -> None:
    slot = Scoreboard(1).slot(0)
    pool.borrowed_tokens, pool.waiting = 40, 3

    assert list(PoolWatch().look(10.0, slot)) == []

    shown = [slot.counters[index] for index in (POOL_TOKENS, POOL_BUSY, POOL_WAITING)]
    assert shown == [40, 40, 3]


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
