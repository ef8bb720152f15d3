"""What a service manager is told, and when: sd_notify(3).  Pure; `notify.py` sends it."""

from collections.abc import Iterable
from math import inf
from typing import Final

from serval.outlook import Outlook, ServerState

# A busy loop may miss a beat of five seconds; three in a row, and it does not turn.
LEAST_STALE_SECONDS: Final = 15.0


class Notices:
    """Follows a server from its start to its end.

    Args:
        pid: The supervisor's, for a manager that started a shell around it.
        watchdog_seconds: Within which the manager wants a sign of life; 0.0 for none.
    """

    def __init__(self, pid: int, *, watchdog_seconds: float = 0.0) -> None:
        self._pid = pid
        self._watchdog_seconds = watchdog_seconds
        self._alive_at = inf  # when the next sign of life is due; never before the server is ready
        self._state = ServerState.BOOTING
        self._reloads = 0
        self._status = ""

    @property
    def deadline(self) -> float:
        """When a sign of life is due."""
        return self._alive_at

    def turn(
        self, outlook: Outlook, heartbeats: Iterable[float], now: float
    ) -> list[dict[str, str]]:
        """The notifications to send now, each a set of assignments.

        Args:
            outlook: How things are.
            heartbeats: When the event loop of each ready worker turned last.
            now: Monotonic seconds; the manager compares them with its own clock.
        """
        beats = list(heartbeats)
        found = self._changes(outlook, now)
        status = _status(outlook, len(beats))
        if found:
            found[-1]["STATUS"] = status
        elif status != self._status:
            found.append({"STATUS": status})
        self._status = status
        if now >= self._alive_at:
            self._alive_at = now + self._watchdog_seconds / 2
            if self._is_alive(beats, now):
                found.append({"WATCHDOG": "1"})
        return found

    def _changes(self, outlook: Outlook, now: float) -> list[dict[str, str]]:
        before, self._state = self._state, outlook.state
        asked, self._reloads = outlook.reloads > self._reloads, outlook.reloads
        ready = {"READY": "1"}
        if outlook.state is ServerState.STOPPING:
            return [] if before is ServerState.STOPPING else [{"STOPPING": "1"}]
        if outlook.state is ServerState.BOOTING:
            return []
        if before is ServerState.BOOTING:
            if self._watchdog_seconds:
                self._alive_at = now + self._watchdog_seconds / 2
            return [ready | {"MAINPID": str(self._pid)}]
        reloading = {"RELOADING": "1", "MONOTONIC_USEC": str(int(now * 1e6))}
        if outlook.state is ServerState.RELOADING:
            return [reloading] if asked else []
        if asked:  # refused at once, or over at once: the manager waits for both words
            return [reloading, ready]
        return [ready] if before is ServerState.RELOADING else []

    def _is_alive(self, beats: list[float], now: float) -> bool:
        """Whether some loop turns; where none is ready, the supervisor itself sees to that."""
        stale = max(self._watchdog_seconds, LEAST_STALE_SECONDS)
        return not beats or now - max(beats) <= stale


def _status(outlook: Outlook, ready_count: int) -> str:
    return (
        f"{outlook.state.value}: {ready_count} of {outlook.workers_wanted} workers ready, "
        f"generation {outlook.generation}"
    )


def notification(assignments: dict[str, str]) -> bytes:
    """The datagram for a set of assignments."""
    return "\n".join(f"{name}={value}" for name, value in assignments.items()).encode()
