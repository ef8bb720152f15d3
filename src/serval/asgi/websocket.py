"""One WebSocket session: which ASGI message is legal when, and what it becomes on the wire.

Pure: bytes and messages in, bytes and messages out.  `worker/websocket.py` moves the bytes, waits
where there is nothing to do, and closes the transport once the line is down.
"""

from typing import Final

from serval.asgi.denial import Denial
from serval.asgi.inbox import Inbox
from serval.asgi.types import Message
from serval.asgi.websocket_limits import EARLY_BYTES, TURN_COUNT, SessionLimits
from serval.asgi.websocket_messages import (
    UNFINISHED,
    Line,
    Phase,
    Sent,
    after,
    close_of,
    data_of,
    header_pairs,
    sent_of,
    subprotocol_of,
)
from serval.errors import AppError, ClientDisconnected, PeerError
from serval.protocols.deflate import DeflateTerms, negotiate
from serval.protocols.frames import (
    CloseCode,
    CloseReceived,
    Event,
    PingReceived,
    TurnOver,
)
from serval.protocols.handshake import Offer, accept_response, refusal
from serval.protocols.messages import MessageStream
from serval.protocols.response_defaults import HeadEnds, plain_response

# The attributes of an Enum class cost three times a global; these are looked at for each message.
OPEN: Final = Phase.OPEN
UP: Final = Line.UP


