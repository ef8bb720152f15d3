"""What several threads count together: requests with their times, and refusals."""

import threading
from collections.abc import Iterator

from serval.errors import PeerError
from serval.fault_log import FaultLog
from serval.worker.counts.meter import Meter


class SharedMeter(Meter):
    """A meter that any thread may tell of requests; shown by one."""

    __slots__ = ("_lock",)

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self._lock = threading.Lock()

    def finished(self, seconds: float, sent_bytes: int, received_bytes: int) -> None:
        """A request is over."""
        with self._lock:
            super().finished(seconds, sent_bytes, received_bytes)

    def refused(self, reason: str) -> None:
        """The server answered a request by itself."""
        with self._lock:
            super().refused(reason)


class SharedFaultLog(FaultLog):
    """A fault log that any thread may tell of refusals."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def refused(self, peer: str, error: PeerError, now: float) -> str | None:
        """Count one refusal; the line to log, or None where the reason had its line already."""
        with self._lock:
            return super().refused(peer, error, now)

    def summaries(self, now: float) -> Iterator[str]:
        """Lines for refusals that were counted but not shown."""
        with self._lock:
            lines = list(super().summaries(now))
        return iter(lines)
