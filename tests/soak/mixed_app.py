"""What the soak is served: an echo of either kind, a stream, and answers that come late."""

import asyncio
from weakref import WeakSet

from process.hostile_app import answer, size_of_body
from serval.asgi.types import Receive, Scope, Send
from soak.held import held_bytes

STREAM_COUNT = 16
# Every loop that has called the application.
_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Never fails by itself: whatever 5xx a client sees is the server's."""
    _loops.add(asyncio.get_running_loop())
    if scope["type"] == "websocket":
        await echo(receive, send)
        return
    match scope["path"]:
        case "/stream":
            await stream(send)
        case "/early":
            await answer(send, b"early")
        case "/late":
            await asyncio.sleep(0.002)
            await answer(send, b"late")
        case "/tasks":
            await answer(send, b"%d" % sum(len(asyncio.all_tasks(loop)) for loop in _loops))
        case "/held":
            await answer(send, b"%d" % held_bytes())
        case _:
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
