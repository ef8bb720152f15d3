"""The fast path for plain request heads: whole-block checks in C, caches of what was validated.

Gives way, by returning None, to h11 for whatever is not plainly inside the common subset, and
agrees with it exactly on the rest.  Refuses nothing itself.
"""

from enum import Enum, auto
from typing import Final, NamedTuple

from serval.errors import PeerError
from serval.protocols.events import Headers, RequestReceived
from serval.protocols.framing import FRAMING_NAMES, Framing, framing_of
from serval.protocols.grammar import TARGET_BYTES, TOKEN_BYTES, VALUE_BYTES, field_line

_PLAIN_METHODS: Final = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
)
_DOUBTFUL_NAMES: Final = frozenset((b"expect", b"transfer-encoding", b"upgrade"))
_PRIVATE_NAMES: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization"))


class _Care(Enum):
    """Why a field is more than its name and value."""

    DOUBTFUL = auto()  # left to the strict path
    FRAMING = auto()
    PRIVATE = auto()


# The caches below are bounded in number and in size, since clients choose the keys, and emptied
# when full: a flood of new keys costs no more than the work that it would cost without them.
# Threads may share them, since what a key maps to never depends on who asked.

_NAME_COUNT: Final = 1024
_NAME_BYTES: Final = 64
_names: dict[bytes, tuple[bytes, _Care | None]] = {}
"""Field names as received -> in lower case, and the care that they take, if a plain head may have
them."""

_BLOCK_BYTES: Final = VALUE_BYTES + b"\r\n"

_SEEN_COUNT: Final = 4096
_seen: set[int] = set()
"""Hashes of blocks and requests that came once, and are remembered when they come again."""


class _Block(NamedTuple):
    """The field lines of a plain head, read.

    Attributes:
        headers: Shared by all requests with the same lines: copied before it is given away.
        rest: The fields of `RequestReceived` after its headers.
    """

    headers: Headers
    rest: tuple[str, bool, bool, bytes, int | None, bool, bytes, bool]


_BLOCK_COUNT: Final = 128
MEMO_BYTES: Final = 1024
_blocks: dict[bytes, _Block] = {}
"""Field lines of HTTP/1.1, final empty line included -> read; a client repeats its own.  No
credentials are kept in it."""

_FRAMING_COUNT: Final = 256
_framings: dict[bytes, Framing] = {}
"""A version and the lines of a head that bear on framing -> what they say."""


_REQUEST_COUNT: Final = 512
_requests: dict[bytes, RequestReceived] = {}
"""Whole requests as received -> read: HTTP/1.1, kept alive, without a body, not HEAD.  Clients that
poll and probe, and proxies, say the same thing many times."""


def plain_request(data: bytes) -> RequestReceived | None:
    """The request that the bytes are, if they are just one, and one that asks for nothing special.

    That is: plain, HTTP/1.1, kept alive, without a body, and not HEAD.
    """
    request = _requests.get(data)
    if request is not None:
        return request
    if len(data) < 4 or data.find(b"\r\n\r\n") != len(data) - 4:
        return None
    request = plain_head(data)
    if request is None:
        return None
    method, target, _, http_version, keep_alive, complete = request[:6]
    if not complete or not keep_alive or http_version != "1.1" or method == b"HEAD":
        return None
    # A query may hold what only its sender should know, and credentials are in no known block.
    if b"?" not in target and data.partition(b"\r\n")[2] in _blocks and _is_seen(data):
        if len(_requests) >= _REQUEST_COUNT:
            _requests.clear()
        _requests[data] = request
    return request


def plain_head(head: bytes) -> RequestReceived | None:
    """Read a whole head, with its final empty line, if it is plain.

    The caller has checked its size.  A body that is announced is left to the caller as well.
    """
    line, _, fields = head.partition(b"\r\n")
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        return None
    if (
        method not in _PLAIN_METHODS
        or not target.startswith(b"/")
        or target.translate(None, TARGET_BYTES)
    ):
        return None
    if version == b"HTTP/1.1":
        block = _blocks.get(fields) or _read_block(fields, version)
    elif version == b"HTTP/1.0":
        block = _read_block(fields, version)
    else:
        return None
    if block is None:
        return None
    # Half the cost of RequestReceived(...), which goes through a function in Python.
    return tuple.__new__(RequestReceived, (method, target, block[0].copy(), *block[1]))


