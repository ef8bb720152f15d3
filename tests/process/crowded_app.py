"""Applications whose requests hold their threads for as long as a test likes."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from process.threaded_app import answer, say
from serval.asgi.types import Receive, Scope, Send


def result_of(path: str) -> bytes:
    """How many descriptors are open; to `/hold` once somebody opens the gate, which is a FIFO."""
    count = len(os.listdir("/dev/fd"))
    if path == "/hold":
        say("holds")
        os.close(os.open(os.environ["GATE"], os.O_RDONLY))
    return b"%d" % count


def wsgi(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    body = result_of(environ["PATH_INFO"])
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError("lifespan")
    await answer(send, result_of(scope["path"]))
