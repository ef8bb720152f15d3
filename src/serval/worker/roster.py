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

    __slots__ = ("_has_reserve", "_idle", "_lock", "_parked", "_workers", "paces")

    def __init__(self, *, has_reserve: bool) -> None:
        self.paces = Paces()
        self._has_reserve = has_reserve
        self._lock = threading.Lock()
        self._workers: set[W] = set()
        self._idle: set[W] = set()
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

    def enter(self, worker: W) -> bool:
        """A thread begins to serve; whether it was the last one that was free."""
        with self._lock:
            self._idle.discard(worker)
            is_last = not self._idle
        worker.is_reserve = is_last and self._has_reserve
        return is_last

    def leave(self, worker: W) -> T | None:
        """A thread has done its work.

        Returns:
            What it is to do instead of being free.
        """
        worker.running = b""
        with self._lock:
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

    def may_run(self, worker: W, shape: bytes) -> bool:
        """Whether a thread may run such a request; if so, it is noted as running."""
        if worker.is_reserve:
            others = {other.running for other in list(self._workers) if other is not worker}
            if not self.paces.is_quick(shape, others):
                return False
        worker.running = shape
        return True

    @property
    def someone_is_free(self) -> bool:
        """Whether a thread is free that any request may take."""
        return len(self._idle) > self._has_reserve
