"""Readiness of many descriptors behind one small face: epoll on Linux, kqueue elsewhere.

A poller belongs to the process that made it: made before a fork, it would be shared with the child,
registrations and all.
"""

import select
import sys
from typing import Final, Protocol

# The bits of an event, the same on every platform; on Linux they are epoll's own.
READ: Final = 0x001
WRITE: Final = 0x004
BROKEN: Final = 0x008 | 0x010  # an error, or both directions shut; reported unasked
PEER_SHUT: Final = 0x2000  # the peer has shut its sending side


class Poller(Protocol):
    """Which descriptors are ready, level-triggered."""

    def fileno(self) -> int:
        """The poller's own descriptor: readable whenever any of its members is ready."""

    def register(self, fd: int, interest: int) -> None:
        """Begin to watch `fd` for READ, WRITE and PEER_SHUT as asked."""

    def modify(self, fd: int, interest: int) -> None:
        """Watch `fd` for something else."""

    def unregister(self, fd: int) -> None:
        """Watch `fd` no more; to be called before it is closed."""

    def poll(self, seconds: float, count: int) -> list[tuple[int, int]]:
        """Up to `count` descriptors that are ready, each with its bits."""

    def close(self) -> None:
        """Give the descriptor back."""


def create_poller() -> Poller:
    """The best poller of this platform."""
    if sys.platform == "linux":
        return select.epoll()
    return KqueuePoller()


if sys.platform != "linux":

    class KqueuePoller:
        """kqueue, with epoll's notion of one registration for each descriptor."""

        def __init__(self) -> None:
            self._queue = select.kqueue()
            self._interests: dict[int, int] = {}

        def fileno(self) -> int:
            return self._queue.fileno()

        def register(self, fd: int, interest: int) -> None:
            self._interests[fd] = 0
            self.modify(fd, interest)

        def modify(self, fd: int, interest: int) -> None:
            # A filter for reading also tells of the peer's end of file, so PEER_SHUT alone keeps
            # it, with a low-water mark that no data reaches.
            before, self._interests[fd] = self._interests[fd], interest
            changes = []
            for bit, kind in ((READ, select.KQ_FILTER_READ), (WRITE, select.KQ_FILTER_WRITE)):
                if (before ^ interest) & bit:
                    action = select.KQ_EV_ADD if interest & bit else select.KQ_EV_DELETE
                    changes.append(select.kevent(fd, kind, action))
            if changes:
                self._queue.control(changes, 0)

        def unregister(self, fd: int) -> None:
            self.modify(fd, 0)
            del self._interests[fd]

        def poll(self, seconds: float, count: int) -> list[tuple[int, int]]:
            ready: dict[int, int] = {}
            for event in self._queue.control(None, count, seconds):
                bits = READ if event.filter == select.KQ_FILTER_READ else WRITE
                ready[event.ident] = ready.get(event.ident, 0) | bits
            return list(ready.items())

        def close(self) -> None:
            self._queue.close()
