"""Room for descriptors, made before a process has threads.

Linux doubles a process's table of descriptors as it fills.  Where threads share the table, whoever
opens the one descriptor too many (the 257th, the 513th, ...) sleeps in the kernel until every CPU
has passed through its scheduler (`synchronize_rcu`): milliseconds as a rule, and many seconds on a
busy virtual machine.  That would be the thread that accepts.  The table never shrinks, and as long
as there is only one thread, to let it grow costs nothing.
"""

import fcntl
import os
import resource
from contextlib import suppress
from typing import Final

# How many descriptors there is room for afterwards, at 8 bytes each.
ROOM_COUNT: Final = 65_536


def make_room() -> None:
    """Let the table of descriptors be as large as it will be; before threads start."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = ROOM_COUNT if limit == resource.RLIM_INFINITY else min(limit, ROOM_COUNT)
    with suppress(OSError):  # without it, things are merely slower
        probe = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(fcntl.fcntl(probe, fcntl.F_DUPFD_CLOEXEC, count - 1))
        finally:
            os.close(probe)
