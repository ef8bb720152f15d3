"""Response heads as bytes, as the application gives them: status lines, validated fields.  Pure.

Called by `asgi/exchange.py` and `wsgi.py`; which body framing applies is decided there.
"""

from collections.abc import Iterable
from http import HTTPStatus
from itertools import compress
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from serval.errors import AppError
from serval.tokens import TOKEN_BYTES

# Never sent in a trailer section: framing, routing, authentication, and what a cache or a client
# must know before the body (RFC 9110 section 6.5.1).
FORBIDDEN_IN_RESPONSE_TRAILERS: Final = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range "
    b"content-type cookie date expires host keep-alive location max-forwards proxy-authenticate "
    b"proxy-authorization range retry-after set-cookie te trailer transfer-encoding upgrade vary "
    b"www-authenticate".split()
)

# Up to this size a body is joined to its head: a short copy and one `send` beat two buffers.
JOIN_BYTES: Final = 65_536

_BODILESS: Final = frozenset((204, 304))

CLOSE: Final = b"connection: close\r\n"
KEEP_ALIVE: Final = b"connection: keep-alive\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


class ResponseHead(NamedTuple):
    """The head of a response as the application gave it, validated.

    Attributes:
        start: The status line, then every field as sent by the application, in its order, names and
            values untouched, but without Transfer-Encoding and Connection, which are the server's
            to say.
        bodiless: No body may follow, whatever the request was (RFC 9112 section 6.3).
        plain_bytes: The length of the body for which nothing more is to be decided, or -1.
        content_length: What the application's Content-Length says, if it sent one.
        close: The application asked for the connection to be closed.
        own: Index into `ResponseDefaults.lines`: which of our fields the application sent itself.
    """

    start: bytes
    bodiless: bool
    plain_bytes: int
    content_length: int | None
    close: bool
    own: int


OWN_DATE: Final = 1
OWN_SERVER: Final = 2

Pair: TypeAlias = tuple[bytes, bytes]

# What applications send is bounded where it is remembered: one that makes up names or values must
# not make us grow.  A full table is simply begun anew.
_NAMES_COUNT: Final = 1024
_LINES_COUNT: Final = 1024
_LINE_BYTES: Final = 256


class _Names(dict[bytes, bytes]):
    """Names that were found to be tokens -> in lower case."""

    __slots__ = ()

    def __missing__(self, name: bytes) -> bytes:
        if not isinstance(name, bytes):
            raise AppError(f"header name must be bytes, not {type(name).__name__}: {name!r}")
        if not name or name.translate(None, TOKEN_BYTES):
            raise AppError(f"header name is not a token: {name!r}")
        if len(self) >= _NAMES_COUNT:
            self.clear()
        lower = self[name] = name.lower()
        return lower


class _Lines(dict[Pair, bytes]):
    """Fields that were found to be valid -> their lines, empty where they are the server's to say.

    Most heads differ from every other in a field or two, such as Content-Length: what is known of
    the rest is asked for in C (measured: a new head of seven fields takes a third of the time).
    """

    __slots__ = ()

    def __missing__(self, pair: Pair) -> bytes:
        name, value = pair
        lower = field_name(name)
        line = field_line(name, value)
        if lower in _SERVERS_OWN:
            line = b""
        if len(line) <= _LINE_BYTES:
            if len(self) >= _LINES_COUNT:
                self.clear()
            self[pair] = line
        return line


# Whole heads by the very status and pairs they were made of: most routes answer with the same.
# 256 heads of at most 2 KiB, begun anew when full.
_HEADS: dict[tuple[int, tuple[Pair, ...]], ResponseHead] = {}
_HEADS_COUNT: Final = 256
_HEAD_BYTES: Final = 2048

_SERVERS_OWN: Final = frozenset((b"transfer-encoding", b"connection"))
_NOTED: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"date", b"server")
)


_names: Final = _Names()
_lower: Final = _names.__getitem__
_lines: Final = _Lines()
_line: Final = _lines.__getitem__
_first: Final = itemgetter(0)
_is_noted: Final = _NOTED.__contains__

