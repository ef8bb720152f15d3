"""An application whose time is measured."""

import asyncio
from typing import Any, NoReturn

import pytest

from serval.asgi.types import Message, Receive, Scope, Send
from serval.config import ServerConfig
from serval.errors import AppError, ClientDisconnected
from serval.worker.request_timeout import RequestTimeout
from serval.worker.service import Service

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "query_string": b""}
PATIENCE_SECONDS = 20


class Application:
    """Begins a response if it is told to, and never goes on."""

    def __init__(self, *, begins: bool) -> None:
        self.begins = begins
        self.was_cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        if self.begins:
            await send({"type": "http.response.start", "status": 200})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


def serve(app: Application, send: Send, **settings: Any) -> None:
    async def main() -> None:
        service = Service(app, ServerConfig(**settings), asyncio.get_running_loop())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await RequestTimeout(app, service)(SCOPE, _receive, send)

    asyncio.run(main())


async def _receive() -> NoReturn:
    raise AssertionError("nobody asks")


def test_what_its_client_has_left_is_cancelled_all_the_same() -> None:
    async def send(message: Message) -> None:
        raise ClientDisconnected("gone")

    app = Application(begins=False)
    serve(app, send, timeout_request=0.01)

    assert app.was_cancelled


def test_a_response_may_be_idle_for_its_own_time_not_for_that_of_its_beginning() -> None:
    async def send(message: Message) -> None:
        """Take it."""

    app = Application(begins=True)
    with pytest.raises(AppError, match="timeout_response_idle"):
        serve(app, send, timeout_request=3600.0, timeout_response_idle=0.01)

    assert app.was_cancelled
