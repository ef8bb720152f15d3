import zlib
from collections.abc import Iterable

import pytest
from client_frames import MASK, client_frame, close, text

from serval.errors import PeerError
from serval.protocols.deflate import DeflateTerms
from serval.protocols.frames import (
    CloseReceived,
    Event,
    MessageLimits,
    PingReceived,
    PongReceived,
    TurnOver,
)
from serval.protocols.messages import MessageStream

TERMS = DeflateTerms(12, 15, True, True, b"")
LIMITS = MessageLimits(message_bytes=1000, fragment_count=4)


def events_of(protocol: MessageStream, pieces: Iterable[bytes]) -> list[Event]:
    events: list[Event] = []
    for piece in pieces:
        event = protocol.receive_data(piece)
        while event is not None:
            if not isinstance(event, TurnOver):
                events.append(event)
            event = protocol.next_event()
    return events


def events(data: bytes, *, deflate: DeflateTerms | None = None) -> list[Event]:
    """The events of `data`, which must not depend on where it is cut."""
    whole = events_of(MessageStream(LIMITS, deflate), [data])
    single = events_of(
        MessageStream(LIMITS, deflate), [data[at : at + 1] for at in range(len(data))]
    )
    assert list(map(told, whole)) == list(map(told, single))
    return whole


def told(event: Event) -> object:
    return (event.status, event.reason) if isinstance(event, PeerError) else event


def verdict(data: bytes, *, deflate: DeflateTerms | None = None) -> tuple[int, str]:
    *_, last = events(data, deflate=deflate)
    assert isinstance(last, PeerError)
    return last.status, last.reason


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1000])
def test_whole_frames_of_every_length_form_come_whole(size: int) -> None:
    data = text("x" * size) + client_frame(0x82, b"\xff" * size)

    assert events(data) == ["x" * size, b"\xff" * size]


def test_a_message_longer_than_two_length_bytes_can_tell_comes_whole() -> None:
    protocol = MessageStream(MessageLimits())

    assert events_of(protocol, [text("x" * 70_000)]) == ["x" * 70_000]


def test_without_limits_long_messages_of_many_fragments_pass() -> None:
    protocol = MessageStream(MessageLimits(message_bytes=0, fragment_count=0))
    fragments = client_frame(0x02, b"a") + client_frame(0x00, b"b") * 2000

    received = events_of(protocol, [fragments + client_frame(0x80, b"c" * 70_000)])

    assert received == [b"a" + b"b" * 2000 + b"c" * 70_000]


def test_fragments_are_joined_with_control_frames_in_between() -> None:
    data = b"".join(
        (
            client_frame(0x01, b"\xc3"),
            client_frame(0x89, b"are you there"),
            client_frame(0x00, b""),
            client_frame(0x8A, b"yes"),
            client_frame(0x80, b"\xa9t\xc3\xa9"),
            client_frame(0x02, b""),
            client_frame(0x80, b"\xff"),
            text("plain"),
        )
    )

    assert events(data) == [
        PingReceived(b"are you there"),
        PongReceived(b"yes"),
        "\u00e9t\u00e9",
        b"\xff",
        "plain",
    ]


def test_the_fast_path_is_taken_again_after_others_had_to_give_way() -> None:
    protocol = MessageStream(LIMITS)

    received = events_of(protocol, [client_frame(0x89, b""), text("a")[:3], text("a")[3:]])

    assert received == [PingReceived(b""), "a"]
    assert protocol._plain


def test_events_are_parsed_one_at_a_time() -> None:
    protocol = MessageStream(LIMITS)

    first = protocol.receive_data(text("a") + text("b"))
    protocol.hold(text("c"))
    protocol.hold(text("d")[:1])
    protocol.hold(text("d")[1:])

    assert [first, *(protocol.next_event() for _ in range(4))] == ["a", "b", "c", "d", None]


