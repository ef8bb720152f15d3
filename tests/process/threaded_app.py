"""An ASGI application that blocks, waits, streams and misbehaves on request."""

import asyncio
import contextvars
import hashlib
import json
import os
import socket
import threading
import time
from collections import Counter
from typing import Any

from process.kill_threads import kill_others
from serval.asgi.types import Receive, Scope, Send

since_startup: contextvars.ContextVar[str] = contextvars.ContextVar("since_startup")
LENGTH = b"content-length"


def say(text: str) -> None:
    os.write(1, f"app: {text}\n".encode())


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(LENGTH, str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


async def where(scope: Scope, receive: Receive, send: Send) -> None:
    """Which thread, loop and state serve this."""
    same_loop = scope["state"]["loop"] is asyncio.get_running_loop()
    lane = scope["extensions"]["serval"]["lane"]
    thread = threading.current_thread().name
    await answer(send, f"{thread} {same_loop} {since_startup.get()} {lane}".encode())


async def block(scope: Scope, receive: Receive, send: Send) -> None:
    time.sleep(0.5)  # noqa: ASYNC251 - on purpose
    await answer(send, b"hello")


async def wait_and_block(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.01)
    time.sleep(0.5)  # noqa: ASYNC251 - on purpose
    await answer(send, b"hello")


async def wait(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.5)
    await answer(send, b"hello")


async def pause(scope: Scope, receive: Receive, send: Send) -> None:
    """Wait a little, then block a little."""
    await asyncio.sleep(0.002)
    time.sleep(0.002)  # noqa: ASYNC251 - on purpose
    await answer(send, b"hello")


async def digest(scope: Scope, receive: Receive, send: Send) -> None:
    found = hashlib.sha256()
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            say("digest saw the client leave")
            return
        found.update(message["body"])
        size += len(message["body"])
        if not message["more_body"]:
            break
    thread = threading.current_thread().name
    await answer(send, f"{size} {found.hexdigest()} {thread}".encode())


async def held_up(scope: Scope, receive: Receive, send: Send) -> None:
    """Once the body is here, block until who listens at the port in the query lets go."""
    while (await receive())["more_body"]:
        pass
    port = int(scope["query_string"])
    with socket.create_connection(("127.0.0.1", port)) as bell:
        bell.recv(1)
    await answer(send, b"hello")


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(200):
        body = b"%d\n" % number
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if number % 50 == 0:
            await asyncio.sleep(0.001)
    await send({"type": "http.response.body", "body": b""})


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """A stream that ends when its client leaves."""
    gone = asyncio.ensure_future(receive_to_the_end(receive))
    thread = threading.current_thread().name
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        while not gone.done():
            body = f"{thread}\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(0.02)
        say("endless ended")
    finally:
        gone.cancel()


async def receive_to_the_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def background(scope: Scope, receive: Receive, send: Send) -> None:
    """Something goes on after the response, in a task and in this one."""

    async def later() -> None:
        await asyncio.sleep(0.05)
        say(f"task ended in {threading.current_thread().name}")

    task = asyncio.ensure_future(later())
    await answer(send, threading.current_thread().name.encode())
    await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"too late"})
    say("went on after the response")
    await task


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("on purpose")


async def exiting(scope: Scope, receive: Receive, send: Send) -> None:
    raise SystemExit(3)


async def kill(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, kill_others().encode())


counts: Counter[str] = Counter()
counts_lock = threading.Lock()


ROUTES = {
    "/": hello,
    "/where": where,
    "/block": block,
    "/wait-and-block": wait_and_block,
    "/wait": wait,
    "/pause": pause,
    "/digest": digest,
    "/held-up": held_up,
    "/stream": stream,
    "/endless": endless,
    "/background": background,
    "/raising": raising,
    "/exiting": exiting,
    "/kill": kill,
}


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    with counts_lock:
        counts[scope["path"].rpartition("/")[2]] += 1
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": threading.current_thread().name})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


started: set[str] = set()


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    thread = threading.current_thread().name
    await receive()
    scope["state"]["loop"] = asyncio.get_running_loop()
    since_startup.set(thread)
    if thread == os.environ.get("FAILS_IN") or (thread in started and "FAILS_AGAIN" in os.environ):
        await send({"type": "lifespan.startup.failed", "message": f"not in {thread}"})
        return
    started.add(thread)
    say(f"starts up in {thread}")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say(f"shuts down in {thread}")
    if thread == os.environ.get("FAILS_LATE_IN"):
        await send({"type": "lifespan.shutdown.failed", "message": f"not in {thread}"})
        return
    await send({"type": "lifespan.shutdown.complete"})


async def counted(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says, and count that it was asked for under the name at its end."""
    _, _, what, name = scope["path"].split("/")
    with counts_lock:
        counts[name] += 1
    await ROUTES.get(f"/{what}", hello)(scope, receive, send)


async def all_counts(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, json.dumps(counts).encode())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"].startswith("/counted/"):
        await counted(scope, receive, send)
        return
    handlers: dict[str, Any] = {"lifespan": live, "websocket": websocket}
    if scope["path" if scope["type"] == "http" else "type"] == "/counts":
        await all_counts(scope, receive, send)
        return
    handler = handlers.get(scope["type"]) or ROUTES.get(scope["path"], hello)
    await handler(scope, receive, send)
