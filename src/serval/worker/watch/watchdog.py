"""Names the handler that blocks the event loop, while it does.

A thread looks at the loop's thread again and again while something happens, now and then while
applications only wait, and sleeps when nothing is served.  Where it finds the loop inside a
callback it asks for an answer; if none comes in time, whoever stands there holds up every other
request of the worker.  It misses blocks that are hardly longer than its limit, short ones of code
that has waited for long, and those of code that runs while no request does.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Final, TypeAlias

from serval.escaping import request_text
from serval.worker.debuggers import is_at_prompt
from serval.worker.service import Service
from serval.worker.watch.stacks import (
    frame_of,
    frames_of,
    is_at_rest,
    of_application,
    places,
    scope_behind,
    scope_of,
    stack_lines,
)

logger = logging.getLogger("serval.error")

# A block that lasts longer is told of before its end, which may never come.
LONGEST_WAIT_SECONDS: Final = 5.0
# How long it looks closely after the last sign of life, of which there is one in a second at most;
# and where an application waits, which most that block do not do for long.
ALERT_SECONDS: Final = 1.0
ALERT_WAITING_SECONDS: Final = 5.0
# How often it looks while applications wait; as often as the worker's own beat.
WAITING_SECONDS: Final = 5.0
# One warning in this time for each stack.
INTERVAL_SECONDS: Final = 60.0
_STACKS_COUNT: Final = 256

Frames: TypeAlias = list[tuple[FrameType, int]]


class Watchdog:
    """Watches the loop of one service.

    Args:
        service: Whose loop; the thread that makes this is the one to be watched.
        limit_seconds: How long the loop may stand still unnoticed.
        loop_is_debugged: Whether a debugger was attached to its thread when it turned last.
    """

    def __init__(
        self, service: Service, limit_seconds: float, loop_is_debugged: Callable[[], bool]
    ) -> None:
        self._loop_is_debugged = loop_is_debugged
        self._service = service
        self._limit_seconds = limit_seconds
        self._loop = service.loop
        self._watched = threading.get_ident()
        self._awake = threading.Event()
        self._woken_at = 0.0
        self._over = threading.Event()
        self._told_at: dict[tuple[tuple[CodeType, int], ...], float] = {}

    def start(self) -> None:
        """Watch from the next request on.

        Raises:
            RuntimeError: There is no thread for it.
        """
        threading.Thread(target=self._run, name="serval-watchdog", daemon=True).start()
        self._service.watch = self._wake

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()
        self._awake.set()

    def _run(self) -> None:
        while True:
            woken = self._awake.wait(WAITING_SECONDS if self._service.tasks else None)
            if self._over.wait(self._limit_seconds / 2 if woken else 0.0):
                return
            frame = frame_of(self._watched)
            if frame is None:
                return
            if not is_at_rest(frame):
                self._check()
            else:
                self._rest()

    def _wake(self) -> None:
        """Something happens.  The watched thread."""
        self._woken_at = time.monotonic()
        self._awake.set()

    def _rest(self) -> None:
        """Sleep until something happens, once nothing has for a while."""
        if not self._is_alert():
            self._awake.clear()
            if self._is_alert():  # it happened meanwhile
                self._awake.set()

    def _is_alert(self) -> bool:
        seconds = ALERT_WAITING_SECONDS if self._service.tasks else ALERT_SECONDS
        return time.monotonic() - self._woken_at < seconds

    def _check(self) -> None:
        """Ask the loop for an answer, and tell of it if that takes too long."""
        asked_at = time.monotonic()
        answered = threading.Event()
        try:
            self._loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # the loop is closed
            self._over.set()
            return
        if answered.wait(self._limit_seconds / 2):
            return
        frames = frames_of(frame_of(self._watched))
        if answered.wait(self._limit_seconds / 2) or not frames or is_at_rest(frames[-1][0]):
            return
        if self._loop_is_debugged() or is_at_prompt(frame for frame, _ in frames):
            self._excuse()
            return
        # Texts now: the frames go on.
        scope = scope_of(frames) or scope_behind(asyncio.current_task(self._loop))
        who, where = request_text(scope), "\n".join(stack_lines(of_application(frames)))
        ended = answered.wait(LONGEST_WAIT_SECONDS)
        seconds = time.monotonic() - asked_at
        if self._is_news(of_application(frames), time.monotonic()):
            logger.warning(
                "the event loop was blocked for %s%.1f s by %s, and with it everything else in "
                "this worker; it stood at\n%s",
                "" if ended else "more than ",
                seconds,
                who,
                where,
            )

    def _excuse(self) -> None:
        """The loop is held by somebody who looks at it: say in its stead that it is alive."""
        slot = self._service.tally.slot
        if slot is not None and slot.heartbeat_at < math.inf:
            slot.heartbeat_at = time.monotonic()

    def _is_news(self, frames: Frames, now: float) -> bool:
        """Whether this stack was not told of for a while."""
        key = places(frames)
        if now - self._told_at.get(key, float("-inf")) < INTERVAL_SECONDS:
            return False
        if len(self._told_at) >= _STACKS_COUNT:
            self._told_at.clear()
        self._told_at[key] = now
        return True


def watch(service: Service, loop_is_debugged: Callable[[], bool]) -> Watchdog | None:
    """Watch a service as its configuration says; its loop's thread only."""
    seconds = service.config.watchdog_lag
    if not seconds:
        return None
    watchdog = Watchdog(service, seconds, loop_is_debugged)
    try:
        watchdog.start()
    except RuntimeError as exc:  # out of processes; what it would tell is no reason to end
        logger.warning("handlers that block the event loop go unnoticed: %s", exc)
        return None
    return watchdog
