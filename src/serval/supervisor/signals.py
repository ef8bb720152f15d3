"""From a signal to an entry in an inbox, and back to normal in a child.

The interpreter's handler writes one byte into a socket pair; the supervisor's loop wakes, reads and
acts.  Main thread of the parent only.
"""

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Final

# In the order in which a loop should act when several have come at once: an end before a change,
# and what the operator wants before what has become of the children.
ORDER: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)
_RANK: Final = {int(signum): rank for rank, signum in enumerate(ORDER)}
# What a terminal or a service manager may send to the whole group, while it is meant for the
# parent alone.  Caught and dropped, not ignored: a program that the application runs would inherit
# SIG_IGN, while caught signals become the default again with exec.
_FOR_THE_PARENT: Final = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_READ_BYTES: Final = 4096


def _drop(_signum: int, _frame: FrameType | None) -> None:
    """Do nothing: the byte in the wake-up socket says it all, or nobody wants to know."""


class SignalInbox:
    """Catches every signal in `ORDER` from its making to its closing."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers_before = {signum: signal.signal(signum, _drop) for signum in ORDER}

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._reader.fileno()

    def drain(self) -> list[signal.Signals]:
        """The signals that have come since the last call, in the order of `ORDER`.

        One that came twice is in it twice.
        """
        numbers = bytearray()
        with contextlib.suppress(BlockingIOError):
            while True:
                numbers += self._reader.recv(_READ_BYTES)
        known = (number for number in numbers if number in _RANK)
        return [signal.Signals(number) for number in sorted(known, key=_RANK.__getitem__)]

    def close(self) -> None:
        """Put everything back as it was before."""
        for signum, handler in self._handlers_before.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._reader.close()
        self._writer.close()

    def close_in_child(self) -> None:
        """Make a freshly forked child deaf to what is meant for its parent.

        Everything else gets its default action.  Call it while signals are held: a handler that ran
        before would write into the parent's socket.
        """
        signal.set_wakeup_fd(-1)
        for signum in ORDER:
            signal.signal(signum, _drop if signum in _FOR_THE_PARENT else signal.SIG_DFL)
        self._reader.close()
        self._writer.close()


@contextlib.contextmanager
def signals_held() -> Iterator[set[int]]:
    """Keep signals pending around a fork; gives the mask that a child must set for itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ORDER)
    try:
        yield {int(signum) for signum in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
