"""One WebSocket session: which ASGI message is legal when, and what it becomes on the wire.

Pure: bytes and messages in, bytes and messages out.  `worker/websocket.py` moves the bytes, waits
where there is nothing to do, and closes the transport once the line is down.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from serval.asgi.types import Message
from serval.errors import AppError, ClientDisconnected, PeerError
from serval.protocols.deflate import DeflateTerms, negotiate
from serval.protocols.frames import (
    CloseCode,
    CloseReceived,
    PingReceived,
    PongReceived,
    sendable_code,
)
from serval.protocols.handshake import Offer, accept_response, refusal
from serval.protocols.response import (
    CHUNKED,
    CLOSE,
    LAST_CHUNK,
    HeaderBlock,
    ResponseDefaults,
    header_block,
    plain_response,
    status_line,
)
from serval.protocols.websocket import Event, MessageLimits, WebSocketProtocol

# What may arrive before the application has answered the handshake; then reading stops.
EARLY_BYTES: Final = 65_536


class Phase(Enum):
    """How far the application has come."""

    CONNECTING = auto()  # the handshake is not answered
    DENIAL_HELD = auto()  # status of a denial known, nothing on the wire before the first body
    DENYING = auto()
    OPEN = auto()
    CLOSED = auto()  # by the application: it may send no more


class Sent(Enum):
    """A message of the application."""

    ACCEPT = "websocket.accept"
    SEND = "websocket.send"
    CLOSE = "websocket.close"
    DENY = "websocket.http.response.start"
    PART = "websocket.http.response.body (more_body=True)"
    LAST = "websocket.http.response.body"


NEXT: Final = {
    (Phase.CONNECTING, Sent.ACCEPT): Phase.OPEN,
    (Phase.CONNECTING, Sent.CLOSE): Phase.CLOSED,
    (Phase.CONNECTING, Sent.DENY): Phase.DENIAL_HELD,
    (Phase.DENIAL_HELD, Sent.PART): Phase.DENYING,
    (Phase.DENIAL_HELD, Sent.LAST): Phase.CLOSED,
    (Phase.DENYING, Sent.PART): Phase.DENYING,
    (Phase.DENYING, Sent.LAST): Phase.CLOSED,
    (Phase.OPEN, Sent.SEND): Phase.OPEN,
    (Phase.OPEN, Sent.CLOSE): Phase.CLOSED,
}


class Line(Enum):
    """How far the connection has come."""

    UP = auto()
    CLOSING = auto()  # our close frame is out, the peer's is awaited
    ENDING = auto()  # all is said; what the peer still sends is dropped, until it closes
    DOWN = auto()  # both sides have said all: the transport may close
    CUT = auto()  # a response ended early: the transport must break off, not end


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one session may cost us.

    Attributes:
        queue_count: Messages that wait for the application.
        queue_bytes: Their size together; one message may go over it.
        deflate: Whether permessage-deflate is agreed to.
    """

    messages: MessageLimits = field(default_factory=MessageLimits)
    queue_count: int = 32
    queue_bytes: int = 1024 * 1024
    deflate: bool = True


