"""Decides when a worker accepts connections.

Not beyond its limit, and where it has more than its share, not before others have had a chance.
Used by the sync lane, which alone accepts.  Thread of the service's loop only.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from itertools import islice
from typing import Final, Protocol

from serval.scoreboard import CONNECTIONS, STATE, Slot, WorkerState
from serval.worker.connections.wire import State, Wire
from serval.worker.deadlines import Wait
from serval.worker.fairness import fair_count
from serval.worker.service import Service
from serval.worker.sweeper import Waiting

# Connections accepted before the loop's other callbacks run.
ACCEPT_COUNT: Final = 16
# How long others have a chance; whatever waits after that is taken.
POLITE_SECONDS: Final = 0.002
# How long threads that were behind and have come further may go on before they are looked at again.
BEHIND_SECONDS: Final = 0.005
# How long a connection that begins to rest keeps its place at a door that is full: its thread has
# to let go of it first, and a next request may be on its way.
REST_SECONDS: Final = 0.002
# How often is looked which others accept at all: there are many slots, and most are empty.
LOOK_SECONDS: Final = 0.5

_ACCEPTING: Final = (WorkerState.READY, WorkerState.RETIRING)


class Door(Enum):
    """Whether a worker accepts."""

    OPEN = auto()
    HELD = auto()  # for a moment, so that others can take what waits
    BEHIND = auto()  # until threads have come to those that are in
    FULL = auto()  # until a connection ends
    SHUT = auto()  # for a reason of somebody else's


class Crew(Protocol):
    """Those who serve what is accepted, as the door sees them."""

    def is_behind(self) -> bool:
        """Whether they cannot keep up, and no more should be accepted yet."""

    def await_progress(self, told: Callable[[], None]) -> None:
        """Have that called once, in the loop, after they have come further from now on."""


class Doorkeeper:
    """Says how many connections may come in now, and asks for the door to be opened or shut.

    Args:
        service: Whose connections are counted; its configuration has the limit.
        slots: Of all workers; empty where there is one only.
        watch: Called with whether the listening sockets are to be watched.

    Attributes:
        crew: Those who serve in other threads; None where there are none.
    """

    __slots__ = (
        "_accepting",
        "_door",
        "_idle",
        "_limit",
        "_looked_at",
        "_offered",
        "_other_slots",
        "_patience",
        "_service",
        "_watch",
        "crew",
    )

    def __init__(
        self, service: Service, slots: Iterable[Slot], watch: Callable[[bool], None]
    ) -> None:
        self._service = service
        self._limit = service.config.limit_connections
        self._other_slots = [slot for slot in slots if slot is not service.tally.slot]
        self._watch = watch
        self._door = Door.OPEN
        self._accepting: list[memoryview[int]] = []
        self._looked_at = -LOOK_SECONDS
        self._offered = 0  # what others had a chance to take
        self._patience = 1  # how much is offered next
        self.crew: Crew | None = None
        self._idle = service.idle

    def attend(self) -> None:
        """Be told from now on of each connection that ends, where it may make room for another."""
        if self._limit:
            self._service.connection_ended = self._make_way

    def room(self) -> int:
        """How many connections may be accepted now; where it is none, the door is shut."""
        most = ACCEPT_COUNT
        if self._limit:
            most = min(most, self._places())
            if most <= 0:
                self._shut(Door.FULL)
                return 0
        if self.crew is not None and self.crew.is_behind():
            self._shut(Door.BEHIND)
            self._wait_for(self.crew)
            return 0
        if self._offered:
            # Others had their chance, and may be busy: the less they take, the more we do.
            most, self._offered = min(most, self._offered), 0
            return most
        count = fair_count(self._service.tally.open_count, self._others(), most)
        if count:
            self._patience = 1
        else:
            self._shut(Door.HELD)
            self._service.loop.call_later(POLITE_SECONDS, self._reopen)
        return count

    def close(self) -> None:
        """Decide nothing any more."""
        self._door = Door.SHUT
        self._idle.begun = None

    def _others(self) -> list[int]:
        """The connections of each other worker that accepts."""
        now = self._service.loop.time()
        if now >= self._looked_at + LOOK_SECONDS:
            self._looked_at = now
            self._accepting = [
                slot.counters for slot in self._other_slots if slot.counters[STATE] in _ACCEPTING
            ]
        return [counters[CONNECTIONS] for counters in self._accepting]

    def _places(self) -> int:
        """How many more connections there may be; idle ones make way for new ones.

        Where there can be none, `_one_rests` is called once there may.
        """
        idle = self._idle
        idle.begun = None
        places = self._limit - self._service.tally.open_count
        if places >= 1:
            return places
        idle.begun = self._one_rests  # before the look: threads let theirs rest at any time
        # Some that are in the queue are busy again.
        resting = [*islice((one for one in idle if _is_idle(one)), 1 - places)]
        if not resting:
            return places
        idle.begun = None  # one that waits anew, for what it has sent lies unread, tells of nothing
        for one in resting:
            idle.stop(one)
            one.expired(Wait.KEEP_ALIVE, late=False)
        places = self._limit - self._service.tally.open_count
        if places < 1:
            idle.begun = self._one_rests
        return places

    def _shut(self, door: Door) -> None:
        if self._door is not Door.SHUT:
            self._door = door
            self._watch(False)

    def _open(self) -> None:
        self._door = Door.OPEN
        self._watch(True)

    def _reopen(self) -> None:
        if self._door is Door.HELD:
            self._offered = self._patience
            self._patience = min(self._patience * 2, ACCEPT_COUNT)
            self._open()

    def _wait_for(self, crew: Crew) -> None:
        """Open once the crew has caught up."""
        if self._door is Door.BEHIND:
            # Before the look: it may come further at any time.
            crew.await_progress(partial(self._came_further, crew))
            if not crew.is_behind():
                self._open()

    def _came_further(self, crew: Crew) -> None:
        self._service.loop.call_later(BEHIND_SECONDS, self._wait_for, crew)

    def _one_rests(self) -> None:
        """A connection that was busy is idle, and may make way.  Any thread."""
        self._idle.begun = None
        with suppress(RuntimeError):  # the loop is closed: the thread was left behind
            self._service.loop.call_soon_threadsafe(self._let_rest)

    def _let_rest(self) -> None:
        self._service.loop.call_later(REST_SECONDS, self._look_again)

    def _look_again(self) -> None:
        if self._door is Door.FULL:
            self._open()

    def _make_way(self) -> None:
        """A connection has ended."""
        if self._service.tally.open_count < self._limit:
            self._look_again()


def _is_idle(one: Waiting) -> bool:
    return isinstance(one, Wire) and one.state is State.IDLE
