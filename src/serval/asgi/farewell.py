"""What an application can ask about the coming end of the server.

It stands in `scope["extensions"]["serval"]["draining"]` of every request, WebSocket and lifespan.
Streams that look at it can end by choice, before they are told that their client has left.
"""

import asyncio


class Draining:
    """Whether this worker stops; it never takes that back.  For the thread of its event loop."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        """Whether the worker takes no more requests and waits for those that run."""
        return self._event.is_set()

    async def wait(self) -> bool:
        """Wait until it does; always True."""
        return await self._event.wait()

    def announce(self) -> None:
        """Let everybody know.  The server's to call, not the application's."""
        self._event.set()
