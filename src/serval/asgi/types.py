"""The vocabulary of ASGI 3.0: applications, scopes and messages.  Types only."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Address: TypeAlias = tuple[str, int | None]


class ASGIVersions(TypedDict):
    """`scope["asgi"]`."""

    version: Literal["3.0"]
    spec_version: str


class HTTPRequest(TypedDict):
    """A piece of the request body."""

    type: Literal["http.request"]
    body: bytes
    more_body: bool


class HTTPDisconnect(TypedDict):
    """The client is gone, or the response is complete."""

    type: Literal["http.disconnect"]


class HTTPResponseStart(TypedDict):
    """Status and headers; held back until the first body message."""

    type: Literal["http.response.start"]
    status: int
    headers: NotRequired[Iterable[tuple[bytes, bytes]]]
    trailers: NotRequired[bool]


class HTTPResponseBody(TypedDict):
    """A piece of the response body."""

    type: Literal["http.response.body"]
    body: NotRequired[bytes]
    more_body: NotRequired[bool]


class HTTPResponseTrailers(TypedDict):
    """Trailer fields, after the last piece of the body."""

    type: Literal["http.response.trailers"]
    headers: NotRequired[Iterable[tuple[bytes, bytes]]]
    more_trailers: NotRequired[bool]


class HTTPEarlyHint(TypedDict):
    """Link values to be sent in a 103 response (RFC 8297)."""

    type: Literal["http.response.early_hint"]
    links: Iterable[bytes]


class WebSocketConnect(TypedDict):
    """The client asks for the handshake."""

    type: Literal["websocket.connect"]


class WebSocketAccept(TypedDict):
    """The application takes the connection."""

    type: Literal["websocket.accept"]
    subprotocol: NotRequired[str | None]
    headers: NotRequired[Iterable[tuple[bytes, bytes]]]


class WebSocketReceive(TypedDict):
    """A whole message; exactly one of the two is not None."""

    type: Literal["websocket.receive"]
    bytes: bytes | None
    text: str | None


class WebSocketSend(TypedDict):
    """A whole message; exactly one of the two is not None."""

    type: Literal["websocket.send"]
    bytes: NotRequired[bytes | None]
    text: NotRequired[str | None]


class WebSocketDisconnect(TypedDict):
    """The connection has ended."""

    type: Literal["websocket.disconnect"]
    code: int
    reason: str


class WebSocketClose(TypedDict):
    """The application ends the connection, or refuses the handshake."""

    type: Literal["websocket.close"]
    code: NotRequired[int]
    reason: NotRequired[str | None]


class LifespanStartup(TypedDict):
    """The server is about to serve."""

    type: Literal["lifespan.startup"]


class LifespanShutdown(TypedDict):
    """The server has stopped serving."""

    type: Literal["lifespan.shutdown"]
