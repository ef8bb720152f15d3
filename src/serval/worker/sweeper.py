"""The one timer behind all deadlines of a loop: it wakes for the oldest wait, and only then."""

import asyncio
import logging
import math
from typing import Final, Protocol

from serval.worker.deadlines import Deadlines, Wait

logger = logging.getLogger("serval.error")

# Waits may end this much late: it keeps the number of wake-ups down.
TICK_SECONDS: Final = 0.25
# A sweep that comes later than this past its time says that the loop was held up.
LATE_SECONDS: Final = 1.0


class Waiting(Protocol):
    """What can be let wait."""

    def expired(self, wait: Wait, *, late: bool) -> None:
        """The wait is over."""


class Sweeper:
    """Starts and ends waits, and tells those whose time is over.  Thread of the loop only."""

    __slots__ = ("_armed_at", "_handle", "_loop", "_queues", "deadlines")

    def __init__(self, deadlines: Deadlines[Waiting], loop: asyncio.AbstractEventLoop) -> None:
        self.deadlines = deadlines
        self._queues = deadlines.queues
        self._loop = loop
        self._armed_at = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def start(self, wait: Wait, item: Waiting) -> None:
        """Let `item` wait from now on."""
        queue = self._queues[wait]
        now = self._loop.time()
        queue.start(item, now)
        if queue.seconds and now + queue.seconds < self._armed_at:
            self._arm(now + queue.seconds)

    def stop(self, wait: Wait, item: Waiting) -> None:
        """End that wait of `item`, if there is one."""
        self._queues[wait].stop(item)

    def close(self) -> None:
        """Sleep for good."""
        if self._handle is not None:
            self._handle.cancel()
        self._armed_at = -math.inf

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_at = at
        self._handle = self._loop.call_at(at + TICK_SECONDS, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        late = now - self._armed_at > LATE_SECONDS
        self._handle = None
        self._armed_at = math.inf
        for wait, item in list(self.deadlines.take_expired(now)):
            try:
                item.expired(wait, late=late)
            except Exception:
                # A defect of ours: the others shall not miss their time.
                logger.exception("a wait for %s could not be ended", wait.name)
        next_at = self.deadlines.next_at()
        if next_at is not None and next_at < self._armed_at:
            self._arm(next_at)
