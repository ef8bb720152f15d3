"""From a finished request to its access line: the default line, gunicorn's atoms, JSON.  Pure.

`access_log.py` calls one of these once per request; whatever a client has sent comes out escaped,
and no line comes out as two.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from serval.asgi.types import Scope
from serval.errors import ConfigError
from serval.escaping import (
    escape_target,
    escape_text,
    escape_value,
    given_id,
    traceparent,
)
from serval.tokens import TOKEN

# Longer values are cut, so that a line fits into one atomic write to a pipe (PIPE_BUF, 4096).
_VALUE_CHARACTERS: Final = 512
_PATH_CHARACTERS: Final = 1024
_TARGET_CHARACTERS: Final = 2048
_QUICK_CHARACTERS: Final = 1024
LINE_CHARACTERS: Final = 4000
_GREEN, _RESET = "\x1b[32m", "\x1b[0m"
_COLORS: Final = {4: "\x1b[33m", 5: "\x1b[31m"}


class Stamp(NamedTuple):
    """The wall time of a line, in the spellings that are in use.

    Attributes:
        text: `2026-11-22 13:24:05 +0000`.
        clf: `22/Nov/2026:13:24:05 +0000`, as in the Common Log Format.
        iso: `2026-11-22T13:24:05+00:00` (RFC 3339).
    """

    text: str
    clf: str
    iso: str


class Entry(NamedTuple):
    """One finished request.

    Attributes:
        status: The response status; 499 where the client left before it had its response.
        sent_bytes: Bytes of the response body.
        received_bytes: Bytes of the request body.
        seconds: From the head of the request to the last byte of the response.
        headers: The headers of the response.
        cause: Why the request did not end as it should, in our words, or empty.
    """

    scope: Scope
    status: int
    sent_bytes: int
    received_bytes: int
    seconds: float
    headers: Iterable[tuple[bytes, bytes]]
    cause: str
    stamp: Stamp
    pid: int


LineFormat: TypeAlias = Callable[[Entry], str]
_Atom: TypeAlias = Callable[[Entry], object]


def plain_line(entry: Entry) -> str:
    """`127.0.0.1:53422 "GET /path?query HTTP/1.1" 200 13B 0.81ms`, and a cause if there is one.

    Without time and process, which the log of the process puts before it.
    """
    cause = f" ({escape_text(entry.cause)})" if entry.cause else ""
    return (
        f'{address(entry.scope["client"])} "{_request_line(entry)}" {entry.status}'
        f" {entry.sent_bytes}B {_milliseconds(entry.seconds)}{cause}"
    )


class QuickLines:
    """`plain_line`, time and process before it, at a fifth of its cost where nothing is escaped.

    One for each log; any thread may call `line`.
    """

    __slots__ = ("_heads", "_prefix", "_targets")

    def __init__(self) -> None:
        self._prefix = ""
        self._heads: dict[object, str] = {}
        self._targets: dict[bytes, str] = {}

    def begin(self, prefix: str) -> None:
        """Put that before each line from now on."""
        self._prefix = prefix
        self._heads = {}

    def line(self, scope: Scope, status: int, sent_bytes: int, seconds: float) -> str | None:
        """The line of a request, its end of line included; None where `plain_line` must write it.

        Raises:
            AttributeError, IndexError, KeyError, TypeError: The scope is not as it was made.
        """
        client = scope["client"]
        head = self._heads.get(client) or self._head(client)
        target = scope["raw_path"]
        text = self._targets.get(target) or self._text(target)
        if text is not None and (query := scope["query_string"]):
            text = _with_query(text, query)
        if text is None:
            return None
        size = _NUMBERS[sent_bytes] if sent_bytes < _NUMBERS_COUNT else str(sent_bytes)
        hundredths = int(seconds * 100_000)
        took = _HUNDREDTHS[hundredths] if 0 <= hundredths < 1_000 else _milliseconds(seconds)
        return (
            f'{head}{scope["method"]} {text} HTTP/{scope["http_version"]}" {_NUMBERS[status]}'
            f" {size}B {took}\n"
        )

    def _head(self, client: Any) -> str:
        if len(self._heads) >= _CACHED_COUNT:
            self._heads = {}
        heads = self._heads  # before the prefix: those of a later one are not for this head
        head = heads[client] = f'{self._prefix}{address(client)} "'
        return head

    def _text(self, target: bytes) -> str | None:
        text = _plain_text(target)
        if text is not None:
            if len(self._targets) >= _CACHED_COUNT:
                self._targets = {}
            self._targets[target] = text
        return text


def _with_query(text: str, query: bytes) -> str | None:
    further = _plain_text(query)
    return None if further is None else f"{text}?{further}"


def _plain_text(target: bytes) -> str | None:
    """A part of a target as text, or None where it is to be escaped or cut."""
    text = target.decode("latin-1")
    if '"' in text or len(text) > _QUICK_CHARACTERS:
        return None
    return text if text.isprintable() and text.isascii() else None


def _milliseconds(seconds: float) -> str:
    hundredths = int(seconds * 100_000)
    if hundredths < 1_000:
        return f"{hundredths / 100:.2f}ms"
    return f"{hundredths // 100}.{hundredths // 10 % 10}ms"


# Writing numbers out is a good part of the cost of a line; most requests take less than this.
_HUNDREDTHS: Final = tuple(f"{hundredths / 100:.2f}ms" for hundredths in range(1_000))
_NUMBERS_COUNT: Final = 4_096
_NUMBERS: Final = tuple(map(str, range(_NUMBERS_COUNT)))
# Clients and targets whose text is kept: the same few come again and again.
_CACHED_COUNT: Final = 1_024


def colored_line(entry: Entry) -> str:
    """The default line with the status in a colour that says how it went."""
    color = _COLORS.get(entry.status // 100, _GREEN)
    # A quotation mark is never within the quotes, so the first that closes them is the right one.
    return plain_line(entry).replace(f'" {entry.status} ', f'" {color}{entry.status}{_RESET} ', 1)


def fields(entry: Entry) -> dict[str, str | int | float]:
    """The typed fields of a line: for JSON, and for the extras of a LogRecord."""
    scope = entry.scope
    found: dict[str, str | int | float] = {
        "client": address(scope["client"]),
        "method": escape_text(_method(entry)),
        "path": _cut(escape_target(scope["raw_path"]), _PATH_CHARACTERS),
        "query": _cut(escape_target(scope["query_string"]), _PATH_CHARACTERS),
        "http_version": scope["http_version"],
        "status": entry.status,
        "duration_ms": round(entry.seconds * 1000, 3),
        "sent_bytes": entry.sent_bytes,
        "received_bytes": entry.received_bytes,
        "user_agent": _request_header(entry, b"user-agent"),
        "referer": _request_header(entry, b"referer"),
    }
    if (peer := address(_peer(entry))) != found["client"]:
        found["peer"] = peer
    if known := _request_id(entry):
        found["request_id"] = known
    if trace := traceparent(scope):
        found["traceparent"] = trace
    if entry.cause:
        found["cause"] = escape_text(entry.cause)
    return found


def json_line(entry: Entry) -> str:
    """One JSON object with the typed fields of a request."""
    head = {"time": entry.stamp.iso, "level": "info", "logger": "serval.access", "pid": entry.pid}
    return json.dumps(head | fields(entry))


def address(client: Any) -> str:
    """The address of a client as a scope has it, in a form that fits a log."""
    if not client or not client[0]:
        return "-"
    host, port = escape_text(client[0]), client[1]
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _method(entry: Entry) -> str:
    return str(entry.scope.get("method", "WEBSOCKET"))


def _target(entry: Entry) -> str:
    query = entry.scope["query_string"]
    target = entry.scope["raw_path"] + (b"?" + query if query else b"")
    return _cut(escape_target(target))


def _request_line(entry: Entry) -> str:
    method = escape_text(_method(entry), limit=_VALUE_CHARACTERS)
    return f"{method} {_target(entry)} HTTP/{entry.scope['http_version']}"


def _cut(target: str, limit: int = _TARGET_CHARACTERS) -> str:
    return target if len(target) <= limit else target[:limit] + "..."


def _value_of(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str:
    values = [value for name, value in headers if name.lower() == wanted]
    return escape_value(b", ".join(values), limit=_VALUE_CHARACTERS)


def _request_header(entry: Entry, wanted: bytes) -> str:
    return _value_of(entry.scope["headers"], wanted)


def _peer(entry: Entry) -> Any:
    """The address that the connection came from: a proxy's, where one speaks for the client."""
    own = entry.scope.get("extensions", {}).get("serval", {})
    return own.get("peer") or entry.scope["client"]


