"""Whether a debugger looks on: what it stops on purpose is neither hung nor late."""

import sys
from collections.abc import Iterable
from types import FrameType
from typing import Final

# Debuggers that are there for good once they are loaded: PyCharm's, and debugpy on top of it.
_RESIDENT: Final = "pydevd"
# The modules in which a thread stands that waits for the commands of pdb and its like.
_PROMPTS: Final = frozenset(("bdb", "pdb"))
# A measurement traces as well.
_NO_DEBUGGER: Final = "coverage"


def is_debugged() -> bool:
    """Whether a debugger is attached to the thread that asks, or to the whole process."""
    if _RESIDENT in sys.modules:
        return True
    if sys.version_info >= (3, 12) and sys.monitoring.get_tool(sys.monitoring.DEBUGGER_ID):
        return True
    trace = sys.gettrace()
    if trace is None:
        return False
    module = getattr(trace, "__module__", None) or type(trace).__module__
    return module.partition(".")[0] != _NO_DEBUGGER


def is_at_prompt(frames: Iterable[FrameType]) -> bool:
    """Whether a thread that stands there waits for somebody's commands."""
    return any(frame.f_globals.get("__name__") in _PROMPTS for frame in frames)