class WebSocketSession:
    """One WebSocket between a peer and an application.

    Every method that returns bytes returns what must be sent to the peer now.

    Attributes:
        phase: What the application may do.
        line: What the connection may do.
        status: Of the response to the handshake; 0 while there is none.
        response_headers: Fields of that response that the application gave.
        defaults: Where the end of that response's head is from.
        fault: The violation by which the peer ended the session, if it did.  What came before it
            is for the application to answer first: the connection fails when it asks for more.
        full: Enough waits for the application: reading should pause while the line is up.
        behind: Some of what came has to be parsed in a later turn; reading should pause till then.
        congested: Set by the shell while the peer does not read: pongs are put off then.
    """

    __slots__ = (
        "_denial",
        "_early",
        "_end",
        "_hungry",
        "_inbox",
        "_limits",
        "_offer",
        "_peer_ended",
        "_pong_due",
        "_protocol",
        "_unconnected",
        "behind",
        "congested",
        "defaults",
        "fault",
        "full",
        "line",
        "phase",
        "response_headers",
        "status",
    )

    def __init__(self, offer: Offer, limits: SessionLimits, defaults: HeadEnds) -> None:
        self.phase = Phase.CONNECTING
        self.line = Line.UP
        self.status = 0
        self.response_headers: list[tuple[bytes, bytes]] = []
        self.fault: PeerError | None = None
        self.congested = False
        self.full = False
        self.behind = False
        self._offer = offer
        self._limits = limits
        self.defaults = defaults
        self._denial: Denial | None = None
        self._protocol = MessageStream(limits.messages)
        self._early = bytearray()
        self._inbox = Inbox(limits.queue_count, limits.queue_bytes)
        self._unconnected = True
        self._hungry = False
        self._pong_due: bytes | None = None
        self._peer_ended = False
        self._end: tuple[int, str] | None = None

    # The peer, told by the shell.

    @property
    def fault_due(self) -> bool:
        """Whether the peer broke the protocol, but messages before that are not answered yet."""
        return self.fault is not None and self.line is Line.UP

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes from the peer."""
        if (self.phase is OPEN and self.line is UP) or self.line is Line.CLOSING:
            if self.behind or (self._inbox.full and self.line is UP):
                self._protocol.hold(data)
                return b""
            event = self._protocol.receive_data(data)
            if (type(event) is bytes or type(event) is str) and self._protocol.exhausted:
                # Nearly always: one whole message, and the only one.
                inbox = self._inbox
                if self.phase is OPEN and not inbox.full:
                    inbox.put(event)
                    self.full = inbox.full
                return b""
            return self._take(event)
        if self.line is UP:
            self._early += data
            self.full = len(self._early) >= EARLY_BYTES
        return b""

    def receive_eof(self) -> None:
        """The peer sends no more, or the connection is lost."""
        self._peer_ended = True
        if self.fault is not None:
            self.disconnect(self.fault.status, self.fault.reason)
        elif self.phase is OPEN and self.line is UP:
            self.parse()  # answers can no longer be sent
        else:
            self.disconnect(CloseCode.LOST)
        if self.line is not Line.CUT:
            self.line = Line.DOWN

    def parse(self) -> bytes:
        """Turn bytes that were received into messages, until the queue or the turn is full."""
        self.behind = False
        if self._inbox.full and self.line is not Line.CLOSING:
            self.full = True
            return b""
        return self._take(self._protocol.next_event())

    def _take(self, event: Event | None) -> bytes:
        """Take this event and those behind it, until the queue or the turn is full."""
        out = b""
        inbox = self._inbox
        left = TURN_COUNT
        while event is not None:
            left -= 1
            if type(event) is str or type(event) is bytes:
                if self.phase is OPEN and not inbox.full:
                    inbox.put(event)
            elif type(event) is TurnOver:
                left = 0
            else:
                out += self._control(event)
            if inbox.full and self.line is not Line.CLOSING:
                break
            if left <= 0:
                self.behind = True
                break
            event = self._protocol.next_event()
        else:
            if self._peer_ended:
                self.disconnect(CloseCode.LOST)
        self.full = inbox.full or self.behind or self.fault is not None
        return out

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
                if self._peer_ended or (self._hungry and not self._inbox):
                    return self.fail_for_fault()
        return b""  # a pong says nothing but that the peer lives

    def _peer_closed(self, code: int, reason: str) -> bytes:
        answer = b"" if self.line is not Line.UP else self._protocol.close(code)
        self.line = Line.DOWN
        self.disconnect(code, reason)
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
        return (reason or "client left") if code == CloseCode.LOST else ""

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
        return refusal(error, self.defaults)

    def fail(self, code: int, reason: str, *, told_as: int = 0) -> bytes:
        """End the connection for a fault of the peer (RFC 6455 section 7.1.7).

        Args:
            code: What the peer is told.
            reason: A short code for both sides.
            told_as: What the application is told, if not the same.
        """
        self.disconnect(told_as or code, reason)
        if self.line is not Line.UP:
            self.line = Line.DOWN
            return b""
        self.line = Line.ENDING
        return self._protocol.close(code, reason)

    def fail_for_fault(self) -> bytes:
        """End the connection for the fault that is due."""
        assert self.fault is not None
        return self.fail(self.fault.status, self.fault.reason)

    def shut_down(self, code: int) -> bytes:
        """The server stops: refuse the handshake, or begin the closing one."""
        if self.line is not Line.UP:
            return b""
        if self.phase is Phase.OPEN:
            self.line = Line.CLOSING
            return self._protocol.close(code)
        if self.phase in (Phase.CONNECTING, Phase.DENIAL_HELD):
            self.disconnect(code)
            return self._answer(503, "Service Unavailable")
        return b""

    def disconnect(self, code: int, reason: str = "") -> None:
        """Tell the application that it is over, whether or not the peer has said so."""
        if self._end is None:
            self._end = (code, reason)

    # The application's two callables.

    def next_message(self) -> Message | None:
        """What `receive` yields next, or None where it must wait."""
        if self._unconnected:
            self._unconnected = False
            return {"type": "websocket.connect"}
        data = self._inbox.take()
        if data is not None:
            self._hungry = False
            if type(data) is str:
                return {"type": "websocket.receive", "bytes": None, "text": data}
            return {"type": "websocket.receive", "bytes": data, "text": None}
        self._hungry = True
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
        if self.phase is OPEN and self.line is UP:
            try:
                is_data = message["type"] == "websocket.send"
            except (KeyError, TypeError):
                is_data = False  # `sent_of` says what is wrong
            if is_data:
                return self._data(message)
        sent = sent_of(message)
        if self.line is not Line.UP or self.phase is Phase.CLOSED:
            if sent is Sent.CLOSE and self.phase is not Phase.CLOSED:
                self.phase = Phase.CLOSED  # what is asked for has come true already
                return b""
            raise ClientDisconnected(f"{sent.value} after the end of the connection")
        phase = after(self.phase, sent)
        match sent:
            case Sent.ACCEPT:
                return self._accept(message)
            case Sent.CLOSE:
                return self._close(message)
            case Sent.DENY:
                self._denial = Denial(message, header_pairs(message))
                self.status, self.response_headers = self._denial.status, self._denial.headers
                self.phase = phase
                return b""
        return self._denial_body(message, phase)

    def _data(self, message: Message) -> bytes:
        text = message.get("text")
        data = message.get("bytes")
        if text is None and type(data) is bytes:
            return self._protocol.binary(data)
        if type(text) is not str or data is not None:
            data = data_of(message)
            if isinstance(data, bytes):
                return self._protocol.binary(data)
            text = data
        try:
            return self._protocol.text(text)
        except UnicodeEncodeError as exc:
            raise AppError(f"text of websocket.send has no UTF-8 form: {exc}") from exc

    def _accept(self, message: Message) -> bytes:
        subprotocol = subprotocol_of(message)
        self.response_headers = header_pairs(message)
        terms = negotiate(self._offer.extensions) if self._limits.deflate else None
        out = accept_response(
            self._offer,
            subprotocol=subprotocol,
            extension=b"" if terms is None else terms.answer,
            headers=self.response_headers,
            end=self.defaults.ends[0],
        )
        self.status = 101
        self.phase = Phase.OPEN
        return out + self._open(terms)

    def _open(self, terms: DeflateTerms | None) -> bytes:
        if terms is not None:
            self._protocol = MessageStream(self._limits.messages, terms)
        if not self._early:
            return b""
        early, self._early = bytes(self._early), bytearray()
        self.full = False
        return self._take(self._protocol.receive_data(early))

    def _close(self, message: Message) -> bytes:
        code, reason = close_of(message)
        if self.phase is Phase.CONNECTING:
            return self._answer(403, "Forbidden")
        self.phase = Phase.CLOSED
        self.line = Line.CLOSING
        return self._protocol.close(code, reason)

    def _denial_body(self, message: Message, phase: Phase) -> bytes:
        assert self._denial is not None
        out = self._denial.body(message, self.defaults)
        self.phase = phase
        if phase is Phase.CLOSED:
            self._over()
        return out

    def _answer(self, status: int, text: str) -> bytes:
        self.status = status
        self.response_headers = []
        self._over()
        return plain_response(status, text, self.defaults)

    def _over(self) -> None:
        """A response other than 101 is complete."""
        self.phase = Phase.CLOSED
        self.line = Line.ENDING
        self.disconnect(CloseCode.LOST)

    @property
    def unfinished(self) -> str:
        """What the application would leave undone if it ended now, for the log."""
        if self.line is not UP:
            return ""
        return UNFINISHED.get(self.phase, "")

    def app_ended(self, *, raised: bool) -> bytes:
        """The application has returned, or raised: end the session if it did not."""
        phase, self.phase = self.phase, Phase.CLOSED
        if self.line is not Line.UP:
            return b""
        if phase is Phase.OPEN:
            self.line = Line.CLOSING
            return self._protocol.close(CloseCode.INTERNAL_ERROR if raised else CloseCode.NORMAL)
        if phase is Phase.DENYING:
            self.line = Line.CUT
            return b""
        return self._answer(500, "Internal Server Error")
