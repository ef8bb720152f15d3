"""WebSocket messages: a fast path for whole frames, and wsproto behind it for all others.  Pure.

`asgi/websocket.py` drives it.  The fast path takes unfragmented text and binary frames, pings and
pongs that are here as a whole; everything else goes to `protocols/websocket.py` from its first
byte, until the next border of messages.  On every input the fast path gives way or yields what
wsproto yields.
"""

from typing import TYPE_CHECKING, Final

from serval.errors import PeerError
from serval.protocols.deflate import COMPRESSED_FROM_BYTES, Deflater, DeflateTerms, Inflater
from serval.protocols.frames import (
    BINARY_HEADS,
    CLOSE,
    FIN_BINARY,
    FIN_TEXT,
    PING,
    PONG,
    RSV1,
    TEXT_HEADS,
    UNLIMITED,
    CloseCode,
    Event,
    MessageLimits,
    PingReceived,
    PongReceived,
    close_reason,
    frame,
    quickest_unmask,
    violation,
)

if TYPE_CHECKING:
    from serval.protocols.websocket import CheckedFrames

# First bytes of the frames that the fast path takes, without and with permessage-deflate.
_PLAIN: Final = frozenset((FIN_TEXT, FIN_BINARY, PING, PONG))
_COMPRESSED: Final = frozenset((FIN_TEXT | RSV1, FIN_BINARY | RSV1))


class MessageStream:
    """The messages of one connection after the handshake, the server's side.

    Bytes go in by `receive_data` or `hold`, events come out one at a time, so that a caller whose
    queue is full can leave the rest unparsed.  The frame makers return bytes to send.

    Args:
        limits: What one message may cost.
        deflate: The terms of permessage-deflate, where it was agreed.

    Attributes:
        exhausted: The event that was returned last was also all there was.
    """

    __slots__ = (
        "_at",
        "_checked",
        "_data",
        "_deflater",
        "_inflater",
        "_limits",
        "_max_bytes",
        "_plain",
        "_taken",
        "_unmask",
        "exhausted",
    )

    def __init__(self, limits: MessageLimits, deflate: DeflateTerms | None = None) -> None:
        self._max_bytes = limits.message_bytes or UNLIMITED
        self._inflater = None if deflate is None else Inflater(deflate, self._max_bytes)
        self._deflater = None if deflate is None else Deflater(deflate)
        self._taken = _PLAIN if deflate is None else _PLAIN | _COMPRESSED
        self._limits = limits
        self._checked: CheckedFrames | None = None
        self._unmask = quickest_unmask()
        self._data = b""
        self._at = 0
        self._plain = True  # at the border of two messages, nothing is left with wsproto
        self.exhausted = True

    def receive_data(self, data: bytes) -> Event | None:
        """Take bytes from the peer, and return the next event, as `next_event` does.

        What comes after a close frame or a violation is dropped.
        """
        if self._plain and not self._data:
            # Nearly always one whole message.
            event = self._whole_frame(data, 0)
            if event is not None:
                if self._at < len(data):
                    self._data = data
                    self.exhausted = False
                else:
                    self._at = 0
                return event
        self.hold(data)
        return self.next_event()

    def hold(self, data: bytes) -> None:
        """Take bytes from the peer, and leave them for a later `next_event`."""
        if self._checked is not None and self._checked.ended:
            return
        self.exhausted = False
        if self._plain:
            self._data = self._data[self._at :] + data if self._data else data
            self._at = 0
        else:
            self._by_wsproto().feed(data)

    def next_event(self) -> Event | None:
        """The next event, or None where more bytes are needed."""
        if self._plain:
            data = self._data
            if self._at == len(data):
                self._data = b""
                self._at = 0
                self.exhausted = True
                return None
            event = self._whole_frame(data, self._at)
            if event is not None:
                return event
            self._plain = False
            rest, self._data = self._data[self._at :], b""
            self._at = 0
            self._by_wsproto().feed(rest)
        checked = self._by_wsproto()
        event = checked.next_event()
        self._plain = not checked.ended and checked.at_border
        return event

    def _by_wsproto(self) -> "CheckedFrames":
        """What takes the frames that are not plain; most sessions need it for the last one only."""
        if self._checked is None:
            # Imported here: wsproto would be a tenth of the time that a server takes to start.
            from serval.protocols.websocket import CheckedFrames  # noqa: PLC0415

            self._checked = CheckedFrames(self._limits, self._inflater)
        return self._checked

    def _whole_frame(self, data: bytes, at: int) -> Event | None:
        """The whole frame at `at`, or None: a fragment, not all here, or not valid."""
        if len(data) - at < 6:
            return None
        first = data[at]
        size = data[at + 1] - 128
        if size < 0 or first not in self._taken:
            return None
        start = at + 6
        if size > 125:
            if size == 127 or len(data) - at < 8:
                return None
            size = data[at + 2] << 8 | data[at + 3]
            if size < 126:
                return None
            start += 2
        end = start + size
        if end > len(data) or size > self._max_bytes:
            return None
        payload = self._unmask(data[start:end], data[start - 4 : start])
        if first == FIN_TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                return None
            self._at = end
            return text
        if first == FIN_BINARY:
            self._at = end
            return bytes(payload)
        return self._control_or_compressed(first, bytes(payload), end)

    def _control_or_compressed(self, first: int, payload: bytes, end: int) -> Event | None:
        if first & 0x08:
            if len(payload) > 125:
                return None
            self._at = end
            return PingReceived(payload) if first == PING else PongReceived(payload)
        self._at = end
        return self._compressed(first, payload)

    def _compressed(self, first: int, payload: bytes) -> Event:
        """What a compressed frame holds; it cannot give way once the inflater has seen it."""
        assert self._inflater is not None
        try:
            data = self._inflater.message(payload)
            return data.decode() if first == FIN_TEXT | RSV1 else data
        except PeerError as fault:
            refused = fault
        except UnicodeDecodeError as exc:
            refused = violation(CloseCode.BAD_PAYLOAD, exc)
        self._by_wsproto().ended = True
        self._plain = False
        self._data = b""
        return refused

    def text(self, text: str) -> bytes:
        """A text message; a lone surrogate is not text.

        Raises:
            UnicodeEncodeError: `text` has no UTF-8 form.
        """
        payload = text.encode()
        if self._deflater is None and len(payload) < 126:
            return TEXT_HEADS[len(payload)] + payload
        return self._message(FIN_TEXT, payload)

    def binary(self, data: bytes) -> bytes:
        """A binary message."""
        if self._deflater is None and len(data) < 126:
            return BINARY_HEADS[len(data)] + data
        return self._message(FIN_BINARY, data)

    def _message(self, first_byte: int, payload: bytes) -> bytes:
        if self._deflater is not None and len(payload) >= COMPRESSED_FROM_BYTES:
            return frame(first_byte | RSV1, self._deflater.message(payload))
        return frame(first_byte, payload)

    def ping(self, payload: bytes) -> bytes:
        """A ping of at most 125 bytes."""
        return frame(PING, payload)

    def pong(self, payload: bytes) -> bytes:
        """The answer to a ping."""
        return frame(PONG, payload)

    def close(self, code: int, reason: str = "") -> bytes:
        """A close frame; without code and reason for 1005, which is never on the wire."""
        assert code not in (CloseCode.LOST, 1015)
        if code == CloseCode.NO_CODE:
            return frame(CLOSE, b"")
        return frame(CLOSE, code.to_bytes(2, "big") + close_reason(reason))
