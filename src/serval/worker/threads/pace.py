"""How long requests hold their thread, as far as experience goes: by the shape of their targets.

Asked before the last free thread is taken, and before a thread whose requests merely wait takes
more.  A guess that is wrong costs a wait, nothing else.  Pure.
"""

import re
from collections.abc import Iterable
from typing import Final

# On average; a call that waits for a database or sleeps takes longer, and one that only computes
# takes less, even where it has to wait its turn among busy threads.
QUICK_SECONDS: Final = 0.05
# On average, too: while one that is shorter runs, no other thread need be woken to look for events.
INSTANT_SECONDS: Final = 0.001
# The weight of the last request in the average: one that was held up by others changes little.
WEIGHT: Final = 0.125
# Clients choose the targets, so the tables are bounded and begun anew when full.
SHAPES_COUNT: Final = 1024
TARGETS_COUNT: Final = 4096
TARGET_BYTES: Final = 256

# A segment of a path with a digit in it: an identifier, as a rule.
_IDENTIFIER: Final = re.compile(rb"[^/]*[0-9][^/]*")


class Paces:
    """How long requests held their threads.  Threads may share it: at worst, one is missed."""

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
        """A request of that shape has held its thread for so long at a time."""
        averages = self._averages
        average = averages.get(shape)
        if average is not None:
            averages[shape] = average + (seconds - average) * WEIGHT
        elif len(shape) <= TARGET_BYTES:
            if len(averages) >= SHAPES_COUNT:
                averages.clear()
            averages[shape] = seconds

    def is_quick(self, shape: bytes) -> bool:
        """Whether such requests are known not to hold their thread for long."""
        average = self._averages.get(shape)
        return average is not None and average < QUICK_SECONDS

    def is_instant(self, shape: bytes) -> bool:
        """Whether such requests are known to hold their thread for no time worth a switch."""
        average = self._averages.get(shape)
        return average is not None and average < INSTANT_SECONDS

    def may_be_quick(self, shape: bytes, running: Iterable[bytes]) -> bool:
        """Whether nothing says that such a request will hold its thread for long.

        Args:
            running: The shapes of those that run now: one that was never seen to end is not held
                for quick while another like it goes on.
        """
        if shape in self._averages:
            return self.is_quick(shape)
        return shape not in running
