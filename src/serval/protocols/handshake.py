"""The opening handshake of a WebSocket over a parsed request (RFC 6455 section 4.2).

Pure.  Called by `asgi/websocket.py` and `worker/connections/websocket.py`.
"""

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from http import HTTPStatus
from typing import Final, NamedTuple

from serval.errors import AppError, PeerError
from serval.protocols.events import Headers, RequestReceived
from serval.protocols.response import field_line, field_name
from serval.protocols.response_defaults import HeadEnds, plain_response
from serval.tokens import TOKEN_BYTES, TOKEN_IN_BYTES

VERSION: Final = b"13"

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3

# Fields of the 101 response that say how the connection is framed: ours alone.
_SERVERS_OWN: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"transfer-encoding",
        b"upgrade",
    )
)

# One extension of Sec-WebSocket-Extensions, or one parameter of it (RFC 6455 section 9.1).  Each
# alternative begins with another character, so that matching is linear.
_EXTENSION: Final = re.compile(rb"[ \t]*(%b)[ \t]*" % TOKEN_IN_BYTES)
_PARAMETER: Final = re.compile(
    rb';[ \t]*(%b)[ \t]*(?:=[ \t]*(?:(%b)|"(%b)")[ \t]*)?' % ((TOKEN_IN_BYTES,) * 3)
)


class ExtensionOffer(NamedTuple):
    """One extension that the client offers.

    Attributes:
        name: In lower case.
        parameters: Names in lower case with their values, None where there is none.
    """

    name: bytes
    parameters: list[tuple[bytes, bytes | None]]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a valid upgrade request asks for.

    Attributes:
        accept: The value of Sec-WebSocket-Accept that proves the handshake was understood.
        subprotocols: In the client's order of preference.
        extensions: In the client's order of preference.
    """

    accept: bytes
    subprotocols: list[str]
    extensions: list[ExtensionOffer]


def read_offer(request: RequestReceived) -> Offer:
    """Check an upgrade request.

    Raises:
        PeerError: With the status to answer: 405 (not GET), 505 (not HTTP/1.1), 426 (a version
            that isn't 13), or 400 for all that is missing, repeated or malformed.
    """
    if request.method != b"GET":
        raise PeerError(405, "websocket-method", excerpt=request.method)
    if request.http_version != "1.1":
        raise PeerError(505, "websocket-http-version", excerpt=request.http_version.encode())
    if request.upgrade != b"websocket":
        raise PeerError(400, "websocket-upgrade", excerpt=request.upgrade)
    if request.content_length != 0:
        raise PeerError(400, "websocket-body")
    version = _only(request.headers, b"sec-websocket-version")
    if version != VERSION:
        raise PeerError(426, "websocket-version", excerpt=version)
    key = _only(request.headers, b"sec-websocket-key")
    return Offer(
        accept=_accept(key),
        subprotocols=offered_subprotocols(request.headers),
        extensions=offered_extensions(request.headers),
    )


def refusal(error: PeerError, defaults: HeadEnds) -> bytes:
    """The response to an upgrade request that `read_offer` refused."""
    further = _FURTHER.get(error.status, b"")
    return plain_response(error.status, HTTPStatus(error.status).phrase, defaults, further)


# What a client needs to do better (RFC 6455 section 4.4, RFC 9110 section 15.5.6).
_FURTHER: Final = {
    405: b"allow: GET\r\n",
    426: b"upgrade: websocket\r\nsec-websocket-version: 13\r\n",
}


def _only(headers: Headers, wanted: bytes) -> bytes:
    """The value of a field that must be there once."""
    values = [value for name, value in headers if name == wanted]
    if len(values) == 1:
        return values[0]
    reason = wanted[4:].decode()
    raise PeerError(400, f"{reason}-repeated" if values else f"{reason}-missing")


def _accept(key: bytes) -> bytes:
    """The answer to a key of 16 bytes (RFC 6455 section 4.2.2)."""
    try:
        size = len(a2b_base64(key, strict_mode=True))
    except Base64Error:
        size = -1
    if size != 16 or len(key) != 24:
        raise PeerError(400, "websocket-key-malformed", excerpt=key)
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def offered_subprotocols(headers: Headers) -> list[str]:
    """The subprotocols of all Sec-WebSocket-Protocol fields, in the client's order.

    Raises:
        PeerError: One of them is not a token (status 400).
    """
    offered = []
    for name, value in headers:
        if name == b"sec-websocket-protocol":
            for item in value.split(b","):
                token = item.strip(b" \t")
                if token.translate(None, TOKEN_BYTES):
                    raise PeerError(400, "websocket-protocol-malformed", excerpt=value)
                if token:  # empty items mean nothing (RFC 9110 section 5.6.1.2)
                    offered.append(token.decode("ascii"))
    return offered


def offered_extensions(headers: Headers) -> list[ExtensionOffer]:
    """The extensions of all Sec-WebSocket-Extensions fields, in the client's order.

    Raises:
        PeerError: A field does not follow the grammar (status 400).
    """
    offered = []
    for name, value in headers:
        if name == b"sec-websocket-extensions":
            offered += _extensions(value)
    return offered


def _extensions(value: bytes) -> list[ExtensionOffer]:
    offered = []
    at = 0
    while at < len(value):
        if value[at] in b", \t":
            at += 1
            continue
        extension = _EXTENSION.match(value, at)
        if extension is None:
            raise PeerError(400, "websocket-extensions-malformed", excerpt=value)
        at = extension.end()
        parameters: list[tuple[bytes, bytes | None]] = []
        while parameter := _PARAMETER.match(value, at):
            name, plain, quoted = parameter.groups()
            parameters.append((name.lower(), plain if quoted is None else quoted))
            at = parameter.end()
        if value[at : at + 1] not in (b"", b","):
            raise PeerError(400, "websocket-extensions-malformed", excerpt=value)
        offered.append(ExtensionOffer(extension[1].lower(), parameters))
    return offered


def accept_response(
    offer: Offer,
    *,
    subprotocol: str | None,
    extension: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    end: bytes,
) -> bytes:
    """The 101 response that completes the handshake.

    Args:
        offer: What the client asked for.
        subprotocol: The one chosen, or None.
        extension: The value of Sec-WebSocket-Extensions, empty for none.
        headers: The application's fields.
        end: Of the head: the fields that every response carries, and the empty line.

    Raises:
        AppError: The subprotocol was not offered, or a field is malformed or not the application's
            to send.
    """
    lines = [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n",
        b"sec-websocket-accept: %b\r\n" % offer.accept,
    ]
    if subprotocol is not None:
        if subprotocol not in offer.subprotocols:
            offered = ", ".join(offer.subprotocols) or "none"
            raise AppError(
                f"app accepted subprotocol {subprotocol!r}; offered by the client: {offered}"
            )
        lines.append(b"sec-websocket-protocol: %b\r\n" % subprotocol.encode("ascii"))
    if extension:
        lines.append(b"sec-websocket-extensions: %b\r\n" % extension)
    for name, value in headers:
        if field_name(name) in _SERVERS_OWN:
            raise AppError(f"header {name!r} is the server's to send in websocket.accept")
        lines.append(field_line(name, value))
    lines.append(end)
    return b"".join(lines)
