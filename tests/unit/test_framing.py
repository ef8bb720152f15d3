"""What the fields of a head say about the message."""

import pytest

from serval.errors import PeerError
from serval.protocols.framing import Framing, framing_of, members
from serval.protocols.grammar import Field

HOST = ("Host", "a")


def framing(*pairs: tuple[str, str], version: bytes = b"HTTP/1.1") -> Framing:
    fields = [
        Field(name.lower().encode("latin-1"), value.encode("latin-1"), offset)
        for offset, (name, value) in enumerate(pairs)
    ]
    return framing_of(version, fields)


def refused(*pairs: tuple[str, str], version: bytes = b"HTTP/1.1") -> tuple[int, str]:
    with pytest.raises(PeerError) as refusal:
        framing(*pairs, version=version)
    return refusal.value.status, refusal.value.reason


def test_a_request_without_framing_fields_has_no_body_and_keeps_the_connection() -> None:
    assert framing(HOST) == Framing(0, True, False, b"", False)


def test_fields_that_bear_on_nothing_are_passed_over() -> None:
    assert framing(HOST, ("X", "1"), ("Content-Type", "a/b")) == framing(HOST)


@pytest.mark.parametrize(
    ("value", "length"), [("0", 0), ("5", 5), ("010", 10), ("9" * 20, 10**20 - 1)]
)
def test_a_length_is_decimal(value: str, length: int) -> None:
    assert framing(HOST, ("Content-Length", value)).content_length == length


@pytest.mark.parametrize("value", ["", "+1", "-1", "0x1", "1_0", "1 0", "\xb2", "1" * 21, "ten"])
def test_any_other_length_is_refused(value: str) -> None:
    assert refused(HOST, ("Content-Length", value)) == (400, "bad-content-length")


def test_a_list_of_lengths_is_refused() -> None:
    assert refused(HOST, ("Content-Length", "5, 5")) == (400, "content-length-list")


@pytest.mark.parametrize("value", ["chunked", "CHUNKED", "Chunked"])
def test_a_chunked_body_has_no_length(value: str) -> None:
    assert framing(HOST, ("Transfer-Encoding", value)).content_length is None


@pytest.mark.parametrize(
    ("value", "status", "reason"),
    [
        ("gzip, chunked", 501, "unknown-transfer-coding"),
        ("gzip", 400, "chunked-not-last"),
        ("chunked, chunked", 400, "chunked-not-last"),
        ("chunked, gzip", 400, "chunked-not-last"),
        (",chunked", 400, "bad-transfer-encoding"),
        ("", 400, "bad-transfer-encoding"),
        ('"chunked"', 400, "bad-transfer-encoding"),
        ("\xa0chunked", 400, "bad-transfer-encoding"),
    ],
)
def test_any_other_coding_is_refused_for_its_reason(value: str, status: int, reason: str) -> None:
    assert refused(HOST, ("Transfer-Encoding", value)) == (status, reason)


def test_a_length_beside_a_coding_is_refused() -> None:
    pairs = HOST, ("Content-Length", "5"), ("Transfer-Encoding", "chunked")

    assert refused(*pairs) == (400, "cl-and-te")


def test_a_coding_in_http_1_0_is_refused() -> None:
    assert refused(("Transfer-Encoding", "chunked"), version=b"HTTP/1.0") == (400, "te-in-http-1.0")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "a"),
        ("Content-Length", "1"),
        ("Content-Type", "a/b"),
        ("Transfer-Encoding", "chunked"),
    ],
)
def test_a_single_field_that_is_repeated_is_refused_even_if_equal(name: str, value: str) -> None:
    assert refused((name, value), (name, value)) == (400, f"repeated-{name.lower()}")


def test_a_refusal_says_where_the_second_field_stands() -> None:
    with pytest.raises(PeerError) as refusal:
        framing(HOST, ("X", "1"), ("Host", "b"))

    assert (refusal.value.excerpt, refusal.value.offset) == (b"b", 2)


def test_http_1_1_needs_a_host_and_http_1_0_does_not() -> None:
    assert refused() == (400, "missing-host")
    assert framing(version=b"HTTP/1.0").content_length == 0


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_an_invalid_host_is_refused_in_every_version(version: bytes) -> None:
    assert refused(("Host", "a/b"), version=version) == (400, "bad-host")


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"HTTP/1.1", "", True),
        (b"HTTP/1.1", "keep-alive", True),
        (b"HTTP/1.1", "x, Close", False),
        (b"HTTP/1.1", "keep-alive, close", False),
        (b"HTTP/1.0", "", False),
        (b"HTTP/1.0", "Keep-Alive", True),
        (b"HTTP/1.0", "keep-alive, close", False),
    ],
)
def test_version_and_connection_say_whether_the_connection_lives_on(
    version: bytes, connection: str, keeps: bool
) -> None:
    assert framing(HOST, ("Connection", connection), version=version).keep_alive is keeps


@pytest.mark.parametrize(
    ("version", "value", "waits"),
    [
        (b"HTTP/1.1", "100-continue", True),
        (b"HTTP/1.1", "100-Continue", True),
        (b"HTTP/1.1", "other", False),
        (b"HTTP/1.0", "100-continue", False),
    ],
)
def test_an_expectation_counts_in_http_1_1(version: bytes, value: str, waits: bool) -> None:
    assert framing(HOST, ("Expect", value), version=version).expect_continue is waits


@pytest.mark.parametrize(
    ("upgrade", "connection", "token"),
    [
        ("websocket", "upgrade", b"websocket"),
        ("WebSocket", "keep-alive, Upgrade", b"websocket"),
        ("foo, websocket", "upgrade", b"websocket"),
        ("h2c", "Upgrade, HTTP2-Settings", b"h2c"),
        ("foo, bar", "upgrade", b"foo"),
        ("websocket", "keep-alive", b""),
        ("", "upgrade", b""),
    ],
)
def test_an_upgrade_is_offered_by_both_fields(upgrade: str, connection: str, token: bytes) -> None:
    pairs = HOST, ("Upgrade", upgrade), ("Connection", connection)

    assert framing(*pairs).upgrade == token


def test_http_1_0_offers_no_upgrade_and_takes_no_trailers() -> None:
    pairs = ("Upgrade", "websocket"), ("Connection", "upgrade"), ("TE", "trailers")

    found = framing(*pairs, version=b"HTTP/1.0")

    assert (found.upgrade, found.accepts_trailers) == (b"", False)


@pytest.mark.parametrize(
    ("value", "accepts"), [("trailers", True), ("gzip, Trailers", True), ("gzip", False)]
)
def test_te_says_whether_trailers_are_accepted(value: str, accepts: bool) -> None:
    assert framing(HOST, ("TE", value)).accepts_trailers is accepts


def test_empty_members_of_a_list_are_left_out() -> None:
    assert members(b" A ,, b\t,") == [b"a", b"b"]
