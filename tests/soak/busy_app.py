"""An application whose every answer costs 5 ms of processor time, and names its worker."""

import os
import time

from serval.asgi.types import Receive, Scope, Send

COST_SECONDS = 0.005


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    end_at = time.thread_time() + COST_SECONDS
    while time.thread_time() < end_at:
        pass
    body = b"%d" % os.getpid()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
