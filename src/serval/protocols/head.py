"""The fast path for plain request heads: whole-block checks in C, caches of what was validated.

Gives way, by returning None, to h11 for whatever is not plainly inside the common subset, and
agrees with it exactly on the rest.  Refuses nothing itself.
"""

from typing import Final, NamedTuple

from serval.errors import PeerError
from serval.protocols.events import Headers
from serval.protocols.framing import FRAMING_NAMES, Framing, framing_of
from serval.protocols.grammar import TARGET_BYTES, TOKEN_BYTES, VALUE_BYTES, Field

_PLAIN_METHODS: Final = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
)
_BLOCK_BYTES: Final = VALUE_BYTES + b"\r\n"
_DOUBTFUL_NAMES: Final = frozenset((b"expect", b"transfer-encoding", b"upgrade"))
_PRIVATE_NAMES: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization"))

# Names as received -> in lower case, validated.  Bounded in number and in length, since clients
# choose the keys; cleared when full, which costs a flood no more than the validation it asks for.
_NAME_COUNT: Final = 1024
_NAME_BYTES: Final = 64
_names: dict[bytes, bytes] = {}


class Block(NamedTuple):
    """The fields of a plain head, without its request line.

    Attributes:
        headers: Shared by all requests with the same block: copy before giving it away.
    """

    headers: Headers
    framing: Framing


# Field blocks as received -> parsed: a client on a kept-alive connection repeats its own.  What
# holds credentials is never kept.  Bounded like the names: 128 blocks of at most 1 KiB.
_BLOCK_COUNT: Final = 128
_MEMO_BYTES: Final = 1024
_blocks: dict[bytes, Block] = {}


class Head(NamedTuple):
    """A request head, read and judged; the headers are of this request alone."""

    method: bytes
    target: bytes
    version: bytes
    headers: Headers
    framing: Framing


def plain_head(head: bytes) -> Head | None:
    """Read a whole head, its final empty line left out, if it is plain.

    The caller has checked its size.
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
    return Head(method, target, version, block.headers.copy(), block.framing)


def _read_block(fields: bytes, version: bytes) -> Block | None:
    """Read the field lines, and remember them where that is worth it and harmless."""
    ends = fields.count(b"\r\n")
    if (
        fields.translate(None, _BLOCK_BYTES)
        or fields.count(b"\n") != ends
        or fields.count(b"\r") != ends
    ):
        return None
    headers: Headers = []
    framing_fields: list[Field] = []
    is_private = False
    for line in fields.split(b"\r\n"):
        raw, colon, value = line.partition(b":")
        name = _names.get(raw) or _read_name(raw)
        if not colon or not name or name in _DOUBTFUL_NAMES:
            return None
        value = value.strip(b" \t")
        headers.append((name, value))
        if name in FRAMING_NAMES:
            framing_fields.append(Field(name, value, -1))
        elif name in _PRIVATE_NAMES:
            is_private = True
    try:
        framing = framing_of(version, framing_fields)
    except PeerError:  # the strict path refuses it, and says where
        return None
    block = Block(headers, framing)
    if version == b"HTTP/1.1" and not is_private and len(fields) <= _MEMO_BYTES:
        if len(_blocks) >= _BLOCK_COUNT:
            _blocks.clear()
        _blocks[fields] = block
    return block


def _read_name(raw: bytes) -> bytes:
    """A field name in lower case, empty if it is not legal; remembered if it is."""
    if raw.translate(None, TOKEN_BYTES):
        return b""
    name = raw.lower()
    if len(raw) <= _NAME_BYTES:
        if len(_names) >= _NAME_COUNT:
            _names.clear()
        _names[raw] = name
    return name