def test_bytes_may_be_held_while_a_partial_frame_is_with_wsproto() -> None:
    protocol = MessageStream(LIMITS)

    first = protocol.receive_data(text("ab")[:7])
    protocol.hold(text("ab")[7:] + text("c"))

    assert [first, protocol.next_event(), protocol.next_event()] == [None, "ab", "c"]


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (b"", CloseReceived(1005, "")),
        (b"\x03\xe8", CloseReceived(1000, "")),
        (b"\x0f\xa0tsch\xc3\xbcs", CloseReceived(4000, "tsch\u00fcs")),
        (b"\x03\xf4", CloseReceived(1012, "")),
    ],
)
def test_a_close_frame_tells_code_and_reason_and_ends_the_input(
    payload: bytes, event: CloseReceived
) -> None:
    assert events(client_frame(0x88, payload) + text("too late")) == [event]


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (b"\x81\x02hi", 1002, "frame-malformed"),  # not masked
        (client_frame(0xC1, b"hi"), 1002, "frame-malformed"),  # RSV1 without an extension
        (client_frame(0xA1, b"hi"), 1002, "frame-malformed"),
        (client_frame(0x91, b"hi"), 1002, "frame-malformed"),
        (client_frame(0xC9, b"hi"), 1002, "frame-malformed"),
        (client_frame(0x83, b""), 1002, "frame-malformed"),  # unknown opcodes
        (client_frame(0x8B, b""), 1002, "frame-malformed"),
        (client_frame(0x09, b""), 1002, "frame-malformed"),  # a fragmented ping
        (client_frame(0x89, b"x" * 126), 1002, "frame-malformed"),
        (client_frame(0x80, b"x"), 1002, "fragment-order"),  # continues nothing
        (client_frame(0x01, b"x") + text("y"), 1002, "fragment-order"),
        (b"\x81\xfe\x00\x05" + MASK + b"hello", 1002, "frame-malformed"),  # longer than need be
        (b"\x81\xff" + bytes(7) + b"\x05" + MASK, 1002, "frame-malformed"),
        (b"\x82\xff\x80" + bytes(7) + MASK, 1002, "frame-malformed"),  # a negative length
        (client_frame(0x88, b"\x03"), 1002, "frame-malformed"),
        (close(999), 1002, "frame-malformed"),
        (close(1005), 1002, "frame-malformed"),
        (close(1006), 1002, "frame-malformed"),
        (close(1015), 1002, "frame-malformed"),
        (close(2000), 1002, "frame-malformed"),
        (close(5000), 1002, "frame-malformed"),
        (close(1000, b"\xff"), 1007, "payload-malformed"),
        (client_frame(0x81, b"a\xff"), 1007, "payload-malformed"),
        (client_frame(0x81, b"\xc3"), 1007, "payload-malformed"),
        (client_frame(0x81, b"\xed\xa0\x80"), 1007, "payload-malformed"),  # a surrogate
        (client_frame(0x01, b"\xc3") + client_frame(0x80, b"x"), 1007, "payload-malformed"),
        (client_frame(0x81, b"x" * 1001), 1009, "message-too-big"),
        (client_frame(0x82, b"", size=1 << 40), 1009, "message-too-big"),
        (
            client_frame(0x02, b"x" * 600) + client_frame(0x80, b"", size=401),
            1009,
            "message-too-big",
        ),
        (client_frame(0x02) + client_frame(0x00) * 4, 1009, "too-many-fragments"),
    ],
)
def test_a_violation_is_the_last_event_after_the_messages_before_it(
    data: bytes, code: int, reason: str
) -> None:
    first, *_ = received = events(text("first") + data + text("never"))

    assert first == "first"
    assert verdict(text("first") + data) == (code, reason)
    assert "never" not in received


def test_invalid_text_is_refused_before_its_frame_is_complete() -> None:
    protocol = MessageStream(LIMITS)
    start = client_frame(0x81, b"ok \xf4\x90", size=500)

    (last,) = events_of(protocol, [start])

    assert isinstance(last, PeerError)
    assert last.status == 1007


