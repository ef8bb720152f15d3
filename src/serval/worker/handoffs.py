"""Connections on their way to the async lane: what is handed over, and how far it was served.

Records, built by whoever read the request first and carried out by `worker/async_pool.py`.
"""

import socket
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from serval.asgi.types import Address, Scope
from serval.protocols.events import RequestReceived


@dataclass(frozen=True, slots=True)
class StreamingHandoff:
    """A parsed request whose application has not been called: the pool calls it.

    Attributes:
        conn: The connection; it belongs to the pool from now on.
        scope: The request's scope; the pool adds its own lifespan state.
        body: The whole request body.
        request_id: What logs shall call the request, if anything.  The application finds it as
            `scope["extensions"]["serval"]["request_id"]`.
    """

    conn: socket.socket
    scope: dict[str, Any]
    body: bytes
    request_id: str | None


@dataclass(frozen=True, slots=True)
class WebSocketHandoff:
    """A parsed upgrade request, not yet answered.

    Attributes:
        conn: The connection; it belongs to the pool from now on.
        request: The upgrade request.
        client: The peer's address.
        server: Our address.
        scope: Of type "websocket"; the pool adds its own lifespan state.
        data: What came after the request's head.
        connection_id: What a lifecycle collector knows the connection as.
    """

    conn: socket.socket
    request: RequestReceived
    client: tuple[str, int | None]
    server: tuple[str, int | None]
    scope: dict[str, Any]
    data: bytes = b""
    connection_id: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionHandoff:
    """A connection of which some bytes have been read and none been parsed."""

    conn: socket.socket
    data: bytes
    client: Address | None
    server: Address | None


HandoffRequest: TypeAlias = StreamingHandoff | WebSocketHandoff | ConnectionHandoff


def scope_of(handoff: StreamingHandoff) -> Scope:
    """The scope of a request, with the name that it was given."""
    scope = handoff.scope
    if not handoff.request_id:
        return scope
    extensions = scope.get("extensions") or {}
    own = {**extensions.get("serval", {}), "request_id": handoff.request_id}
    return {**scope, "extensions": {**extensions, "serval": own}}


def request_of(handoff: StreamingHandoff) -> RequestReceived:
    """The request that a scope was made from, as far as its response needs it."""
    scope: Scope = handoff.scope
    headers = [(name, value) for name, value in scope.get("headers", ())]
    http_version = scope.get("http_version", "1.1")
    tokens = {
        token.strip(b" \t").lower()
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    }
    keep_alive = b"close" not in tokens if http_version == "1.1" else b"keep-alive" in tokens
    return RequestReceived(
        method=scope.get("method", "GET").encode("latin-1"),
        target=scope.get("raw_path") or scope.get("path", "/").encode(),
        headers=headers,
        http_version=http_version,
        keep_alive=keep_alive,
        body=handoff.body,
        content_length=len(handoff.body),
        accepts_trailers=any(n == b"te" and b"trailers" in v.lower() for n, v in headers),
    )


class Taker(Protocol):
    """The async lane, to whoever hands something over."""

    def accept_handoff(self, handoff: HandoffRequest) -> None:
        """Take over a connection.  Any thread."""
