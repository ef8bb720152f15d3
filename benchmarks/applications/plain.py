"""The application that every server serves: one small handler for each work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MEBIBYTES_10 = 10 * 2**20
HELLO = b"Hello, World!"
HELLO_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
}
HELLO_BODY: Message = {"type": "http.response.body", "body": HELLO}
DOWNLOAD_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(MEBIBYTES_10).encode()),
    ],
}
TEXT_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain")],
}
EVENTS_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")],
}
BLOCK = bytes(65536)
BLOCK_MESSAGE: Message = {"type": "http.response.body", "body": BLOCK, "more_body": True}
CHUNK: Message = {"type": "http.response.body", "body": b"a small chunk\n", "more_body": True}
EVENT: Message = {"type": "http.response.body", "body": b"data: tick\n\n", "more_body": True}
END: Message = {"type": "http.response.body", "body": b""}
EVENT_SECONDS = 0.01


async def hello(_receive: Receive, send: Send) -> None:
    await send(HELLO_START)
    await send(HELLO_BODY)


async def yielding(receive: Receive, send: Send) -> None:
    await asyncio.sleep(0)
    await hello(receive, send)


async def timer(receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.001)
    await hello(receive, send)


async def echo(receive: Receive, send: Send) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def chunks(_receive: Receive, send: Send) -> None:
    await send(TEXT_START)
    for _ in range(100):
        await send(CHUNK)
    await send(END)


async def upload(receive: Receive, send: Send) -> None:
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%013d" % size
    await send(HELLO_START)
    await send({"type": "http.response.body", "body": body})


async def download(_receive: Receive, send: Send) -> None:
    await send(DOWNLOAD_START)
    for _ in range(MEBIBYTES_10 // len(BLOCK)):
        await send(BLOCK_MESSAGE)
    await send(END)


async def events(_receive: Receive, send: Send) -> None:
    await send(EVENTS_START)
    while True:
        await send(EVENT)
        await asyncio.sleep(EVENT_SECONDS)


ROUTES = {
    "/": hello,
    "/yielding": yielding,
    "/timer": timer,
    "/echo": echo,
    "/chunks": chunks,
    "/upload": upload,
    "/download": download,
    "/events": events,
}


async def websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


async def live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one request, WebSocket or lifespan."""
    kind = scope["type"]
    if kind == "http":
        await ROUTES[scope["path"]](receive, send)
    elif kind == "websocket":
        await websocket(receive, send)
    else:
        await live(receive, send)
