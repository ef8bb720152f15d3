"""When a worker has served long enough: by requests, by memory, by age.  Pure."""

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final

from serval.jitter import NO_JITTER, Jitter

# A peak is no leak: of so many samples of the memory, so many must be above the limit.
SAMPLES_COUNT: Final = 5
ABOVE_COUNT: Final = 3

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What ends the service of a worker; 0 does not.

    Attributes:
        requests_jitter: Added to `requests`, at random.
        lifetime_jitter: Added to `lifetime_seconds`, at random.
    """

    requests: int = 0
    requests_jitter: Jitter = NO_JITTER
    rss_bytes: int = 0
    lifetime_seconds: float = 0.0
    lifetime_jitter: Jitter = NO_JITTER


class Retirement:
    """Watches one worker from the moment that it is ready.

    Attributes:
        requests: After how many it is over, infinity for never.
        due_at: When it is over.

    Args:
        luck: At random from 0 to 1; each worker has its own.
    """

    def __init__(self, limits: Limits, *, luck: float, now: float) -> None:
        self.requests = self.due_at = inf
        if limits.requests:
            self.requests = int(limits.requests_jitter.spread(limits.requests, luck))
        if limits.lifetime_seconds:
            self.due_at = now + limits.lifetime_jitter.spread(limits.lifetime_seconds, luck)
        self._ready_at = now
        self._rss_limit_bytes = limits.rss_bytes or inf
        self._above: deque[bool] = deque(maxlen=SAMPLES_COUNT)

    def reason(self, requests: int, rss_bytes: int, now: float) -> str:
        """Why it is over, or nothing; to be asked now and then, with a new sample of the memory."""
        self._above.append(rss_bytes > self._rss_limit_bytes)
        if requests >= self.requests:
            return f"{requests} requests served (limit_max_requests)"
        if sum(self._above) >= ABOVE_COUNT:
            return f"{rss_bytes / _MIB:.0f} MiB of memory (workers_max_rss)"
        if now >= self.due_at:
            return f"{now - self._ready_at:.0f} s of service (workers_lifetime)"
        return ""
