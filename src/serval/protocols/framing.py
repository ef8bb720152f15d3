"""What the fields of a head say about the message: its length, the connection, the upgrade.

The one owner of that policy, for plain heads and for those that h11 reads; stricter than h11
wherever RFC 9112 section 6 leaves room for two readings of one message.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from serval.protocols.grammar import Field, is_authority
from serval.protocols.refusals import refusal
from serval.tokens import TOKEN_BYTES

FRAMING_NAMES: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""The names that `framing_of` has to see; every other field may be left out."""

FORBIDDEN_IN_REQUEST_TRAILERS: Final = FRAMING_NAMES | frozenset(
    (
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"cookie",
        b"forwarded",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"keep-alive",
        b"max-forwards",
        b"pragma",
        b"proxy-authorization",
        b"proxy-connection",
        b"range",
        b"set-cookie",
        b"trailer",
        b"www-authenticate",
    )
)
"""Framing, routing, modifiers, authentication and content format (RFC 9110 section 6.5.1)."""

_SINGLE_NAMES: Final = frozenset(
    (b"content-length", b"content-type", b"host", b"transfer-encoding")
)
_LENGTH_DIGITS: Final = 20  # h11's bound, and more than any 64-bit length


class Framing(NamedTuple):
    """How a request is framed and what it asks of the connection; see `RequestReceived`."""

    content_length: int | None
    keep_alive: bool
    expect_continue: bool
    upgrade: bytes
    accepts_trailers: bool


def framing_of(version: bytes, fields: Iterable[Field]) -> Framing:
    """Judge the fields of a head that bear on framing.

    Args:
        version: `HTTP/1.0`, or `HTTP/1.1` and above (RFC 9110 section 6.2 reads 1.2 as 1.1).
        fields: Those with a name of `FRAMING_NAMES` at least, in the order of arrival.

    Raises:
        PeerError: The fields contradict each other, or one is malformed or not understood.
    """
    modern = version != b"HTTP/1.0"
    single: dict[bytes, Field] = {}
    connection: list[bytes] = []
    upgrade: list[bytes] = []
    expect: list[bytes] = []
    te: list[bytes] = []
    lists = {b"connection": connection, b"upgrade": upgrade, b"expect": expect, b"te": te}
    for field in fields:
        name = field.name
        if name in lists:
            lists[name] += members(field.value)
        elif name in _SINGLE_NAMES:
            if name in single:
                raise refusal("repeated-" + name.decode("ascii"), field.value, field.offset)
            single[name] = field
    _check_host(single.get(b"host"), modern=modern)
    offers_upgrade = modern and b"upgrade" in connection
    return Framing(
        content_length=_length(single, modern=modern),
        keep_alive=b"close" not in connection and (modern or b"keep-alive" in connection),
        expect_continue=modern and b"100-continue" in expect,
        upgrade=_chosen(upgrade) if offers_upgrade else b"",
        accepts_trailers=modern and b"trailers" in te,
    )


def members(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, in lower case, empty ones left out."""
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


def _chosen(offers: list[bytes]) -> bytes:
    """Of several protocols offered, the one that we may speak, or else the first."""
    return b"websocket" if b"websocket" in offers else b"".join(offers[:1])


def _check_host(host: Field | None, *, modern: bool) -> None:
    """RFC 9112 section 3.2: one valid Host in HTTP/1.1; it may be empty."""
    if host is None:
        if modern:
            raise refusal("missing-host")
    elif not is_authority(host.value):
        raise refusal("bad-host", host.value, host.offset)


def _length(single: dict[bytes, Field], *, modern: bool) -> int | None:
    """The announced length of the body, None if chunked (RFC 9112 section 6.3)."""
    length, coding = single.get(b"content-length"), single.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise refusal("cl-and-te", coding.value, coding.offset)
        if not modern:
            raise refusal("te-in-http-1.0", coding.value, coding.offset)
        _check_coding(coding)
        return None
    if length is None:
        return 0
    if b"," in length.value:
        raise refusal("content-length-list", length.value, length.offset)
    # bytes.isdigit() knows ASCII digits alone; int() would take signs, spaces and underscores.
    if not length.value.isdigit() or len(length.value) > _LENGTH_DIGITS:
        raise refusal("bad-content-length", length.value, length.offset)
    return int(length.value)


def _check_coding(coding: Field) -> None:
    """Refuse every Transfer-Encoding but `chunked` alone, each for its own reason."""
    if coding.value.lower() == b"chunked":
        return
    codings = [part.strip(b" \t") for part in coding.value.lower().split(b",")]
    if any(not name or name.translate(None, TOKEN_BYTES) for name in codings):
        raise refusal("bad-transfer-encoding", coding.value, coding.offset)
    if codings[-1] != b"chunked" or b"chunked" in codings[:-1]:
        raise refusal("chunked-not-last", coding.value, coding.offset)
    raise refusal("unknown-transfer-coding", coding.value, coding.offset)
