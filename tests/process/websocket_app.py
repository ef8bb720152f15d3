"""A WebSocket application whose path says what it does."""

import asyncio
import os
from typing import Any

from serval.asgi.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        assert (await receive())["type"] == "websocket.connect"
        await ROUTES[scope["path"]](scope, receive, send)
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"%d" % os.getpid()})
    else:
        raise AssertionError(scope["type"])


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    subprotocol = next(iter(scope["subprotocols"]), None)
    headers = [(b"x-worker", b"%d" % os.getpid())]
    await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"], "bytes": message["bytes"]})


async def report_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    """Print what the disconnect said."""
    await send({"type": "websocket.accept"})
    message: Any = {"type": ""}
    while message["type"] != "websocket.disconnect":
        message = await receive()
    print(f"ended with {message['code']} {message['reason']!r}", flush=True)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


async def deny(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b'{"who":', "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b'"are you"}'})


async def raise_after_accepting(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    raise ValueError("the application's own")


async def send_without_end(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "bytes": bytes(65_536)})
        await asyncio.sleep(0)


ROUTES = {
    "/": echo,
    "/echo": echo,
    "/end": report_the_end,
    "/refuse": refuse,
    "/deny": deny,
    "/raise": raise_after_accepting,
    "/flood": send_without_end,
}
