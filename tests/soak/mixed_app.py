"""What the soak is served: an echo of either kind, a stream, and answers that come late."""

import asyncio

from process.hostile_app import answer, size_of_body
from serval.asgi.types import Receive, Scope, Send

STREAM_COUNT = 16


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Never fails by itself: whatever 5xx a client sees is the server's."""
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["path"] == "/stream":
        await stream(send)
    elif scope["path"] == "/early":
        await answer(send, b"early")
    elif scope["path"] == "/late":
        await asyncio.sleep(0.002)
        await answer(send, b"late")
    else:
        await answer(send, b"%d" % await size_of_body(receive))


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text, data = message.get("text"), message.get("bytes")
        try:
            await send({"type": "websocket.send", "text": text, "bytes": data})
        except OSError:  # the client has left meanwhile
            return


async def stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        for _ in range(STREAM_COUNT):
            await send({"type": "http.response.body", "body": bytes(8192), "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})
    except OSError:  # the client has left meanwhile
        return
