"""The fast path for plain request heads: whole-block checks in C, caches of what was validated.

Gives way, by returning None, to h11 for whatever is not plainly inside the common subset, and
agrees with it exactly on the rest.  Refuses nothing itself.
"""

from typing import Final, NamedTuple, TypeAlias

from serval.errors import PeerError
from serval.protocols.events import Headers, RequestReceived
from serval.protocols.framing import FRAMING_NAMES, Framing, framing_of
from serval.protocols.grammar import TARGET_BYTES, VALUE_BYTES, field_line
from serval.tokens import TOKEN_BYTES

_PLAIN_METHODS: Final = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
)
_DOUBTFUL_NAMES: Final = frozenset((b"expect", b"transfer-encoding", b"upgrade"))
_PRIVATE_NAMES: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization"))


class _DoubtfulLineError(Exception):
    """A field line is not plain: it is left to the strict path."""


# The caches below are bounded in number and in size, since clients choose the keys, and emptied
# when full: a flood of new keys costs no more than the work that it would cost without them.
# Threads may share them, since what a key maps to never depends on who asked.

_LINE_COUNT: Final = 1024
_LINE_BYTES: Final = 256


class _KnownLines(dict[bytes, tuple[bytes, bytes]]):
    """Field lines as received -> name in lower case and value; without credentials.

    A head that has not come before is mostly made of lines that have, and a known line is neither
    checked nor split again.  What is asked of it is asked of all lines of a head at once, in C
    (measured: a head of 14 lines takes a third of the time).

    A full one is not emptied but replaced: another thread may be between two questions.

    Attributes:
        on_framing: Those that bear on framing.  Every such line that was asked for is in it.
    """

    __slots__ = ("on_framing",)

    def __init__(self) -> None:
        super().__init__()
        self.on_framing: set[bytes] = set()

    def __missing__(self, line: bytes) -> tuple[bytes, bytes]:
        """Read a line that is not known yet; what holds a secret or is long will never be."""
        raw, colon, value = line.partition(b":")
        name = raw.lower()
        if (
            not colon
            or not name
            or name in _DOUBTFUL_NAMES
            or name.translate(None, TOKEN_BYTES)
            or value.translate(None, VALUE_BYTES)
        ):
            raise _DoubtfulLineError
        field = name, value.strip(b" \t")
        if len(line) > _LINE_BYTES:
            if name in FRAMING_NAMES:
                raise _DoubtfulLineError
            return field
        if name in FRAMING_NAMES:
            self.on_framing.add(line)  # first, so that nobody finds it below and not here
        if name not in _PRIVATE_NAMES:
            if len(self) >= _LINE_COUNT:
                _forget_lines()
            self[line] = field
        return field


_known = _KnownLines()


def _forget_lines() -> None:
    global _known  # noqa: PLW0603 -- its readers hold the old one until they are done
    _known = _KnownLines()


_SEEN_COUNT: Final = 4096
_seen: set[int] = set()
"""Hashes of blocks and requests that came once, and are remembered when they come again."""


_Rest: TypeAlias = tuple[str, bool, bool, bytes, int | None, bool, bytes, bool]
"""The fields of `RequestReceived` after its headers."""


class _Block(NamedTuple):
    """The field lines of a plain head, read.

    Attributes:
        headers: Shared by all requests with the same lines: copied before it is given away.
    """

    headers: Headers
    rest: _Rest


_BLOCK_COUNT: Final = 128
MEMO_BYTES: Final = 1024
_blocks: dict[bytes, _Block] = {}
"""Field lines of HTTP/1.1, final empty line included -> read; a client repeats its own.  No
credentials are kept in it."""

_FRAMING_COUNT: Final = 256
_framings: dict[bytes, _Rest] = {}
"""A version and the lines of a head that bear on framing -> what they say."""


