"""WebSocket frames by wsproto, under limits of our own.  Pure.

`protocols/messages.py` leaves to it whatever is not a whole plain frame: fragments, close frames,
partial frames, anything doubtful.  wsproto buffers nothing but what it was fed and checks UTF-8 as
it arrives; what it lacks is limits.  They are put in through its interface for extensions, which
sees every frame header before the payload: `_Referee`.
"""

from typing import Final

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
from serval.protocols.deflate import Inflater
from serval.protocols.frames import (
    UNLIMITED,
    CloseCode,
    CloseReceived,
    Event,
    MessageLimits,
    PingReceived,
    PongReceived,
    TurnOver,
    violation,
)

# Fragments that are joined before others get their turn: wsproto takes some 20 us for each.
TURN_COUNT: Final = 64


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


class CheckedFrames:
    """The frames of one connection, as far as they are left to wsproto.

    Attributes:
        ended: A close frame or a violation has been told; nothing more is looked at.
    """

    __slots__ = ("_fed_bytes", "_frames", "_partial", "_referee", "ended")

    def __init__(self, limits: MessageLimits, inflater: Inflater | None) -> None:
        self._referee = _Referee(limits, inflater)
        self._frames = FrameProtocol(client=False, extensions=[self._referee])
        self._fed_bytes = 0
        self._partial = bytearray()
        self.ended = False

    @property
    def at_border(self) -> bool:
        """Whether neither bytes nor a part of a message are held here."""
        referee = self._referee
        return not referee.message_open and referee.consumed_bytes == self._fed_bytes

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._fed_bytes += len(data)
        self._frames.receive_bytes(data)

    def next_event(self) -> Event | None:
        """The next event, or None where more bytes are needed."""
        if self.ended:
            return None
        left = TURN_COUNT
        try:
            for piece in self._frames.received_frames():
                event = self._event_of(piece)
                if event is not None:
                    return event
                left -= 1
                if not left:
                    return TurnOver()
        except ParseFailed as exc:
            return self._violation(exc)
        return None

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
                self.ended = True
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
        self.ended = True
        if (fault := self._referee.fault) is not None:
            return fault
        return violation(CloseCode(failure.code), failure)