def _request_id(entry: Entry) -> str:
    """The id that we have given, or what the client calls one."""
    return given_id(entry.scope) or _request_header(entry, b"x-request-id")


def _user(entry: Entry) -> str:
    """The user name of Basic authentication (RFC 7617), whether or not it was accepted."""
    for name, value in entry.scope["headers"]:
        scheme, _, credentials = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"basic":
            try:
                decoded = base64.b64decode(credentials.strip(), validate=True)
            except binascii.Error:
                return "-"
            return escape_value(decoded.partition(b":")[0], limit=_VALUE_CHARACTERS) or "-"
    return "-"


def _tls_version(entry: Entry) -> str:
    version = entry.scope.get("extensions", {}).get("tls", {}).get("tls_version")
    return _TLS_NAMES.get(version, "-")


_TLS_NAMES: Final = {0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}

_ATOMS: Final[dict[str, _Atom]] = {
    "h": lambda e: escape_text(e.scope["client"][0]) if e.scope["client"] else "-",
    "l": lambda e: "-",
    "u": _user,
    "t": lambda e: f"[{e.stamp.clf}]",
    "r": _request_line,
    "m": lambda e: escape_text(_method(e), limit=_VALUE_CHARACTERS),
    "U": lambda e: _cut(escape_target(e.scope["raw_path"])),
    "q": lambda e: _cut(escape_target(e.scope["query_string"])),
    "H": lambda e: f"HTTP/{e.scope['http_version']}",
    "S": lambda e: e.scope["scheme"],
    "s": lambda e: e.status,
    "B": lambda e: e.sent_bytes,
    "b": lambda e: e.sent_bytes or "-",
    "I": lambda e: e.received_bytes,
    "f": lambda e: _request_header(e, b"referer") or "-",
    "a": lambda e: _request_header(e, b"user-agent") or "-",
    "T": lambda e: int(e.seconds),
    "M": lambda e: int(e.seconds * 1_000),
    "D": lambda e: int(e.seconds * 1_000_000),
    "L": lambda e: f"{e.seconds:.6f}",
    "p": lambda e: f"<{e.pid}>",
    "tls": _tls_version,
    "peer": lambda e: address(_peer(e)),
    "request_id": lambda e: _request_id(e) or "-",
    "traceparent": lambda e: traceparent(e.scope) or "-",
    "cause": lambda e: escape_text(e.cause) or "-",
}

