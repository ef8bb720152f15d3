"""Deadlines without timers: one insertion-ordered queue per kind of wait, swept together.  Pure.

All waits of one kind are equally long, so the oldest entry of a queue is always the next to expire:
starting, stopping and finding cost a dictionary operation each, however many connections wait.
"""

from collections.abc import Callable, Collection, Iterator
from enum import IntEnum, auto
from itertools import takewhile
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Wait(IntEnum):
    """What a connection may wait for, and for how long the configuration lets it.

    Integers since they are keys: hashing another enum's members is a function in Python.
    """

    HANDSHAKE = auto()  # the end of a TLS handshake, from accept on
    HEAD = auto()  # the rest of a request head, from accept or from its first byte
    KEEP_ALIVE = auto()  # the next request
    BODY = auto()  # more of a request body
    WRITE = auto()  # the peer to read what we sent
    LINGER = auto()  # the peer to see our answer before the connection is closed
    REQUEST = auto()  # an application on a thread to begin its response


class WaitQueue(Generic[Item]):
    """The items in one kind of wait, oldest first.

    Attributes:
        seconds: How long an item may wait; 0 lets it wait for ever.
        begun: What a `TellingQueue` calls when an item begins to wait; None for nothing.
    """

    __slots__ = ("_started_at", "begun", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun: Callable[[], None] | None = None
        self._started_at: dict[Item, float] = {}

    def __len__(self) -> int:
        return len(self._started_at)

    def __contains__(self, item: Item) -> bool:
        return item in self._started_at

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._started_at))

    def start(self, item: Item, now: float) -> None:
        """Let `item` wait from `now` on, also where it was waiting before."""
        self._started_at.pop(item, None)
        self._started_at[item] = now

    def restart(self, item: Item, now: float) -> None:
        """Let `item`, which is waiting, wait from `now` on: it goes behind the others."""
        started_at = self._started_at
        del started_at[item]
        started_at[item] = now

    def stop(self, item: Item) -> None:
        """End the wait of `item`, if there is one."""
        self._started_at.pop(item, None)

    def next_at(self) -> float | None:
        """When the oldest wait expires, or None where nothing can."""
        if not self.seconds or not self._started_at:
            return None
        return next(iter(self._started_at.values())) + self.seconds

    def take_expired(self, now: float) -> list[Item]:
        """Remove and return every item whose wait is over, oldest first."""
        if not self.seconds:
            return []
        latest_start = now - self.seconds
        # Collected in one pass: asking a dictionary for its first key again and again would
        # step over all that was deleted before it, each time.
        expired = list(
            takewhile(lambda item: self._started_at[item] <= latest_start, self._started_at)
        )
        for item in expired:
            del self._started_at[item]
        return expired


class TellingQueue(WaitQueue[Item]):
    """A queue that tells of what begins to wait; the others need not ask whether to."""

    __slots__ = ()

    def start(self, item: Item, now: float) -> None:
        """Let `item` wait from `now` on, also where it was waiting before."""
        super().start(item, now)
        if (tell := self.begun) is not None:
            tell()

    def restart(self, item: Item, now: float) -> None:
        """Let `item`, which is waiting, wait from `now` on: it goes behind the others."""
        super().restart(item, now)
        if (tell := self.begun) is not None:
            tell()


class Deadlines(Generic[Item]):
    """One queue for each kind of wait.

    Attributes:
        telling: The kinds whose queues are of those that tell.
    """

    __slots__ = ("queues", "telling")

    def __init__(self, seconds: dict[Wait, float], telling: Collection[Wait] = ()) -> None:
        self.telling = telling
        self.queues: dict[Wait, WaitQueue[Item]] = {
            wait: (TellingQueue if wait in telling else WaitQueue)(seconds.get(wait, 0.0))
            for wait in Wait
        }

    def __getitem__(self, wait: Wait) -> WaitQueue[Item]:
        return self.queues[wait]

    def forget(self, item: Item) -> None:
        """End every wait of `item`."""
        for queue in self.queues.values():
            queue.stop(item)

    def next_at(self) -> float | None:
        """When the next wait of any kind expires, or None where nothing waits."""
        return min(
            (at for queue in self.queues.values() if (at := queue.next_at()) is not None),
            default=None,
        )

    def take_expired(self, now: float) -> Iterator[tuple[Wait, Item]]:
        """Remove and yield every item whose wait is over, with the kind of it."""
        for wait, queue in self.queues.items():
            for item in queue.take_expired(now):
                yield wait, item
