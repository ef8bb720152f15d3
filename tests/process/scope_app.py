"""An application that answers with what it was told of the request."""

import json
from collections.abc import Callable
from typing import Any

from process.apps import live
from serval.asgi.types import Receive, Scope, Send

BIG_BYTES = 8 * 1024 * 1024


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope as JSON; `/echo` gives the body back, `/big` much."""
    if scope["type"] == "lifespan":
        await live(receive, send)
    elif scope["type"] == "websocket":
        await talk(scope, receive, send)
    elif scope["path"] == "/big":
        await answer(send, bytes(BIG_BYTES))
    elif scope["path"] == "/echo":
        await answer(send, await whole_body(receive))
    else:
        await answer(send, told(scope).encode())


def told(scope: Scope) -> str:
    """What tests look at."""
    found = {key: scope[key] for key in ("client", "server", "scheme", "path", "root_path")}
    hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
    extensions = scope["extensions"]
    peer = extensions["serval"].get("peer")
    return json.dumps({**found, "host": hosts, "tls": extensions.get("tls"), "peer": peer})


async def whole_body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


async def answer(send: Send, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def talk(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell first, then give each message back."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": told(scope)})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"], "text": message["text"]})


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """The same as a WSGI application, without WebSockets."""
    if environ["PATH_INFO"] == "/big":
        body = bytes(BIG_BYTES)
    elif environ["PATH_INFO"] == "/echo":
        body = environ["wsgi.input"].read()
    else:
        client = [environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"])]
        body = json.dumps({"client": client, "scheme": environ["wsgi.url_scheme"]}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