_HEAD_COUNT: Final = 512
_heads: dict[bytes, RequestReceived] = {}
"""Whole heads as received -> read: HTTP/1.1, kept alive, not HEAD, without a query.  Clients that
poll and probe, and proxies, say the same thing many times."""


def plain_request(
    data: bytes, largest_head_bytes: int, largest_body_bytes: int
) -> RequestReceived | None:
    """The request that the bytes are, if they are just one, and one that asks for nothing special.

    That is: plain, HTTP/1.1, kept alive, not HEAD, and its body, if any, counted and all there.

    Args:
        data: What has been read.
        largest_head_bytes: What a head may have to be judged here.
        largest_body_bytes: The same of a body; 0 for any.
    """
    size = len(data)
    # To hash a body as well would take 0.3 us for each KiB.
    request = _heads.get(data) if size <= MEMO_BYTES else None
    if request is not None and request[5] and size <= largest_head_bytes:
        return request
    end = data.find(b"\r\n\r\n") + 4
    if not 4 <= end <= largest_head_bytes:
        return None
    request = known_head(data if end == size else data[:end])
    if request is None:
        return None
    method, _, _, http_version, keep_alive, complete, _, length = request[:8]
    if not keep_alive or http_version != "1.1" or method == b"HEAD":
        return None
    if complete:
        return request if end == size else None
    if length is None or length != size - end or 0 < largest_body_bytes < length:
        return None
    return completed(request, data[end:])


def known_head(head: bytes) -> RequestReceived | None:
    """The same as `plain_head`, quicker for heads that have come before."""
    request = _heads.get(head)
    if request is None:
        request = plain_head(head)
        # A query may hold what only its sender should know, and credentials are in no known block.
        if (
            request is not None
            and request[4]
            and b"?" not in request[1]
            and head.partition(b"\r\n")[2] in _blocks
            and request[0] != b"HEAD"
            and _is_seen(head)
        ):
            if len(_heads) >= _HEAD_COUNT:
                _heads.clear()
            _heads[head] = request
    return request


def known_request(data: bytes) -> RequestReceived | None:
    """A whole request without a body that came before, if the bytes are that; none is private."""
    request = _heads.get(data)
    return request if request is not None and request.complete else None


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
    return tuple.__new__(RequestReceived, (method, target, block[0], *block[1]))


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


def _rest_of(version: bytes, framing: Framing) -> _Rest:
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
    del lines[-2:]  # the empty line, and what stands after its end
    known = _known
    try:
        headers = [*map(known.__getitem__, lines)]
    except _DoubtfulLineError:
        return None
    rest = _read_framing([*filter(known.on_framing.__contains__, lines)], version)
    if rest is None:
        return None
    read = _Block(headers, rest)
    if (
        version == b"HTTP/1.1"
        and len(block) <= MEMO_BYTES
        and _is_seen(block)
        and _PRIVATE_NAMES.isdisjoint([name for name, _ in headers])
    ):
        if len(_blocks) >= _BLOCK_COUNT:
            _blocks.clear()
        _blocks[block] = read
    return read


def _is_seen(key: bytes) -> bool:
    """Whether `key` was asked for before; what comes only once is not worth remembering."""
    mark = hash(key)
    if mark in _seen:
        return True
    if len(_seen) >= _SEEN_COUNT:
        _seen.clear()
    _seen.add(mark)
    return False


def _read_framing(lines: list[bytes], version: bytes) -> _Rest | None:
    """What the lines say that bear on framing; None where the strict path has to judge."""
    key = version + b"\r\n".join(lines)
    if (known := _framings.get(key)) is not None:
        return known
    try:
        framing = framing_of(version, [field_line(line, -1, is_first=False) for line in lines])
    except PeerError:  # the strict path refuses it, and says where
        return None
    rest = _rest_of(version, framing)
    if len(key) <= MEMO_BYTES:
        if len(_framings) >= _FRAMING_COUNT:
            _framings.clear()
        _framings[key] = rest
    return rest
