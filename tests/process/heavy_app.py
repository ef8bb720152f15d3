"""An application that holds much from its import on."""

from serval.asgi.types import Receive, Scope, Send

TEXTS = [f"text number {number}" for number in range(500_000)]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = TEXTS[-1].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
