"""The application that the README starts with: a page that shows a request, a stream, a WebSocket.

Plain ASGI without dependencies; run it as `serval serval.demo:app`.  The page asks this module's
endpoints once a second and shows how long each took, which worker answered and on which lane.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final, TypeAlias

from serval.asgi.types import Receive, Scope, Send

_Handler: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PAGE: Final = files("serval").joinpath("demo.html").read_bytes()
EVENT_SECONDS: Final = 1.0

_JSON: Final = (b"content-type", b"application/json")
_NOT_STORED: Final = (b"cache-control", b"no-store")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_PAGE_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # The page is whole in itself; what it may reach is this server.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        b"img-src data:; connect-src 'self' ws: wss:",
    ),
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the demo."""
    match scope["type"]:
        case "lifespan":
            await _lifespan(receive, send)
        case "websocket":
            await _websocket(scope, receive, send)
        case "http":
            method, handler = _ROUTES.get(_path(scope), ("", _not_found))
            if method and scope["method"] not in {method, "HEAD" if method == "GET" else method}:
                handler = _method_not_allowed
            await handler(scope, receive, send)
        case other:
            raise NotImplementedError(f"the demo does not know scopes of type {other!r}")


# -- what the page asks ------------------------------------------------------------------------


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(send, 200, PAGE, *_PAGE_HEADERS)


async def _plain(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(send, 200, _json(_whereabouts(scope)), _JSON, _NOT_STORED)


async def _stream(scope: Scope, receive: Receive, send: Send) -> None:
    """One event a second until the client leaves or the server stops."""
    headers = [(b"content-type", b"text/event-stream"), _NOT_STORED, (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    ends = {asyncio.create_task(_until_disconnect(receive)), *_server_stops(scope)}
    try:
        number = 0
        while not any(end.done() for end in ends):
            number += 1
            event = _json({**_whereabouts(scope), "number": number})
            message = b"data: %b\n\n" % event
            await send({"type": "http.response.body", "body": message, "more_body": True})
            await asyncio.wait(ends, timeout=EVENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        await send({"type": "http.response.body", "body": b""})
    finally:
        for end in ends:
            end.cancel()


async def _upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Count the bytes of a body, keeping none."""
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await _answer(send, 200, _json({**_whereabouts(scope), "bytes": size}), _JSON, _NOT_STORED)


async def _websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Say who answers, then send back every message as it came."""
    await receive()
    if _path(scope) != "/echo":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": _json(_whereabouts(scope)).decode()})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        data = message.get("bytes")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": data})


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(send, 404, b"There is nothing here.\n", _TEXT)


async def _method_not_allowed(scope: Scope, receive: Receive, send: Send) -> None:
    method, _ = _ROUTES[_path(scope)]
    allowed = b"GET, HEAD" if method == "GET" else method.encode()
    await _answer(send, 405, b"Another method is needed.\n", _TEXT, (b"allow", allowed))


_ROUTES: Final[dict[str, tuple[str, _Handler]]] = {
    "/": ("GET", _page),
    "/plain": ("GET", _plain),
    "/stream": ("GET", _stream),
    "/upload": ("POST", _upload),
}


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


# -- the pieces of an answer -------------------------------------------------------------------


def _path(scope: Scope) -> str:
    """The path below where a proxy has mounted the demo."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def _whereabouts(scope: Scope) -> dict[str, object]:
    """The worker that answers, and its lane as far as the server says."""
    ours = (scope.get("extensions") or {}).get("serval", {})
    return {"worker": os.getpid(), "lane": ours.get("lane", "unknown")}


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode()


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _server_stops(scope: Scope) -> list[asyncio.Task[object]]:
    """A task that ends once the server begins to stop; none where it would not tell."""
    draining = (scope.get("extensions") or {}).get("serval", {}).get("draining")
    return [] if draining is None else [asyncio.create_task(draining.wait())]


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
