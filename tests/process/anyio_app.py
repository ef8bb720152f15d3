"""An application whose requests hold threads of AnyIO's pool until another lets them go."""

import threading

import anyio.to_thread

from serval.asgi.types import Receive, Scope, Send

LET_GO = threading.Event()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/hold":
        await anyio.to_thread.run_sync(LET_GO.wait)
    if scope["path"] == "/let-go":
        LET_GO.set()
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})
