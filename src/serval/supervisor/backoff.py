"""How often children die, and how long the next fork should wait for it.  Pure."""

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 60.0
FIRST_DELAY_SECONDS: Final = 0.05  # doubled by each death in the window: the fifth waits 0.8 s
LONGEST_DELAY_SECONDS: Final = 5.0


class Backoff:
    """The deaths of the last minute."""

    def __init__(self) -> None:
        self._deaths: deque[tuple[float, bool]] = deque()

    def note(self, now: float, *, counts: bool) -> int:
        """Add a death; return how many within the window count towards the limit."""
        self._deaths.append((now, counts))
        while self._deaths[0][0] <= now - WINDOW_SECONDS:
            self._deaths.popleft()
        return sum(counts for _, counts in self._deaths)

    @property
    def delay_seconds(self) -> float:
        """From the death noted last to the next fork."""
        doublings = min(len(self._deaths) - 1, 16)  # enough for the longest; no huge powers
        return min(FIRST_DELAY_SECONDS * 2.0**doublings, LONGEST_DELAY_SECONDS)
