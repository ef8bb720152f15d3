"""What an operator wishes, what the plan answers, and the settings it decides by.  Types only."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, TypeAlias

from serval.errors import ExitStatus

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Wish(Enum):
    """What an operator can ask for by a signal."""

    STOP = auto()
    INTERRUPT = auto()  # stop; somebody sits at a terminal and waits
    QUIT = auto()
    MORE = auto()
    FEWER = auto()


class Order(Enum):
    """What a child can be told."""

    LEAVE = auto()  # serve on, but let each response be the last of its connection
    YIELD = auto()  # stop; others serve on, so that clients find a way
    STOP = auto()
    QUIT = auto()
    KILL = auto()
    DUMP = auto()  # write stacks and tasks to the log


class Replacement(Enum):
    """What comes first where a worker takes the place of another."""

    START_FIRST = "start-first"
    STOP_FIRST = "stop-first"  # the old one is gone before the new one is forked
    AT_ONCE = "at-once"  # of all workers; nobody is served by the old ones any more


@dataclass(frozen=True, slots=True)
class Spawn:
    """Fork a child into that slot."""

    index: int
    generation: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a child the signal that stands for an order."""

    pid: int
    order: Order


@dataclass(frozen=True, slots=True)
class Say:
    """Write a line to the log."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Unlisten:
    """The end has begun: close the parent's listening sockets, so that the workers' are the last.

    What a worker will not accept any more is then refused by the kernel, instead of waiting in a
    queue that nobody empties.
    """


@dataclass(frozen=True, slots=True)
class Finish:
    """No child is left: return that status."""

    status: ExitStatus


Action: TypeAlias = Spawn | Tell | Say | Unlisten | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may set about the life of workers; durations in seconds.

    Attributes:
        startup_seconds: How long a worker may take to become ready; 0 is for ever.
        graceful_seconds: How long running requests may go on after a stop.
        closing_seconds: How long the application's own shutdown may take.
        heartbeat_seconds: After how long without a beat a worker counts as hung; 0 is never.
        crash_limit: How many deaths within a minute are borne, the next one ends the server; 0 is
            without limit.
        drain_delay_seconds: How long everything is served as ever after SIGTERM.
        replacement: How workers are replaced.
        waits: Where workers do not start or die too often, wait for the next reload, not give up.
    """

    workers: int = 1
    startup_seconds: float = 600.0
    graceful_seconds: float = 30.0
    closing_seconds: float = 5.0
    heartbeat_seconds: float = 0.0
    crash_limit: int = 5
    drain_delay_seconds: float = 0.0
    replacement: Replacement = Replacement.START_FIRST
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Era:
    """One reading of the configuration: its number, what it says, how many workers are wanted."""

    generation: int
    settings: Settings
    target: int


def counted_workers(count: int) -> str:
    """So many workers, for a line of the log."""
    return f"{count} worker" if count == 1 else f"{count} workers"
