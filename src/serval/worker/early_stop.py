"""A stop that comes while the application is still being imported: nobody waits for the import.

Used by a worker until its event loop takes the signals, and by the supervisor while it preloads;
main thread only.
"""

import _thread
import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Final

from serval.errors import ExitStatus

logger = logging.getLogger("serval.error")

# What an import gets for its `finally` blocks.  A container's stop should take less than a second.
UNWINDING_SECONDS: Final = 0.5


class StopRequested(BaseException):
    """A signal to stop came before there was a loop to stop."""


class EarlyStop:
    """A signal handler that raises `StopRequested` wherever the main thread is.

    Only once: what a second signal raised would hit the code that unwinds after the first.  And the
    first may be lost, in a bare `except` around an import or in a destructor; so a process whose
    import still runs some time later is ended as it stands.

    Attributes:
        asked: Whether a signal has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._is_over = False

    def end(self) -> None:
        """The import is over, one way or the other: nothing is raised or ended by force any more.

        Whether a stop was asked for and the import has kept that to itself, or one has come since,
        `asked` says.
        """
        self._is_over = True

    def take(self, _signum: int, _frame: FrameType | None) -> None:
        """A signal has come."""
        was_asked, self.asked = self.asked, True
        if was_asked or self._is_over:
            return
        # Not a threading.Thread: its start takes locks that the interrupted code may hold.
        _thread.start_new_thread(self._insist, ())
        raise StopRequested

    def _insist(self) -> None:
        time.sleep(UNWINDING_SECONDS)
        if not self._is_over:
            logger.warning("the application's import goes on although it was stopped: cut off")
            os._exit(ExitStatus.OK)


@contextlib.contextmanager
def early_stop(numbers: Iterable[signal.Signals]) -> Iterator[EarlyStop]:
    """Let these signals raise `StopRequested` for the length of the block.

    It can come out of the end of the block, too.
    """
    handlers = {number: signal.getsignal(number) for number in numbers}
    stop = EarlyStop()
    try:
        try:
            for number in handlers:
                signal.signal(number, stop.take)
            yield stop
        finally:
            stop.end()
    finally:  # nothing is raised here any more
        for number, handler in handlers.items():
            signal.signal(number, handler)