def completed(request: RequestReceived, body: bytes) -> RequestReceived:
    """The event for a request whose body came along with its head."""
    return tuple.__new__(
        RequestReceived,
        (*request[:5], True, body, len(body), False, request.upgrade, request.accepts_trailers),
    )


def request_of(
    method: bytes, target: bytes, version: bytes, headers: Headers, framing: Framing
) -> RequestReceived:
    """The event for a head; complete if it announces no body."""
    return RequestReceived(method, target, headers, *_rest_of(version, framing))


def _rest_of(
    version: bytes, framing: Framing
) -> tuple[str, bool, bool, bytes, int | None, bool, bytes, bool]:
    return (
        "1.0" if version == b"HTTP/1.0" else "1.1",
        framing.keep_alive,
        framing.content_length == 0,
        b"",
        framing.content_length,
        framing.expect_continue and framing.content_length != 0,
        framing.upgrade,
        framing.accepts_trailers,
    )


def _read_block(block: bytes, version: bytes) -> _Block | None:
    """Read the field lines, and remember them where that is worth it and harmless."""
    lines = block.split(b"\r\n")
    breaks = len(lines) - 1
    # Once over the whole block in C, so that nothing is left to check in the values.
    if (
        block.translate(None, _BLOCK_BYTES)
        or block.count(b"\r") != breaks
        or block.count(b"\n") != breaks
    ):
        return None
    del lines[-2:]  # the empty line, and what stands after its end
    headers: Headers = []
    framing_lines: list[bytes] = []
    is_private = False
    for line in lines:
        raw, colon, value = line.partition(b":")
        name, care = _names.get(raw) or _read_name(raw)
        if care is not None or not colon:
            if care is _Care.DOUBTFUL or not colon:
                return None
            if care is _Care.FRAMING:
                framing_lines.append(line)
            else:
                is_private = True
        headers.append((name, value.strip(b" \t")))
    framing = _read_framing(framing_lines, version)
    if framing is None:
        return None
    read = _Block(headers, _rest_of(version, framing))
    if version == b"HTTP/1.1" and not is_private and len(block) <= MEMO_BYTES and _is_seen(block):
        if len(_blocks) >= _BLOCK_COUNT:
            _blocks.clear()
        _blocks[block] = read
    return read


def _read_name(raw: bytes) -> tuple[bytes, _Care | None]:
    """The lower-case name of a field and the care that it takes; remembered if it is plain."""
    name = raw.lower()
    care = None
    if not name or name in _DOUBTFUL_NAMES or name.translate(None, TOKEN_BYTES):
        return name, _Care.DOUBTFUL
    if name in FRAMING_NAMES:
        care = _Care.FRAMING
    elif name in _PRIVATE_NAMES:
        care = _Care.PRIVATE
    if len(raw) <= _NAME_BYTES:
        if len(_names) >= _NAME_COUNT:
            _names.clear()
        _names[raw] = name, care
    return name, care


def _is_seen(key: bytes) -> bool:
    """Whether `key` was asked for before; what comes only once is not worth remembering."""
    mark = hash(key)
    if mark in _seen:
        return True
    if len(_seen) >= _SEEN_COUNT:
        _seen.clear()
    _seen.add(mark)
    return False


def _read_framing(lines: list[bytes], version: bytes) -> Framing | None:
    """What the lines say that bear on framing; None where the strict path has to judge."""
    key = version + b"\r\n".join(lines)
    if (known := _framings.get(key)) is not None:
        return known
    try:
        framing = framing_of(version, [field_line(line, -1, is_first=False) for line in lines])
    except PeerError:  # the strict path refuses it, and says where
        return None
    if len(key) <= MEMO_BYTES:
        if len(_framings) >= _FRAMING_COUNT:
            _framings.clear()
        _framings[key] = framing
    return framing
