"""One child as its parent sees it: how far it is, when our patience ends, what its death means.

Pure; `plan.py` keeps these records and decides by them.
"""

from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import Final

from serval.errors import ExitStatus
from serval.scoreboard import WorkerState

_MIB: Final = 1024 * 1024


class Phase(Enum):
    """What the parent believes of a child, and has done to it."""

    BOOTING = auto()
    READY = auto()
    RETIRING = auto()  # serves, and wants a replacement
    OVERDUE = auto()  # killed: it did not become ready in time
    HUNG = auto()  # being ended: its event loop no longer turns
    STOPPING = auto()  # asked to stop, or stopping by itself
    CLOSING = auto()  # stopping; no connection is left, lifespan shutdown runs
    KILLED = auto()  # killed: it took too long to stop


class Verdict(Enum):
    """What the death of a child means."""

    FAILED_BOOT = auto()
    CRASH = auto()
    STOPPED = auto()
    CUT_SHORT = auto()


# What a child's own report changes; everything else it may report changes nothing.
NEXT: Final = {
    (Phase.BOOTING, WorkerState.READY): Phase.READY,
    (Phase.BOOTING, WorkerState.RETIRING): Phase.RETIRING,
    (Phase.BOOTING, WorkerState.DRAINING): Phase.STOPPING,
    (Phase.READY, WorkerState.RETIRING): Phase.RETIRING,
    (Phase.READY, WorkerState.DRAINING): Phase.STOPPING,
    (Phase.READY, WorkerState.CLOSING): Phase.CLOSING,
    (Phase.RETIRING, WorkerState.DRAINING): Phase.STOPPING,
    (Phase.RETIRING, WorkerState.CLOSING): Phase.CLOSING,
    (Phase.STOPPING, WorkerState.CLOSING): Phase.CLOSING,
}

VERDICTS: Final = {
    Phase.BOOTING: Verdict.FAILED_BOOT,
    Phase.OVERDUE: Verdict.FAILED_BOOT,
    Phase.READY: Verdict.CRASH,
    Phase.RETIRING: Verdict.CRASH,
    Phase.HUNG: Verdict.CRASH,
    Phase.STOPPING: Verdict.STOPPED,
    Phase.CLOSING: Verdict.STOPPED,
    Phase.KILLED: Verdict.CUT_SHORT,
}

_VERBS: Final = {
    Verdict.FAILED_BOOT: "did not start",
    Verdict.CRASH: "died",
    Verdict.STOPPED: "stopped",
    Verdict.CUT_SHORT: "was killed while stopping",
}


@dataclass(slots=True, eq=False)
class Child:
    """A worker from its fork to its reaping.

    Attributes:
        index: Its slot in the scoreboard.
        first: Whether the server has yet to start: its failure to boot ends everything.
        due_at: When the plan acts unless the child gets further; what it does depends on `phase`.
        pid: 0 between the decision to fork and the fork.
    """

    index: int
    generation: int
    first: bool
    started_at: float
    due_at: float = inf
    pid: int = 0
    phase: Phase = Phase.BOOTING

    def __str__(self) -> str:
        return f"worker {self.index + 1} (pid {self.pid})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a process ended, as the kernel and its slot tell.

    Attributes:
        signal_name: The signal that ended it, such as `SIGKILL`, or empty.
        rss_bytes: Resident memory as the worker measured it last; 0 where it never did.
        peak_rss_bytes: The most it ever had, by the kernel's account; 0 where unknown.
    """

    pid: int
    status: int = 0
    signal_name: str = ""
    requests: int = 0
    rss_bytes: int = 0
    peak_rss_bytes: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether a process ends like this when it is told to stop."""
        return self.status == ExitStatus.OK and self.signal_name in ("", "SIGTERM", "SIGQUIT")


def obituary(child: Child, death: Death, now: float) -> str:
    """One line about the end of a child: who, how, when, how busy, how big."""
    verdict = VERDICTS[child.phase]
    cause = f"killed by {death.signal_name}" if death.signal_name else f"exit status {death.status}"
    parts = [f"{child} {_VERBS[verdict]}: {cause} after {now - child.started_at:.1f} s"]
    if verdict is not Verdict.FAILED_BOOT:
        parts.append(f"{death.requests} requests served")
    if death.rss_bytes:
        parts.append(f"last RSS {death.rss_bytes / _MIB:.0f} MiB")
    if death.peak_rss_bytes:
        parts.append(f"peak RSS {death.peak_rss_bytes / _MIB:.0f} MiB")
    if death.signal_name == "SIGKILL" and child.phase in (
        Phase.BOOTING,
        Phase.READY,
        Phase.RETIRING,
    ):
        parts.append("not by us: out of memory? (kernel log, memory limit of the container)")
    return ", ".join(parts)
