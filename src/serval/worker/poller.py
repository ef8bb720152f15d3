"""Readiness of many descriptors behind one small face: epoll on Linux, kqueue elsewhere.

A poller belongs to the process that made it: made before a fork, it would be shared with the child,
registrations and all.
"""

import select
from typing import Any, Final, Protocol

# The bits of an event, the same on every platform; on Linux they are epoll's own.
READ: Final = 0x001
WRITE: Final = 0x004
BROKEN: Final = 0x008 | 0x010  # an error, or both directions shut; reported unasked
PEER_SHUT: Final = 0x2000  # the peer has shut its sending side
ONE_SHOT: Final = 0x40000000  # with an interest: tell once, then nothing until the next `modify`

# kqueue(2); the values are the same on macOS and the BSDs, and the names absent on Linux.
KQ_FILTER_READ: Final = -1
KQ_FILTER_WRITE: Final = -2
KQ_EV_ADD: Final = 1
KQ_EV_DELETE: Final = 2
KQ_EV_ONESHOT: Final = 0x10
KEVENT: Final[Any] = getattr(select, "kevent", None)


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
    epoll = getattr(select, "epoll", None)
    poller: Poller = KqueuePoller(select.kqueue()) if epoll is None else epoll()  # type: ignore[attr-defined,unused-ignore]  # not on Linux
    return poller


class KqueuePoller:
    """kqueue, with epoll's notion of one registration for each descriptor.

    Args:
        queue: The `select.kqueue`, which Linux does not have, nor its type.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._interests: dict[int, int] = {}

    def fileno(self) -> int:
        """The queue's descriptor."""
        return int(self._queue.fileno())

    def register(self, fd: int, interest: int) -> None:
        """Begin to watch `fd`."""
        self._interests[fd] = 0
        self.modify(fd, interest)

    def modify(self, fd: int, interest: int) -> None:
        """Add and delete the filters in which the interests differ; what tells once, add anew."""
        # A read filter tells of the peer's end of file only together with data, so PEER_SHUT
        # alone sees nothing: a client that leaves while reading is paused is noticed on resuming.
        before, self._interests[fd] = self._interests[fd], interest
        for bit, kind in ((READ, KQ_FILTER_READ), (WRITE, KQ_FILTER_WRITE)):
            if interest & bit and interest & ONE_SHOT:
                self._queue.control([KEVENT(fd, kind, KQ_EV_ADD | KQ_EV_ONESHOT)], 0)
            elif (before ^ interest) & bit:
                action = KQ_EV_ADD if interest & bit else KQ_EV_DELETE
                self._change(KEVENT(fd, kind, action))

    def _change(self, change: Any) -> None:
        try:
            self._queue.control([change], 0)
        except FileNotFoundError:  # a filter that has told once is gone already
            if change.flags != KQ_EV_DELETE:
                raise

    def unregister(self, fd: int) -> None:
        """Delete what filters there are."""
        self.modify(fd, 0)
        del self._interests[fd]

    def poll(self, seconds: float, count: int) -> list[tuple[int, int]]:
        """The ready descriptors, both filters of one merged."""
        ready: dict[int, int] = {}
        for event in self._queue.control(None, count, seconds):
            bits = READ if event.filter == KQ_FILTER_READ else WRITE
            ready[event.ident] = ready.get(event.ident, 0) | bits
        return list(ready.items())

    def close(self) -> None:
        """Close the queue."""
        self._queue.close()
