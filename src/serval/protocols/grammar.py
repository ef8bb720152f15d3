"""The strict grammar of single lines: request lines, field lines, Host values.

Called for every head and trailer section that is not plain; refuses what RFC 9112 lets a lenient
parser guess about.  Lines come without their CR LF and contain neither CR nor LF.
"""

import re
from typing import Final, NamedTuple

from serval.protocols.refusals import refusal
from serval.tokens import TOKEN_BYTES

TARGET_BYTES: Final = bytes(c for c in range(0x21, 0x7F) if c != ord("#"))
"""Visible ASCII: wider than RFC 3986, since browsers send `|`, `^` and quotes as they are."""

VALUE_BYTES: Final = b"\t" + bytes(c for c in range(0x20, 0x100) if c != 0x7F)
"""VCHAR, SP, HTAB and obs-text (RFC 9110 section 5.5); obs-text is kept as it is."""

_VERSION: Final = re.compile(rb"HTTP/([0-9])\.([0-9])")
_AUTHORITY: Final = re.compile(
    rb"(?:\[(?:[0-9A-Fa-f:.]+|[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]"
    rb"|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)"
    rb"(?::([0-9]*))?"
)  # RFC 3986 section 3.2 without user information
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]+)(?:[/?].*)?", re.IGNORECASE | re.DOTALL)
_TLS_HANDSHAKE: Final = 0x16


class RequestLine(NamedTuple):
    """The three parts of a request line, as sent."""

    method: bytes
    target: bytes
    version: bytes


class Field(NamedTuple):
    """A field line: the name in lower case, the value without white space around it.

    Attributes:
        offset: Where the line begins, in bytes from where the caller counts, or -1 where unknown.
    """

    name: bytes
    value: bytes
    offset: int


def check_first_byte(byte: int, offset: int) -> None:
    """Refuse at once what cannot become a request, such as TLS sent to a plain port.

    Raises:
        PeerError: `tls-handshake` or `bad-first-byte`.
    """
    if byte not in TOKEN_BYTES and byte not in b"\r\n":
        reason = "tls-handshake" if byte == _TLS_HANDSHAKE else "bad-first-byte"
        raise refusal(reason, bytes((byte,)), offset)


def request_line(line: bytes, offset: int) -> RequestLine:
    """The parts of a request line that is legal and that a server, not a proxy, may answer.

    Raises:
        PeerError: It is malformed (400), CONNECT (405) or of another major version (505).
    """
    parts = line.split(b" ")
    if len(parts) == 2 and not parts[0].translate(None, TOKEN_BYTES):
        raise refusal("http-0.9", line, offset)
    if len(parts) != 3:
        raise refusal("bad-request-line", line, offset)
    method, target, version = parts
    if not method or method.translate(None, TOKEN_BYTES):
        raise refusal("bad-method", method, offset)
    if (match := _VERSION.fullmatch(version)) is None or match[1] == b"0":
        raise refusal("bad-version", version, offset)
    if match[1] != b"1":
        raise refusal("unsupported-version", version, offset)
    if method == b"CONNECT":
        raise refusal("connect", line, offset)
    _check_target(method, target, offset + len(method) + 1)
    return RequestLine(method, target, version)


def _check_target(method: bytes, target: bytes, offset: int) -> None:
    """Hold a target against the four forms of RFC 9112 section 3.2."""
    if b"#" in target:
        raise refusal("fragment-in-target", target, offset)
    if not target or target.translate(None, TARGET_BYTES):
        raise refusal("bad-target", target, offset)
    if target.startswith(b"/"):
        return
    if target == b"*":
        if method != b"OPTIONS":
            raise refusal("asterisk-form", target, offset)
        return
    if (match := _ABSOLUTE.fullmatch(target)) is not None and is_authority(match[1]):
        return
    raise refusal("authority-form" if is_authority(target) else "bad-target", target, offset)


def is_authority(value: bytes) -> bool:
    """Whether a value is a host and perhaps a port (RFC 9110 section 7.2)."""
    match = _AUTHORITY.fullmatch(value)
    # Six characters: a longer port is no port, and int() of it could cost more than it should.
    return match is not None and len(match[1] or b"") < 6 and int(match[1] or b"0") <= 0xFFFF


def field_line(line: bytes, offset: int, *, is_first: bool) -> Field:
    """The name and value of a legal field line.

    Args:
        is_first: No field line stands before it, so that it cannot be a continuation.

    Raises:
        PeerError: It is malformed (400).
    """
    if line[:1] in (b" ", b"\t"):
        raise refusal("space-before-name" if is_first else "obs-fold", line, offset)
    name, colon, value = line.partition(b":")
    if not colon:
        raise refusal("no-colon", line, offset)
    if not name:
        raise refusal("empty-name", line, offset)
    if name.translate(None, TOKEN_BYTES):
        spaced = not name.rstrip(b" \t").translate(None, TOKEN_BYTES)
        raise refusal("space-before-colon" if spaced else "bad-name", line, offset)
    if value.translate(None, VALUE_BYTES):
        raise refusal("nul-in-value" if b"\0" in value else "control-in-value", line, offset)
    # SP and HTAB alone: bytes.strip() without an argument takes VT and FF too.
    return Field(name.lower(), value.strip(b" \t"), offset)
