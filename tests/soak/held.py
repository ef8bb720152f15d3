"""What a process holds, asked from inside of it; the applications of the soak answer with it."""

import ctypes
import gc
import os
from typing import Final

from process.hostile_app import resident_bytes

# The C library keeps what was freed for later, for each thread on its own: after a flood that is
# several times what is in use, and how much depends on which threads were busy at once.
_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


def held_bytes() -> int:
    """How much memory this process holds, once it has given back what it no longer uses."""
    gc.collect()
    if _trim is not None:
        _trim(0)
    return resident_bytes(os.getpid())
