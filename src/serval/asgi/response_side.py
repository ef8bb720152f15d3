"""The response's side of an exchange: what the application may say, how it is framed.  Pure.

The half of `asgi/exchange.py` that speaks; the other half, `asgi/request_side.py`, hears.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NoReturn

from serval.asgi.file_body import FilePart
from serval.asgi.http_messages import (
    BROKEN,
    DONE,
    HEAD_HELD,
    LOST,
    NOT_BEGUN,
    STREAMING,
    WAITING,
    Phase,
    as_bytes,
    out_of_turn,
)
from serval.asgi.request_side import ARRIVING, RequestSide
from serval.asgi.types import Message
from serval.errors import AppError, ClientDisconnected
from serval.protocols.response import (
    CLOSE,
    KEEP_ALIVE,
    LAST_CHUNK,
    ResponseHead,
    early_hints,
    response_head,
    trailer_section,
)
from serval.protocols.response_defaults import HeadEnds
from serval.protocols.response_framing import CHUNK_HEADS, SMALL_CHUNK_BYTES, Framing, frame

# What may be left of a request body for the connection to be kept: less is read and dropped.
DISCARD_BYTES: Final = 65_536
# Read on every request, as the constants of the phases are.
_LENGTH: Final = Framing.LENGTH
_CHUNKED: Final = Framing.CHUNKED

_NO_HEAD: Final = ResponseHead(b"", False, -1, None, False, 0)


class ResponseSide(RequestSide):
    """What goes to the client.

    Attributes:
        framing: What tells the end of the body.
        status: The status on the wire, or 0 before there is one.
        response_headers: What the application sent with its start message.
        sent_bytes: Body bytes given to the lane, framing not counted.
        keep_alive: Whether the connection may carry another request; final once the head is out.
        defaults: Where the end of the head is from.
    """

    # Defaults on the class: an exchange is made for every request, and most of these never change.
    defaults: HeadEnds
    framing = Framing.LENGTH
    status = 0
    sent_bytes = 0
    response_headers: Iterable[tuple[bytes, bytes]] = ()
    keep_alive = True
    _head: ResponseHead = _NO_HEAD
    _left_bytes = 0
    _trailers: list[bytes] | None = None
    _plain = True  # nothing has come up that a plain response could not do

    # Messages of the application.

    def _start(self, message: Message) -> None:
        if self.phase is not WAITING:
            self._refuse_unless_over(message)
            return
        try:
            status = message["status"]
        except KeyError:
            raise AppError("http.response.start has no status") from None
        headers = message["headers"] if "headers" in message else ()  # noqa: SIM401
        if type(headers) is not list and isinstance(headers, Iterator):
            headers = list(headers)  # the access log will want to read them as well
        self._head = response_head(status, headers)
        self.response_headers = headers
        self.status = status
        if "trailers" in message and message["trailers"]:  # noqa: RUF019
            self._trailers = []
            self._plain = False
        self.phase = HEAD_HELD

    def _body(self, message: Message) -> None:
        # Subscripts, not `get`: a third of its time, and most messages have both keys.
        body = message["body"] if "body" in message else b""  # noqa: SIM401
        more = message["more_body"] if "more_body" in message else False  # noqa: SIM401
        if type(body) is not bytes:
            body = as_bytes(body)
        if self.phase is HEAD_HELD:
            head = self._head
            lane = self._lane
            if self._plain and not more and head.plain_bytes == len(body):
                # The plain case: the whole response at once, in one buffer.
                self.sent_bytes = len(body)
                self.phase = DONE
                end = self.defaults.ends[head.own]
                if lane.keep_alive and self.keep_alive:
                    lane.queue(head.start + end + body)
                else:
                    self.keep_alive = False
                    lane.queue(head.start + CLOSE + end + body)
                if not lane.corked:
                    lane.response_done()
                return
            self._lane.queue(self._framed_head(head, len(body), more))
            self.phase = STREAMING
            if more and not body:
                self._lane.write(b"")
        elif self.phase is not STREAMING:
            self._refuse_unless_over(message)
            return
        self._body_part(body, more)

    def _framed_head(self, head: ResponseHead, size: int, more: bool) -> bytes:
        """Decide the framing of the body and build the head that tells it."""
        request = self.request
        whole_bytes = size if not more and self._trailers is None else -1
        self.framing, self._left_bytes, start = frame(
            head, self.status, request.method, request.http_version, whole_bytes
        )
        return b"".join((start, self._connection_line(head.close), self.defaults.ends[head.own]))

    def _connection_line(self, close: bool) -> bytes:
        """Decide whether the connection lives on, and say so (RFC 9112 section 9.3)."""
        if (
            close
            or not self._lane.keep_alive
            or self.framing is Framing.CLOSE
            or self.status < 200
            or (self.input is ARRIVING and not self._rest_is_small())
        ):
            self.keep_alive = False
        if not self.keep_alive:
            return CLOSE
        return b"" if self.request.http_version == "1.1" else KEEP_ALIVE

    def _rest_is_small(self) -> bool:
        """Whether what is missing of the request will be read and dropped, if need be."""
        if self._continue_due:
            return False  # the client may send the body or not: nobody can tell them apart
        length = self.request.content_length
        return length is None or length - self.received_bytes <= DISCARD_BYTES

    def _body_part(self, body: bytes, more: bool) -> None:
        # A stream comes here for each of its pieces: one function, not one for each framing.
        size = len(body)
        framing = self.framing
        if framing is _CHUNKED:
            if size:
                self.sent_bytes += size
                head = CHUNK_HEADS[size] if size < SMALL_CHUNK_BYTES else b"%x\r\n" % size
                self._lane.write(b"".join((head, body, b"\r\n")))
        elif framing is _LENGTH:
            if size > self._left_bytes:
                self._cut_off(body)
            if size:
                self._left_bytes -= size
                self.sent_bytes += size
                self._lane.write(body)
        elif size:
            self._write_unframed(body)
        if not more:
            self._body_complete()

    def _cut_off(self, body: bytes) -> NoReturn:
        """Send of a body what its length has room for; nothing of what follows can be right."""
        excess = len(body) - self._left_bytes
        self._trailers = None
        self._body_part(body[: self._left_bytes], more=False)
        raise AppError(f"body is longer than its content-length: {excess} bytes cut off")

    def _write_unframed(self, body: bytes) -> None:
        if self.framing is Framing.CLOSE:
            self.sent_bytes += len(body)
            self._lane.write(body)
        elif self.request.method != b"HEAD":
            self._lane.fault(f"a {self.status} response has no body: {len(body)} bytes dropped")

    def _body_complete(self) -> None:
        if self.phase is LOST:  # found out in writing the last of it
            return
        if self.framing is Framing.LENGTH and self._left_bytes:
            missing = self._left_bytes
            self._break()
            raise AppError(f"body is shorter than its content-length: {missing} bytes missing")
        if self._trailers is not None:
            self.phase = Phase.TRAILERS
            return
        if self.framing is Framing.CHUNKED:
            self._lane.queue(LAST_CHUNK)
        self._finish()

    def _trailer(self, message: Message) -> None:
        if self.phase is not Phase.TRAILERS or self._trailers is None:
            self._refuse_unless_over(message)
            return
        self._trailers.append(trailer_section(message.get("headers", ())))
        if message.get("more_trailers", False):
            return
        if self.framing is Framing.CHUNKED:
            wanted = self._trailers if self.request.accepts_trailers else []
            self._lane.queue(b"0\r\n" + b"".join(wanted) + b"\r\n")
        self._finish()

    def _hint(self, message: Message) -> None:
        if self.phase not in NOT_BEGUN:
            return  # too late for an interim response; the specification lets us ignore it
        if "links" not in message:
            raise AppError("http.response.early_hint has no links")
        hints = early_hints(message["links"])
        if self.request.http_version == "1.1":
            self._lane.write(hints)
            self._lane.flush()

    # Files: `asgi/file_body.py` puts these together.

    def takes_file(self, message: Message, part: FilePart) -> bool:
        """Whether a file may come now; an error where nothing may."""
        if self.phase is not HEAD_HELD and (self.phase is not STREAMING or part.is_whole):
            self._refuse_unless_over(message)
            return False
        is_head = self.request.method == b"HEAD"
        if not is_head and not self._head.bodiless:
            return True
        if not is_head:
            self._lane.fault(f"a {self.status} response has no body: a file dropped")
        self._body({"more_body": part.more})
        return False

    def file_begins(self, size: int, part: FilePart) -> int:
        """Send what stands before a file; how much of it the framing has room for."""
        if self.phase is HEAD_HELD:
            length = self._head.content_length
            if length is not None and length > size and not part.more:
                raise AppError(f"the file is shorter than its content-length, {length}: {size}")
            self._lane.queue(self._framed_head(self._head, size, part.more))
        self.phase = Phase.FILE
        if self.framing is _LENGTH:
            return min(size, self._left_bytes)
        if self.framing is Framing.CHUNKED and size:
            self._lane.queue(b"%x\r\n" % size)
        return size

    def file_sent(self, size: int) -> None:
        """So many bytes of it are sent."""
        self.sent_bytes += size
        if self.framing is _LENGTH:
            self._left_bytes -= size

    def file_ends(self, part: FilePart, size: int, missing: int) -> None:
        """Send what stands behind a file.

        Args:
            size: How long it was to be.
            missing: How much of what there was room for could not be read.
        """
        if missing:
            self._break()
            raise AppError(f"the file became shorter while it was sent: {missing} bytes missing")
        if self.framing is Framing.CHUNKED and size:
            self._lane.queue(b"\r\n")
        self.phase = STREAMING
        if part.more:
            self._lane.flush()
        else:
            self._body_complete()

    def _finish(self) -> None:
        self.phase = DONE
        if self.framing is Framing.CLOSE:
            self.keep_alive = False
        if not self._lane.corked:
            self._lane.response_done()

    def _break(self) -> None:
        self.phase = BROKEN
        self.keep_alive = False
        self._lane.break_off()

    def _refuse_unless_over(self, message: Message) -> None:
        """Refuse a message that is out of turn; after the end of the response it is nothing."""
        if self.phase is DONE:
            return
        if self.phase is LOST:
            self._told = True
            raise ClientDisconnected("the client has closed the connection")
        raise out_of_turn(message, self.phase)
