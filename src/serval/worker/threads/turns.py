"""Which thread of a pool looks for events: one at a time, where the interpreter runs only one.

Several that wait in the poller are all woken under load, only to wait for the interpreter and for
each other.  So one holds the turn: it serves what is known to be quick by itself, and passes the
turn on before anything that may take its time.  Where it is held up all the same, the turn is taken
from it.  Nothing but speed rests on this: connections are armed for one event each, and two threads
that poll at once do no harm.
"""

import threading
import time
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

# How long a holder may be busy with one request before the turn is taken from it; the longest that
# a wrong guess holds up others, together with the time between two looks.
STUCK_SECONDS: Final = 0.01
LOOK_SECONDS: Final = 0.01
# After so many looks at a holder that waits for events, nobody looks until there is one.
QUIET_COUNT: Final = 10


class Holder(Protocol):
    """A thread, as the turns see it.

    Attributes:
        busy_since: When it began what it does; 0.0 while it waits for events.
    """

    busy_since: float


H = TypeVar("H", bound=Holder)


class Turns(Generic[H]):
    """The one turn of a pool.

    The lock guards `holder` for a few operations; the holder itself reads it without.  Of those
    that wait, one keeps an eye on the holder and the others sleep behind it.

    Attributes:
        holder: Who may look for events; None for the moment in which nobody does.
        is_unwatched: Nobody looks at the holder, which must call `wake` once it has an event.
    """

    __slots__ = ("_bell", "_lock", "_watch", "holder", "is_unwatched")

    def __init__(self) -> None:
        self.holder: H | None = None
        self.is_unwatched = False
        self._lock = threading.Lock()
        self._watch = threading.Lock()
        # Locked, but for the moment between a ring and who hears it.
        self._bell = threading.Lock()
        self._bell.acquire()

    def take(self, worker: H) -> None:
        """Wait for the turn."""
        if self._taken(worker):
            return
        with self._watch:
            quiet_count = 0
            while not self._taken(worker):
                holder = self.holder
                quiet_count = 0 if holder is None or holder.busy_since else quiet_count + 1
                if quiet_count < QUIET_COUNT:
                    self._bell.acquire(timeout=LOOK_SECONDS)
                else:
                    self._sleep(holder)
                    quiet_count = 0

    def pass_on(self, worker: H) -> None:
        """Let another thread have the turn, if it is this one's."""
        with self._lock:
            if self.holder is not worker:
                return
            self.holder = None
        self.wake()

    def wake(self) -> None:
        """Let who watches look again."""
        self.is_unwatched = False
        with suppress(RuntimeError):  # it has been rung and not yet heard
            self._bell.release()

    def _taken(self, worker: H) -> bool:
        with self._lock:
            holder = self.holder
            if holder is not None:
                busy_since = holder.busy_since
                if not busy_since or time.monotonic() - busy_since < STUCK_SECONDS:
                    return False
            self.holder = worker
        return True

    def _sleep(self, holder: H | None) -> None:
        self.is_unwatched = True
        # In this order: a holder that has just become busy sees our mark, or we see that it has.
        if self.holder is holder and holder is not None and not holder.busy_since:
            self._bell.acquire()
        self.is_unwatched = False
