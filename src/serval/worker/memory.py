"""How much memory this process holds, asked of the kernel."""

import os
import resource
import sys
from typing import Final

_STATM: Final = "/proc/self/statm"  # proc(5): the second number is the resident set, in pages
_PEAK_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, getrusage(2)


def rss_bytes(statm: str = _STATM) -> int:
    """The resident memory; where there is no /proc, the most that it ever was."""
    try:
        with open(statm, "rb", buffering=0) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
