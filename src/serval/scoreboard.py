"""The shared-memory records between the supervisor and its workers.

One slot per worker in an anonymous mapping made before the first fork.  A worker writes its own
slot, the supervisor reads all of them and clears one before it forks into it; every write is one
aligned store of eight bytes, so that no lock is needed.  Nothing here wakes anybody.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from serval.latency import BUCKET_COUNT


class Asked(IntEnum):
    """What a SIGTERM from the supervisor means; written before it is sent."""

    NOTHING = 0  # it came from somebody else
    LEAVE = 1  # serve on, but let each response be the last of its connection
    YIELD = 2  # stop; others serve on
    STOP = 3


class WorkerState(IntEnum):
    """How far a worker says it has come, in the order in which it gets there."""

    EMPTY = 0
    BOOTING = 1  # forked; loads the application, runs lifespan startup
    READY = 2
    RETIRING = 3  # still serves, asks to be replaced
    DRAINING = 4  # accepts nothing new, finishes what runs
    CLOSING = 5  # every connection is gone; lifespan shutdown runs
    STOPPED = 6


# Indexes into Slot.counters, for the hot path: `counters[REQUESTS] += 1` is one load and one store.
PID: Final = 0
STATE: Final = 1
GENERATION: Final = 2
REQUESTS: Final = 3  # responses finished, ever
REJECTED: Final = 4  # requests answered by the server itself because of a fault or a limit, ever
ACCEPTED: Final = 5  # connections accepted, ever
CONNECTIONS: Final = 6  # open now
IN_FLIGHT: Final = 7  # requests being served now
WEBSOCKETS: Final = 8  # open now
RSS_BYTES: Final = 9  # as the worker measured it last
# What follows is counted only where somebody may ask for it (the admin endpoint).
SENT_BYTES: Final = 10  # of response bodies, ever
RECEIVED_BYTES: Final = 11  # of request bodies, ever
SERVING_MICROSECONDS: Final = 12  # all requests together, ever
LATENCY: Final = 13  # the first of BUCKET_COUNT words: requests by the time they took, ever
REFUSED: Final = LATENCY + BUCKET_COUNT  # the first of REFUSED_COUNT: refusals by reason, ever
REFUSED_COUNT: Final = 96  # room for the reasons in protocols/refusals.py
ASKED: Final = REFUSED + REFUSED_COUNT  # the only word that the supervisor writes
ABANDONED: Final = ASKED + 1  # requests whose application ignored its cancellation, ever
LAG: Final = ASKED + 2  # the first of BUCKET_COUNT words: beats by how late they came, ever
LAG_MICROSECONDS: Final = LAG + BUCKET_COUNT  # all beats together, ever
POOL_TOKENS: Final = LAG_MICROSECONDS + 1  # threads that AnyIO's pool may have; 0 without AnyIO
POOL_BUSY: Final = POOL_TOKENS + 1  # those that run something now
POOL_WAITING: Final = POOL_TOKENS + 2  # calls that wait for one
# Indexes into Slot.gauges: monotonic seconds, except where said.
STARTED_AT: Final = 0
READY_AT: Final = 1
HEARTBEAT_AT: Final = 2
LAG_SECONDS: Final = 3  # how late the event loop ran at its last beat
REQUEST_RATE: Final = 4  # requests per second between the last two beats

_COUNTERS: Final = 184
_GAUGES: Final = 8
_WORDS: Final = _COUNTERS + _GAUGES  # 1,536 bytes: cache lines shared with no other worker
_WORD_BYTES: Final = 8


class Slot:
    """What one worker says about itself.

    Only its worker writes to it, but for `asked`, which is the supervisor's; that calls `clear`
    while no worker has it.

    Attributes:
        counters: Signed 64-bit words, by the index constants from `PID` to `POOL_WAITING`.  Signed,
            so that a miscounted gauge shows as a negative number and raises nothing in mid-request.
        gauges: Doubles, by the index constants from `STARTED_AT` to `REQUEST_RATE`.
    """

    __slots__ = ("counters", "gauges", "index")

    def __init__(self, index: int, words: memoryview) -> None:
        self.index = index
        self.counters: memoryview[int] = words[: _COUNTERS * _WORD_BYTES].cast("q")
        self.gauges: memoryview[float] = words[_COUNTERS * _WORD_BYTES :].cast("d")

    def clear(self) -> None:
        """Forget the last worker."""
        for i in range(_COUNTERS):
            self.counters[i] = 0
        for i in range(_GAUGES):
            self.gauges[i] = 0.0

    @property
    def pid(self) -> int:
        """The worker's process id; 0 while there is none."""
        return self.counters[PID]

    @pid.setter
    def pid(self, pid: int) -> None:
        self.counters[PID] = pid

    @property
    def state(self) -> WorkerState:
        """What the worker does; a change deserves a `ChildChannel.notify`."""
        return WorkerState(self.counters[STATE])

    @state.setter
    def state(self, state: WorkerState) -> None:
        self.counters[STATE] = state

    @property
    def asked(self) -> Asked:
        """What the supervisor's last SIGTERM meant."""
        return Asked(self.counters[ASKED])

    @asked.setter
    def asked(self, asked: Asked) -> None:
        self.counters[ASKED] = asked

    @property
    def generation(self) -> int:
        """Which reading of the configuration the worker runs on, from 1."""
        return self.counters[GENERATION]

    @generation.setter
    def generation(self, generation: int) -> None:
        self.counters[GENERATION] = generation

    @property
    def requests(self) -> int:
        """Responses finished since the worker started."""
        return self.counters[REQUESTS]

    @requests.setter
    def requests(self, count: int) -> None:
        self.counters[REQUESTS] = count

    @property
    def rejected(self) -> int:
        """Requests that never reached the application."""
        return self.counters[REJECTED]

    @rejected.setter
    def rejected(self, count: int) -> None:
        self.counters[REJECTED] = count

    @property
    def accepted(self) -> int:
        """Connections accepted since the worker started."""
        return self.counters[ACCEPTED]

    @accepted.setter
    def accepted(self, count: int) -> None:
        self.counters[ACCEPTED] = count

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self.counters[CONNECTIONS]

    @connections.setter
    def connections(self, count: int) -> None:
        self.counters[CONNECTIONS] = count

    @property
    def in_flight(self) -> int:
        """Requests being served now."""
        return self.counters[IN_FLIGHT]

    @in_flight.setter
    def in_flight(self, count: int) -> None:
        self.counters[IN_FLIGHT] = count

    @property
    def websockets(self) -> int:
        """WebSocket sessions open now."""
        return self.counters[WEBSOCKETS]

    @websockets.setter
    def websockets(self, count: int) -> None:
        self.counters[WEBSOCKETS] = count

    @property
    def rss_bytes(self) -> int:
        """Resident memory when the worker last looked; 0 where it never did."""
        return self.counters[RSS_BYTES]

    @rss_bytes.setter
    def rss_bytes(self, size: int) -> None:
        self.counters[RSS_BYTES] = size

    @property
    def started_at(self) -> float:
        """When the worker was forked."""
        return self.gauges[STARTED_AT]

    @started_at.setter
    def started_at(self, at: float) -> None:
        self.gauges[STARTED_AT] = at

    @property
    def ready_at(self) -> float:
        """When lifespan startup was done; 0.0 before."""
        return self.gauges[READY_AT]

    @ready_at.setter
    def ready_at(self, at: float) -> None:
        self.gauges[READY_AT] = at

    @property
    def heartbeat_at(self) -> float:
        """When the worker's event loop last turned; 0.0 before its first beat."""
        return self.gauges[HEARTBEAT_AT]

    @heartbeat_at.setter
    def heartbeat_at(self, at: float) -> None:
        self.gauges[HEARTBEAT_AT] = at

    @property
    def lag_seconds(self) -> float:
        """How late the last beat came."""
        return self.gauges[LAG_SECONDS]

    @lag_seconds.setter
    def lag_seconds(self, seconds: float) -> None:
        self.gauges[LAG_SECONDS] = seconds

    @property
    def request_rate(self) -> float:
        """Requests per second, as the worker measured it last."""
        return self.gauges[REQUEST_RATE]

    @request_rate.setter
    def request_rate(self, per_second: float) -> None:
        self.gauges[REQUEST_RATE] = per_second

    @property
    def latency(self) -> list[int]:
        """Requests by the time they took, in the buckets of `latency.py`."""
        return self.counters[LATENCY : LATENCY + BUCKET_COUNT].tolist()

    @property
    def refused(self) -> list[int]:
        """Refused requests by reason, in the order of `REASONS`."""
        return self.counters[REFUSED : REFUSED + REFUSED_COUNT].tolist()

    @property
    def lag(self) -> list[int]:
        """Beats by how late they came, in the buckets of `latency.py`."""
        return self.counters[LAG : LAG + BUCKET_COUNT].tolist()


