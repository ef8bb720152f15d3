"""What an application can ask about the coming end of the server.

It stands in `scope["extensions"]["serval"]["draining"]` of every request, WebSocket and lifespan.
Streams that look at it can end by choice, before they are told that their client has left.
"""

import asyncio
from contextlib import suppress


class Draining:
    """Whether this worker stops; it never takes that back.

    One for all loops of a worker: any of them may ask and wait, and any thread announce.
    """

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: set[asyncio.Future[None]] = set()

    def is_set(self) -> bool:
        """Whether the worker takes no more requests and waits for those that run."""
        return self._is_set

    async def wait(self) -> bool:
        """Wait until it does; always True."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            # In this order, so that an announcement cannot come in between unseen.
            if not self._is_set:
                await future
        finally:
            self._waiting.discard(future)
        return True

    def announce(self) -> None:
        """Let everybody know.  The server's to call, not the application's."""
        self._is_set = True
        for future in list(self._waiting):
            with suppress(RuntimeError):  # its loop is closed
                future.get_loop().call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
