"""Connections that were accepted and that nobody has come to yet: whether they are too many.

Asked before more are accepted, where threads serve them: clients that wait in the kernel's queue
cost us nothing, and who leaves there takes nobody's time.  Pure; main thread only.
"""

from collections import deque
from typing import Final, Protocol

# More than come at once as a rule, and no more than a pool of quick threads serves in a moment.
NEWCOMERS_COUNT: Final = 128


class Newcomer(Protocol):
    """A connection that has come."""

    @property
    def is_passed_over(self) -> bool:
        """Whether nobody has come to it yet, though it has something to say."""


class Newcomers:
    """The connections accepted last, in their order.

    Those that say nothing do not count, or who keeps silent could lock others out: what they may
    cost is bounded by deadlines and by `limit_connections`.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Newcomer] = deque()

    def came(self, newcomer: Newcomer) -> None:
        """One more was accepted."""
        self._waiting.append(newcomer)

    def are_too_many(self) -> bool:
        """Whether so many wait that others had better not be accepted yet."""
        waiting = self._waiting
        # They are served in about the order in which they came: the first tells of all.
        while len(waiting) >= NEWCOMERS_COUNT and not waiting[0].is_passed_over:
            waiting.popleft()
        return len(waiting) >= NEWCOMERS_COUNT
