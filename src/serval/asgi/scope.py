"""From a parsed request and two addresses to the scope of an application.  Pure."""

from typing import Final
from urllib.parse import unquote

from serval.asgi.types import Address, Scope
from serval.protocols.events import Headers, RequestReceived

SPEC_VERSION: Final = "2.5"


# Decoding and upper-casing are looked up for the methods that are used.
_METHODS: Final = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}


def scope_template(
    *, client: Address | None, server: Address | None, scheme: str, root_path: str
) -> Scope:
    """What the scopes of a connection's requests have in common; `http_scope` adds the rest."""
    return {
        "type": "http",
        "asgi": {},
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": root_path,
        "headers": [],
        "client": client,
        "server": server,
        "state": {},
        "extensions": {},
    }


def http_scope(template: Scope, request: RequestReceived, state: Scope, lane: str) -> Scope:
    """The scope of an HTTP request (ASGI HTTP 2.5); every container in it is fresh.

    Args:
        template: Made by `scope_template` for the connection; where the application is mounted,
            `path` begins with its `root_path`.
        state: The lifespan's state; the scope gets a shallow copy.
        lane: Which lane serves the request, "sync" or "async", shown in our own extension.
    """
    # Copying a finished dictionary and replacing values is a third cheaper than building one.
    scope = template.copy()
    raw_path = request.target
    query = b""
    if b"?" in raw_path:
        raw_path, _, query = raw_path.partition(b"?")
    if raw_path[:1] != b"/":
        raw_path, query = origin_form(raw_path, query)
    path = raw_path.decode("latin-1")
    if "%" in path:
        path = unquote(path, errors="replace")
    root_path = template["root_path"]
    method = request.method
    scope["asgi"] = {"version": "3.0", "spec_version": SPEC_VERSION}
    scope["http_version"] = request.http_version
    scope["method"] = _METHODS.get(method) or method.decode("latin-1").upper()
    scope["path"] = root_path + path if root_path else path
    scope["raw_path"] = raw_path
    scope["query_string"] = query
    scope["headers"] = request.headers
    scope["state"] = state.copy()
    scope["extensions"] = {
        "http.response.trailers": {},
        "http.response.early_hint": {},
        "serval": {"lane": lane},
    }
    return scope


def websocket_scope(http: Scope) -> Scope:
    """The scope of a WebSocket, from the one of its upgrade request (ASGI WebSocket 2.5)."""
    scope = http.copy()
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if http["scheme"] == "https" else "ws"
    scope["subprotocols"] = subprotocols(http["headers"])
    extensions = http["extensions"]
    scope["extensions"] = {"websocket.http.response": {}, "serval": extensions["serval"]}
    return scope


def subprotocols(headers: Headers) -> list[str]:
    """What the client offers in Sec-WebSocket-Protocol, in its order (RFC 6455 section 11.3.4)."""
    return [
        token.decode("latin-1")
        for name, value in headers
        if name == b"sec-websocket-protocol"
        for part in value.split(b",")
        if (token := part.strip(b" \t"))
    ]


def origin_form(target: bytes, query: bytes) -> tuple[bytes, bytes]:
    """Path and query of a target that is not in origin form (RFC 9112 section 3.2).

    An absolute form gives the part after its authority; `*` stays as it is.
    """
    scheme, separator, rest = target.partition(b"://")
    if not separator:
        return target, query
    _, slash, path = rest.partition(b"/")
    return slash + path or b"/", query
