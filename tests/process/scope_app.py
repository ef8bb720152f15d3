"""An application that answers with what it was told of the request."""

import json

from process.apps import live
from serval.asgi.types import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope as JSON; over a WebSocket, in one message."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    told = {key: scope[key] for key in ("client", "server", "scheme", "path", "root_path")}
    told["host"] = next((value.decode() for name, value in scope["headers"] if name == b"host"), "")
    told["tls"] = scope["extensions"].get("tls")
    text = json.dumps(told)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await receive()
        return
    length = str(len(text)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
