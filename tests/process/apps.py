"""An application that shows what its server does to it: it writes lines that tests wait for."""

import os

from serval.asgi.types import Receive, Scope, Send


def say(text: str) -> None:
    """One write, so that lines of several workers never mix."""
    os.write(1, f"app in {os.getpid()}: {text}\n".encode())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the worker's pid, after the whole body has come."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    assert scope["type"] == "http"
    say(f"began {scope['path']}")
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            say("disconnected")
            return
        if not message["more_body"]:
            break
        say("wants more")
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def live(receive: Receive, send: Send) -> None:
    await receive()
    say("starts up")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("shuts down")
    await send({"type": "lifespan.shutdown.complete"})


async def failing_to_stop(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose shutdown fails."""
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "the queue is not empty"})


say("imported")
