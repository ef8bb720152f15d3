"""From a parsed request and two addresses to the scope of an application.  Pure."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from serval.asgi.types import Address, Scope
from serval.protocols.events import Headers, RequestReceived
from serval.protocols.targets import origin_form

SPEC_VERSION: Final = "2.5"


# Decoding and upper-casing are looked up for the methods that are used.
_METHODS: Final = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}


# What cannot be sent to a client that speaks HTTP/1.0.
_SINCE_1_1: Final = ("http.response.trailers", "http.response.early_hint")

# Targets that were split and decoded: most requests are for few of them.  Clients choose the keys,
# so it is bounded in number and size and begun anew when full.
_TARGETS: dict[bytes, tuple[str, bytes, bytes]] = {}
_TARGETS_COUNT: Final = 1024
_TARGET_BYTES: Final = 128


def scope_template(
    *,
    server: Address | None,
    scheme: str,
    root_path: str,
    lane: str,
    further: Mapping[str, Any] | None = None,
) -> Scope:
    """What the scopes of many requests have in common; `http_scope` makes each from it.

    Args:
        server: Our address.
        root_path: Where the application is mounted; `path` begins with it.
        lane: Which lane serves the requests, "sync" or "async", shown in our own extension.
        further: What else that shows.
    """
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": root_path,
        "headers": [],
        "client": None,
        "server": server,
        "state": {},
        "extensions": {
            "http.response.trailers": {},
            "http.response.early_hint": {},
            "http.response.pathsend": {},
            "http.response.zerocopysend": {},
            "serval.body_limit": {},
            "serval": {"lane": lane, **(further or {})},
        },
    }


def with_peer(template: Scope, peer: Mapping[str, int]) -> Scope:
    """The template for one connection to a Unix socket, whose peer the kernel vouches for."""
    extensions = template["extensions"]
    ours = {**extensions["serval"], "peer": peer}
    return {**template, "extensions": {**extensions, "serval": ours}}


def http_scope(
    template: Scope, client: Address | None, request: RequestReceived, state: dict[str, Any]
) -> Scope:
    """The scope of an HTTP request (ASGI HTTP 2.5), in dictionaries of its own.

    Args:
        client: The peer's address, None where it has none.
        request: Of its headers the scope gets a list of its own.
        state: The lifespan's state; the scope gets a shallow copy.
    """
    method, target, headers, http_version = request[:4]
    path, raw_path, query = _TARGETS.get(target) or split_target(target)
    root_path = template["root_path"]
    # Copying finished dictionaries takes two thirds of the time of building them.
    scope = template.copy()
    scope["asgi"] = template["asgi"].copy()
    scope["method"] = _METHODS.get(method) or method.decode("latin-1").upper()
    scope["path"] = root_path + path if root_path else path
    scope["raw_path"] = raw_path
    scope["query_string"] = query
    scope["headers"] = headers.copy()
    scope["client"] = client
    scope["state"] = state.copy()
    scope["extensions"] = template["extensions"].copy()
    if target[:1] != b"/":
        _use_authority(scope, target)
    if http_version != "1.1":
        scope["http_version"] = http_version
        for name in _SINCE_1_1:
            del scope["extensions"][name]
    return scope


def _use_authority(scope: Scope, target: bytes) -> None:
    """Let the authority of an absolute form take the place of Host (RFC 9112 section 3.2.2)."""
    _, separator, rest = target.partition(b"://")
    authority = rest.partition(b"/")[0].partition(b"?")[0].rpartition(b"@")[2]
    if separator and authority:
        scope["headers"] = with_host(scope["headers"], authority)


def with_host(headers: Headers, host: bytes) -> Headers:
    """The same headers, with one Host: where it stood, or in front."""
    others = [field for field in headers if field[0] != b"host"]
    at = next((index for index, (name, _) in enumerate(headers) if name == b"host"), 0)
    return [*others[:at], (b"host", host), *others[at:]]


def split_target(target: bytes) -> tuple[str, bytes, bytes]:
    """Decoded path, path as sent, and query of a request target (RFC 9112 section 3.2)."""
    raw_path, _, query = target.partition(b"?")
    if raw_path[:1] != b"/":
        raw_path = origin_form(raw_path)
    path = raw_path.decode("latin-1")
    if "%" in path:
        path = unquote(path, errors="replace")
    if not query and len(target) <= _TARGET_BYTES:  # queries are many, and may hold secrets
        if len(_TARGETS) >= _TARGETS_COUNT:
            _TARGETS.clear()
        _TARGETS[target] = path, raw_path, query
    return path, raw_path, query


def websocket_scope(http: Scope) -> Scope:
    """The scope of a WebSocket, from the one of its upgrade request (ASGI WebSocket 2.5).

    The subprotocols are still to come, from whoever reads the handshake.
    """
    scope = http.copy()
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if http["scheme"] == "https" else "ws"
    extensions = http["extensions"]
    # Whichever lane took the request, a WebSocket lives on the event loop's.
    scope["extensions"] = {
        "websocket.http.response": {},
        "serval": {**extensions["serval"], "lane": "async"},
    }
    if "tls" in extensions:
        scope["extensions"]["tls"] = extensions["tls"]
    return scope
