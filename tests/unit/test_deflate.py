import zlib

import pytest

from serval.errors import PeerError
from serval.protocols.deflate import Deflater, DeflateTerms, Inflater, negotiate
from serval.protocols.handshake import offered_extensions

TERMS = DeflateTerms(12, 15, True, True, b"")


def terms_for(value: bytes) -> DeflateTerms | None:
    return negotiate(offered_extensions([(b"sec-websocket-extensions", value)]))


def deflated(data: bytes, compressor: "zlib._Compress | None" = None) -> bytes:
    stream = compressor or zlib.compressobj(wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (b"permessage-deflate", b"permessage-deflate; server_max_window_bits=12"),
        (
            b"permessage-deflate; client_max_window_bits",
            b"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            b"permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
            b"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
        ),
        (
            b"permessage-deflate; server_max_window_bits=15; server_no_context_takeover",
            b"permessage-deflate; server_no_context_takeover; server_max_window_bits=12",
        ),
        (
            b"permessage-deflate; client_no_context_takeover",
            b"permessage-deflate; client_no_context_takeover; server_max_window_bits=12",
        ),
        (
            b'permessage-deflate; server_max_window_bits="11"',
            b"permessage-deflate; server_max_window_bits=11",
        ),
        (
            b"x-webkit-deflate-frame, permessage-deflate; unknown, permessage-deflate",
            b"permessage-deflate; server_max_window_bits=12",
        ),
    ],
)
def test_the_first_offer_that_can_be_kept_is_accepted(offer: bytes, answer: bytes) -> None:
    terms = terms_for(offer)

    assert terms is not None
    assert terms.answer == answer


@pytest.mark.parametrize(
    "offer",
    [
        b"",
        b"other",
        b"permessage-deflate; unknown",
        b"permessage-deflate; server_max_window_bits",
        b"permessage-deflate; server_max_window_bits=8",
        b"permessage-deflate; server_max_window_bits=16",
        b"permessage-deflate; server_max_window_bits=010",
        b"permessage-deflate; client_max_window_bits=7",
        b"permessage-deflate; client_no_context_takeover=1",
        b"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    ],
)
def test_offers_that_cannot_be_kept_are_declined(offer: bytes) -> None:
    assert terms_for(offer) is None


def test_what_we_compress_inflates_with_the_agreed_window_and_context() -> None:
    deflater = Deflater(TERMS)
    reader = zlib.decompressobj(-12)
    messages = [b"hello " * 50, b"hello " * 50, b"\0" * 10_000]

    sent = [deflater.message(message) for message in messages]

    assert [reader.decompress(data + b"\0\0\xff\xff") for data in sent] == messages
    assert len(sent[1]) < len(sent[0])


def test_without_context_every_message_inflates_by_itself() -> None:
    deflater = Deflater(DeflateTerms(12, 15, False, False, b""))

    sent = [deflater.message(b"hello " * 50) for _ in range(2)]

    assert sent[0] == sent[1]


@pytest.mark.parametrize("keeps_context", [True, False])
def test_messages_inflate_piece_by_piece(keeps_context: bool) -> None:
    inflater = Inflater(DeflateTerms(12, 8, True, keeps_context, b""), 1000)
    client = zlib.compressobj(wbits=-9) if keeps_context else None

    received = []
    for _ in range(3):
        data = deflated(b"hello " * 20, client)
        pieces = [inflater.feed(data[at : at + 1]) for at in range(len(data))]
        received.append(b"".join(pieces) + inflater.finish())

    assert received == [b"hello " * 20] * 3


def test_a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    inflater = Inflater(TERMS, 1000)

    exact = inflater.feed(deflated(b"x" * 1000)) + inflater.finish()

    assert exact == b"x" * 1000
    with pytest.raises(PeerError) as refused:
        Inflater(TERMS, 1000).feed(deflated(b"x" * 1001))
    assert (refused.value.status, refused.value.reason) == (1009, "message-too-big")


def test_a_bomb_is_refused_without_being_inflated() -> None:
    bomb = deflated(b"\0" * 50_000_000)

    with pytest.raises(PeerError) as refused:
        Inflater(TERMS, 1000).feed(bomb)

    assert refused.value.status == 1009


def test_what_is_not_deflate_data_is_refused() -> None:
    with pytest.raises(PeerError) as refused:
        Inflater(TERMS, 1000).feed(b"\xff\xff\xff")

    assert (refused.value.status, refused.value.reason) == (1007, "deflate-malformed")


def test_a_stream_that_ends_within_the_message_is_read_on() -> None:
    # RFC 7692 section 7.2.3.4: "Hello" in a final block, then an empty one.
    inflater = Inflater(TERMS, 1000)

    received = inflater.feed(b"\xf3\x48\xcd\xc9\xc9\x07\x00") + inflater.finish()

    assert received == b"Hello"


def test_many_stream_ends_in_one_message_are_refused() -> None:
    ended = zlib.compressobj(wbits=-15).flush(zlib.Z_FINISH)

    with pytest.raises(PeerError) as refused:
        Inflater(TERMS, 1000).feed(ended * 1000)

    assert refused.value.reason == "deflate-stream-ends"