def test_small_pieces_of_a_message_are_kept_as_their_bytes_alone() -> None:
    protocol = MessageStream(MessageLimits())
    data = client_frame(0x81, b"ab" * 500, size=1002)

    events_of(protocol, [data[at : at + 2] for at in range(0, len(data), 2)])

    assert len(protocol._by_wsproto()._partial) == 1000


def compress(payload: bytes, stream: "zlib._Compress | None" = None) -> bytes:
    stream = stream or zlib.compressobj(wbits=-12)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_compressed_messages_inflate_whole_and_in_fragments() -> None:
    stream = zlib.compressobj(wbits=-12)
    one, two = compress(b"\xc3\xa9" * 50, stream), compress(b"\xc3\xa9" * 50, stream)
    data = b"".join(
        (
            client_frame(0xC1, one),
            client_frame(0x41, two[:2]),
            client_frame(0x89, b""),
            client_frame(0x80, two[2:]),
            text("not compressed"),
        )
    )

    received = events(data, deflate=TERMS)

    assert received == ["\u00e9" * 50, PingReceived(b""), "\u00e9" * 50, "not compressed"]


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (client_frame(0xC2, compress(b"\0" * 1001)), 1009, "message-too-big"),
        (client_frame(0xC2, compress(b"\0" * 10_000_000)), 1009, "message-too-big"),
        (client_frame(0xC2, b"", size=5000), 1009, "message-too-big"),
        (client_frame(0xC2, b"\xff\xff\xff"), 1007, "deflate-malformed"),
        (client_frame(0xC2, b"\x05"), 1007, "deflate-malformed"),  # seen only at its end
        (client_frame(0xC1, compress(b"\xff")), 1007, "payload-malformed"),
        (client_frame(0x01, b"") + client_frame(0xC0, b""), 1002, "frame-malformed"),
        (client_frame(0xC9, b""), 1002, "frame-malformed"),
    ],
)
def test_bad_compressed_messages_are_refused(data: bytes, code: int, reason: str) -> None:
    assert verdict(data, deflate=TERMS) == (code, reason)


def test_the_handshake_is_not_left_to_wsproto() -> None:
    with pytest.raises(AssertionError):
        MessageStream(LIMITS)._by_wsproto()._referee.offer()


def test_small_messages_are_sent_plain_and_large_ones_compressed() -> None:
    protocol = MessageStream(LIMITS, TERMS)

    small, large = protocol.text("tiny"), protocol.binary(b"\0" * 1000)

    assert small == b"\x81\x04tiny"
    assert large[0] == 0xC2
    assert zlib.decompressobj(-12).decompress(large[2:] + b"\0\0\xff\xff") == b"\0" * 1000


def test_without_deflate_all_messages_are_sent_plain() -> None:
    protocol = MessageStream(LIMITS)

    assert protocol.binary(b"\0" * 200) == b"\x82\x7e\x00\xc8" + b"\0" * 200


def test_text_without_utf8_form_is_not_sent() -> None:
    with pytest.raises(UnicodeEncodeError):
        MessageStream(LIMITS).text("\ud800")


def test_control_frames_are_short_and_whole() -> None:
    protocol = MessageStream(LIMITS)

    assert protocol.ping(b"a") == b"\x89\x01a"
    assert protocol.pong(b"b") == b"\x8a\x01b"
    assert protocol.close(1000, "x" * 200) == b"\x88\x7d\x03\xe8" + b"x" * 123
    assert protocol.close(4001) == b"\x88\x02\x0f\xa1"


def test_codes_for_local_use_are_never_on_the_wire() -> None:
    protocol = MessageStream(LIMITS)

    assert protocol.close(1005) == b"\x88\x00"
    for code in (1006, 1015):
        with pytest.raises(AssertionError):
            protocol.close(code)
