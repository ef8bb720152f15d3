"""What `ps` and `top` show for a process.  Linux only; elsewhere, and on any failure, nothing."""

import contextlib
import ctypes
import sys
from pathlib import Path
from typing import Final

_PR_SET_NAME: Final = 15  # prctl(2); 15 bytes at most
_NAME_BYTES: Final = 15
_ARG_START, _ARG_END = 45, 46  # fields 48 and 49 of /proc/PID/stat, counted behind the name


def set_process_title(title: str, *, short: str) -> None:
    """Show `title` as the command line and `short` as the name.  Main thread only.

    Args:
        title: Cut to the length of the command line that the process was started with.
        short: Cut to 15 bytes.
    """
    if sys.platform != "linux":
        return
    # A nicety: no refusal of the kernel, and no odd libc, may keep a server from starting.
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, short.encode()[:_NAME_BYTES], 0, 0, 0)
        _overwrite_arguments(title.encode())


def _overwrite_arguments(title: bytes) -> None:
    """Write over the argument strings on the stack, which is where the kernel looks for them."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    size = end - start
    before = Path("/proc/self/cmdline").read_bytes()
    # The numbers are 0 where we may not know them; and what is there must be what we think it is.
    if start and size == len(before) and ctypes.string_at(start, size) == before:
        ctypes.memmove(start, title[: size - 1].ljust(size, b"\0"), size)
