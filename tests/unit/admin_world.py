"""A server on paper, for the tests of what the admin endpoint tells about it."""

from serval.admin.figures import Constants, Figures, figures_of
from serval.outlook import Outlook, ServerState
from serval.protocols.refusals import REASONS
from serval.scoreboard import (
    ABANDONED,
    ACCEPTED,
    LAG,
    LAG_MICROSECONDS,
    LATENCY,
    POOL_BUSY,
    POOL_TOKENS,
    POOL_WAITING,
    RECEIVED_BYTES,
    REFUSED,
    SENT_BYTES,
    SERVING_MICROSECONDS,
    Scoreboard,
    Slot,
    WorkerState,
)

CONSTANTS = Constants(
    version="1.2.3", app="shop:app", pid=40, started_at=100.0, started_unix_seconds=1.7e9
)
RUNNING = Outlook(
    state=ServerState.RUNNING,
    generation=3,
    workers_wanted=2,
    workers_limit=8,
    reloads=2,
    exits={"crash": 2, "stopped": 5, "failed_boot": 1},
)
NOW = 160.0


def at_work(slot: Slot, *, pid: int, state: WorkerState = WorkerState.READY) -> None:
    """A worker that has answered ten requests within 2 ms and one after a second."""
    slot.pid, slot.state, slot.generation = pid, state, 3
    slot.started_at, slot.heartbeat_at, slot.lag_seconds = 110.0, 159.0, 0.0015
    slot.requests, slot.request_rate, slot.rejected = 11, 5.5, 3
    slot.in_flight, slot.connections, slot.websockets = 4, 6, 1
    slot.rss_bytes = 30 * 1024 * 1024
    slot.counters[ABANDONED] = 2
    slot.counters[SENT_BYTES] = 5000
    slot.counters[RECEIVED_BYTES] = 70
    slot.counters[SERVING_MICROSECONDS] = 1_020_000
    slot.counters[LATENCY + 3] = 10
    slot.counters[LATENCY + 12] = 1
    slot.counters[REFUSED + list(REASONS).index("field-too-long")] = 3
    slot.counters[ACCEPTED] = 8
    slot.counters[LAG + 2] = 60
    slot.counters[LAG_MICROSECONDS] = 50_000
    slot.counters[POOL_TOKENS] = 40
    slot.counters[POOL_BUSY] = 39
    slot.counters[POOL_WAITING] = 2


def two_workers() -> Scoreboard:
    board = Scoreboard(8)
    at_work(board.slot(0), pid=41)
    at_work(board.slot(2), pid=42)
    return board


def figures(board: Scoreboard | None = None, outlook: Outlook = RUNNING) -> Figures:
    scoreboard = two_workers() if board is None else board
    return figures_of(CONSTANTS, outlook, scoreboard, [("127.0.0.1:80", 7)], NOW)


class FakeOverseer:
    """Remembers what it was asked; does it unless it has a reason not to."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.asked: list[str] = []

    def outlook(self) -> Outlook:
        return RUNNING

    def ask_reload(self) -> str:
        self.asked.append("reload")
        return self.refusal

    def ask_scale(self, workers: int) -> str:
        self.asked.append(f"scale {workers}")
        return self.refusal
