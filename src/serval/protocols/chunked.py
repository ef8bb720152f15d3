"""The strict framing of chunked bodies (RFC 9112 section 7.1): what may go on to h11.

h11 forgives white space after a chunk size, 20 digits, any bytes in extensions and LF alone in
trailers; this scanner does not.  It walks over the framing and passes the data by, never copying
it.  Linear in the input whatever its cuts.
"""

import re
from enum import Enum, auto
from typing import Final

from serval.protocols.lines import LineFinder
from serval.protocols.refusals import refusal
from serval.protocols.sections import Budget, TrailerSection
from serval.tokens import TOKEN_IN_BYTES

EXTENSION_BYTES: Final = 16_384
"""Bytes that all extensions of one body may take together: none is used by any client."""

_SIZE_DIGITS: Final = 16
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,%d}" % _SIZE_DIGITS)
# The end of a chunk with the beginning of the next: what nearly all are, in one look.
_NEXT_CHUNK: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,%d})\r\n" % _SIZE_DIGITS)
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
# Possessive throughout: no input makes it backtrack.
_EXTENSIONS: Final = re.compile(
    rb"(?:[ \t]*+;[ \t]*+"
    + TOKEN_IN_BYTES
    + rb"+(?:[ \t]*+=[ \t]*+(?:"
    + TOKEN_IN_BYTES
    + rb"+|"
    + _QUOTED
    + rb"))?+)*+"
)


class Part(Enum):
    """What comes next in a chunked body."""

    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    DONE = auto()


# Read for every chunk: a global is cheaper than a member of an enum.
DATA: Final = Part.DATA
TRAILERS: Final = Part.TRAILERS
_DATA_END: Final = Part.DATA_END
_SIZE_NEXT: Final = Part.SIZE


class ChunkScanner:
    """Walks over a chunked body.

    Attributes:
        part: What comes next.
        passed_bytes: Bytes of data passed so far, framing not counted.
        limit_bytes: The largest size of the data; 0 for none.
    """

    __slots__ = (
        "_chunk_left",
        "_extension_left",
        "_finder",
        "_trailers",
        "limit_bytes",
        "part",
        "passed_bytes",
    )

    def __init__(self, budget: Budget, limit_bytes: int) -> None:
        self.part = Part.SIZE
        self.passed_bytes = 0
        self.limit_bytes = limit_bytes
        self._chunk_left = 0
        self._extension_left = EXTENSION_BYTES
        self._finder = LineFinder()
        self._trailers = TrailerSection(budget)

    def advance(self, data: bytes | bytearray, start: int, origin: int) -> int:
        """Check one part of the body as far as it has come.

        Args:
            data: The input; what stands before `start` has been passed.
            origin: Where `start` is in the connection's input, for the offset of errors.

        Returns:
            Where the next part begins; `start` itself if more input is needed.

        Raises:
            PeerError: The framing is broken, or a limit is passed.
        """
        part = self.part
        if part is DATA:
            return self.pass_data(len(data), start, origin)
        if part is _DATA_END:
            if (found := _NEXT_CHUNK.match(data, start)) is not None:
                self._take_next(found[1])
                return found.end()
            return self._pass_data_end(data, start, origin)
        if part is _SIZE_NEXT:
            return self._pass_size(data, start, origin)
        if part is TRAILERS:
            return self._pass_trailers(data, start, origin)
        return start

    def _pass_size(self, data: bytes | bytearray, start: int, origin: int) -> int:
        line = self._finder.next_line(
            data,
            start,
            origin,
            allowed=_SIZE_DIGITS + self._extension_left,
            reason="chunk-extensions-too-long",
        )
        if line is None:
            return start
        self._take_next(self._size_of(line, origin))
        return start + len(line) + 2

    def _take_next(self, size: bytes) -> None:
        self._chunk_left = int(size, 16)
        self.part = DATA if self._chunk_left else TRAILERS

    def _size_of(self, line: bytes, origin: int) -> bytes:
        size = _SIZE.match(line)
        # White space here is what RFC 9112 calls bad, what h11 refuses and what smuggling tries.
        if size is None or line[size.end() : size.end() + 1] not in (b"", b";"):
            raise refusal("bad-chunk-size", line, origin)
        extensions = line[size.end() :]
        if extensions:
            if _EXTENSIONS.fullmatch(extensions) is None:
                raise refusal("bad-chunk-extension", line, origin)
            self._extension_left -= len(extensions)
        return size[0]

    def pass_data(self, end: int, start: int, origin: int) -> int:
        """Walk over the data of a chunk, of which there is as much as from `start` to `end`.

        The same as `advance`, where the part is DATA.
        """
        available = end - start
        if available > self._chunk_left:
            available = self._chunk_left
        elif available <= 0:
            return start
        if self.limit_bytes and available > (room := self.limit_bytes - self.passed_bytes):
            if room <= 0:
                raise refusal("body-too-large", offset=origin)
            available = room
        self.passed_bytes += available
        self._chunk_left -= available
        if not self._chunk_left:
            self.part = _DATA_END
        return start + available

    def _pass_data_end(self, data: bytes | bytearray, start: int, origin: int) -> int:
        found = bytes(data[start : start + 2])
        if not b"\r\n".startswith(found):
            raise refusal("bad-chunk-end", bytes(data[start : start + 64]), origin)
        if len(found) < 2:
            return start
        self.part = Part.SIZE
        return start + 2

    def _pass_trailers(self, data: bytes | bytearray, start: int, origin: int) -> int:
        if not self._trailers.advance(data, start, origin):
            return start
        self.part = Part.DONE
        return start + self._trailers.end


def joined(data: bytes | bytearray, pieces: list[memoryview]) -> bytes:
    """The pieces of the data by one copy; without any where they are the whole of it."""
    if len(pieces[0]) == len(data) and type(data) is bytes:
        return data
    return b"".join(pieces)
