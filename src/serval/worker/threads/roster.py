"""Which threads of a pool may block at any moment, and which requests wait until another one may.

A pool has one thread more than may block: requests that are known to be quick are never held up by
a handful of slow ones.  Any thread may call; the one lock is held for a few operations and never
while anything is called.  Requests that are known to be quick take no lock.
"""

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

from serval.worker.threads.pace import Paces


class Worker(Protocol):
    """A thread, as the roster sees it.

    Attributes:
        running: The shape of the request that it runs and that may block; b"" for none.
    """

    running: bytes


W = TypeVar("W", bound=Worker)
T = TypeVar("T")


class Roster(Generic[W, T]):
    """The threads that may block, and what is parked until there are fewer.

    Attributes:
        paces: Which requests are quick.

    Args:
        limit: How many threads may block at a time.
    """

    __slots__ = ("_limit", "_lock", "_parked", "_risky", "paces")

    def __init__(self, limit: int) -> None:
        self.paces = Paces()
        self._limit = limit
        self._lock = threading.Lock()
        self._risky: set[W] = set()
        self._parked: deque[T] = deque()

    @property
    def parked_count(self) -> int:
        """How much waits for `take`."""
        return len(self._parked)

    def may_run(self, worker: W, shape: bytes) -> bool:
        """Whether a thread may run such a request now; `ended` tells where it may block no more."""
        if self.paces.is_quick(shape):
            return True
        with self._lock:
            if worker not in self._risky and len(self._risky) >= self._limit:
                running = {other.running for other in self._risky}
                if not self.paces.may_be_quick(shape, running):
                    return False
            self._risky.add(worker)
            worker.running = shape
        return True

    def ended(self, worker: W) -> None:
        """Nothing that this thread runs may block any more."""
        with self._lock:
            self._risky.discard(worker)
            worker.running = b""

    def park(self, item: T) -> None:
        """Keep this until a thread has time; whoever parks, or ends, is to `take`."""
        with self._lock:
            self._parked.append(item)

    def take(self, worker: W) -> T | None:
        """What is parked longest, if another thread may block now; that thread is the caller."""
        with self._lock:
            if not self._parked or len(self._risky) >= self._limit:
                return None
            return self._parked.popleft()

    def drop(self) -> T | None:
        """What is parked, for whoever ends it all."""
        with self._lock:
            return self._parked.popleft() if self._parked else None
