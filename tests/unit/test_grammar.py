"""The strict grammar of single lines."""

import pytest

from serval.errors import PeerError
from serval.protocols.grammar import (
    Field,
    RequestLine,
    check_first_byte,
    field_line,
    is_authority,
    request_line,
)


def refused_as(error: PeerError) -> tuple[int, str]:
    return error.status, error.reason


@pytest.mark.parametrize("byte", b"Gg!~09\r\n")
def test_a_first_byte_that_may_begin_a_request_passes(byte: int) -> None:
    check_first_byte(byte, 0)


@pytest.mark.parametrize(
    ("byte", "reason"),
    [
        (0x16, "tls-handshake"),
        (0, "bad-first-byte"),
        (0x20, "bad-first-byte"),
        (0xFF, "bad-first-byte"),
    ],
)
def test_a_first_byte_that_begins_no_request_is_refused(byte: int, reason: str) -> None:
    with pytest.raises(PeerError) as refusal:
        check_first_byte(byte, 5)

    assert (refusal.value.reason, refusal.value.offset) == (reason, 5)


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET / HTTP/1.1", b"/"),
        (b"GET /a?b=%20&c={} HTTP/1.0", b"/a?b=%20&c={}"),
        (b"GET http://a:1/b HTTP/1.1", b"http://a:1/b"),
        (b"GET HTTPS://a?b HTTP/1.1", b"HTTPS://a?b"),
        (b"OPTIONS * HTTP/1.1", b"*"),
    ],
)
def test_a_legal_request_line_is_parted_in_three(line: bytes, target: bytes) -> None:
    parts = request_line(line, 0)

    assert parts == RequestLine(line.split(b" ")[0], target, line.split(b" ")[2])


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"GET /", 400, "http-0.9"),
        (b"GET/ HTTP/1.1", 400, "bad-request-line"),
        (b"GET", 400, "bad-request-line"),
        (b"GET / a HTTP/1.1", 400, "bad-request-line"),
        (b" / HTTP/1.1", 400, "bad-method"),
        (b"G(T / HTTP/1.1", 400, "bad-method"),
        (b"GET / http/1.1", 400, "bad-version"),
        (b"GET / HTTP/1.10", 400, "bad-version"),
        (b"GET / HTTP/0.9", 400, "bad-version"),
        (b"GET / HTTP/2.0", 505, "unsupported-version"),
        (b"CONNECT a:1 HTTP/1.1", 405, "connect"),
        (b"GET /#a HTTP/1.1", 400, "fragment-in-target"),
        (b"GET  HTTP/1.1", 400, "bad-target"),
        (b"GET /\x7f HTTP/1.1", 400, "bad-target"),
        (b"GET /\xe9 HTTP/1.1", 400, "bad-target"),
        (b"GET ?a HTTP/1.1", 400, "bad-target"),
        (b"GET http://u@a/ HTTP/1.1", 400, "bad-target"),
        (b"GET a:80 HTTP/1.1", 400, "authority-form"),
        (b"GET * HTTP/1.1", 400, "asterisk-form"),
    ],
)
def test_a_bad_request_line_is_refused_for_its_reason(
    line: bytes, status: int, reason: str
) -> None:
    with pytest.raises(PeerError) as refusal:
        request_line(line, 7)

    assert refused_as(refusal.value) == (status, reason)
    assert refusal.value.offset >= 7


def test_the_offset_of_a_bad_target_is_where_the_target_begins() -> None:
    with pytest.raises(PeerError) as refusal:
        request_line(b"POST \x01 HTTP/1.1", 100)

    assert (refusal.value.offset, refusal.value.excerpt) == (105, b"\x01")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"a",
        b"a:",
        b"a:80",
        b"a.b-c_d~e",
        b"a%20b",
        b"1.2.3.4:5",
        b"[::1]",
        b"[::1]:65535",
        b"[v1.a]",
    ],
)
def test_a_host_with_or_without_port_is_an_authority(value: bytes) -> None:
    assert is_authority(value)


@pytest.mark.parametrize(
    "value",
    [
        b"a b",
        b"a/b",
        b"u@a",
        b"a:b",
        b"a:65536",
        b"a:000080",
        b"::1",
        b"[::1",
        b"[g]",
        b"a%2",
        b"\xe9",
        b"a:-1",
    ],
)
def test_anything_else_is_no_authority(value: bytes) -> None:
    assert not is_authority(value)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"Host: a", b"host", b"a"),
        (b"X:\t a\tb \t", b"x", b"a\tb"),
        (b"X:", b"x", b""),
        (b"X: \x85\xa0", b"x", b"\x85\xa0"),
        (b"X:a:b", b"x", b"a:b"),
    ],
)
def test_a_legal_field_line_gives_a_name_in_lower_case_and_a_trimmed_value(
    line: bytes, name: bytes, value: bytes
) -> None:
    assert field_line(line, 3, is_first=False) == Field(name, value, 3)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b" X: a", "obs-fold"),
        (b"\tX: a", "obs-fold"),
        (b"X", "no-colon"),
        (b"", "no-colon"),
        (b": a", "empty-name"),
        (b"X : a", "space-before-colon"),
        (b"X\t: a", "space-before-colon"),
        (b"X Y: a", "bad-name"),
        (b"X\xe9: a", "bad-name"),
        (b"X: \0", "nul-in-value"),
        (b"X: \x0b", "control-in-value"),
        (b"X: \x1f", "control-in-value"),
        (b"X: \x7f", "control-in-value"),
    ],
)
def test_a_bad_field_line_is_refused_for_its_reason(line: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as refusal:
        field_line(line, 9, is_first=False)

    assert refused_as(refusal.value) == (400, reason)
    assert (refusal.value.excerpt, refusal.value.offset) == (line, 9)


def test_white_space_before_the_first_field_folds_nothing() -> None:
    with pytest.raises(PeerError) as refusal:
        field_line(b" X: a", 0, is_first=True)

    assert refusal.value.reason == "space-before-name"
