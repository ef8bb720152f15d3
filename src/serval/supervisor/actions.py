"""What an operator wishes, what the plan answers, and the settings it decides by.  Types only."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, TypeAlias

from serval.errors import ExitStatus

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Wish(Enum):
    """What an operator can ask for by a signal."""

    STOP = auto()
    QUIT = auto()
    MORE = auto()
    FEWER = auto()


class Order(Enum):
    """What a child can be told."""

    STOP = auto()
    QUIT = auto()
    KILL = auto()
    DUMP = auto()  # write stacks and tasks to the log


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
    """

    workers: int = 1
    startup_seconds: float = 600.0
    graceful_seconds: float = 30.0
    closing_seconds: float = 5.0
    heartbeat_seconds: float = 0.0
    crash_limit: int = 5
