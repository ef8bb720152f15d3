"""AnyIO's pool of threads, on which Starlette and FastAPI run what is not async.

Its size is set where the operator has said so; whether it is exhausted is looked at now and then,
since everything that is not async then waits.  Each event loop has one.  Touched only where the
application has imported AnyIO, or the operator asks for it; the server itself never takes one of
its threads.
"""

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, Protocol, cast

from serval.errors import ConfigError
from serval.scoreboard import POOL_BUSY, POOL_TOKENS, POOL_WAITING, Slot

_MODULE: Final = "anyio.to_thread"
# For how long all threads may be taken, and calls wait, before somebody is told.
PATIENCE_SECONDS: Final = 1.0
# One warning in this time.
INTERVAL_SECONDS: Final = 60.0


class _Statistics(Protocol):
    tasks_waiting: int


class Limiter(Protocol):
    """AnyIO's CapacityLimiter, as far as it matters here."""

    total_tokens: float

    @property
    def borrowed_tokens(self) -> int:
        """How many threads are taken."""

    def statistics(self) -> _Statistics:
        """Who waits for one."""


def resize_pool(tokens: int) -> None:
    """Let AnyIO's pool on the running loop have so many threads; 0 leaves it as it is.

    Raises:
        ConfigError: There is no AnyIO.
    """
    if not tokens:
        return
    try:
        importlib.import_module(_MODULE)
    except ImportError as exc:
        raise ConfigError("anyio_tokens is for AnyIO, which is not installed") from exc
    _limiter().total_tokens = tokens


def _limiter() -> Limiter:
    return cast("Limiter", sys.modules[_MODULE].current_default_thread_limiter())


async def _found() -> Limiter:
    return _limiter()  # which AnyIO gives to tasks only


def _waiting_count(limiter: Limiter) -> int:
    """How many calls wait for one of its threads, of which none is free then.  Any thread."""
    if limiter.borrowed_tokens >= limiter.total_tokens:
        with suppress(RuntimeError):  # it has changed while it was counted: there is life in it
            return limiter.statistics().tasks_waiting
    return 0


class PoolWatch:
    """Looks at the pools of the running loop and of others.

    Args:
        others: Gives the other loops on which the application runs, in threads of their own.
    """

    def __init__(self, others: Callable[[], Iterable[asyncio.AbstractEventLoop]] = tuple) -> None:
        self._others = others
        # Each loop is asked once, in its own thread, and its answer read from then on.
        self._asked: dict[asyncio.AbstractEventLoop, asyncio.Task[Limiter] | None] = {}
        self._exhausted_at: dict[Limiter, float] = {}
        self._told_at = float("-inf")

    @property
    def is_there(self) -> bool:
        """Whether the application has such a pool."""
        return _MODULE in sys.modules

    def look(self, now: float, slot: Slot | None) -> Iterator[str]:
        """Show the pools to the supervisor as one, and give the warning that is due.

        Args:
            now: Monotonic seconds.
            slot: Where it is shown; None without a supervisor.
        """
        if not self.is_there:
            return
        limiters = [_limiter(), *self._limiters()]
        waiting = {limiter: _waiting_count(limiter) for limiter in limiters}
        if slot is not None:
            tokens = sum(limiter.total_tokens for limiter in limiters)
            # Without a limit it is infinite, which no counter can hold.
            slot.counters[POOL_TOKENS] = int(tokens) if tokens < sys.maxsize else sys.maxsize
            slot.counters[POOL_BUSY] = sum(limiter.borrowed_tokens for limiter in limiters)
            slot.counters[POOL_WAITING] = sum(waiting.values())
        before = self._exhausted_at
        self._exhausted_at = {one: before.get(one, now) for one in limiters if waiting[one]}
        for limiter, exhausted_at in self._exhausted_at.items():
            seconds = now - exhausted_at
            if seconds >= PATIENCE_SECONDS and now - self._told_at >= INTERVAL_SECONDS:
                self._told_at = now
                yield (
                    f"all {limiter.borrowed_tokens} threads of AnyIO's pool have been taken for "
                    f"{seconds:.1f} s and {waiting[limiter]} calls wait for one: what is not async "
                    "stands still; more threads come with anyio_tokens"
                )

    def _limiters(self) -> Iterator[Limiter]:
        """Those of the other loops, as far as they have told."""
        loops = [*self._others()]
        for gone in self._asked.keys() - loops:
            del self._asked[gone]
        for loop in loops:
            if loop not in self._asked:
                self._asked[loop] = None
                with suppress(RuntimeError):  # it has just closed
                    loop.call_soon_threadsafe(self._ask, loop)
            task = self._asked[loop]
            if task is not None and task.done() and not task.cancelled():
                yield task.result()

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        """Find out the limiter of a loop.  Its thread."""
        if loop in self._asked:
            self._asked[loop] = loop.create_task(_found())
