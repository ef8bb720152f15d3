"""Heads and trailer sections, line by line."""

import pytest

from serval.errors import PeerError
from serval.protocols.grammar import Field, RequestLine
from serval.protocols.sections import Budget, HeadLimits, HeadSection, TrailerSection

LIMITS = HeadLimits(request_line_bytes=32, field_bytes=24, block_bytes=40, count=3)
LINE = b"GET / HTTP/1.1\r\n"


def read_head(data: bytes, *, step: int = 1 << 20, limits: HeadLimits = LIMITS) -> HeadSection:
    section = HeadSection(limits, data[0], 100)
    for end in [*range(step, len(data), step), len(data)]:
        if section.advance(data[:end], 0, 100):
            return section
    raise AssertionError("the head is not complete")


def refused_head(data: bytes, limits: HeadLimits = LIMITS) -> tuple[int, str, int]:
    """The refusal, which has to be the same whole and byte by byte."""
    seen = set()
    for step in (1, 2, 3, len(data)):
        with pytest.raises(PeerError) as refusal:
            read_head(data, step=step, limits=limits)
        seen.add((refusal.value.status, refusal.value.reason, refusal.value.offset))
    assert len(seen) == 1
    return seen.pop()


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_a_head_ends_with_its_empty_line_whatever_the_cuts(step: int) -> None:
    data = LINE + b"Host: a\r\nX: b\r\n\r\nrest"

    section = read_head(data, step=step)

    assert section.request == RequestLine(b"GET", b"/", b"HTTP/1.1")
    assert data[section.end :] == b"rest"


def test_only_fields_that_bear_on_framing_are_kept() -> None:
    section = read_head(LINE + b"X: b\r\nHost: a\r\n\r\n")

    assert section.framing_fields == [Field(b"host", b"a", 122)]


def test_a_head_may_begin_anywhere_in_the_input() -> None:
    data = bytearray(b"before" + LINE + b"\r\n")
    section = HeadSection(LIMITS, data[6], 0)

    assert section.advance(data, 6, 0)
    assert section.end == len(data) - 6


def test_an_input_without_a_byte_is_waited_for() -> None:
    section = HeadSection(LIMITS, LINE[0], 0)

    assert not section.advance(LINE, 0, 0)
    assert not section.advance(LINE, 0, 0)


@pytest.mark.parametrize(
    ("data", "status", "reason", "offset"),
    [
        (b"\x16\x03\x01", 400, "tls-handshake", 100),
        (b"\r\n\r\n", 400, "empty-lines", 100),
        (b"GET / HTTP/1.1\n", 400, "bare-lf", 100),
        (b"GET / HTTP/1.1\rX", 400, "bare-cr", 100),
        (b"GET /" + b"a" * 40, 414, "request-line-too-long", 100),
        (b"GET /" + b"a" * 40 + b"\r\n", 414, "request-line-too-long", 100),
        (b"GET /" + b"a" * 27 + b"\rX\r\n", 400, "bare-cr", 100),
        (b"GET /" + b"a" * 28 + b"\rX\r\n", 414, "request-line-too-long", 100),
        (b"GET /\r\n", 400, "http-0.9", 100),
        (LINE + b" X: a\r\n", 400, "space-before-name", 116),
        (LINE + b"X: a\r\n b\r\n", 400, "obs-fold", 122),
        (LINE + b"X: a\rb", 400, "bare-cr", 116),
        (LINE + b"X: a\r\r\n", 400, "bare-cr", 116),
        (LINE + b"X: a\n", 400, "bare-lf", 116),
        (LINE + b"X: " + b"a" * 30, 431, "field-too-long", 116),
        (LINE + b"X: " + b"a" * 30 + b"\r\n", 431, "field-too-long", 116),
        (LINE + b"A:\r\nB:\r\nC:\r\nD:\r\n", 431, "too-many-fields", 128),
        (LINE + b"A: " + b"a" * 20 + b"\r\nB: " + b"b" * 13, 431, "fields-too-long", 141),
        (LINE + b"A: " + b"a" * 20 + b"\r\nB: " + b"b" * 50, 431, "fields-too-long", 141),
    ],
)
def test_a_bad_head_is_refused_the_same_way_at_every_cut(
    data: bytes, status: int, reason: str, offset: int
) -> None:
    assert refused_head(data) == (status, reason, offset)


def test_a_cr_that_may_end_the_line_does_not_count_against_the_limit() -> None:
    line = b"GET /" + b"a" * 18 + b" HTTP/1.1"

    section = read_head(line + b"\r\n\r\n", step=1)

    assert len(line) == LIMITS.request_line_bytes
    assert section.request.target == b"/" + b"a" * 18


def test_trailers_spend_what_the_head_left_of_the_budget() -> None:
    head = read_head(LINE + b"Host: a\r\nX: b\r\n\r\n")
    trailers = TrailerSection(head.budget)

    with pytest.raises(PeerError) as refusal:
        trailers.advance(b"Y: 1\r\nZ: 2\r\n\r\n", 0, 0)

    assert (refusal.value.status, refusal.value.reason) == (431, "too-many-fields")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b" X: a\r\n", "space-before-name"),
        (b"X: a\r\n b\r\n", "obs-fold"),
        (b"Content-Length: 1\r\n", "forbidden-trailer"),
        (b"host: a\r\n", "forbidden-trailer"),
        (b"\n", "bare-lf"),
    ],
)
def test_a_bad_trailer_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as refusal:
        TrailerSection(Budget(HeadLimits())).advance(data, 0, 0)

    assert (refusal.value.status, refusal.value.reason) == (400, reason)


def test_a_trailer_section_may_be_empty() -> None:
    trailers = TrailerSection(Budget(HeadLimits()))

    assert trailers.advance(b"\r\nrest", 0, 0)
    assert trailers.end == 2
