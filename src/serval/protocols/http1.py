"""The server's side of HTTP/1.x, without I/O: bytes in, events out; both lanes use it.

Plain heads take the fast path of `head`.  Every other head is checked line by line, then read by
h11 from its first byte; a chunked body goes to h11 as far as its framing has been checked.
"""

from enum import Enum, auto
from typing import Final, NoReturn

from serval.errors import PeerError
from serval.protocols.body_limits import NO_LIMITS, BodyLimits
from serval.protocols.chunked import DATA, TRAILERS, ChunkScanner, joined
from serval.protocols.events import (
    BodyReceived,
    Headers,
    RequestEnded,
    RequestEvent,
    RequestReceived,
)
from serval.protocols.framing import framing_of
from serval.protocols.head import (
    completed,
    known_head,
    plain_head,
    plain_request,
    request_of,
)
from serval.protocols.refusals import refusal
from serval.protocols.sections import Budget, HeadLimits, HeadSection

__all__ = ["H1Protocol", "HeadLimits"]

# Our own limits come first; h11 is given whole lines and is never the one to run full.
_H11_BUFFER_BYTES: Final = 1 << 40
_DEFAULT_LIMITS: Final = HeadLimits()


class Phase(Enum):
    """How far the current request has come."""

    HEAD = auto()  # nothing of it has been looked at
    HEAD_AFTER_EMPTY_LINE = auto()
    HEAD_LINES = auto()  # it comes in pieces
    COUNTED_BODY = auto()
    CHUNKED_BODY = auto()
    ENDED = auto()
    REFUSED = auto()


# Bound once: the class attribute costs a look-up for every request.
_HEAD: Final = Phase.HEAD
_ENDED: Final = Phase.ENDED
_REFUSED: Final = Phase.REFUSED
_HEADS: Final = frozenset((Phase.HEAD, Phase.HEAD_AFTER_EMPTY_LINE, Phase.HEAD_LINES))


class Referee:
    """h11, reading one request of which it is given nothing that has not been checked."""

    __slots__ = ("_connection", "_h11")

    def __init__(self) -> None:
        import h11  # noqa: PLC0415 - few clients need it: a start need not wait for it (8 ms)

        self._h11 = h11
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_H11_BUFFER_BYTES)

    def read_head(self, head: bytes, offset: int) -> Headers:
        """The headers of a whole head."""
        self._connection.receive_data(head)
        event = self._next_event(offset)
        if type(event) is not self._h11.Request:
            raise refusal("refused-by-h11", head, offset)
        return list(event.headers)

    def read_trailers(self, data: bytes, offset: int) -> Headers:
        """The trailers in the end of a chunked body, from its last chunk on."""
        self._connection.receive_data(data)
        event = self._next_event(offset)
        if type(event) is not self._h11.EndOfMessage:
            raise refusal("refused-by-h11", data, offset)
        return list(event.headers)

    def _next_event(self, offset: int) -> object:
        try:
            return self._connection.next_event()
        except self._h11.RemoteProtocolError as exc:
            raise refusal("refused-by-h11", str(exc).encode("ascii", "replace"), offset) from exc


class _ChunkedBody:
    """A chunked body on its way: our scanner before, h11 behind it."""

    __slots__ = ("referee", "scanner")

    def __init__(self, referee: Referee, budget: Budget, limit_bytes: int) -> None:
        self.referee = referee
        self.scanner = ChunkScanner(budget, limit_bytes)


