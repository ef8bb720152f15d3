"""What the admin endpoint tells, as records, read off the scoreboard at one moment.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from serval.outlook import Outlook, ServerState
from serval.scoreboard import (
    POOL_BUSY,
    POOL_TOKENS,
    POOL_WAITING,
    Scoreboard,
    Slot,
    Totals,
    WorkerState,
)

SERVING = (WorkerState.READY, WorkerState.RETIRING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """What is the same from start to end.

    Attributes:
        app: The application, as the operator named it.
        started_at: When the server started, monotonic seconds.
        started_unix_seconds: The same as wall time, for what compares several machines.
    """

    version: str
    app: str
    pid: int
    started_at: float
    started_unix_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFigures:
    """One worker.

    Attributes:
        number: From 1; a replacement may have the number of a worker that has ended.
        heartbeat_age_seconds: How long ago its event loop turned; 0.0 before its first beat.
        pool_tokens: How many threads AnyIO's pool may have; 0 without AnyIO.
        pool_busy: How many of them run something.
        pool_waiting: How many calls wait for one.
        latency: Requests by the time they took, in the buckets of `latency.py`.
    """

    number: int
    pid: int
    state: WorkerState
    generation: int
    age_seconds: float
    requests: int
    requests_per_second: float
    in_flight: int
    connections: int
    websockets: int
    lag_seconds: float
    heartbeat_age_seconds: float
    rss_bytes: int
    pool_tokens: int
    pool_busy: int
    pool_waiting: int
    latency: list[int]

    @property
    def is_up(self) -> bool:
        """Whether it takes requests."""
        return self.state in SERVING


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The whole server.

    Attributes:
        totals: Sums over all workers, living and dead.
        queues: For each listening socket, how many connections no worker has accepted yet.
    """

    constants: Constants
    outlook: Outlook
    totals: Totals
    workers: tuple[WorkerFigures, ...]
    queues: tuple[tuple[str, int], ...]
    uptime_seconds: float

    @property
    def readiness(self) -> str:
        """The empty text where a new connection would be served well; else why not."""
        if self.outlook.state is ServerState.STOPPING:
            return "draining"
        if self.outlook.state is ServerState.BOOTING:  # a fraction of the workers would be swamped
            return "booting"
        return "" if any(worker.is_up for worker in self.workers) else "no worker is ready"


def figures_of(
    constants: Constants,
    outlook: Outlook,
    scoreboard: Scoreboard,
    queues: Iterable[tuple[str, int]],
    now: float,
) -> Figures:
    """Everything as it is now.  Supervisor only."""
    return Figures(
        constants=constants,
        outlook=outlook,
        totals=scoreboard.totals(),
        workers=tuple(_worker(slot, now) for slot in scoreboard if slot.pid),
        queues=tuple(queues),
        uptime_seconds=now - constants.started_at,
    )


def _worker(slot: Slot, now: float) -> WorkerFigures:
    return WorkerFigures(
        number=slot.index + 1,
        pid=slot.pid,
        state=slot.state,
        generation=slot.generation,
        age_seconds=max(now - slot.started_at, 0.0),
        requests=slot.requests,
        requests_per_second=slot.request_rate,
        in_flight=slot.in_flight,
        connections=slot.connections,
        websockets=slot.websockets,
        lag_seconds=slot.lag_seconds,
        heartbeat_age_seconds=max(now - slot.heartbeat_at, 0.0) if slot.heartbeat_at else 0.0,
        rss_bytes=slot.rss_bytes,
        pool_tokens=slot.counters[POOL_TOKENS],
        pool_busy=slot.counters[POOL_BUSY],
        pool_waiting=slot.counters[POOL_WAITING],
        latency=slot.latency,
    )
