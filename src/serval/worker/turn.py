"""What is sent at the end of a turn of the loop: one callback for all connections that wrote in it.

Many streams that speak at the same moment would otherwise take a callback each, which costs more
than what it calls.  Thread of the loop only.
"""

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger("serval.error")


class Writer(Protocol):
    """A connection with bytes in its queue."""

    def turn_over(self) -> None:
        """Send them."""

    def drop(self, *, reset: bool = False) -> None:
        """Close the connection now."""


class Turn:
    """The running turn of a loop."""

    __slots__ = ("_loop", "_writers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._writers: list[Writer] = []

    def ends_for(self, writer: Writer) -> None:
        """Have its `turn_over` called once the callbacks that are due now have run."""
        if not self._writers:
            self._loop.call_soon(self._end)
        self._writers.append(writer)

    def _end(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            try:
                writer.turn_over()
            except Exception:
                # A defect of ours: the others shall not miss what they have to say.
                logger.exception("sending on a connection failed, which is dropped")
                writer.drop(reset=True)
