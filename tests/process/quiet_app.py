"""An application that answers with its worker's pid, and says nothing."""

import os
from typing import Final

from serval.asgi.types import Receive, Scope, Send
from serval.protocols.events import Headers


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def probed(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers 503 where the target says so, else 200."""
    if scope["type"] != "http":
        return
    status = 503 if b"fail" in scope["raw_path"] + scope["query_string"] else 200
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body"})


async def identified(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the id of the request, as its extension and header have it."""
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/fail":
        raise RuntimeError("failed on purpose")
    seen = scope["extensions"]["serval"]["request_id"].encode()
    assert (b"x-request-id", seen) in scope["headers"]
    if scope["type"] == "websocket":
        await WEBSOCKETS[scope["path"]](receive, send, [(b"x-seen", seen)])
        return
    headers = [(b"content-length", b"0"), (b"x-seen", seen)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})


async def accept(receive: Receive, send: Send, headers: Headers) -> None:
    await receive()
    await send({"type": "websocket.accept", "headers": headers})
    await receive()


async def close(receive: Receive, send: Send, headers: Headers) -> None:
    await send({"type": "websocket.close"})


async def deny(receive: Receive, send: Send, headers: Headers) -> None:
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body"})


async def accept_by_its_own_id(receive: Receive, send: Send, headers: Headers) -> None:
    await accept(receive, send, [*headers, (b"X-Request-ID", b"its-own")])


WEBSOCKETS: Final = {"/a": accept, "/close": close, "/deny": deny, "/own": accept_by_its_own_id}


async def echoing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it is sent, as it is sent."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        body = message.get("body", b"")
        await send({"type": "http.response.body", "body": body, "more_body": more})
