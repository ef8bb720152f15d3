"""WebSocket frames in, events out: a fast path for plain data frames, and wsproto for all others.

Pure.  `asgi/websocket.py` drives it.  The fast path takes unfragmented text and binary frames that
are here as a whole; everything else (fragments, control frames, partial frames, anything doubtful)
goes to wsproto from its first byte.  On every input the fast path gives way or yields what wsproto
yields.

wsproto buffers nothing but what it was fed and checks UTF-8 as it arrives; what it lacks is limits.
They are put in through its interface for extensions, which sees every frame header before the
payload: `_Referee`.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    Frame,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    ParseFailed,
    RsvBits,
)

from serval.errors import PeerError
from serval.protocols.deflate import COMPRESSED_FROM_BYTES, Deflater, DeflateTerms, Inflater
from serval.protocols.frames import (
    FIN_BINARY,
    FIN_TEXT,
    RSV1,
    TEXT_HEADS,
    CloseCode,
    CloseReceived,
    PingReceived,
    PongReceived,
    close_reason,
    frame,
    unmask,
)

UNLIMITED: Final = 1 << 62

# Whole messages are events as they are: text as `str`, binary as `bytes`.  A violation is the last
# event, after the messages that came before it.
Event: TypeAlias = str | bytes | PingReceived | PongReceived | CloseReceived | PeerError

# First bytes of the frames that the fast path takes, without and with permessage-deflate.
_PLAIN: Final = (FIN_TEXT, FIN_BINARY)
_COMPRESSED: Final = (FIN_TEXT | RSV1, FIN_BINARY | RSV1, *_PLAIN)

_SLUGS: Final = {
    CloseCode.PROTOCOL_ERROR: "frame-malformed",
    CloseCode.BAD_PAYLOAD: "payload-malformed",
}


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """What one message may cost us; 0 means no limit.

    Attributes:
        message_bytes: Size of a message, decompressed.
        fragment_count: Frames of a message.
    """

    message_bytes: int = 1024 * 1024
    fragment_count: int = 1024


class _Referee(Extension):
    """Our limits and our permessage-deflate, in the place where wsproto asks its extensions.

    Attributes:
        fault: The violation that it refused, for its reason; wsproto keeps only the code.
        consumed_bytes: Bytes of the frames seen so far, headers included.
        message_open: Within a fragmented message or a data frame.
    """

    name = "serval"

    def __init__(self, limits: MessageLimits, inflater: Inflater | None) -> None:
        self._max_bytes = limits.message_bytes or UNLIMITED
        self._max_fragments = limits.fragment_count or UNLIMITED
        self._inflater = inflater
        self._header: tuple[Opcode, bool, int] | None = None
        self._control = False
        self._compressed = False
        self._announced_bytes = 0
        self._fragments_count = 0
        self.fault: PeerError | None = None
        self.consumed_bytes = 0
        self.message_open = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        raise AssertionError("the handshake is not wsproto's")

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Refuse a frame by its header.  Called again where the mask came later than the length."""
        self._header = (opcode, rsv.rsv1, payload_length)
        if opcode.iscontrol():
            return RsvBits(False, False, False)
        first = opcode is not Opcode.CONTINUATION
        if first == self.message_open:
            return self._refuse(CloseCode.PROTOCOL_ERROR, "fragment-order")
        compressed = rsv.rsv1 if first else self._compressed
        total = payload_length if first else self._announced_bytes + payload_length
        # Deflate may make data longer, by five bytes in 16 KiB; its output is counted as it comes.
        allowed = self._max_bytes + (self._max_bytes >> 8) + 256 if compressed else self._max_bytes
        if total > allowed:
            return self._refuse(CloseCode.TOO_BIG, "message-too-big")
        if not first and self._fragments_count >= self._max_fragments:
            return self._refuse(CloseCode.TOO_BIG, "too-many-fragments")
        return RsvBits(first and self._inflater is not None, False, False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """Count and inflate a piece of a payload; called for every frame, even an empty one."""
        if self._header is not None:
            self._begin_frame(*self._header)
            self._header = None
        self.consumed_bytes += len(data)
        if self._control or not self._compressed:
            return data
        assert self._inflater is not None
        try:
            return self._inflater.feed(data)
        except PeerError as fault:
            return self._refuse(fault.status, fault.reason)

    def _begin_frame(self, opcode: Opcode, rsv1: bool, size: int) -> None:
        self.consumed_bytes += 6 if size < 126 else 8 if size < 65_536 else 14
        self._control = opcode.iscontrol()
        if self._control:
            return
        if opcode is not Opcode.CONTINUATION:
            self.message_open = True
            self._compressed = rsv1
            self._announced_bytes = 0
            self._fragments_count = 0
        self._announced_bytes += size
        self._fragments_count += 1

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """End the deflate block with the last frame of a message."""
        if self._control or not fin:
            return None
        self.message_open = False
        if not self._compressed:
            return None
        assert self._inflater is not None
        try:
            return self._inflater.finish()
        except PeerError as fault:
            return self._refuse(fault.status, fault.reason)

    def _refuse(self, code: int, reason: str) -> CloseReason:
        self.fault = PeerError(code, reason)
        return CloseReason(code)


class WebSocketProtocol:
    """The frames of one connection after the handshake, the server's side.

    Bytes go in by `receive_data` or `hold`, events come out one at a time, so that a caller whose
    queue is full can leave the rest unparsed.  The frame makers return bytes to send.

    Args:
        limits: What one message may cost.
        deflate: The terms of permessage-deflate, where it was agreed.
    """

    __slots__ = (
        "_at",
        "_data",
        "_deflater",
        "_ended",
        "_fed_bytes",
        "_frames",
        "_inflater",
        "_max_bytes",
        "_partial",
        "_plain",
        "_referee",
        "_taken",
    )

    def __init__(self, limits: MessageLimits, deflate: DeflateTerms | None = None) -> None:
        self._max_bytes = limits.message_bytes or UNLIMITED
        self._inflater = None if deflate is None else Inflater(deflate, self._max_bytes)
        self._deflater = None if deflate is None else Deflater(deflate)
        self._taken = _PLAIN if deflate is None else _COMPRESSED
        self._referee = _Referee(limits, self._inflater)
        self._frames = FrameProtocol(client=False, extensions=[self._referee])
        self._data = b""
        self._at = 0
        self._fed_bytes = 0
        self._plain = True  # at the border of two messages, nothing left in wsproto
        self._partial = bytearray()
        self._ended = False

    def receive_data(self, data: bytes) -> Event | None:
        """Take bytes from the peer, and return the next event, as `next_event` does.

        What comes after a close frame or a violation is dropped.
        """
        if self._plain and not self._data:
            # Nearly always one whole message.
            event = self._plain_message(data, 0)
            if event is not None:
                if self._at < len(data):
                    self._data = data
                else:
                    self._at = 0
                return event
        self.hold(data)
        return self.next_event()

    def hold(self, data: bytes) -> None:
        """Take bytes from the peer, and leave them for a later `next_event`."""
        if self._ended:
            return
        if self._plain:
            self._data = self._data[self._at :] + data if self._data else data
            self._at = 0
        else:
            self._feed(data)

    def next_event(self) -> Event | None:
        """The next event, or None where more bytes are needed."""
        if self._plain:
            data = self._data
            if self._at == len(data):
                self._data = b""
                self._at = 0
                return None
            event = self._plain_message(data, self._at)
            if event is not None:
                return event
            self._give_way()
        return self._next_from_wsproto()

    def _plain_message(self, data: bytes, at: int) -> Event | None:
        """The whole data frame at `at`, or None: a fragment, not all here, or not valid."""
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
        plain = unmask(data[start:end], data[start - 4 : start])
        if first == FIN_TEXT:
            try:
                message = plain.decode()
            except UnicodeDecodeError:
                return None
            self._at = end
            return message
        self._at = end
        return bytes(plain) if first == FIN_BINARY else self._compressed_message(first, plain)

    def _compressed_message(self, first: int, payload: bytes | bytearray) -> Event:
        """What a whole compressed frame holds; it cannot give way once the inflater has seen it."""
        inflater = self._inflater
        assert inflater is not None
        try:
            data = inflater.message(payload)
            return data.decode() if first == FIN_TEXT | RSV1 else data
        except PeerError as fault:
            refused = fault
        except UnicodeDecodeError as exc:
            refused = _fault(CloseCode.BAD_PAYLOAD, exc)
        self._ended = True
        self._plain = False
        self._data = b""
        return refused

    def _give_way(self) -> None:
        """Leave all that is here to wsproto."""
        self._plain = False
        rest = self._data[self._at :]
        self._data = b""
        self._at = 0
        self._feed(rest)

    def _feed(self, data: bytes) -> None:
        self._fed_bytes += len(data)
        self._frames.receive_bytes(data)

    def _next_from_wsproto(self) -> Event | None:
        if self._ended:
            return None
        try:
            for piece in self._frames.received_frames():
                event = self._event_of(piece)
                if event is not None:
                    self._plain = not self._ended and self._at_border()
                    return event
        except ParseFailed as exc:
            return self._violation(exc)
        self._plain = self._at_border()
        return None

    def _at_border(self) -> bool:
        """Whether wsproto holds neither bytes nor a part of a message."""
        referee = self._referee
        return not referee.message_open and referee.consumed_bytes == self._fed_bytes

    def _event_of(self, piece: Frame) -> Event | None:
        payload = piece.payload
        match piece.opcode:
            case Opcode.PING:
                assert isinstance(payload, bytes)
                return PingReceived(payload)
            case Opcode.PONG:
                assert isinstance(payload, bytes)
                return PongReceived(payload)
            case Opcode.CLOSE:
                assert isinstance(payload, tuple)
                self._ended = True
                return CloseReceived(int(payload[0]), payload[1])
        return self._message_of(piece)

    def _message_of(self, piece: Frame) -> str | bytes | None:
        payload = piece.payload
        assert not isinstance(payload, tuple)
        whole = piece.frame_finished and piece.message_finished
        if whole and not self._partial:
            return payload
        # Kept as bytes, not as the pieces: many small ones would cost fifty times their size.
        self._partial += payload.encode() if isinstance(payload, str) else payload
        if not whole:
            return None
        data, self._partial = self._partial, bytearray()
        return data.decode() if isinstance(payload, str) else bytes(data)

    def _violation(self, failure: ParseFailed) -> PeerError:
        self._ended = True
        if (fault := self._referee.fault) is not None:
            return fault
        return _fault(CloseCode(failure.code), failure)

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
        return self._message(FIN_BINARY, data)

    def _message(self, first_byte: int, payload: bytes) -> bytes:
        if self._deflater is not None and len(payload) >= COMPRESSED_FROM_BYTES:
            return frame(first_byte | RSV1, self._deflater.message(payload))
        return frame(first_byte, payload)

    def ping(self, payload: bytes) -> bytes:
        """A ping of at most 125 bytes."""
        return bytes(self._frames.ping(payload))

    def pong(self, payload: bytes) -> bytes:
        """The answer to a ping."""
        return bytes(self._frames.pong(payload))

    def close(self, code: int, reason: str = "") -> bytes:
        """A close frame; without code and reason for 1005, which is never on the wire."""
        if code == CloseCode.NO_CODE:
            return bytes(self._frames.close())
        assert code not in (CloseCode.LOST, 1015)
        return bytes(self._frames.close(code, close_reason(reason).decode()))


def _fault(code: CloseCode, cause: Exception) -> PeerError:
    return PeerError(code, _SLUGS[code], str(cause))
