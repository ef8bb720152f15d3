"""One HTTP request and its response: what `receive` yields, what `send` may say, how it is framed.

Pure but for two waits, which the lane supplies: the exchange turns the application's messages into
bytes and its connection's events into messages.  Made by `worker/connection.py`, one per request.
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Any, Final, NamedTuple, Protocol

from serval.asgi.disconnects import only_disconnects
from serval.asgi.types import Message
from serval.errors import AppError, ClientDisconnected
from serval.protocols.events import RequestReceived
from serval.protocols.response import (
    CHUNKED,
    CLOSE,
    CONTINUE,
    KEEP_ALIVE,
    LAST_CHUNK,
    ResponseDefaults,
    ResponseHead,
    early_hints,
    response_head,
    trailer_section,
    without_content_length,
)

# What may be left of a request body for the connection to be kept: less is read and dropped.
DISCARD_BYTES: Final = 65_536


class Phase(Enum):
    """How far the response has come."""

    WAITING = auto()
    HEAD_HELD = auto()  # status known, nothing on the wire before the first body message
    STREAMING = auto()
    TRAILERS = auto()  # the body is complete, the trailer section is not
    DONE = auto()
    BROKEN = auto()  # ended in a way that the client can see is not the end
    LOST = auto()  # the client was gone before the end


class Input(Enum):
    """How far the request body has come."""

    ARRIVING = auto()
    COMPLETE = auto()  # all here, the end of it not yet told to the application
    DELIVERED = auto()


class Peer(Enum):
    """What is known of the client's sending side."""

    PRESENT = auto()
    DISMISSED = auto()  # is there, but the server stops: the application is told that it left
    LEFT = auto()  # sends no more; it may still read


class Framing(Enum):
    """How the end of the response body is told (RFC 9112 section 6)."""

    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()  # the end of the connection is the end of the body
    NONE = auto()  # no body, whatever the application sends


# Read on every request: a global is cheaper than a member of an enum (CPython 3.11: by 40 ns).
_WAITING: Final = Phase.WAITING
_HEAD_HELD: Final = Phase.HEAD_HELD
_STREAMING: Final = Phase.STREAMING
_DONE: Final = Phase.DONE
_LENGTH: Final = Framing.LENGTH
_ARRIVING: Final = Input.ARRIVING
_LOST: Final = Phase.LOST


_NO_HEAD: Final = ResponseHead(b"", False, -1, None, False, 0)


# Phases in which nothing more goes to the client, and what is said of errors in them.
_WHEN_OVER: Final = {
    Phase.DONE: "after its response",
    Phase.BROKEN: "after its response was cut short",
    Phase.LOST: "after its client had left",
}
_OVER: Final = frozenset(_WHEN_OVER)
_NOT_BEGUN: Final = frozenset((Phase.WAITING, Phase.HEAD_HELD))

_FAILED: Final = (500, "Internal Server Error")
_STOPPING: Final = (503, "Service Unavailable")


class Ending(NamedTuple):
    """How an application ended.

    Attributes:
        fault: What was wrong, for the log; empty where nothing was.
        excused: It ended because it was told that nobody waits for it any more.
    """

    fault: str
    excused: bool


class Lane(Protocol):
    """What an exchange asks of the connection that it runs on."""

    congested: bool
    corked: bool  # it runs the application itself and will see that the response is done
    keep_alive: bool

    def write(self, data: bytes) -> None:
        """Send bytes of the response; they are on their way before the next wait."""

    def queue(self, data: bytes) -> None:
        """Keep bytes for the next `write`, `flush` or `response_done`."""

    def flush(self) -> None:
        """Give the queued bytes to the socket now."""

    async def writable(self) -> None:
        """Wait until the peer has read enough of what was written."""

    async def input_changed(self) -> None:
        """Wait until body bytes, the end or the loss of the client were told to the exchange."""

    def body_wanted(self) -> None:
        """The application has taken what was there: read on."""

    def response_done(self) -> None:
        """The last byte of the response has been written."""

    def break_off(self) -> None:
        """Close the connection so that the client sees the response is cut short."""

    def fault(self, text: str) -> None:
        """Log a mistake of the application that the response survived."""


