"""Deadlines of connections that several threads serve: started anywhere, swept on one loop.

The one lock guards the queues for a few dictionary operations at a time and is never held while
anything else is called.
"""

import asyncio
import math
import threading
import time
from collections.abc import Collection, Iterable
from typing import TypeVar

from serval.worker.deadlines import Deadlines, TellingQueue, Wait, WaitQueue
from serval.worker.sweeper import TICK_SECONDS, Sweeper, Waiting

Item = TypeVar("Item")


class SharedQueue(WaitQueue[Item]):
    """A queue that any thread may call."""

    __slots__ = ("_lock",)

    def __init__(self, seconds: float, lock: threading.Lock) -> None:
        super().__init__(seconds)
        self._lock = lock

    def start(self, item: Item, now: float) -> None:
        """Let `item` wait from `now` on, also where it was waiting before."""
        with self._lock:
            self._started_at.pop(item, None)
            self._started_at[item] = now

    restart = start

    def stop(self, item: Item) -> None:
        """End the wait of `item`, if there is one."""
        with self._lock:
            self._started_at.pop(item, None)

    def next_at(self) -> float | None:
        """When the oldest wait expires, or None where nothing can."""
        with self._lock:
            return super().next_at()

    def take_expired(self, now: float) -> list[Item]:
        """Remove and return every item whose wait is over, oldest first."""
        with self._lock:
            return super().take_expired(now)

    def retry(self, items: Iterable[Item], now: float) -> None:
        """Let `items`, whose wait is over, come up again with the next sweep, unless they wait."""
        with self._lock:
            waiting = self._started_at
            started_at = now - self.seconds + TICK_SECONDS
            again = {item: started_at for item in items if item not in waiting}
            self._started_at = again | waiting


class SharedTellingQueue(TellingQueue[Item], SharedQueue[Item]):
    """One that tells of what begins to wait in any thread, in that thread and without the lock."""

    __slots__ = ()


class SharedDeadlines(Deadlines[Waiting]):
    """One shared queue for each kind of wait."""

    __slots__ = ()

    queues: dict[Wait, SharedQueue[Waiting]]  # type: ignore[assignment]  # one that is narrower

    def __init__(self, seconds: dict[Wait, float], telling: Collection[Wait] = ()) -> None:
        super().__init__(seconds, telling)
        lock = threading.Lock()
        for wait in Wait:
            kind = SharedTellingQueue if wait in telling else SharedQueue
            self.queues[wait] = kind(seconds.get(wait, 0.0), lock)


class SharedSweeper(Sweeper):
    """Starts and ends waits for any thread; the sweeps run on the loop, and so does `expired`."""

    __slots__ = ("_again",)

    deadlines: SharedDeadlines

    def __init__(self, deadlines: SharedDeadlines, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(deadlines, loop)
        self._again: dict[Wait, list[Waiting]] = {}

    def start(self, wait: Wait, item: Waiting) -> None:
        """Let `item` wait from now on."""
        queue = self._queues[wait]
        # Not the loop's time: uvloop's stands still while that loop sleeps.
        now = time.monotonic()
        queue.start(item, now)
        if queue.seconds and now + queue.seconds < self._armed_at:
            self._loop.call_soon_threadsafe(self._arm_earlier, now + queue.seconds)

    def retry(self, wait: Wait, item: Waiting) -> None:
        """Let `expired` of an item be called again soon.  Thread of the loop only."""
        # All of a sweep together: each time, what waits behind them is copied.
        if not self._again:
            self._loop.call_soon(self._retry)
        self._again.setdefault(wait, []).append(item)

    def _retry(self) -> None:
        again, self._again = self._again, {}
        now = time.monotonic()
        for wait, items in again.items():
            self.deadlines.queues[wait].retry(items, now)
        self._arm_earlier(now + TICK_SECONDS)

    def _arm_earlier(self, at: float) -> None:
        if at < self._armed_at and self._armed_at != -math.inf:
            self._arm(at)
