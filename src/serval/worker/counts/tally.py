"""What a worker counts, and shows to its supervisor in its slot of the scoreboard.

Kept by `worker/service.py`, which counts connections and tasks by having them.  The thread of the
service's loop only, but for what several threads count, which locks itself.
"""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serval.scoreboard import (
    ABANDONED,
    CONNECTIONS,
    IN_FLIGHT,
    REJECTED,
    REQUESTS,
    WEBSOCKETS,
    Slot,
)
from serval.worker.counts.meter import Meter
from serval.worker.counts.shared_counts import SharedMeter


@dataclass(slots=True)
class Stats:
    """Counters of one service since its start.

    Attributes:
        requests: Those whose response is complete, or was given up.
        websockets: Sessions that are open.
        rejected: Requests that the server refused by itself.
        abandoned: Tasks of applications that ignored their cancellation.
    """

    requests: int = 0
    websockets: int = 0
    rejected: int = 0
    abandoned: int = 0


class Counts(NamedTuple):
    """What a worker shows to the supervisor of one of its parts."""

    requests: int
    in_flight: int
    connections: int
    websockets: int
    rejected: int
    abandoned: int


class Tally:
    """The counters of one service, and where they are shown.

    Attributes:
        stats: What has happened.
        meter: Counts times and bytes, where somebody may ask for them; else None.
        slot: Where all is shown to the supervisor; None without one.
        slots: Those of all workers.
        requests_limit: After how many requests `limit_reached` is called.

    Args:
        connections: Those that are open.
        tasks: Those that run.
    """

    __slots__ = (
        "_connections",
        "_further",
        "_tasks",
        "limit_reached",
        "meter",
        "requests_limit",
        "slot",
        "slots",
        "stats",
    )

    def __init__(self, connections: Collection[object], tasks: Collection[object]) -> None:
        self._connections = connections
        self._tasks = tasks
        self._further: Callable[[], Counts] | None = None
        self.stats = Stats()
        self.meter: Meter | None = None
        self.slot: Slot | None = None
        self.slots: Sequence[Slot] = ()
        self.requests_limit = math.inf
        self.limit_reached: Callable[[], None] = lambda: None

    def measure(self) -> None:
        """Count from now on what the admin endpoint tells."""
        self.meter = Meter(time.monotonic())

    def share(self, further: Callable[[], Counts]) -> None:
        """Show from now on what siblings have counted as well.

        Args:
            further: Says what that is.
        """
        self._further = further
        if self.meter is not None:
            self.meter = SharedMeter(time.monotonic())

    def sibling(self, connections: Collection[object], tasks: Collection[object]) -> "Tally":
        """One for another thread, which measures with our meter and shows nothing by itself."""
        other = Tally(connections, tasks)
        other.meter = self.meter
        return other

    @property
    def open_count(self) -> int:
        """Connections of all threads, but for WebSockets."""
        count = len(self._connections) - self.stats.websockets
        if self._further is not None:
            further = self._further()
            count += further.connections - further.websockets
        return count

    @property
    def in_flight(self) -> int:
        """Requests of all threads that run."""
        further = 0 if self._further is None else self._further().in_flight
        return len(self._tasks) + further

    def publish(self) -> None:
        """Show the counters to the supervisor."""
        slot = self.slot
        if slot is None:
            return
        stats = self.stats
        requests = stats.requests
        in_flight = len(self._tasks)
        connections = len(self._connections)
        websockets = stats.websockets
        rejected = stats.rejected
        abandoned = stats.abandoned
        if self._further is not None:
            further = self._further()
            requests += further.requests
            in_flight += further.in_flight
            connections += further.connections
            websockets += further.websockets
            rejected += further.rejected
            abandoned += further.abandoned
        counters = slot.counters
        counters[REQUESTS] = requests
        counters[IN_FLIGHT] = in_flight
        counters[CONNECTIONS] = connections
        counters[WEBSOCKETS] = websockets
        counters[REJECTED] = rejected
        counters[ABANDONED] = abandoned
        if requests >= self.requests_limit:
            self.limit_reached()
        if self.meter is not None:
            self.meter.show(slot, time.monotonic())
