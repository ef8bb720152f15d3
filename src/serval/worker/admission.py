"""How many requests an application is given at once: the others wait in a queue, or hear 503.

An application around the application, put there only where a limit is set; WebSockets are counted
apart.  Thread of the service's loop only.
"""

import asyncio
from collections import deque
from contextlib import suppress
from math import ceil
from typing import Final

from serval.asgi.types import ASGIApp, Receive, Scope, Send
from serval.errors import PeerError
from serval.worker.service import Service

OVERLOADED: Final = "overloaded"


class Admission:
    """Calls an application for at most so many requests at once.

    Args:
        app: What is called.
        service: Told of what is refused; its configuration has the limits.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        config = service.config
        self._app = app
        self._service = service
        self._limit = config.limit_concurrency
        self._queue_count = config.limit_queue
        self._queue_seconds = config.timeout_queue
        self._websockets_limit = config.limit_websockets
        self._running = 0
        self._websockets = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket, now, later or not at all."""
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif not self._limit:
            await self._app(scope, receive, send)
        elif await self._admitted():
            try:
                await self._app(scope, receive, send)
            finally:
                self._release()
        else:
            await self._refuse(scope, send, "http.response")

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._websockets_limit and self._websockets >= self._websockets_limit:
            await self._refuse(scope, send, "websocket.http.response")
            return
        self._websockets += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._websockets -= 1

    async def _admitted(self) -> bool:
        """Take a place, after a while in the queue perhaps; whether there was one."""
        if self._running < self._limit:
            self._running += 1
            return True
        if len(self._waiting) >= self._queue_count:
            return False
        place = self._service.loop.create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(self._queue_seconds or None):
                await place
        except (TimeoutError, asyncio.CancelledError) as error:
            if place.done() and not place.cancelled():  # it came in the very moment
                self._release()
            else:
                with suppress(ValueError):  # one that has ended meanwhile has passed it over
                    self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def _release(self) -> None:
        """Give the place to who waits longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._running -= 1

    async def _refuse(self, scope: Scope, send: Send, kind: str) -> None:
        client = scope.get("client")
        self._service.journal.refused(
            client, PeerError(503, OVERLOADED, "too many requests at once")
        )
        retry = str(ceil(self._queue_seconds) or 1).encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", retry)]
        await send({"type": f"{kind}.start", "status": 503, "headers": headers})
        await send({"type": f"{kind}.body", "body": b"503 Service Unavailable: overloaded\n"})
