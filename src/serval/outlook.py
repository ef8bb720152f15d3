"""How the supervisor sees its server, and what it may be asked to do.

Types only: the supervisor offers them, the admin endpoint and the service manager's notices use
them, and neither needs to know the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class ServerState(Enum):
    """How far the whole server is; the value is the word that operators read."""

    BOOTING = "booting"
    RUNNING = "running"
    RELOADING = "reloading"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the supervisor knows that no worker does.

    Attributes:
        generation: Which reading of the configuration new workers run on.
        workers_wanted: How many there shall be.
        workers_limit: How many there can be without a restart.
        reloads: How often a reload was asked for, in vain or not.
        exits: How many workers have ended, by what that meant: `crash`, `stopped` ...
    """

    state: ServerState = ServerState.BOOTING
    generation: int = 1
    workers_wanted: int = 1
    workers_limit: int = 1
    reloads: int = 0
    exits: Mapping[str, int] = field(default_factory=dict)


class Overseer(Protocol):
    """The supervisor, as those see it who may ask something of it."""

    def outlook(self) -> Outlook:
        """How things are now."""

    def ask_reload(self) -> str:
        """Begin what SIGHUP begins; returns why it cannot be, or nothing."""

    def ask_scale(self, workers: int) -> str:
        """Want so many workers; returns why that cannot be, or nothing."""


class Companion(Protocol):
    """Something small that the supervisor's loop looks after beside the workers.

    It must never block, raise or sleep.
    """

    @property
    def deadline(self) -> float:
        """When it wants a turn though nothing happens; infinity for never."""

    def fileno(self) -> int:
        """A descriptor that is readable when it wants a turn; -1 where there is none."""

    def turn(self, overseer: Overseer, now: float) -> None:
        """Do what there is to do; called whenever anything has happened."""

    def close_in_child(self) -> None:
        """Close in a freshly forked worker what is the supervisor's alone."""
