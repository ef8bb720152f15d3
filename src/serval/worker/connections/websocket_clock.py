"""What one WebSocket session waits for: at most one moment of each kind.  Pure.

`worker/connections/websocket.py` keeps one timer for the earliest of them.
"""

from enum import Enum, auto
from typing import Final

# A moment noticed this much late says that the loop was held up.
LATE_SECONDS: Final = 0.25

NEVER: Final = float("inf")


class Due(Enum):
    """What there is to do when the moment has come."""

    BEAT = auto()  # look whether the peer lives
    LAST_WORD = auto()  # send the close frame that was held back for the application's sake
    WRITE = auto()  # look whether the peer reads
    CLOSE = auto()  # the peer has not ended the connection: end it


# What a peer did while the loop was held up lies unread: it gets that long to be seen.
_PEERS: Final = (Due.WRITE, Due.CLOSE)


class WebSocketClock:
    """The moments of one session, in monotonic seconds."""

    __slots__ = ("_moments",)

    def __init__(self) -> None:
        self._moments: dict[Due, float] = {}

    def start(self, due: Due, at: float) -> None:
        """Wait for `at`, whatever was waited for before; never, if it is infinite."""
        self._moments[due] = at

    def stop(self, due: Due) -> None:
        """Wait no more."""
        self._moments.pop(due, None)

    def __contains__(self, due: Due) -> bool:
        return due in self._moments

    def next_at(self) -> float:
        """The earliest moment, or infinity."""
        return min(self._moments.values(), default=NEVER)

    def take(self, now: float) -> list[Due]:
        """Remove and return what is due."""
        late = now - self.next_at() > LATE_SECONDS
        taken = []
        for due, at in list(self._moments.items()):
            if at > now:
                continue
            if late and due in _PEERS:
                self._moments[due] = now + LATE_SECONDS
            else:
                del self._moments[due]
                taken.append(due)
        return taken
