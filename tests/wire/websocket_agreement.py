"""Holds WebSocket frames against wsproto and against themselves, on any input and any cuts.

Without deflate, what is read is what wsproto alone reads, and what it refuses is refused; beyond
that stand the limits (1009).  With and without, neither the fast path nor a cut changes anything.
Shared by the property tests and the fuzzer.
"""

from collections.abc import Iterable, Iterator

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from serval.errors import PeerError
from serval.protocols.deflate import DeflateTerms
from serval.protocols.frames import (
    CloseCode,
    CloseReceived,
    Event,
    MessageLimits,
    PingReceived,
    PongReceived,
    TurnOver,
)
from serval.protocols.messages import MessageStream
from wire.driver import cut

LIMITS = MessageLimits(message_bytes=2000, fragment_count=6)
TERMS = DeflateTerms(15, 15, True, False, b"")


class NeverPlain(MessageStream):
    """The same protocol with the fast path taken out: wsproto sees every frame."""

    __slots__ = ()

    def _whole_frame(self, data: bytes, at: int) -> Event | None:
        return None


def told(event: Event) -> object:
    """An event that can be compared with another."""
    return (event.status, event.reason) if isinstance(event, PeerError) else event


def verdict(event: Event) -> object:
    """As `told`, for input in pieces: of two faults in one frame, the first to arrive is told."""
    return "refused" if isinstance(event, PeerError) else event


def events_of(protocol: MessageStream, pieces: Iterable[bytes]) -> Iterator[Event]:
    """What comes of the pieces, and that nothing comes after a close frame or a violation."""
    ended = False
    for piece in pieces:
        event = protocol.receive_data(piece)
        while event is not None:
            assert not ended, f"{event!r} after the end"
            if not isinstance(event, TurnOver):
                yield event
                ended = isinstance(event, PeerError | CloseReceived)
            event = protocol.next_event()


def check(data: bytes, places: Iterable[int]) -> None:
    """Assert that `data`, whole and cut at the places, is read alike, and like wsproto reads it."""
    pieces = list(cut(data, places))
    for deflate in (None, TERMS):
        whole = list(events_of(MessageStream(LIMITS, deflate), [data]))
        slow = list(events_of(NeverPlain(LIMITS, deflate), [data]))
        assert list(map(told, slow)) == list(map(told, whole)), "the fast path does not agree"
        for stream in (MessageStream, NeverPlain):
            parted = list(events_of(stream(LIMITS, deflate), pieces))
            assert list(map(verdict, parted)) == list(map(verdict, whole)), "a cut has changed it"
        if deflate is None:
            check_against_wsproto(data, whole)


def check_against_wsproto(data: bytes, ours: list[Event]) -> None:
    """Assert that wsproto reads the same, up to where we ended it sooner.

    That is at a limit, and at a fragment out of order: its header suffices us, while wsproto waits
    for its payload.
    """
    theirs = list(read_by_wsproto(data))
    last = ours[-1] if ours else None
    if isinstance(last, PeerError) and (
        last.status == CloseCode.TOO_BIG or last.reason == "fragment-order"
    ):
        ours = ours[:-1]
        theirs = theirs[: len(ours)]
    assert list(map(verdict, ours)) == theirs, "wsproto reads it otherwise"


def read_by_wsproto(data: bytes) -> Iterator[object]:
    """Whole messages and control frames, and "refused" where wsproto ends it."""
    frames = FrameProtocol(client=False, extensions=[])
    frames.receive_bytes(data)
    parts: list[str | bytes] = []
    try:
        for frame in frames.received_frames():
            payload = frame.payload
            if isinstance(payload, tuple):
                yield CloseReceived(int(payload[0]), payload[1])
                return
            if frame.opcode is Opcode.PING:
                yield PingReceived(bytes(payload))  # type: ignore[arg-type]  # never text
            elif frame.opcode is Opcode.PONG:
                yield PongReceived(bytes(payload))  # type: ignore[arg-type]  # likewise
            else:
                parts.append(payload)
                if frame.frame_finished and frame.message_finished:
                    yield type(payload)().join(parts)  # type: ignore[arg-type]  # all of one type
                    parts = []
    except ParseFailed:
        yield "refused"
