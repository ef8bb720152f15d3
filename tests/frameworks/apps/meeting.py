"""Where requests wait until so many have come together: one alone would wait in vain."""

import threading

COUNT = 4
_DOOR = threading.Barrier(COUNT)


def meet() -> None:
    """Wait for the others.

    Raises:
        BrokenBarrierError: They have not come.
    """
    _DOOR.wait(20)
