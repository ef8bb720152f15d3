"""The fast path for plain frames against wsproto: give way or agree, on any input and any split."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serval.protocols.deflate import DeflateTerms
from serval.protocols.messages import MessageStream
from wire.websocket_agreement import (
    LIMITS,
    TERMS,
    NeverPlain,
    check_against_wsproto,
    events_of,
    told,
    verdict,
)


def masked(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def compressed(payload: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


payloads = st.one_of(
    st.text(max_size=40).map(str.encode),
    st.binary(max_size=140),
    st.text(max_size=40).map(str.encode).map(compressed),
    st.builds(
        lambda size, byte: byte * size, st.integers(0, 2100), st.sampled_from([b"a", b"\xff"])
    ),
)
usual = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0xC1, 0xC2, 0x41])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame: mostly right, sometimes wrong in its header, its length or its mask."""
    first = draw(st.one_of(usual, usual, usual, st.integers(0, 255)))
    payload = draw(payloads)
    size = len(payload)
    form = draw(st.sampled_from([0, 0, 0, 0, 0, 0, 126, 127]))
    bit = draw(st.sampled_from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]))
    if form == 127:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    elif form == 126 or size > 125:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | size))
    if not bit:
        return head + payload
    mask = draw(st.binary(min_size=4, max_size=4))
    return head + mask + masked(payload, mask)


streams = st.lists(frames(), min_size=1, max_size=8).map(b"".join)


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    """A stream of frames, sometimes with a byte changed, in pieces."""
    data = bytearray(draw(streams))
    if draw(st.integers(0, 3)) == 0:
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    pieces = [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [piece for piece in pieces if piece]


@pytest.mark.parametrize("deflate", [None, TERMS], ids=["plain", "deflate"])
@given(pieces=cut_streams())
@settings(max_examples=400, deadline=None)
def test_the_fast_path_gives_way_or_agrees(
    deflate: DeflateTerms | None, pieces: list[bytes]
) -> None:
    fast = [told(event) for event in events_of(MessageStream(LIMITS, deflate), pieces)]
    slow = [told(event) for event in events_of(NeverPlain(LIMITS, deflate), pieces)]

    assert fast == slow


@pytest.mark.parametrize("deflate", [None, TERMS], ids=["plain", "deflate"])
@given(pieces=cut_streams())
@settings(max_examples=400, deadline=None)
def test_events_do_not_depend_on_where_the_stream_is_cut(
    deflate: DeflateTerms | None, pieces: list[bytes]
) -> None:
    data = b"".join(pieces)
    cuts = [pieces, [data], [bytes((byte,)) for byte in data]]

    cut, whole, single = (
        [verdict(event) for event in events_of(MessageStream(LIMITS, deflate), each)]
        for each in cuts
    )

    assert cut == whole == single


@given(pieces=cut_streams())
@settings(max_examples=400, deadline=None)
def test_what_is_read_is_what_wsproto_alone_reads(pieces: list[bytes]) -> None:
    data = b"".join(pieces)

    check_against_wsproto(data, list(events_of(MessageStream(LIMITS), [data])))
