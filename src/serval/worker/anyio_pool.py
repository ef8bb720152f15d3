"""AnyIO's pool of threads, on which Starlette and FastAPI run what is not async.

Its size is set where the operator has said so; whether it is exhausted is looked at now and then,
since everything that is not async then waits.  Touched only where the application has imported
AnyIO, or the operator asks for it; the server itself never takes one of its threads.
"""

import importlib
import sys
from collections.abc import Iterator
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


class PoolWatch:
    """Looks at the pool of the running loop."""

    def __init__(self) -> None:
        self._exhausted_at: float | None = None
        self._told_at = float("-inf")

    @property
    def is_there(self) -> bool:
        """Whether the application has such a pool."""
        return _MODULE in sys.modules

    def look(self, now: float, slot: Slot | None) -> Iterator[str]:
        """Show the pool to the supervisor, and give the warning that is due.

        Args:
            now: Monotonic seconds.
            slot: Where it is shown; None without a supervisor.
        """
        if not self.is_there:
            return
        limiter = _limiter()
        busy, waiting = limiter.borrowed_tokens, limiter.statistics().tasks_waiting
        tokens = limiter.total_tokens
        if slot is not None:
            # Without a limit it is infinite, which no counter can hold.
            slot.counters[POOL_TOKENS] = int(tokens) if tokens < sys.maxsize else sys.maxsize
            slot.counters[POOL_BUSY] = busy
            slot.counters[POOL_WAITING] = waiting
        if busy < tokens or not waiting:
            self._exhausted_at = None
            return
        if self._exhausted_at is None:
            self._exhausted_at = now
        seconds = now - self._exhausted_at
        if seconds >= PATIENCE_SECONDS and now - self._told_at >= INTERVAL_SECONDS:
            self._told_at = now
            yield (
                f"all {busy} threads of AnyIO's pool have been taken for {seconds:.1f} s and "
                f"{waiting} calls wait for one: what is not async stands still; more threads come "
                "with anyio_tokens"
            )
