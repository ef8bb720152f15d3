"""An application that hostile clients are set upon."""

import asyncio
from pathlib import Path

from serval.asgi.types import Receive, Scope, Send

# More than the kernel keeps for a client that does not read.
LARGE_BYTES = 10 << 20
_PIECE = bytes(65_536)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`/large` is 10 MiB, `/early` and `/later` do not read, `/never` never ends, others read."""
    assert scope["type"] == "http", scope["type"]
    path = scope["path"]
    if path == "/large":
        await large(send)
    elif path == "/early":
        await answer(send, b"early " * 1000)
    elif path == "/later":
        await asyncio.sleep(0)
        await answer(send, b"later " * 1000)
    elif path == "/never":
        await asyncio.Event().wait()
    else:
        await answer(send, b"%d" % await size_of_body(receive))


async def size_of_body(receive: Receive) -> int:
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return -1
        size += len(message["body"])
        if not message["more_body"]:
            return size


async def large(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    piece = _PIECE
    for _ in range(LARGE_BYTES // len(_PIECE)):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def answer(send: Send, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def resident_bytes(pid: int) -> int:
    """How much memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
