"""The beat of a worker: a sign now and then that its event loop turns, and what it holds.

Runs as a task of the loop whose life it proves; what else is to be looked at now and then, is.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from typing import Final

from serval.config import ServerConfig
from serval.latency import bucket_of
from serval.scoreboard import LAG, LAG_MICROSECONDS, Slot
from serval.worker.anyio_pool import PoolWatch
from serval.worker.debuggers import is_debugged
from serval.worker.memory import rss_bytes
from serval.worker.retirement import Limits, Retirement
from serval.worker.service import Service
from serval.worker.watch.watchdog import watch

logger = logging.getLogger("serval.error")

# How often the event loop says that it turns; some 0.02 % of a core.
BEAT_SECONDS: Final = 5.0
# The same where somebody may be watching: what the admin endpoint tells is no older.
WATCHED_BEAT_SECONDS: Final = 1.0
# How often AnyIO's threads are looked at while there is work.
POOL_LOOK_SECONDS: Final = 0.5
# One beat may be lost to a busy machine without harm.
BEATS_COUNT: Final = 3


def beat_seconds(config: ServerConfig) -> float:
    """The time between two beats."""
    period = WATCHED_BEAT_SECONDS if config.admin_bind else BEAT_SECONDS
    return min(period, config.timeout_worker_healthcheck / BEATS_COUNT or period)


def retirement_limits(config: ServerConfig) -> Limits:
    """What ends the service of a worker."""
    return Limits(
        requests=config.limit_max_requests,
        requests_jitter=config.max_requests_jitter,
        rss_bytes=config.workers_max_rss,
        lifetime_seconds=config.workers_lifetime,
        lifetime_jitter=config.lifetime_jitter,
    )


class Pulse:
    """Beats into a slot, and tells once when the worker has served long enough.

    Args:
        service: Whose counters are shown.
        slot: Where it beats; None without a supervisor.
        retire: Called with the reason why the worker should be replaced.
        notify: Wakes the supervisor, to look at the slot.
    """

    def __init__(
        self,
        service: Service,
        slot: Slot | None,
        retire: Callable[[str], None],
        notify: Callable[[], None],
    ) -> None:
        self._service = service
        self._notify = notify
        self._is_debugged = False
        self._slot = slot
        self._retire = retire
        config = service.config
        self._pool = PoolWatch(service.other_loops)
        self._period = beat_seconds(config)
        self._retirement = Retirement(
            retirement_limits(config),
            luck=random.random(),  # noqa: S311 - it spreads load and guards nothing
            now=time.monotonic(),
        )
        service.tally.requests_limit = self._retirement.requests
        service.tally.limit_reached = self._look

    async def run(self) -> None:
        """Beat until cancelled."""
        if self._slot is not None:
            self._slot.rss_bytes = rss_bytes()
        self._sign(time.monotonic())
        watchdog = watch(self._service, lambda: self._is_debugged)
        try:
            await self._beat()
        finally:
            if watchdog is not None:
                watchdog.stop()

    async def _beat(self) -> None:
        slot, service = self._slot, self._service
        while True:
            began_at = time.monotonic()
            seconds = self._sleep_seconds(began_at)
            await asyncio.sleep(seconds)
            now = time.monotonic()
            self._sign(now)
            if slot is not None:
                self._show(slot, max(now - began_at - seconds, 0.0))
            for line in self._pool.look(now, slot):
                logger.warning("%s", line)
            service.tally.publish()
            self._look()
            for line in service.journal.faults.summaries(service.loop.time()):
                logger.info("%s", line)

    def _sign(self, now: float) -> None:
        """Say that the loop turns; with a debugger, which stops it on purpose, that it always will.

        The supervisor must hear of the end of that, since it waits for no next sign.
        """
        before, self._is_debugged = self._is_debugged, is_debugged()
        if self._slot is None:
            return
        self._slot.heartbeat_at = math.inf if self._is_debugged else now
        if self._is_debugged is not before:
            self._notify()

    def _show(self, slot: Slot, lag_seconds: float) -> None:
        slot.lag_seconds = lag_seconds
        slot.counters[LAG + bucket_of(lag_seconds)] += 1
        slot.counters[LAG_MICROSECONDS] += int(lag_seconds * 1e6)
        slot.rss_bytes = rss_bytes()

    def _sleep_seconds(self, now: float) -> float:
        period = self._period
        service = self._service
        if self._pool.is_there and (service.tally.in_flight or not service.date_is_stale):
            period = min(period, POOL_LOOK_SECONDS)
        return max(min(period, self._retirement.due_at - now), 0.0)

    def _look(self) -> None:
        """See whether it is time to be replaced."""
        slot = self._slot
        if slot is None:
            return
        now = time.monotonic()
        reason = self._retirement.reason(slot.requests, slot.rss_bytes, now)
        if reason:
            self._retirement = Retirement(Limits(), luck=0.0, now=now)
            self._service.tally.requests_limit = self._retirement.requests
            self._retire(reason)
