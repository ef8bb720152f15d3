"""How many of the waiting connections a worker should take, with an eye on the others.  Pure."""

from collections.abc import Sequence
from typing import Final

# Beyond its share: connections come and go, and counts of others are a turn old.
TOLERANCE: Final = 1.25
SPARE_COUNT: Final = 1


def fair_count(own: int, others: Sequence[int], most: int) -> int:
    """How many connections to accept now, 0 to `most`.

    Args:
        own: Connections of this worker.
        others: Connections of each other worker that accepts.
        most: As many as may be accepted at once.
    """
    if not others:
        return most
    workers = len(others) + 1
    open_count = own + sum(others)
    count = 0
    while count < most and own + count < (open_count + count) / workers * TOLERANCE + SPARE_COUNT:
        count += 1
    return count
