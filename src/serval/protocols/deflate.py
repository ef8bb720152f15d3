"""permessage-deflate (RFC 7692): negotiation, and inflation that stops at a limit.  Pure.

Called by `protocols/websocket.py` for every compressed message, by `asgi/websocket.py` to agree.
"""

import zlib
from dataclasses import dataclass
from typing import Final

from serval.errors import PeerError
from serval.protocols.frames import CloseCode
from serval.protocols.handshake import ExtensionOffer

NAME: Final = b"permessage-deflate"

# What ends the deflate block of every message, and is left out on the wire (section 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"

# A window of 4 KiB and little working memory: about 64 KiB for the two directions of a connection
# in place of 300 KiB, for messages that grow by a tenth.
_WINDOW_BITS: Final = 12
_MEMORY_LEVEL: Final = 5

# Messages below this size are sent as they are: deflate would save a few bytes for ten times the
# processor time (section 6.1 leaves the choice to us).
COMPRESSED_FROM_BYTES: Final = 96

# An encoder ends a deflate stream within a message seldom if ever (section 7.2.3.4); each time
# costs a fresh decompressor.
_STREAM_ENDS_COUNT: Final = 8


@dataclass(frozen=True, slots=True)
class DeflateTerms:
    """What both sides agreed on.

    Attributes:
        server_window_bits: The window that we compress with.
        client_window_bits: The largest window that the client compresses with.
        server_keeps_context: We may refer to earlier messages.
        client_keeps_context: The client may refer to earlier messages.
        answer: The value of Sec-WebSocket-Extensions.
    """

    server_window_bits: int
    client_window_bits: int
    server_keeps_context: bool
    client_keeps_context: bool
    answer: bytes


def negotiate(offers: list[ExtensionOffer]) -> DeflateTerms | None:
    """Accept the first offer of permessage-deflate that we can keep, or none (section 5.1)."""
    for offer in offers:
        if offer.name == NAME and (terms := _accept(offer)) is not None:
            return terms
    return None


def _accept(offer: ExtensionOffer) -> DeflateTerms | None:
    given = dict(offer.parameters)
    if len(given) != len(offer.parameters):  # a parameter given twice makes the offer invalid
        return None
    if not given.keys() <= _PARAMETERS.keys():
        return None
    answer = [NAME]
    for flag in (b"server_no_context_takeover", b"client_no_context_takeover"):
        if flag in given:
            if given[flag] is not None:
                return None
            answer.append(flag)
    server_bits = _WINDOW_BITS
    if b"server_max_window_bits" in given:
        asked = _bits(given[b"server_max_window_bits"])
        if asked is None or asked == 8:  # zlib makes no raw stream with a window of 256 bytes
            return None
        server_bits = min(asked, _WINDOW_BITS)
    answer.append(b"server_max_window_bits=%d" % server_bits)
    client_bits = 15
    if b"client_max_window_bits" in given:
        value = given[b"client_max_window_bits"]
        hint = 15 if value is None else _bits(value)
        if hint is None:
            return None
        client_bits = min(hint, _WINDOW_BITS)
        answer.append(b"client_max_window_bits=%d" % client_bits)
    return DeflateTerms(
        server_window_bits=server_bits,
        client_window_bits=client_bits,
        server_keeps_context=b"server_no_context_takeover" not in given,
        client_keeps_context=b"client_no_context_takeover" not in given,
        answer=b"; ".join(answer),
    )


_PARAMETERS: Final = {
    b"server_no_context_takeover": False,
    b"client_no_context_takeover": False,
    b"server_max_window_bits": True,
    b"client_max_window_bits": True,
}


def _bits(value: bytes | None) -> int | None:
    """A window size from 8 to 15, without leading zeros (section 7.1.2.1)."""
    return _BITS.get(value) if value is not None else None


_BITS: Final = {b"%d" % bits: bits for bits in range(8, 16)}


class Inflater:
    """The client's messages, decompressed piece by piece.

    Args:
        terms: What was agreed.
        max_bytes: The largest message; output stops one byte after it.
    """

    __slots__ = ("_ends_left", "_keep", "_left_bytes", "_max_bytes", "_stream", "_window_bits")

    def __init__(self, terms: DeflateTerms, max_bytes: int) -> None:
        # A window larger than the client's costs memory only; zlib refuses 8 in raw streams.
        self._window_bits = -max(terms.client_window_bits, 9)
        self._keep = terms.client_keeps_context
        self._max_bytes = max_bytes
        self._left_bytes = max_bytes
        self._ends_left = _STREAM_ENDS_COUNT
        # Made with the first message, as for `Deflater`: 7 KiB.
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes | bytearray) -> bytes:
        """The plain form of a piece of a message.

        Raises:
            PeerError: The message grows past the limit (1009), or is not deflate data (1007).
        """
        stream = self._stream or zlib.decompressobj(self._window_bits)
        out = self._inflate(stream, data)
        while stream.eof:
            # The stream came to its end inside the message (section 7.2.3.4): what follows begins
            # a new one.
            self._ends_left -= 1
            if not self._ends_left:
                raise PeerError(CloseCode.BAD_PAYLOAD, "deflate-stream-ends")
            rest = stream.unused_data
            stream = zlib.decompressobj(self._window_bits)
            out += self._inflate(stream, rest)
        self._stream = stream
        return out

    def finish(self) -> bytes:
        """The rest of the message; the next piece begins another.

        Raises:
            PeerError: As for `feed`.
        """
        return self.message(b"")

    def message(self, data: bytes | bytearray) -> bytes:
        """As `feed` of the last piece of a message, or of all of it, and `finish`."""
        out = self.feed(data + _TAIL)
        self._left_bytes = self._max_bytes
        self._ends_left = _STREAM_ENDS_COUNT
        if not self._keep:
            self._stream = None
        return out

    def _inflate(self, stream: "zlib._Decompress", data: bytes | bytearray) -> bytes:
        if not data:
            return b""
        try:
            out = stream.decompress(data, self._left_bytes + 1)
        except zlib.error:
            raise PeerError(CloseCode.BAD_PAYLOAD, "deflate-malformed") from None
        self._left_bytes -= len(out)
        if self._left_bytes < 0:
            raise PeerError(CloseCode.TOO_BIG, "message-too-big")
        return out


class Deflater:
    """Our messages, compressed."""

    __slots__ = ("_keep", "_stream", "_window_bits")

    def __init__(self, terms: DeflateTerms) -> None:
        self._window_bits = terms.server_window_bits
        self._keep = terms.server_keeps_context
        # Made with the first message: most connections of a large crowd never see one.
        self._stream: zlib._Compress | None = None

    def message(self, data: bytes) -> bytes:
        """The payload of one compressed message."""
        stream = self._stream
        if stream is None or not self._keep:
            stream = zlib.compressobj(wbits=-self._window_bits, memLevel=_MEMORY_LEVEL)
            self._stream = stream if self._keep else None
        return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
