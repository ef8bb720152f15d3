"""What a client has sent, made fit for a line of a log: printable ASCII, one line, no quotes.

Pure; used by the access log and the fault log.
"""

import re
from typing import Final

from serval.asgi.types import Scope

_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {ord('"')}
_IN_TARGETS: Final = {code: f"%{code:02X}" for code in range(256) if code not in _PLAIN}
_IN_VALUES: Final = {
    code: f"\\x{code:02x}" for code in range(256) if code not in _PLAIN - {ord("\\")}
}
_ID_CHARACTERS: Final = 200

# Trace Context, section 3.2: a version, the trace, the span that called us, flags.
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def escape_target(target: bytes) -> str:
    """A request target with every byte percent-encoded that may not stand in a log."""
    text = target.decode("latin-1")
    if text.isascii() and text.isprintable() and '"' not in text:
        return text
    return text.translate(_IN_TARGETS)


def escape_value(value: bytes, *, limit: int = 0) -> str:
    r"""A header value or other bytes, with `\xNN` for what may not stand in a log.

    Args:
        limit: The most characters to return; what goes beyond is cut, between two escapes.
            0 for all.
    """
    text = value.decode("latin-1")
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        if limit:
            return _cut(text, limit)
        return text.translate(_IN_VALUES)
    return text[:limit] if limit else text


def escape_text(text: str, *, limit: int = 0) -> str:
    """The same for text; non-ASCII characters appear as the bytes of their UTF-8 form."""
    return escape_value(text.encode("utf-8", "backslashreplace"), limit=limit)


def _cut(text: str, limit: int) -> str:
    kept, length = [], 0
    for character in text:
        escaped = _IN_VALUES.get(ord(character), character)
        length += len(escaped)
        if length > limit:
            break
        kept.append(escaped)
    return "".join(kept)


def request_text(scope: Scope | None) -> str:
    """A request in a few words: `GET '/path'`, or `GET '/path' [id]` where it was given one."""
    if not scope:
        return "no request"
    method = "WebSocket" if scope.get("type") == "websocket" else str(scope.get("method", "?"))
    given = given_id(scope)
    return f"{escape_text(method)} {scope.get('path', '?')!a}{given and f' [{given}]'}"


def given_id(scope: Scope) -> str:
    """What whoever handed a request over calls it in logs, or nothing."""
    own = (scope.get("extensions") or {}).get("serval") or {}
    return escape_text(own.get("request_id", ""), limit=_ID_CHARACTERS)


def request_extras(scope: Scope) -> dict[str, str]:
    """What a record in a log has of the request that it is about, as typed fields."""
    found = {
        "method": escape_text(str(scope.get("method", "WEBSOCKET"))),
        "path": escape_text(str(scope.get("path", ""))),
        "request_id": given_id(scope),
        "traceparent": traceparent(scope),
    }
    return {name: value for name, value in found.items() if value}


def traceparent(scope: Scope) -> str:
    """The W3C trace context that came with a request, if it is one; else nothing."""
    for name, value in scope.get("headers", ()):
        if name == b"traceparent":
            return value.decode("ascii") if _TRACEPARENT.fullmatch(value) else ""
    return ""
