"""Connections that wait in a poller which several threads ask, and who of them gets which.

Each is armed for one event, so that the kernel tells one thread of it.  Taking a connection out is
what makes a thread its owner; arming it puts it back.  Any thread may call.
"""

import threading
from typing import Final, Generic, Protocol, TypeVar

from serval.worker.poller import ONE_SHOT, Poller

# Two threads that arm connections at the same time meet at one lock this seldom.
LOCKS_COUNT: Final = 64


class Armable(Protocol):
    """A connection that can wait.

    Attributes:
        fd: Its descriptor, which the poller has been told of.
    """

    fd: int

    @property
    def interest(self) -> int:
        """What it waits for."""


C = TypeVar("C", bound=Armable)


class Armed(Generic[C]):
    """The connections that wait, each for the first thread that its event finds.

    An event may come, and wake a thread, before whoever arms the connection has put it here: the
    system call lets another thread have the interpreter.  That thread waits for the one that arms,
    by a lock; if it only asked again, each could keep the other at it for ever.  It holds that lock
    while it calls the kernel, so there is one for every 64th descriptor rather than one for all.
    """

    __slots__ = ("_locks", "_poller", "_waiting")

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._waiting: dict[int, C] = {}
        self._locks = tuple(threading.Lock() for _ in range(LOCKS_COUNT))

    def __len__(self) -> int:
        return len(self._waiting)

    def arm(self, connection: C) -> None:
        """Own a connection no more, which is registered with the poller and open."""
        fd = connection.fd
        with self._locks[fd % LOCKS_COUNT]:
            self._poller.modify(fd, connection.interest | ONE_SHOT)
            # Only now, since whoever finds it here owns it, event or not, and may close it.
            self._waiting[fd] = connection

    def take(self, fd: int) -> C | None:
        """Own what an event is for; None where somebody else does, or it is closed."""
        connection = self._waiting.pop(fd, None)
        if connection is None:
            with self._locks[fd % LOCKS_COUNT]:  # it may just be on its way here
                connection = self._waiting.pop(fd, None)
        return connection

    def take_from(self, connection: C) -> C | None:
        """Own what waits with the descriptor of a connection, if that is what waits there.

        Without an event, it may be closed in between, and another one have its descriptor: that
        one is then what is taken.
        """
        if self._waiting.get(connection.fd) is not connection:
            return None
        return self._waiting.pop(connection.fd, None)