class WebSocketSession:
    """One WebSocket between a peer and an application.

    Every method that returns bytes returns what must be sent to the peer now.

    Attributes:
        phase: What the application may do.
        line: What the connection may do.
        status: Of the response to the handshake; 0 while there is none.
        headers: Fields of that response that the application gave.
        fault: The violation by which the peer ended the session, if it did.
        congested: Set by the shell while the peer does not read: pongs are put off then.
    """

    __slots__ = (
        "_defaults",
        "_denial",
        "_early",
        "_end",
        "_inbox",
        "_inbox_bytes",
        "_limits",
        "_offer",
        "_peer_ended",
        "_pong_due",
        "_protocol",
        "congested",
        "fault",
        "headers",
        "line",
        "phase",
        "status",
    )

    def __init__(self, offer: Offer, limits: SessionLimits, defaults: ResponseDefaults) -> None:
        self.phase = Phase.CONNECTING
        self.line = Line.UP
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.fault: PeerError | None = None
        self.congested = False
        self._offer = offer
        self._limits = limits
        self._defaults = defaults
        self._denial: HeaderBlock | None = None
        self._protocol = WebSocketProtocol(limits.messages)
        self._early = bytearray()
        self._inbox: deque[Message] = deque(({"type": "websocket.connect"},))
        self._inbox_bytes = 0
        self._pong_due: bytes | None = None
        self._peer_ended = False
        self._end: tuple[int, str] | None = None

    # The peer, told by the shell.

    @property
    def full(self) -> bool:
        """Whether enough is waiting for the application: while the line is up, reading pauses."""
        limits = self._limits
        return (
            len(self._inbox) >= limits.queue_count
            or self._inbox_bytes >= limits.queue_bytes
            or len(self._early) >= EARLY_BYTES
        )

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes from the peer."""
        if self.line is Line.CLOSING or (self.line is Line.UP and self.phase is Phase.OPEN):
            self._protocol.receive_data(data)
            return self.parse()
        if self.line is Line.UP:
            self._early += data
        return b""

    def receive_eof(self) -> None:
        """The peer sends no more, or the connection is lost."""
        self._peer_ended = True
        if self.phase is Phase.OPEN and self.line is Line.UP:
            self.parse()  # answers can no longer be sent
        elif self._end is None:
            self._end = (CloseCode.LOST, "")
        if self.line is not Line.CUT:
            self.line = Line.DOWN

    def parse(self) -> bytes:
        """Turn bytes that were received into messages, until the queue is full."""
        out = b""
        protocol = self._protocol
        while not self.full or self.line is Line.CLOSING:
            event = protocol.next_event()
            if event is None:
                if self._peer_ended and self._end is None:
                    self._end = (CloseCode.LOST, "")
                break
            if type(event) is str:
                self._deliver({"type": "websocket.receive", "bytes": None, "text": event}, event)
            elif type(event) is bytes:
                self._deliver({"type": "websocket.receive", "bytes": event, "text": None}, event)
            else:
                out += self._control(event)
        return out

    def _deliver(self, message: Message, data: str | bytes) -> None:
        if self.phase is Phase.OPEN and not self.full:
            self._inbox.append(message)
            self._inbox_bytes += len(data)

    def _control(self, event: Event) -> bytes:
        match event:
            case PingReceived(payload):
                if self.line is not Line.UP:
                    return b""
                if self.congested:  # only the latest needs an answer (RFC 6455 section 5.5.3)
                    self._pong_due = payload
                    return b""
                return self._protocol.pong(payload)
            case CloseReceived(code, reason):
                return self._peer_closed(code, reason)
            case PeerError():
                self.fault = event
                return self.fail(event.status, event.reason)
            case PongReceived() | str() | bytes():
                return b""

    def _peer_closed(self, code: int, reason: str) -> bytes:
        answer = b"" if self.line is not Line.UP else self._protocol.close(code)
        self.line = Line.DOWN
        if self._end is None:
            self._end = (code, reason)
        return answer

    def writable(self) -> bytes:
        """The peer reads again."""
        self.congested = False
        due, self._pong_due = self._pong_due, None
        if due is None or self.line is not Line.UP:
            return b""
        return self._protocol.pong(due)

    @property
    def cause(self) -> str:
        """Why the session ended early, for the access log; empty where it did not."""
        if self.fault is not None:
            return self.fault.reason
        if self._end is None:
            return ""
        code, reason = self._end
        if code == CloseCode.LOST:
            return reason or "client left"
        return ""

    # The server's own will, told by the shell.

    def ping(self, payload: bytes) -> bytes:
        """Ask the peer for a sign of life."""
        if self.phase is not Phase.OPEN or self.line is not Line.UP:
            return b""
        return self._protocol.ping(payload)

    def refuse(self, error: PeerError) -> bytes:
        """Answer an upgrade request that is not a valid handshake."""
        self.status = error.status
        self._over()
        return refusal(error, self._defaults)

    def fail(self, code: int, reason: str, *, told_as: int = 0) -> bytes:
        """End the connection for a fault of the peer (RFC 6455 section 7.1.7).

        Args:
            code: What the peer is told.
            reason: A short code for both sides.
            told_as: What the application is told, if not the same.
        """
        if self.line is not Line.UP:
            self.line = Line.DOWN
            return b""
        self.line = Line.ENDING
        if self._end is None:
            self._end = (told_as or code, reason)
        return self._protocol.close(code, reason)

    def shut_down(self, code: int) -> bytes:
        """The server stops: refuse the handshake, or begin the closing one."""
        if self.line is not Line.UP:
            return b""
        if self.phase is Phase.OPEN:
            self.line = Line.CLOSING
            return self._protocol.close(code)
        if self.phase in (Phase.CONNECTING, Phase.DENIAL_HELD):
            self._end = (code, "")
            return self._answer(503, "Service Unavailable")
        return b""

    def disconnect(self, code: int) -> None:
        """Tell the application that it is over, whether or not the peer has said so."""
        if self._end is None:
            self._end = (code, "")

    # The application's two callables.

    def next_message(self) -> Message | None:
        """What `receive` yields next, or None where it must wait."""
        if self._inbox:
            message = self._inbox.popleft()
            if self._inbox_bytes:
                data = message.get("text")
                self._inbox_bytes -= len(message["bytes"] if data is None else data)
            return message
        if self._end is not None:
            code, reason = self._end
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        return None

    def send(self, message: Message) -> bytes:
        """Take a message of the application.

        Raises:
            AppError: It is malformed or out of turn.
            ClientDisconnected: The session is over.
        """
        if self.phase is Phase.OPEN and self.line is Line.UP:
            try:
                if message["type"] == "websocket.send":
                    return self._data(message)
            except (KeyError, TypeError):
                raise AppError(f"app sent {_type_of(message)}, which has no type") from None
        return self._turn(message)

    def _data(self, message: Message) -> bytes:
        text = message.get("text")
        data = message.get("bytes")
        if type(text) is str and data is None:
            try:
                return self._protocol.text(text)
            except UnicodeEncodeError as exc:
                raise AppError(f"text of websocket.send is not valid unicode: {exc}") from exc
        if text is not None and data is not None:
            raise AppError("websocket.send has both bytes and text; exactly one must not be None")
        if text is None and data is None:
            raise AppError("websocket.send has neither bytes nor text")
        if isinstance(text, str):
            return self._protocol.text(str(text))
        if isinstance(data, bytes | bytearray | memoryview):
            return self._protocol.binary(bytes(data))
        given = "text" if data is None else "bytes"
        value = text if data is None else data
        raise AppError(
            f"{given} of websocket.send must not be {type(value).__name__}: {value!r:.60}"
        )

    def _turn(self, message: Message) -> bytes:
        sent = _sent(message)
        if self.line is not Line.UP or self.phase is Phase.CLOSED:
            if sent is Sent.CLOSE and self.phase is not Phase.CLOSED:
                self.phase = Phase.CLOSED  # what is asked for has come true already
                return b""
            raise ClientDisconnected(f"{sent.value} after the end of the connection")
        phase = NEXT.get((self.phase, sent))
        if phase is None:
            legal = " or ".join(s.value for p, s in NEXT if p is self.phase)
            raise AppError(f"app sent {sent.value} in phase {self.phase.name}; legal: {legal}")
        match sent:
            case Sent.ACCEPT:
                return self._accept(message)
            case Sent.CLOSE:
                return self._close(message)
            case Sent.DENY:
                return self._deny(message)
        return self._denial_body(message, phase)

    def _accept(self, message: Message) -> bytes:
        subprotocol = message.get("subprotocol")
        if not isinstance(subprotocol, str | None):
            raise AppError(f"subprotocol of websocket.accept must be a str, not {subprotocol!r}")
        headers = _pairs(message)
        terms = negotiate(self._offer.extensions) if self._limits.deflate else None
        out = accept_response(
            self._offer,
            subprotocol=subprotocol,
            extension=b"" if terms is None else terms.answer,
            headers=headers,
            default_lines=self._defaults.lines(),
        )
        self.status = 101
        self.headers = headers
        self.phase = Phase.OPEN
        return out + self._open(terms)

    def _open(self, terms: DeflateTerms | None) -> bytes:
        if terms is not None:
            self._protocol = WebSocketProtocol(self._limits.messages, terms)
        if not self._early:
            return b""
        early, self._early = bytes(self._early), bytearray()
        self._protocol.receive_data(early)
        return self.parse()

    def _close(self, message: Message) -> bytes:
        code = message.get("code")
        code = sendable_code(CloseCode.NORMAL if code is None else code)
        reason = message.get("reason")
        if not isinstance(reason, str | None):
            raise AppError(f"reason of websocket.close must be a str, not {reason!r:.60}")
        if self.phase is Phase.CONNECTING:
            return self._answer(403, "Forbidden")
        self.phase = Phase.CLOSED
        self.line = Line.CLOSING
        return self._protocol.close(code, reason or "")

    # A denial: an ordinary response in place of the handshake (websocket.http.response).

    def _deny(self, message: Message) -> bytes:
        try:
            status = message["status"]
        except KeyError:
            raise AppError("websocket.http.response.start has no status") from None
        status_line(status)
        if status < 200:
            raise AppError(f"status of websocket.http.response.start must be final, not {status}")
        headers = _pairs(message)
        self._denial = header_block(headers)
        self.status = status
        self.headers = headers
        self.phase = Phase.DENIAL_HELD
        return b""

    def _denial_body(self, message: Message, phase: Phase) -> bytes:
        body = message.get("body", b"")
        if not isinstance(body, bytes | bytearray | memoryview):
            raise AppError(f"body must be bytes, not {type(body).__name__}: {body!r:.60}")
        block = self._denial
        assert block is not None
        body = b"" if self.status in (204, 304) else bytes(body)
        chunked = block.content_length is None and self.status not in (204, 304)
        out = b""
        if self.phase is Phase.DENIAL_HELD:
            framing = b""
            if chunked and phase is Phase.CLOSED:
                chunked = False
                framing = b"content-length: %d\r\n" % len(body)
            elif chunked:
                framing = CHUNKED
            out = self._denial_head(block, framing)
        if chunked and body:
            body = b"%x\r\n%b\r\n" % (len(body), body)
        self.phase = phase
        if phase is Phase.CLOSED:
            self._over()
            body += LAST_CHUNK if chunked else b""
        return out + body

    def _denial_head(self, block: HeaderBlock, framing: bytes) -> bytes:
        defaults = self._defaults.lines(block.own)
        return b"".join((status_line(self.status), block.lines, framing, defaults, CLOSE, b"\r\n"))

    def _answer(self, status: int, text: str) -> bytes:
        self.status = status
        self.headers = []
        self._over()
        return plain_response(status, text, self._defaults)

    def _over(self) -> None:
        """A response other than 101 is complete."""
        self.phase = Phase.CLOSED
        self.line = Line.ENDING
        if self._end is None:
            self._end = (CloseCode.LOST, "")

    def app_ended(self, *, raised: bool) -> bytes:
        """The application has returned, or raised: end the session if it did not."""
        phase, self.phase = self.phase, Phase.CLOSED
        if self.line is not Line.UP:
            return b""
        match phase:
            case Phase.CONNECTING | Phase.DENIAL_HELD:
                return self._answer(500, "Internal Server Error")
            case Phase.DENYING:
                self.line = Line.CUT
            case Phase.OPEN:
                self.line = Line.CLOSING
                code = CloseCode.INTERNAL_ERROR if raised else CloseCode.NORMAL
                return self._protocol.close(code)
        return b""


def only_disconnects(error: BaseException) -> bool:
    """Whether nothing but our own `ClientDisconnected` came out of the application."""
    if isinstance(error, BaseExceptionGroup):
        return all(only_disconnects(inner) for inner in error.exceptions)
    return isinstance(error, ClientDisconnected)


def _sent(message: Message) -> Sent:
    try:
        kind = message["type"]
        if kind == "websocket.http.response.body":
            return Sent.PART if message.get("more_body", False) else Sent.LAST
        return Sent(kind)
    except (KeyError, TypeError, ValueError):
        legal = ", ".join(sent.value for sent in Sent if sent is not Sent.PART)
        raise AppError(
            f"app sent {_type_of(message)}; legal in a WebSocket session: {legal}"
        ) from None


def _pairs(message: Message) -> list[tuple[bytes, bytes]]:
    headers: Iterable[Any] = message.get("headers") or ()
    try:
        return [(name, value) for name, value in headers]
    except (TypeError, ValueError):
        raise AppError(f"headers must be pairs of bytes, not {headers!r:.60}") from None


def _type_of(message: object) -> str:
    if isinstance(message, dict):
        return repr(message.get("type", "a message without type"))
    return f"a {type(message).__name__} where a dict belongs"