@dataclass(slots=True)
class Totals:
    """Sums that never fall, whatever happens to single workers."""

    requests: int = 0
    rejected: int = 0
    accepted: int = 0
    abandoned: int = 0
    deaths: int = 0  # workers that ended, for whatever reason
    sent_bytes: int = 0
    received_bytes: int = 0
    serving_microseconds: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * BUCKET_COUNT)
    refused: list[int] = field(default_factory=lambda: [0] * REFUSED_COUNT)
    lag: list[int] = field(default_factory=lambda: [0] * BUCKET_COUNT)
    lag_microseconds: int = 0

    def add(self, slot: Slot) -> None:
        """Take what a slot has counted so far."""
        counters = slot.counters
        self.requests += slot.requests
        self.rejected += slot.rejected
        self.accepted += slot.accepted
        self.abandoned += counters[ABANDONED]
        self.sent_bytes += counters[SENT_BYTES]
        self.received_bytes += counters[RECEIVED_BYTES]
        self.serving_microseconds += counters[SERVING_MICROSECONDS]
        self.latency = _summed(self.latency, slot.latency)
        self.refused = _summed(self.refused, slot.refused)
        self.lag = _summed(self.lag, slot.lag)
        self.lag_microseconds += counters[LAG_MICROSECONDS]


def _summed(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


class Scoreboard:
    """All slots, in memory shared with every process forked after this was made."""

    __slots__ = ("_departed", "slots")

    def __init__(self, slot_count: int) -> None:
        # The views keep the mapping alive.  Pages nobody has touched cost nothing.
        words = memoryview(mmap.mmap(-1, slot_count * _WORDS * _WORD_BYTES))
        size = _WORDS * _WORD_BYTES
        self.slots = tuple(Slot(i, words[i * size : (i + 1) * size]) for i in range(slot_count))
        self._departed = Totals()

    def __len__(self) -> int:
        return len(self.slots)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    def slot(self, index: int) -> Slot:
        """The slot with that index, from 0."""
        return self.slots[index]

    def release(self, index: int) -> None:
        """Keep what a dead worker counted and empty its slot.  Supervisor only."""
        slot = self.slots[index]
        self._departed.add(slot)
        self._departed.deaths += 1
        slot.clear()

    def totals(self) -> Totals:
        """What all workers, living and dead, have counted.  Supervisor only."""
        sums = replace(self._departed)
        for slot in self.slots:
            sums.add(slot)
        return sums
