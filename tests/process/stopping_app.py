"""An application of streams that end in different ways when their server does."""

import asyncio
import os
import threading

from serval.asgi.types import Message, Receive, Scope, Send

EVENT = b"data: x\n\n"


def say(text: str) -> None:
    """One write, so that lines of several workers never mix."""
    os.write(1, f"app in {os.getpid()}: {text}\n".encode())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "lifespan":
            await live(scope, receive, send)
        case "websocket":
            await linger(scope, receive, send)
        case _:
            await ROUTES[scope["path"]](scope, receive, send)


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    say("starts up")
    watch = asyncio.create_task(watch_the_end(scope))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await watch
    say("shuts down")
    await send({"type": "lifespan.shutdown.complete"})


async def watch_the_end(scope: Scope) -> None:
    await scope["extensions"]["serval"]["draining"].wait()
    say("lifespan sees the end")


def start(**headers: str) -> Message:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": pairs}


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def name_the_worker(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(start())
    await send(part(str(os.getpid()).encode(), more=False))


async def stream_until_drained(scope: Scope, _receive: Receive, send: Send) -> None:
    """End by choice, as soon as the server drains, and not in haste."""
    draining = scope["extensions"]["serval"]["draining"]
    await send(start())
    await send(part(EVENT))
    say(f"streams, draining: {draining.is_set()}")
    await draining.wait()
    await asyncio.sleep(0.6)
    await send(part(b"data: bye\n\n", more=False))


async def stream_until_left(_scope: Scope, receive: Receive, send: Send) -> None:
    """Send until the client is gone, as far as this can tell."""
    await send(start())
    say("streams")
    await receive()
    left = asyncio.ensure_future(receive())
    while not left.done():
        await send(part(EVENT))
        await asyncio.wait([left], timeout=0.05)
    say(f"received {left.result()['type']}")
    await send(part(b"", more=False))


async def stream_for_ever(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(start())
    say("streams")
    try:
        while True:
            await send(part(EVENT))
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        say("was cancelled")
        raise


async def answer_late(_scope: Scope, _receive: Receive, send: Send) -> None:
    say("waits")
    await asyncio.sleep(1.0)
    await send(start())
    await send(part(b"late", more=False))


async def ignore_cancellation(_scope: Scope, _receive: Receive, _send: Send) -> None:
    say("never ends")
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            say("goes on")


async def burn(scope: Scope, receive: Receive, send: Send) -> None:
    """Leave a thread behind that takes all the processor time it can get."""

    def run() -> None:
        while True:
            pass

    threading.Thread(target=run, daemon=True).start()
    await name_the_worker(scope, receive, send)


async def linger(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket that says when it sees the end coming."""
    await receive()
    await send({"type": "websocket.accept"})
    await scope["extensions"]["serval"]["draining"].wait()
    await send({"type": "websocket.send", "text": "draining"})
    message = await receive()
    say(f"closed with {message['code']}")


ROUTES = {
    "/": name_the_worker,
    "/until-drained": stream_until_drained,
    "/until-left": stream_until_left,
    "/for-ever": stream_for_ever,
    "/late": answer_late,
    "/ignore-cancellation": ignore_cancellation,
    "/burn": burn,
}