class Exchange:
    """One request and its response.

    `receive` and `send` are the application's; the other public methods are the lane's.

    Attributes:
        status: The status on the wire, or 0 before there is one.
        response_headers: What the application sent with its start message.
        sent_bytes: Body bytes given to the lane, framing not counted.
        received_bytes: Body bytes of the request so far.
        keep_alive: Whether the connection may carry another request; final once the head is out.
    """

    # Defaults on the class: an exchange is made for every request, and most of these never change.
    phase = Phase.WAITING
    framing = Framing.LENGTH
    status = 0
    sent_bytes = 0
    received_bytes = 0
    response_headers: Iterable[tuple[bytes, bytes]] = ()
    _head: ResponseHead = _NO_HEAD
    _left_bytes = 0
    _trailers: list[bytes] | None = None
    _peer = Peer.PRESENT
    input = Input.COMPLETE
    _chunks: list[bytes] | None = None
    _continue_due = False
    _plain = True  # nothing has come up that a plain response could not do
    _told = False  # the application knows that it need not go on
    keep_alive = True

    def __init__(
        self,
        request: RequestReceived,
        lane: Lane,
        defaults: ResponseDefaults,
        *,
        plain: bool = False,
    ) -> None:
        self.request = request
        self._lane = lane
        self._defaults = defaults
        if not plain:
            self._read(request)

    def _read(self, request: RequestReceived) -> None:
        self.keep_alive = request.keep_alive
        self.received_bytes = len(request.body)
        if not request.complete:
            self.input = Input.ARRIVING
            self._chunks = []
            self._continue_due = request.expect_continue
        self._plain = (
            request.complete
            and request.keep_alive
            and request.http_version == "1.1"
            and request.method != b"HEAD"
        )

    # The request, told by the lane.

    def body_received(self, data: bytes) -> None:
        """More of the request body has come."""
        self.received_bytes += len(data)
        self._continue_due = False  # it sends without being told to
        if self._chunks is not None and self.phase is not _DONE and not self._told:
            self._chunks.append(data)

    def body_ended(self) -> None:
        """The request body is complete."""
        self.input = Input.COMPLETE

    def peer_left(self) -> None:
        """The client sends no more: tell the application that it is gone."""
        self._peer = Peer.LEFT

    def dismiss(self) -> None:
        """The server stops: tell the application that its client is gone."""
        if self._peer is Peer.PRESENT:
            self._peer = Peer.DISMISSED

    def peer_lost(self) -> None:
        """The connection is gone: the client neither sends nor reads."""
        self._peer = Peer.LEFT
        if self.phase is not _DONE and self.phase is not Phase.BROKEN:
            self.phase = Phase.LOST

    @property
    def lost(self) -> bool:
        """Whether the client can read no more."""
        return self.phase is Phase.LOST

    @property
    def buffered_bytes(self) -> int:
        """Body bytes that the application has not taken."""
        return sum(map(len, self._chunks)) if self._chunks else 0

    # The application's two callables.

    async def receive(self) -> Message:
        """The next message for the application; waits where there is none."""
        while True:
            if self._told or self.phase in _OVER:
                return {"type": "http.disconnect"}
            if self.input is Input.COMPLETE:
                self.input = Input.DELIVERED
                return {"type": "http.request", "body": self._take_body(), "more_body": False}
            if self.input is Input.ARRIVING and self._chunks:
                body = self._take_body()
                self._lane.body_wanted()
                return {"type": "http.request", "body": body, "more_body": True}
            if self._peer is not Peer.PRESENT:
                self._told = True
                continue
            if self.input is Input.ARRIVING:
                self._ask_for_body()
            if self._peer is Peer.PRESENT:  # writing 100 Continue may have shown the contrary
                await self._lane.input_changed()

    async def send(self, message: Message) -> None:
        """Take a message of the application; waits while the client reads too slowly.

        Raises:
            AppError: The message is malformed or out of turn.
            ClientDisconnected: The client is gone (ASGI HTTP 2.4).
        """
        try:
            take = _TAKE[message["type"]]
        except (KeyError, TypeError):
            raise AppError(
                f"app sent {_type_of(message)}; legal in an HTTP response: {', '.join(_TAKE)}"
            ) from None
        take(self, message)
        if self._lane.congested:
            await self._lane.writable()

    def _take_body(self) -> bytes:
        chunks = self._chunks
        if chunks is None:
            return self.request.body
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return body

    def _ask_for_body(self) -> None:
        if self._continue_due:
            self._continue_due = False
            if self.phase is Phase.WAITING or self.phase is Phase.HEAD_HELD:
                self._lane.write(CONTINUE)
                self._lane.flush()
        self._lane.body_wanted()

    # Messages of the application.

    def _start(self, message: Message) -> None:
        if self.phase is not _WAITING:
            self._refuse_unless_over(message)
            return
        try:
            status = message["status"]
        except KeyError:
            raise AppError("http.response.start has no status") from None
        headers = message["headers"] if "headers" in message else ()  # noqa: SIM401
        self._head = response_head(status, headers)
        self.response_headers = headers
        self.status = status
        if "trailers" in message and message["trailers"]:  # noqa: RUF019
            self._trailers = []
            self._plain = False
        self.phase = _HEAD_HELD

    def _body(self, message: Message) -> None:
        # Subscripts, not `get`: a third of its time, and most messages have both keys.
        body = message["body"] if "body" in message else b""  # noqa: SIM401
        more = message["more_body"] if "more_body" in message else False  # noqa: SIM401
        if type(body) is not bytes:
            body = _as_bytes(body)
        if self.phase is _HEAD_HELD:
            head = self._head
            lane = self._lane
            if self._plain and not more and head.plain_bytes == len(body) and lane.keep_alive:
                # The plain case: the whole response at once, in one buffer.
                self.sent_bytes = len(body)
                self.phase = _DONE
                lane.queue(head.start + self._defaults.ends[head.own] + body)
                if not lane.corked:
                    lane.response_done()
                return
            self._lane.queue(self._framed_head(head, len(body), more))
            self.phase = _STREAMING
            if more and not body:
                self._lane.write(b"")
        elif self.phase is not _STREAMING:
            self._refuse_unless_over(message)
            return
        self._body_part(body, more)

    def _framed_head(self, head: ResponseHead, size: int, more: bool) -> bytes:
        """Decide the framing of the body and build the head that tells it."""
        start = head.start
        framing_line = b""
        status = self.status
        request = self.request
        if head.bodiless or request.method == b"HEAD":
            self.framing = Framing.NONE
            if head.bodiless and status != 304:
                start = without_content_length(head)
        elif head.content_length is not None:
            self._left_bytes = head.content_length
        elif not more and self._trailers is None:
            self._left_bytes = size
            framing_line = b"content-length: %d\r\n" % size
        elif request.http_version == "1.1":
            self.framing = Framing.CHUNKED
            framing_line = CHUNKED
        else:
            self.framing = Framing.CLOSE
        return b"".join(
            (
                start,
                framing_line,
                self._connection_line(head.close),
                self._defaults.ends[head.own],
            )
        )

    def _connection_line(self, close: bool) -> bytes:
        """Decide whether the connection lives on, and say so (RFC 9112 section 9.3)."""
        if (
            close
            or not self._lane.keep_alive
            or self.framing is Framing.CLOSE
            or self.status < 200
            or (self.input is Input.ARRIVING and not self._rest_is_small())
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
        framing = self.framing
        excess = 0
        if framing is Framing.CHUNKED:
            if body:
                self._lane.write(b"%x\r\n%b\r\n" % (len(body), body))
                self.sent_bytes += len(body)
        elif framing is Framing.NONE:
            if body and self.request.method != b"HEAD":
                self._lane.fault(f"a {self.status} response has no body: {len(body)} bytes dropped")
        else:
            if framing is Framing.LENGTH:
                excess = max(0, len(body) - self._left_bytes)
                if excess:
                    body = body[: self._left_bytes]
                self._left_bytes -= len(body)
            if body:
                self._lane.write(body)
                self.sent_bytes += len(body)
        if not more:
            self._body_complete()
        elif excess:
            self._finish()
        if excess:
            raise AppError(f"body is longer than its content-length: {excess} bytes cut off")

    def _body_complete(self) -> None:
        if self.phase is _LOST:
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
        if self.phase not in (Phase.WAITING, Phase.HEAD_HELD):
            return  # too late for an interim response; the specification lets us ignore it
        if "links" not in message:
            raise AppError("http.response.early_hint has no links")
        hints = early_hints(message["links"])
        if self.request.http_version == "1.1":
            self._lane.write(hints)
            self._lane.flush()

    def _finish(self) -> None:
        if self.phase is _LOST:  # found out in writing the last of it
            return
        self.phase = _DONE
        if self.framing is Framing.CLOSE:
            self.keep_alive = False
        if not self._lane.corked:
            self._lane.response_done()

    def _break(self) -> None:
        self.phase = Phase.BROKEN
        self.keep_alive = False
        self._lane.break_off()

    def _refuse_unless_over(self, message: Message) -> None:
        """Refuse a message that is out of turn; after the end of the response it is nothing."""
        if self.phase is _DONE:
            return
        if self.phase is _LOST:
            self._told = True
            raise ClientDisconnected("the client has closed the connection")
        legal = " or ".join(_LEGAL[self.phase]) or "nothing"
        raise AppError(f"app sent {_type_of(message)} in phase {self.phase.name}; legal: {legal}")

    # The end of the application, told by the lane.

    def app_ended(self, error: BaseException | None) -> Ending:
        """The application has returned, or raised `error`: end the response if it did not."""
        excused = self._told and self.phase is not _DONE
        if error is not None and self._told and only_disconnects(error):
            error = None
        if self.phase in _OVER:
            when = _WHEN_OVER[self.phase]
            return Ending("" if error is None else f"app raised {when}", excused)
        if excused and self._peer is Peer.LEFT:
            # It ended because its client did; whether that still reads, nobody can tell.
            self._give_up()
        elif self.phase in _NOT_BEGUN:
            # What was held back is dropped: a response that was never begun can still be another.
            self._answer(*(_STOPPING if excused else _FAILED))
        else:
            self._break()
        if excused:
            return Ending("" if error is None else "app raised once it was told to end", True)
        verb = "returned" if error is None else "raised"
        where = "in mid-response" if self.phase is Phase.BROKEN else "without a response"
        return Ending(f"app {verb} {where}", False)

    def refuse(self, status: int, text: str) -> None:
        """Answer in the application's stead, if it has not begun to; else cut it short."""
        if self.phase in _NOT_BEGUN:
            self._answer(status, text)
        elif self.phase not in _OVER:
            self._give_up()
        self._told = True  # whatever the application does now, it is not to blame

    def _give_up(self) -> None:
        self.phase = _LOST
        self.keep_alive = False
        self._lane.break_off()

    def _answer(self, status: int, text: str) -> None:
        self._plain = self.keep_alive = False
        self._trailers = None
        self.status = status
        self.response_headers = ()
        self._head = response_head(status, ((b"content-type", b"text/plain; charset=utf-8"),))
        self.phase = Phase.HEAD_HELD
        self._body({"body": text.encode()})


_TAKE: Final[dict[str, Callable[[Exchange, Message], None]]] = {
    "http.response.start": Exchange._start,
    "http.response.body": Exchange._body,
    "http.response.trailers": Exchange._trailer,
    "http.response.early_hint": Exchange._hint,
}

_LEGAL: Final[dict[Phase, Iterable[str]]] = {
    Phase.WAITING: ("http.response.start", "http.response.early_hint"),
    Phase.HEAD_HELD: ("http.response.body",),
    Phase.STREAMING: ("http.response.body",),
    Phase.TRAILERS: ("http.response.trailers",),
    Phase.DONE: (),
    Phase.BROKEN: (),
    Phase.LOST: (),
}


def _type_of(message: object) -> str:
    if isinstance(message, dict):
        return repr(message.get("type", "a message without type"))
    return f"a {type(message).__name__} where a dict belongs"


def _as_bytes(body: Any) -> bytes:
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise AppError(f"body must be bytes, not {type(body).__name__}: {body!r:.60}")
