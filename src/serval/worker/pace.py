"""Which requests are quick, as far as experience goes: by the shape of their targets.  Pure.

`worker/roster.py` asks before it lets the last free thread be taken.  A guess that is wrong costs
a wait, nothing else.
"""

import re
from collections.abc import Iterable
from typing import Final

# On average; a request that waits for a database or sleeps takes longer, and one that only
# computes takes less, even where it has to wait its turn among busy threads.
QUICK_SECONDS: Final = 0.05
# The weight of the last request in the average: one that was held up by others changes little.
WEIGHT: Final = 0.125
# Clients choose the targets, so the tables are bounded and begun anew when full.
SHAPES_COUNT: Final = 1024
TARGETS_COUNT: Final = 4096
TARGET_BYTES: Final = 256

# A segment of a path with a digit in it: an identifier, as a rule.
_IDENTIFIER: Final = re.compile(rb"[^/]*[0-9][^/]*")


class Paces:
    """How long requests took.  Threads may share it: at worst an average misses a request."""

    __slots__ = ("_averages", "_shapes")

    def __init__(self) -> None:
        self._averages: dict[bytes, float] = {}
        self._shapes: dict[bytes, bytes] = {}

    def shape(self, path: bytes) -> bytes:
        """What requests that differ by identifiers only have in common."""
        shape = self._shapes.get(path)
        if shape is None:
            shape = _IDENTIFIER.sub(b"*", path)
            if len(path) <= TARGET_BYTES:
                if len(self._shapes) >= TARGETS_COUNT:
                    self._shapes.clear()
                self._shapes[path] = shape
        return shape

    def note(self, shape: bytes, seconds: float) -> None:
        """A request of that shape took so long."""
        averages = self._averages
        average = averages.get(shape)
        if average is not None:
            averages[shape] = average + (seconds - average) * WEIGHT
        elif len(shape) <= TARGET_BYTES:
            if len(averages) >= SHAPES_COUNT:
                averages.clear()
            averages[shape] = seconds

    def is_quick(self, shape: bytes, running: Iterable[bytes]) -> bool:
        """Whether such a request will be over soon.

        Args:
            running: The shapes of those that run now: one that was never seen to end is not held
                for quick while another like it goes on.
        """
        average = self._averages.get(shape)
        if average is None:
            return shape not in running
        return average < QUICK_SECONDS
