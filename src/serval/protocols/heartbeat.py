"""When to ping a silent peer, and when to give it up.  Pure.

`worker/connections/websocket.py` asks it at the times that it names itself; nothing is done per
message.
"""

from enum import Enum, auto
from typing import Final

# While a pong is awaited, the clock is looked at this often at least: a turn that comes late shows
# that our own loop was blocked, and that time is not held against the peer.
_STEP_SECONDS: Final = 1.0

# A turn that comes this much later than asked for counts for nothing.
_LATE_SECONDS: Final = 0.25

_FOREVER: Final = float("inf")


class Beat(Enum):
    """What a turn of the heartbeat asks for."""

    NOTHING = auto()
    PING = auto()
    GIVE_UP = auto()


class Heartbeat:
    """The life of one peer; times are monotonic seconds.

    Args:
        interval_seconds: How long a peer may be silent before it is asked; 0 never asks.
        timeout_seconds: How long it may take to show life then; 0 waits for ever.
        now: When the connection opened.

    Attributes:
        next_at: When `turn` wants to be called next.
    """

    __slots__ = ("_asked", "_interval", "_left_seconds", "_timeout", "_turned_at", "next_at")

    def __init__(self, interval_seconds: float, timeout_seconds: float, now: float) -> None:
        self._interval = interval_seconds or _FOREVER
        self._timeout = timeout_seconds or _FOREVER
        self._asked = False
        self._left_seconds = self._timeout
        self._turned_at = now
        self.next_at = now + self._interval

    def turn(self, now: float, *, heard: bool) -> Beat:
        """Take stock.

        Args:
            now: The time; at or after `next_at`.
            heard: Whether anything came since the last turn, or could not come, because we were
                not reading.
        """
        passed = now - self._turned_at if now - self.next_at < _LATE_SECONDS else 0.0
        self._turned_at = now
        if heard:
            self._asked = False
            self.next_at = now + self._interval
            return Beat.NOTHING
        if self._asked:
            self._left_seconds -= passed
            if self._left_seconds <= 0:
                self.next_at = _FOREVER
                return Beat.GIVE_UP
            self.next_at = now + min(_STEP_SECONDS, self._left_seconds)
            return Beat.NOTHING
        if self._timeout == _FOREVER:
            self.next_at = now + self._interval
            return Beat.PING
        self._asked = True
        self._left_seconds = self._timeout
        self.next_at = now + min(_STEP_SECONDS, self._left_seconds)
        return Beat.PING
