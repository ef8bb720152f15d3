"""From signals to the end of a worker: what each means, and how often it has come.

Made by `worker/process.py` once there is a loop; its thread only.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from typing import Final

from serval.scoreboard import Asked, Slot
from serval.worker.service import Service

logger = logging.getLogger("serval.error")

# A worker that was told to leave by somebody else than its supervisor lets that come first.
PATIENCE_SECONDS: Final = 1.0


class Stops:
    """What a worker was asked to do about its end.

    Under a supervisor a SIGTERM means what that has written into our slot before.  Others may send
    one, too: systemd signals the whole group, beside the supervisor.  So it never hurries us; the
    supervisor sends QUIT for that.

    Attributes:
        stopping: Set once nothing new shall be accepted.
        yields: Others serve on, so that idle connections may wait for a last request.

    Args:
        service: What is served.
        slot: Where the supervisor writes what it means; None without one.
        delay_seconds: How long everything is served on after SIGTERM.
        hurry: Cuts short what still runs.
        end: Ends the process at once.
    """

    def __init__(
        self,
        service: Service,
        slot: Slot | None,
        *,
        delay_seconds: float,
        hurry: Callable[[], None],
        end: Callable[[], object],
    ) -> None:
        self.stopping = asyncio.Event()
        self.yields = False
        self._service = service
        self._slot = slot
        self._delay_seconds = delay_seconds
        self._hurry = hurry
        self._end = end
        self._count = 0
        self._leaving: asyncio.TimerHandle | None = None

    def listen(self, numbers: Iterable[signal.Signals]) -> None:
        """Take these signals from now on."""
        for number in numbers:
            self._service.loop.add_signal_handler(number, self.take, number)

    def take(self, number: signal.Signals) -> None:
        """A signal has come."""
        if number is signal.SIGQUIT:
            self._count = max(self._count, 1)
            self.stopping.set()
            self._hurry()
        elif self._slot is not None:
            self._obey(self._slot.asked)
        elif number is signal.SIGTERM and self._may_leave():
            self._leave(self._delay_seconds)
        else:
            self._escalate()

    def _obey(self, asked: Asked) -> None:
        if asked is Asked.LEAVE and not self.stopping.is_set():
            self._service.leave()
        elif asked is Asked.NOTHING and self._may_leave():
            self._leave(self._delay_seconds + PATIENCE_SECONDS)
        else:
            self.yields = asked is Asked.YIELD
            self.stopping.set()

    def _may_leave(self) -> bool:
        return bool(self._delay_seconds) and self._leaving is None and not self.stopping.is_set()

    def _leave(self, seconds: float) -> None:
        self._service.leave()
        self._leaving = self._service.loop.call_later(seconds, self.stopping.set)

    def _escalate(self) -> None:
        """Without a supervisor: the first stops, the second hurries, the third ends."""
        self._count += 1
        self.stopping.set()
        if self._count == 2:
            self._hurry()
        elif self._count > 2:
            logger.warning("ended by a third signal")
            self._end()