STATUS_LINES: Final = {
    int(status): f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


def status_line(status: int) -> bytes:
    """The status line of a response (RFC 9112 section 4), its reason from RFC 9110 or empty.

    Raises:
        AppError: The status is not an integer from 100 to 999.
    """
    line = STATUS_LINES.get(status)
    if line is not None:
        return line
    if not 100 <= status <= 999:
        raise _bad_status(status)
    return b"HTTP/1.1 %d \r\n" % status


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> ResponseHead:
    """Validate an application's status and header fields and join the fields to lines.

    Raises:
        AppError: The status is not an integer from 100 to 999, a name is not a token, a value
            holds CR, LF or NUL, either is not bytes, or Content-Length is repeated or not a
            decimal number.
    """
    if type(status) is not int:  # True would be found for 1, and 200.0 for 200
        status = _plain_status(status)
    try:
        given = tuple(headers)
    except TypeError:
        raise _bad_headers(headers) from None
    try:
        known = _HEADS.get((status, given))
        pairs = given
    except TypeError:  # pairs that are lists, as ASGI allows
        known = None
        pairs = _pairs(given)
    if known is not None:
        return known
    line = status_line(status)
    lines, length, close, own = _field_lines(pairs)
    bodiless = status < 200 or status in _BODILESS
    plain_bytes = -1
    if length is not None and length <= JOIN_BYTES and not (bodiless or close):
        plain_bytes = length
    # Half the cost of ResponseHead(...), which goes through a function in Python.
    head = tuple.__new__(ResponseHead, (line + lines, bodiless, plain_bytes, length, close, own))
    if len(lines) <= _HEAD_BYTES:
        if len(_HEADS) >= _HEADS_COUNT:
            _HEADS.clear()
        _HEADS[status, pairs] = head
    return head


def _plain_status(status: object) -> int:
    """A status that is an enum's member, as a number."""
    if not isinstance(status, int) or isinstance(status, bool):
        raise _bad_status(status)
    return int(status)


def _bad_status(status: object) -> AppError:
    return AppError(f"status must be an int from 100 to 999, not {status!r}")


def _pairs(headers: Iterable[Iterable[bytes]]) -> tuple[Pair, ...]:
    """The headers as tuples of bytes, whatever they were made of."""
    try:
        return tuple((name, value) for name, value in headers)
    except (TypeError, ValueError):
        raise _bad_headers(headers) from None


def _bad_headers(headers: object) -> AppError:
    return AppError(f"headers must be pairs of bytes, not {headers!r:.80}")


def _field_lines(pairs: tuple[Pair, ...]) -> tuple[bytes, int | None, bool, int]:
    try:
        lines = b"".join(map(_line, pairs))
        names = [*map(_lower, map(_first, pairs))]
    except (TypeError, ValueError, LookupError):
        raise _malformed(pairs) from None
    length: int | None = None
    close = False
    own = 0
    for lower, (_, value) in compress(zip(names, pairs, strict=True), map(_is_noted, names)):
        if lower == b"content-length":
            length = _content_length(value, length)
        elif lower == b"connection":
            close = close or b"close" in value.lower()
        elif lower == b"date":
            own |= OWN_DATE
        elif lower == b"server":
            own |= OWN_SERVER
    return lines, length, close, own


def _malformed(pairs: tuple[Pair, ...]) -> AppError:
    """What is wrong with headers that are not pairs of bytes, or not even pairs."""
    for name, value in _pairs(pairs):
        field_name(name)
        field_line(name, value)
    return _bad_headers(pairs)


def field_name(name: bytes) -> bytes:
    """The name in lower case.

    Raises:
        AppError: It is not a token (RFC 9110 section 5.1), or not bytes.
    """
    try:
        return _names[name]
    except TypeError:  # what cannot be a key is not bytes either
        return _names.__missing__(name)


def field_line(name: bytes, value: bytes) -> bytes:
    """One field line, `name` already known to be a token.

    Raises:
        AppError: The value holds CR, LF or NUL (RFC 9110 section 5.5), or is not bytes.
    """
    if not isinstance(value, bytes):
        raise AppError(
            f"value of header {name!r} must be bytes, not {type(value).__name__}: {value!r}"
        )
    if b"\n" in value or b"\r" in value or b"\0" in value:
        raise AppError(f"value of header {name!r} holds CR, LF or NUL: {value!r}")
    return b"%b: %b\r\n" % (name, value)


def _content_length(value: bytes, earlier: int | None) -> int:
    if not value.isdigit() or len(value) > 19:
        raise AppError(f"content-length must be a decimal number, not {value!r}")
    if earlier is not None:
        raise AppError(f"content-length is given twice: {earlier} and {value!r}")
    return int(value)


def without_content_length(head: ResponseHead) -> bytes:
    """The start of a head for a response that must not announce a length (1xx, 204)."""
    if head.content_length is None:
        return head.start
    return b"".join(
        line
        for line in head.start.splitlines(keepends=True)  # our own CR LF, values hold neither
        if line[:15].lower() != b"content-length:"
    )


def trailer_section(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The lines of a trailer section, without the empty one that ends it.

    Raises:
        AppError: A field is malformed, or may not stand in a trailer (RFC 9110 section 6.5.1).
    """
    lines = []
    for name, value in headers:
        if field_name(name) in FORBIDDEN_IN_RESPONSE_TRAILERS:
            raise AppError(f"header {name!r} may not be sent as a trailer")
        lines.append(field_line(name, value))
    return b"".join(lines)


def early_hints(links: Iterable[bytes]) -> bytes:
    """A 103 response with one Link field for each item (RFC 8297).

    Raises:
        AppError: A link is not bytes, or holds CR, LF or NUL.
    """
    lines = b"".join(field_line(b"link", link) for link in links)
    return b"HTTP/1.1 103 Early Hints\r\n" + lines + b"\r\n"
