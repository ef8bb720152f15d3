"""A plain ASGI application that notes every call before it does anything else.

Each path takes another way through the server; the query string is the key of one request.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from frameworks.ledger import note

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = dict[str, Any]

TEXT = [(b"content-type", b"text/plain")]
EVENTS = [(b"content-type", b"text/event-stream")]


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": TEXT})
    await send({"type": "http.response.body", "body": body})


async def plain(_key: str, _receive: Receive, send: Send) -> None:
    await answer(send, b"plain")


async def suspended(_key: str, _receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.02)
    await answer(send, b"suspended")


async def yielded(_key: str, _receive: Receive, send: Send) -> None:
    await asyncio.sleep(0)
    await answer(send, b"yielded")


async def streamed(_key: str, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    for number in range(50):
        body = f"part {number}\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body"})


async def slowly_streamed(_key: str, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})
    for _ in range(5):
        await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"part\n", "more_body": True})
    await send({"type": "http.response.body"})


async def events(_key: str, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
    for number in range(10):
        body = f"data: {number}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0.002)
    await send({"type": "http.response.body"})


async def upload(_key: str, receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await answer(send, str(size).encode())


async def aborted(key: str, receive: Receive, send: Send) -> None:
    """Streams until the client leaves, and says how it learnt of it."""
    await send({"type": "http.response.start", "status": 200, "headers": TEXT})

    async def until_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.create_task(until_disconnect())
    try:
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            await asyncio.sleep(0.005)
    except OSError:
        note("refused", key)
    finally:
        await leaving
        note("ended", key)


async def silent(key: str, receive: Receive, _send: Send) -> None:
    """Never answers: it waits for the client to leave."""
    note("waiting", key)
    while (await receive())["type"] != "http.disconnect":
        pass
    note("ended", key)


async def broken(_key: str, _receive: Receive, _send: Send) -> None:
    raise ValueError("a fault of the application")


async def broken_later(_key: str, _receive: Receive, _send: Send) -> None:
    await asyncio.sleep(0.01)
    raise ValueError("a fault of the application")


async def pid(_key: str, _receive: Receive, send: Send) -> None:
    await answer(send, str(os.getpid()).encode())


ROUTES = {
    "/plain": plain,
    "/suspended": suspended,
    "/yielded": yielded,
    "/streamed": streamed,
    "/slowly-streamed": slowly_streamed,
    "/events": events,
    "/upload": upload,
    "/aborted": aborted,
    "/silent": silent,
    "/broken": broken,
    "/broken-later": broken_later,
    "/pid": pid,
}


async def talk(key: str, receive: Receive, send: Send) -> None:
    """A WebSocket: echoes until the client leaves."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"]})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
    note("ended", key)


async def live(receive: Receive, send: Send) -> None:
    await receive()
    note("started", os.getpid())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("stopped", os.getpid())
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    key = scope["query_string"].decode()
    note("called", key)
    if scope["type"] == "websocket":
        await talk(key, receive, send)
    elif (route := ROUTES.get(scope["path"])) is None:
        await answer(send, b"nothing here", 404)
    else:
        await route(key, receive, send)
