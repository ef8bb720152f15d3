"""The command as a process of its own, which owns the signals before and after all else does.

`python -m serval`, and what the installed commands run.
"""

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Final

from serval.cli import main
from serval.command_options import SUBCOMMANDS
from serval.errors import ExitStatus

_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_STDERR: Final = 2  # the last of the descriptors that every program expects to be open


def run() -> None:
    """Run the command; a stop before it serves ends it cleanly, one after that changes nothing."""
    _fill_standard_descriptors()
    if sys.argv[1:2] not in [[one.name] for one in SUBCOMMANDS]:
        # Without a handler, process 1 of a container would never hear of a stop that comes early.
        for number in _STOPS:
            signal.signal(number, _leave)
    try:
        main()
    finally:
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
        _forget_what_nobody_takes()


def _fill_standard_descriptors() -> None:
    """Open those that were closed: else a socket gets such a number, and log lines go into it.

    libuv moreover ends a process that closes one.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(fd)


def _forget_what_nobody_takes() -> None:
    """Throw away what a full disk or a pipe without a reader has left in the streams.

    The interpreter would try once more, and end with status 120 instead of ours.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # or it is closed, or there is none
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _leave(_signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(ExitStatus.OK)


if __name__ == "__main__":
    run()
