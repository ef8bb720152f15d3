"""How long a child may take for what it does, and what is done to it once that is over.  Pure."""

from collections.abc import Iterable
from math import inf
from typing import Final

from serval.supervisor.actions import Action, Order, Say, Settings, Tell
from serval.supervisor.child import Child, Phase

SLACK_SECONDS: Final = 0.75  # a worker keeps its deadlines itself; a kill within a second of them
HUNG_SECONDS: Final = 5.0  # from asking a hung worker to stop to killing it
OVERSLEPT_SECONDS: Final = 5.0  # woken this much late, the machine slept and all children with it


def due_at(child: Child, settings: Settings, now: float) -> float:
    """When the time is over for a child that enters its phase now; infinity for never."""
    match child.phase:
        case Phase.BOOTING:
            startup = settings.startup_seconds
            return now + startup + SLACK_SECONDS if startup else inf
        case Phase.READY | Phase.RETIRING:
            return now + (settings.heartbeat_seconds or inf)
        case Phase.STOPPING:
            return now + settings.graceful_seconds + SLACK_SECONDS
        case Phase.CLOSING:
            return now + settings.closing_seconds + SLACK_SECONDS
        case Phase.HUNG:
            return now + HUNG_SECONDS
        case _:  # OVERDUE, KILLED
            return inf


def lost(child: Child, settings: Settings, now: float) -> list[Action]:
    """A child's time is up: put it into its next phase, and say what to do."""
    orders: tuple[Order, ...] = (Order.KILL,)
    match child.phase:
        case Phase.BOOTING:
            child.phase = Phase.OVERDUE
            said = Say(
                "error",
                f"{child} is not ready after {settings.startup_seconds:g} s "
                "(timeout_startup): killing it",
            )
        case Phase.READY | Phase.RETIRING:
            child.phase = Phase.HUNG
            orders = (Order.DUMP, Order.STOP)
            said = Say(
                "error",
                f"{child} is hung: its event loop has not turned for "
                f"{settings.heartbeat_seconds:g} s (timeout_worker_healthcheck); it dumps its "
                f"stacks and is killed in {HUNG_SECONDS:g} s",
            )
        case _:  # HUNG, STOPPING, CLOSING
            said = Say("warning", f"{child} does not stop in time: killing it")
            child.due_at = inf
            if child.phase is not Phase.HUNG:
                child.phase = Phase.KILLED
            return [said, Tell(child.pid, Order.KILL)]
    child.due_at = due_at(child, settings, now)
    return [said, *(Tell(child.pid, order) for order in orders)]


def spare_sleepers(children: Iterable[Child], late_seconds: float, now: float) -> None:
    """Where we wake much too late, let children that serve have a moment to show that they live."""
    if late_seconds > OVERSLEPT_SECONDS:
        for child in children:
            child.due_at = max(child.due_at, now + OVERSLEPT_SECONDS)
