"""How long an application may take to begin a response, and to go on with it.

An application around the application, put there only where a timeout is set.  The application runs
in a task of its own, so that one which ignores its cancellation can be left behind.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from serval.asgi.types import ASGIApp, Message, Receive, Scope, Send
from serval.errors import AppError, ClientDisconnected
from serval.escaping import request_text
from serval.worker.debuggers import is_debugged
from serval.worker.service import Service

logger = logging.getLogger("serval.error")

# What an application gets for its cleanup after it was cancelled.
CLEANUP_SECONDS: Final = 1.0


class RequestTimeout:
    """Calls an application and keeps an eye on the time.

    Args:
        app: What is called.
        service: Told of what is given up; its configuration has the timeouts.

    Attributes:
        abandoned: Tasks that ignored their cancellation; nothing waits for them.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service
        self.request_seconds = service.config.timeout_request
        self.idle_seconds = service.config.timeout_response_idle
        self.abandoned: set[asyncio.Future[None]] = set()

    def abandon(self, task: asyncio.Future[None]) -> None:
        """Keep a task from the collector, and hear no more of it."""
        self.service.stats.abandoned += 1
        self.abandoned.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self.abandoned.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.debug("an abandoned request ended by %r", task.exception())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; what is no plain request has no such timeout."""
        if scope["type"] == "http":
            await TimedRequest(self, scope, send).run(receive)
        else:
            await self.app(scope, receive, send)


class TimedRequest:
    """One request under a timeout.

    Attributes:
        scope: The request's.
    """

    def __init__(self, owner: RequestTimeout, scope: Scope, send: Send) -> None:
        self._owner = owner
        self.scope = scope
        self._send = send
        self._loop = owner.service.loop
        self._sent_at = 0.0  # when the response began or went on; 0.0 before
        self._begun: asyncio.Future[None] | None = None  # where another time counts from then on
        self._sending_count = 0
        self._over = False

    async def run(self, receive: Receive) -> None:
        """Let the application run, to its end or to the timeout's."""
        task = asyncio.ensure_future(self._call(receive))
        try:
            while not await self._ended(task):
                if is_debugged():
                    self._sent_at = self._sent_at and self._loop.time()
                elif not self._sent_at:
                    if self._owner.request_seconds:
                        await self._give_up(task)
                        return
                elif self._idle_left() <= 0:
                    await self._cut(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait((task,), timeout=CLEANUP_SECONDS)
            raise
        task.result()

    async def _call(self, receive: Receive) -> None:
        await self._owner.app(self.scope, receive, self._forward)

    async def _forward(self, message: Message) -> None:
        """Pass a message of the application on, and note that it came."""
        if self._over:
            raise ClientDisconnected("the request was given up")
        if self._sent_at or message["type"] == "http.response.start":
            self._sent_at = self._loop.time()
            if self._begun is not None and not self._begun.done():
                self._begun.set_result(None)
        # A wait for a slow client is not the application's, nor the time that a file takes.
        self._sending_count += 1
        try:
            await self._send(message)
        finally:
            self._sending_count -= 1
        if self._sent_at:
            self._sent_at = self._loop.time()

    async def _ended(self, task: asyncio.Future[None]) -> bool:
        """Wait until the application has ended, or there is a reason to look at it."""
        owner = self._owner
        awaited = [task]
        if self._sent_at:
            seconds = self._idle_left() if owner.idle_seconds else None
        else:
            seconds = owner.request_seconds or owner.idle_seconds
            if owner.request_seconds and owner.idle_seconds:
                self._begun = self._loop.create_future()
                awaited.append(self._begun)
        await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return task.done()

    def _idle_left(self) -> float:
        seconds = self._owner.idle_seconds
        if self._sending_count:
            return seconds or 1.0
        return self._sent_at + seconds - self._loop.time() if seconds else 1.0

    async def _give_up(self, task: asyncio.Future[None]) -> None:
        """Answer in the application's stead, and cancel it."""
        self._over = True
        text = b"504 Gateway Timeout: the application took too long\n"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"connection", b"close"),
        ]
        self._owner.service.journal.count_refusal("request-timeout")
        logger.warning(
            "no response within %g s (timeout_request), cancelled: %s",
            self._owner.request_seconds,
            request_text(self.scope),
        )
        with suppress(ClientDisconnected):  # what its client has left is cancelled all the same
            await self._send({"type": "http.response.start", "status": 504, "headers": headers})
            await self._send({"type": "http.response.body", "body": text})
        await self._cancel(task)

    async def _cut(self, task: asyncio.Future[None]) -> None:
        """Cancel an application that does not go on with its response."""
        self._over = True
        await self._cancel(task)
        raise AppError(
            f"no part of the response for {self._owner.idle_seconds:g} s (timeout_response_idle)"
        )

    async def _cancel(self, task: asyncio.Future[None]) -> None:
        task.cancel()
        await asyncio.wait((task,), timeout=CLEANUP_SECONDS)
        if task.done():
            if not task.cancelled() and isinstance(error := task.exception(), Exception):
                logger.debug("the application ended by %r as it was cancelled", error)
            return
        logger.warning("it ignores its cancellation and is abandoned: %s", request_text(self.scope))
        self._owner.abandon(task)
