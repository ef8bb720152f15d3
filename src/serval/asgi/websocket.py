"""One WebSocket session: which ASGI message is legal when, and what it becomes on the wire.

Pure: bytes and messages in, bytes and messages out.  `worker/connections/websocket.py` moves the
bytes, waits where there is nothing to do, and closes the transport once the line is down.
"""

from serval.asgi.denial import Denial
from serval.asgi.types import Message
from serval.asgi.websocket_limits import SessionLimits
from serval.asgi.websocket_messages import (
    OPEN,
    UNFINISHED,
    UP,
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
from serval.asgi.websocket_peer import PeerSide
from serval.errors import AppError, ClientDisconnected, PeerError
from serval.protocols.deflate import DeflateTerms, negotiate
from serval.protocols.frames import CloseCode
from serval.protocols.handshake import Offer, accept_response, refusal
from serval.protocols.messages import MessageStream
from serval.protocols.response_defaults import HeadEnds, plain_response


class WebSocketSession(PeerSide):
    """One WebSocket between a peer and an application.

    Every method that returns bytes returns what must be sent to the peer now.

    Attributes:
        status: Of the response to the handshake; 0 while there is none.
        response_headers: Fields of that response that the application gave.
        defaults: Where the end of that response's head is from.
    """

    __slots__ = (
        "_denial",
        "_limits",
        "_offer",
        "_unconnected",
        "defaults",
        "response_headers",
        "status",
    )

    def __init__(self, offer: Offer, limits: SessionLimits, defaults: HeadEnds) -> None:
        super().__init__(limits)
        self.status = 0
        self.response_headers: list[tuple[bytes, bytes]] = []
        self._offer = offer
        self._limits = limits
        self.defaults = defaults
        self._denial: Denial | None = None
        self._unconnected = True

    # The server's own will, told by the shell.

    def refuse(self, error: PeerError) -> bytes:
        """Answer an upgrade request that is not a valid handshake."""
        self.status = error.status
        self._over()
        return refusal(error, self.defaults)

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
