"""The peer's side of a WebSocket session: what its bytes become, what is answered at once.  Pure.

The half of `asgi/websocket.py` that hears; the other half speaks.
"""

from serval.asgi.inbox import Inbox
from serval.asgi.websocket_limits import EARLY_BYTES, TURN_COUNT, SessionLimits
from serval.asgi.websocket_messages import OPEN, UP, Line, Phase
from serval.errors import PeerError
from serval.protocols.frames import CloseCode, CloseReceived, Event, PingReceived, TurnOver
from serval.protocols.messages import MessageStream


class PeerSide:
    """What comes from the peer.

    Attributes:
        phase: What the application may do.
        line: What the connection may do.
        fault: The violation by which the peer ended the session, if it did.  What came before it
            is for the application to answer first: the connection fails when it asks for more.
        full: Enough waits for the application: reading should pause while the line is up.
        behind: Some of what came has to be parsed in a later turn; reading should pause till then.
        congested: Set by the shell while the peer does not read: pongs are put off then.
    """

    __slots__ = (
        "_early",
        "_end",
        "_hungry",
        "_inbox",
        "_peer_ended",
        "_pong_due",
        "_protocol",
        "behind",
        "congested",
        "fault",
        "full",
        "line",
        "phase",
    )

    def __init__(self, limits: SessionLimits) -> None:
        self.phase = Phase.CONNECTING
        self.line = Line.UP
        self.fault: PeerError | None = None
        self.congested = False
        self.full = False
        self.behind = False
        self._protocol = MessageStream(limits.messages)
        self._early = bytearray()
        self._inbox = Inbox(limits.queue_count, limits.queue_bytes)
        self._hungry = False
        self._pong_due: bytes | None = None
        self._peer_ended = False
        self._end: tuple[int, str] | None = None

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
        if self._peer_ended:
            return  # what came before that may still have to be parsed, a close frame perhaps
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

    def ping(self, payload: bytes) -> bytes:
        """Ask the peer for a sign of life."""
        if self.phase is not Phase.OPEN or self.line is not Line.UP:
            return b""
        return self._protocol.ping(payload)

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

    def disconnect(self, code: int, reason: str = "") -> None:
        """Tell the application that it is over, whether or not the peer has said so."""
        if self._end is None:
            self._end = (code, reason)
