"""Which thread of a pool is free, and which requests have to wait for one.

A pool has one thread more than requests may block: the last free thread is a reserve for those
that are known to be quick, so that a handful of slow requests does not hold up the rest.  Any
thread may call; the one lock is held for a few operations and never while anything is called.
"""

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

from serval.worker.pace import Paces


class Worker(Protocol):
    """A thread, as the roster sees it.

    Attributes:
        running: The shape of the request that it runs; b"" for none.
        is_reserve: It was the last one that was free.
    """

    running: bytes
    is_reserve: bool


W = TypeVar("W", bound=Worker)
T = TypeVar("T")


class Roster(Generic[W, T]):
    """The threads of a pool, and what is parked until one of them has time.

    Attributes:
        paces: Which requests are quick.
    """

    __slots__ = ("_has_reserve", "_idle", "_lock", "_parked", "_resting", "_workers", "paces")

    def __init__(self, *, has_reserve: bool) -> None:
        self.paces = Paces()
        self._has_reserve = has_reserve
        self._lock = threading.Lock()
        self._workers: set[W] = set()
        self._idle: set[W] = set()
        self._resting: set[W] = set()
        self._parked: deque[T] = deque()

    @property
    def parked_count(self) -> int:
        """How many wait."""
        return len(self._parked)

    def join(self, worker: W) -> None:
        """A thread has come; it is free."""
        with self._lock:
            self._workers.add(worker)
            self._idle.add(worker)

    def quit(self, worker: W) -> None:
        """A thread is gone."""
        with self._lock:
            self._workers.discard(worker)
            self._idle.discard(worker)
            self._resting.discard(worker)

    def enter(self, worker: W) -> list[W]:
        """A thread begins to serve.

        Returns:
            The threads that rest while others are free, which is now over.
        """
        with self._lock:
            self._idle.discard(worker)
            worker.is_reserve = self._has_reserve and not self._idle
            if not self._resting or len(self._idle) > self._has_reserve:
                return []
            woken = list(self._resting)
            self._resting.clear()
            return woken

    def rest(self, worker: W) -> bool:
        """Whether a thread that is not free shall leave new work to those that are."""
        with self._lock:
            if len(self._idle) <= self._has_reserve:
                return False
            self._resting.add(worker)
            return True

    def leave(self, worker: W) -> T | None:
        """A thread has done its work.

        Returns:
            What it is to do instead of being free.
        """
        worker.running = b""
        with self._lock:
            self._idle.discard(worker)
            self._resting.discard(worker)
            if self._parked and (self._idle or not self._has_reserve):
                worker.is_reserve = False
                return self._parked.popleft()
            self._idle.add(worker)
        return None

    def take(self) -> T | None:
        """What is parked longest, for a thread that has time although it is not free."""
        with self._lock:
            return self._parked.popleft() if self._parked else None

    def park(self, item: T) -> None:
        """Keep this for the next thread that has time."""
        with self._lock:
            self._parked.append(item)

    def others(self, worker: W) -> list[W]:
        """All threads but that one."""
        with self._lock:
            return [other for other in self._workers if other is not worker]

    def may_run(self, worker: W, shape: bytes) -> bool:
        """Whether a thread may run such a request; if so, it is noted as running."""
        if worker.is_reserve:
            running = {other.running for other in self.others(worker)}
            if not self.paces.may_be_quick(shape, running):
                return False
        worker.running = shape
        return True