class H1Protocol:
    """One connection's requests, one after the other.

    Not safe for concurrent use; the objects of different connections are independent.

    Args:
        limits: What a head may cost.
        body_limits: How large a body may be.
    """

    __slots__ = (
        "_body_limits",
        "_data",
        "_eof",
        "_harmless_bytes",
        "_left",
        "_length",
        "_limits",
        "_origin",
        "_phase",
        "_plain_bytes",
        "_reading",
        "_start",
    )

    def __init__(
        self,
        limits: HeadLimits = _DEFAULT_LIMITS,
        *,
        body_limits: BodyLimits = NO_LIMITS,
    ) -> None:
        self._limits = limits
        self._body_limits = body_limits
        self._harmless_bytes = body_limits.least_bytes
        self._plain_bytes = min(limits.request_line_bytes, limits.field_bytes, limits.block_bytes)
        self._phase = _HEAD
        self._data: bytes | bytearray = b""
        self._start = 0  # where in _data the bytes begin that have not been parsed
        self._origin = 0  # where in the connection's input _data begins
        self._length = 0  # of the current body, as announced
        self._left = 0  # bytes of a counted body still to come
        self._reading: HeadSection | _ChunkedBody | None = None  # what arrives in pieces, if any
        self._eof = False

    @property
    def request_ended(self) -> bool:
        """Whether the current request has been read to its end."""
        return self._phase is _ENDED

    @property
    def head_started(self) -> bool:
        """Whether bytes of an unfinished head are waiting."""
        return self.has_trailing_data and self._phase in _HEADS

    @property
    def at_eof(self) -> bool:
        """Whether the peer has ended its side and no bytes of a further request are left."""
        return self._eof and not self.has_trailing_data

    @property
    def received_bytes(self) -> int:
        """How much of the connection's input has come so far."""
        return self._origin + len(self._data)

    @property
    def has_trailing_data(self) -> bool:
        """Whether bytes have been received that were not parsed."""
        return self._start < len(self._data)

    @property
    def trailing_data(self) -> bytes:
        """The bytes that have been received and not parsed."""
        return bytes(self._data[self._start :])

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer, at least one."""
        if self._phase is _REFUSED:
            self._fail()
        if not self._data:
            self._data = data
            return
        if not isinstance(self._data, bytearray):
            self._data = bytearray(self._data)
        if self._start:  # dropping the front of a bytearray moves no bytes
            del self._data[: self._start]
            self._origin += self._start
            self._start = 0
        self._data += data

    def receive_eof(self) -> None:
        """Note that the peer will send no more."""
        self._eof = True

    def limit_body(self, max_bytes: int) -> None:
        """Set another limit for the body of the current request, 0 for none.

        Raises:
            PeerError: The body is known to be larger already (413).
        """
        if self._phase is _REFUSED:
            self._fail()
        known = self._length
        if isinstance(self._reading, _ChunkedBody):
            self._reading.scanner.limit_bytes = max_bytes
            known = self._reading.scanner.passed_bytes
        if 0 < max_bytes < known:
            self._phase = _REFUSED
            raise refusal("body-too-large", offset=self._origin + self._start)

    def start_next_cycle(self) -> None:
        """Begin with the next request: the response is done and the request was read."""
        if self._phase is not _ENDED:
            raise AssertionError(f"the request has not ended: {self._phase.name}")
        self._phase = _HEAD

    def skip_request(self) -> None:
        """Count a request as read to its end that another parser has read."""
        assert self._phase is _HEAD
        self._phase = _ENDED

    def take_request(self, data: bytes) -> RequestReceived | None:
        """Take bytes from the peer; the shortest way for a connection between two requests.

        Returns:
            The request, if the bytes are just one: plain, HTTP/1.1, kept alive, not HEAD, and
            complete.  Else None, and `next_event` tells what they are.
        """
        if self._phase is _HEAD and not self._data:
            request = plain_request(data, self._plain_bytes, self._harmless_bytes)
            if request is not None and len(request[2]) <= self._limits.count:
                self._length = request[7] or 0
                self._origin += len(data)
                self._phase = _ENDED
                return request
        self.receive_data(data)
        return None

    def next_event(self) -> RequestEvent | None:
        """The next event, or None: more bytes are needed, or the request has ended.

        Raises:
            PeerError: The peer broke the protocol or a limit; nothing more may be asked for.
        """
        try:
            if self._phase is _HEAD:
                data, start = self._data, self._start
                end = data.find(b"\r\n\r\n", start)
                if 0 < end - start <= self._plain_bytes:
                    head = data[start : end + 4]
                    request = known_head(head if type(head) is bytes else bytes(head))
                    if request is not None and len(request.headers) <= self._limits.count:
                        return self._begin(request, end + 4)
            return self._advance()
        except PeerError as error:
            self._phase = _REFUSED
            if isinstance(self._reading, HeadSection) and self._reading.request.method:
                method, target, version = self._reading.request
                error.request_line = method, target, version[5:].decode()
            raise

    def _begin(self, request: RequestReceived, end: int) -> RequestReceived:
        """Go over from a head, which ends at `end`, to the body if there is one."""
        if request.complete:
            self._length = 0
            self._phase = _ENDED
        else:
            length = self._length = self._left = request.content_length or 0
            if 0 < self._harmless_bytes < length and (
                0 < self._body_limits.of(request.target) < length
            ):
                error = refusal("body-too-large", offset=self._origin + self._start)
                error.request_line = request.method, request.target, request.http_version
                raise error
            self._phase = Phase.COUNTED_BODY if length else Phase.CHUNKED_BODY
            if 0 < length <= len(self._data) - end:
                self._phase = _ENDED
                request = completed(request, bytes(self._data[end : end + length]))
                end += length
        self._consume(end)
        return request

    def _consume(self, end: int) -> None:
        """Drop the input before `end`; keep no buffer that holds nothing."""
        if end == len(self._data):
            self._data = b""
            self._origin += end
            self._start = 0
        else:
            self._start = end

    def _advance(self) -> RequestEvent | None:
        """The next event where the fast path has none."""
        reading = self._reading
        if type(reading) is _ChunkedBody:
            return self._read_chunked_body(reading)
        if type(reading) is HeadSection:
            return self._read_head(reading)
        if self._phase is Phase.COUNTED_BODY:
            return self._read_counted_body()
        if self._phase is _REFUSED:
            self._fail()
        return None if self._phase is _ENDED else self._open_head()

    def _open_head(self) -> RequestEvent | None:
        """Begin to read a head line by line, once there is something to read."""
        if self._phase is _HEAD and self._data[self._start : self._start + 2] == b"\r\n":
            # One may stand before a request (RFC 9112 section 2.2).
            self._phase = Phase.HEAD_AFTER_EMPTY_LINE
            self._consume(self._start + 2)
        data, start = self._data, self._start
        origin = self._origin + start
        if data[start : start + 2] in (b"", b"\r"):
            if self._eof and data:
                raise refusal("incomplete-head", b"\r", origin)
            return None
        self._reading = HeadSection(self._limits, data[start], origin)
        self._phase = Phase.HEAD_LINES
        return self._read_head(self._reading)

    def _read_head(self, section: HeadSection) -> RequestEvent | None:
        data, start = self._data, self._start
        origin = self._origin + start
        if not section.advance(data, start, origin):
            if self._eof:
                raise refusal("incomplete-head", bytes(data[start : start + 64]), origin)
            return None
        end = start + section.end
        method, target, version = section.request
        framing = framing_of(version, section.framing_fields)
        head = bytes(data[start:end])
        self._reading = None
        if (request := plain_head(head)) is not None:
            return self._begin(request, end)
        referee = Referee()
        headers = referee.read_head(head, origin)
        if framing.content_length is None:
            self._reading = _ChunkedBody(referee, section.budget, self._body_limits.of(target))
        return self._begin(request_of(method, target, version, headers, framing), end)

    def _read_counted_body(self) -> RequestEvent | None:
        if not self._left:
            self._phase = _ENDED
            return RequestEnded([])
        data, start = self._data, self._start
        end = min(len(data), start + self._left)
        if start == end:
            self._check_eof()
            return None
        # A whole buffer of bytes is passed through, not copied.
        piece = bytes(data[start:end])
        self._left -= len(piece)
        self._consume(end)
        return BodyReceived(piece)

    def _read_chunked_body(self, body: _ChunkedBody) -> RequestEvent | None:
        data, origin, end = self._data, self._origin, self._start
        scanner = body.scanner
        size = len(data)
        pieces: list[memoryview] = []  # copied once, when they are joined
        try:
            view = memoryview(data)
            while end < size and (part := scanner.part) is not TRAILERS:
                begin = end
                if part is DATA:  # most of what a read brings
                    end = scanner.pass_data(size, begin, origin + begin)
                    pieces.append(view[begin:end])
                elif (end := scanner.advance(data, begin, origin + begin)) == begin:
                    break
        except PeerError:
            # Data before the fault is read first; it is found again after that.
            if not pieces:
                raise
        self._consume(end)
        if pieces:
            return BodyReceived(joined(data, pieces))
        if scanner.part is TRAILERS:
            return self._read_trailers(body)
        self._check_eof()
        return None

    def _read_trailers(self, body: _ChunkedBody) -> RequestEnded | None:
        data, start = self._data, self._start
        end = body.scanner.advance(data, start, self._origin + start)
        if end == start:
            self._check_eof()
            return None
        # The scanner has judged the framing; the fields are for h11 to read.
        section = b"0\r\n" + bytes(data[start:end])
        trailers = body.referee.read_trailers(section, self._origin + start)
        self._consume(end)
        self._phase = _ENDED
        self._reading = None
        return RequestEnded(trailers)

    def _check_eof(self) -> None:
        if self._eof:
            raise refusal("incomplete-body", offset=self._origin + self._start)

    def _fail(self) -> NoReturn:
        raise AssertionError("nothing more is parsed after a refusal")