_ATOM_PATTERN: Final = re.compile(r"%(?:\(([^)]*)\)([a-zA-Z])|(%)|(.?))", re.DOTALL)
_HEADER_ATOM: Final = re.compile(rf"\{{({TOKEN})\}}([io])")


def line_format(access_log_format: str, log_format: Literal["text", "json"]) -> LineFormat:
    """The function that writes the lines that an operator asks for.

    Raises:
        ConfigError: The format of the lines cannot be used, or the two settings exclude each other.
    """
    if log_format == "json":
        if access_log_format:
            raise ConfigError(
                "access_log_format has no effect on JSON lines; give it, or log_format json, not"
                " both"
            )
        return json_line
    return compiled(access_log_format) if access_log_format else plain_line


def compiled(access_log_format: str) -> LineFormat:
    """A function that writes lines of a format in gunicorn's atoms, such as `%(h)s "%(r)s" %(s)s`.

    Raises:
        ConfigError: The format has an atom that we do not know, or a stray percent sign.
    """
    atoms: list[_Atom] = []
    template = _ATOM_PATTERN.sub(lambda found: _template_part(found, atoms), access_log_format)
    if not template.isprintable():
        raise ConfigError(
            f"access_log_format {access_log_format!r} holds a line break or control character"
        )

    def line(entry: Entry) -> str:
        text = template % tuple([atom(entry) for atom in atoms])
        return text if len(text) <= LINE_CHARACTERS else text[:LINE_CHARACTERS] + "..."

    return line


def _template_part(found: re.Match[str], atoms: list[_Atom]) -> str:
    name, conversion, doubled, _ = found.groups()
    if doubled:
        return "%%"
    if name is None or conversion not in {"s", "d"}:
        raise ConfigError(
            f"access_log_format has {found.group()!r}, which is no atom; an atom looks like"
            " %(s)s, a percent sign like %%"
        )
    atoms.append(_atom(name))
    return "%s"


def _atom(name: str) -> _Atom:
    if header := _HEADER_ATOM.fullmatch(name):
        wanted = header[1].lower().encode("ascii")
        if header[2] == "i":
            return lambda entry: _request_header(entry, wanted) or "-"
        return lambda entry: _value_of(entry.headers, wanted) or "-"
    if name not in _ATOMS:
        raise ConfigError(
            f"access_log_format has the unknown atom %({name})s; known are {', '.join(_ATOMS)},"
            " {name}i for a request header and {name}o for a response header"
        )
    return _ATOMS[name]
