"""An application that takes its time, in several ways."""

import asyncio
import os

from serval.asgi.types import Receive, Scope, Send


def say(text: str) -> None:
    """One write, so that lines of several workers never mix."""
    os.write(1, f"app in {os.getpid()}: {text}\n".encode())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    assert scope["type"] == "http"
    await ROUTES[scope["path"]](receive, send)


async def respond(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


async def answer(_receive: Receive, send: Send) -> None:
    await respond(send)


async def sleep(_receive: Receive, send: Send) -> None:
    say("sleeps")
    try:
        await asyncio.sleep(60)
    finally:
        say("cleaned up")
    await respond(send)


async def ignore_cancellation(_receive: Receive, send: Send) -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            say("goes on")


async def slow_stream(_receive: Receive, send: Send) -> None:
    """Longer in all than a response may take to begin."""
    await send({"type": "http.response.start", "status": 200})
    for _ in range(8):
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b"."})


async def stalled_stream(_receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await sleep(_receive, send)


async def wait_for_the_end(receive: Receive, send: Send) -> None:
    say("waits")
    await receive()
    await receive()


ROUTES = {
    "/": answer,
    "/sleep": sleep,
    "/ignore-cancellation": ignore_cancellation,
    "/slow-stream": slow_stream,
    "/stalled-stream": stalled_stream,
    "/wait": wait_for_the_end,
}
