"""An application whose handlers block the event loop, each in its own way."""

import asyncio
import os
import re
import time

from serval.asgi.types import Receive, Scope, Send

BLOCK_SECONDS = 1.0


def say(text: str) -> None:
    """One write, so that lines of several workers never mix."""
    os.write(1, f"app in {os.getpid()}: {text}\n".encode())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        if scope["path"] == "/task":
            await asyncio.create_task(sleep_in_a_task())
        else:
            sleep_in_a_websocket()
        await send({"type": "websocket.close"})
        return
    assert scope["type"] == "http"
    await ROUTES[scope["path"]](receive)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


async def answer(_receive: Receive) -> None:
    """Answer at once."""


async def sleep(_receive: Receive) -> None:
    say("sleeps")
    time.sleep(BLOCK_SECONDS)


async def sleep_for_long(_receive: Receive) -> None:
    """For twice as long as the watchdog's limit is where nothing is set."""
    say("sleeps")
    time.sleep(2)


async def sleep_after_a_wait(_receive: Receive) -> None:
    await asyncio.sleep(0.01)
    time.sleep(BLOCK_SECONDS)


async def sleep_twice(_receive: Receive) -> None:
    for _ in range(2):
        time.sleep(BLOCK_SECONDS / 2)
        await asyncio.sleep(0)


async def spin(_receive: Receive) -> None:
    say("spins")
    while True:
        pass


async def hold_the_interpreter(_receive: Receive) -> None:
    """A search in C that takes centuries, and never lets another thread run."""
    say("holds")
    re.match(r"(a+)+$", "a" * 60 + "b")


async def wait(receive: Receive) -> None:
    await receive()
    asyncio.get_running_loop().call_soon(say, "waits")  # once it does
    await receive()


def sleep_in_a_websocket() -> None:
    time.sleep(BLOCK_SECONDS)


async def sleep_in_a_task() -> None:
    time.sleep(BLOCK_SECONDS)


ROUTES = {
    "/": answer,
    "/sleep": sleep,
    "/sleep-for-long": sleep_for_long,
    "/sleep-after-a-wait": sleep_after_a_wait,
    "/sleep-twice": sleep_twice,
    "/spin": spin,
    "/hold": hold_the_interpreter,
    "/wait": wait,
}
