from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from serval.errors import AppError
from serval.protocols import response
from serval.protocols.response import (
    FORBIDDEN_IN_RESPONSE_TRAILERS,
    JOIN_BYTES,
    early_hints,
    field_line,
    field_name,
    response_head,
    status_line,
    trailer_section,
    without_content_length,
)

Pairs = list[tuple[bytes, bytes]]


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    for memory in (response._HEADS, response._lines, response._names):
        memory.clear()
    yield
    for memory in (response._HEADS, response._lines, response._names):
        memory.clear()


# --- status lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK\r\n"),
        (404, b"HTTP/1.1 404 Not Found\r\n"),
        (299, b"HTTP/1.1 299 \r\n"),
        (999, b"HTTP/1.1 999 \r\n"),
    ],
)
def test_a_status_line_has_the_reason_that_is_known(status: int, line: bytes) -> None:
    assert status_line(status) == line


@pytest.mark.parametrize("status", [99, 1000, -1, 0])
def test_a_status_that_is_no_status_is_refused(status: int) -> None:
    with pytest.raises(AppError, match=f"from 100 to 999, not {status}"):
        status_line(status)


@pytest.mark.parametrize("status", [None, "200", b"200", 200.0, True, [200]])
@pytest.mark.parametrize("warm", [True, False])
def test_a_status_of_another_type_is_refused(status: Any, warm: bool) -> None:
    if warm:
        response_head(200, [])
        response_head(599, [])

    with pytest.raises(AppError, match="must be an int"):
        response_head(status, [])


def test_a_member_of_an_enum_is_a_status() -> None:
    assert response_head(HTTPStatus.NOT_FOUND, []) == response_head(404, [])


# --- heads ------------------------------------------------------------------------------------


def test_a_head_keeps_the_fields_their_order_and_their_repetitions() -> None:
    fields = [(b"b", b"1"), (b"A-b", b" 2 "), (b"b", b"3"), (b"content-length", b"7")]

    head = response_head(200, fields)

    assert head.start == b"HTTP/1.1 200 OK\r\nb: 1\r\nA-b:  2 \r\nb: 3\r\ncontent-length: 7\r\n"
    assert (head.content_length, head.plain_bytes, head.bodiless) == (7, 7, False)


@pytest.mark.parametrize("status", [200, 404])
def test_what_is_the_servers_to_say_is_left_out(status: int) -> None:
    fields = [
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"keep-alive"),
        (b"x", b"y"),
    ]

    head = response_head(status, fields)

    assert head.start == status_line(status) + b"x: y\r\n"
    assert not head.close


@pytest.mark.parametrize("value", [b"close", b"CLOSE", b"x, Close"])
def test_an_application_may_ask_to_close(value: bytes) -> None:
    head = response_head(200, [(b"connection", value), (b"content-length", b"1")])

    assert head.close
    assert head.plain_bytes == -1


@pytest.mark.parametrize(
    ("fields", "own"),
    [
        ([], 0),
        ([(b"Date", b"now")], 1),
        ([(b"server", b"mine")], 2),
        ([(b"server", b"mine"), (b"date", b"now")], 3),
    ],
)
def test_it_is_seen_which_of_our_fields_the_application_sends(fields: Pairs, own: int) -> None:
    assert response_head(200, fields).own == own


@pytest.mark.parametrize(
    ("status", "bodiless"), [(100, True), (199, True), (204, True), (304, True), (205, False)]
)
def test_it_is_seen_that_a_status_has_no_body(status: int, bodiless: bool) -> None:
    head = response_head(status, [(b"content-length", b"5")])

    assert head.bodiless is bodiless
    assert head.plain_bytes == (-1 if bodiless else 5)


def test_a_large_body_is_not_plain() -> None:
    heads = [
        response_head(200, [(b"content-length", b"%d" % size)])
        for size in (JOIN_BYTES, JOIN_BYTES + 1)
    ]

    assert [head.plain_bytes for head in heads] == [JOIN_BYTES, -1]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([(b"", b"x")], "not a token"),
        ([(b"a b", b"x")], "not a token"),
        ([(b":path", b"x")], "not a token"),
        ([(b"x\r\ny", b"x")], "not a token"),
        ([("x", b"y")], "name must be bytes, not str"),
        ([([], b"y")], "name must be bytes, not list"),
        ([(b"x", "y")], "must be bytes, not str"),
        ([(b"x", None)], "must be bytes, not NoneType"),
        ([(b"x", b"a\r\nb: c")], "CR, LF or NUL"),
        ([(b"x", b"a\nb")], "CR, LF or NUL"),
        ([(b"x", b"a\rb")], "CR, LF or NUL"),
        ([(b"x", b"a\0b")], "CR, LF or NUL"),
        ([(b"connection", "close")], "must be bytes"),
        ([(b"connection", b"close\r\nx: y")], "CR, LF or NUL"),
        ([(b"transfer-encoding", b"a\r\nb")], "CR, LF or NUL"),
        ([(b"content-length", b"")], "decimal"),
        ([(b"content-length", b"-1")], "decimal"),
        ([(b"content-length", b"1" * 20)], "decimal"),
        ([(b"content-length", "1")], "must be bytes"),
        ([(b"content-length", b"1"), (b"Content-Length", b"1")], "given twice: 1 and"),
        (None, "pairs of bytes, not None"),
        (3, "pairs of bytes, not 3"),
        ([(b"x",)], "pairs of bytes"),
        ([b"x"], "pairs of bytes"),
        ([3], "pairs of bytes"),
        ([(b"x", b"y", b"z")], "pairs of bytes"),
    ],
)
def test_fields_that_would_break_a_head_are_refused(fields: Any, reason: str) -> None:
    with pytest.raises(AppError, match=reason):
        response_head(200, fields)


# --- what is remembered -----------------------------------------------------------------------


def test_a_head_is_built_once() -> None:
    fields = [(b"content-type", b"text/plain")]

    assert response_head(200, fields) is response_head(200, tuple(fields))
    assert response_head(201, fields) is not response_head(200, fields)


@pytest.mark.parametrize(
    "fields", [[[b"x", b"y"]], iter([(b"x", b"y")]), [(b"x", b"y")]], ids=["lists", "iterator", ""]
)
def test_pairs_of_every_kind_make_the_same_head(fields: Any) -> None:
    assert response_head(200, fields).start == b"HTTP/1.1 200 OK\r\nx: y\r\n"


def test_what_is_equal_to_bytes_makes_the_same_line() -> None:
    class Special(bytes):
        """Equal to bytes, and hashed like them."""

    for value in (Special(b"y"), b"y", Special(b"y")):
        assert response_head(200, [(b"x", value)]).start == b"HTTP/1.1 200 OK\r\nx: y\r\n"


def test_a_new_head_of_fields_that_came_before_is_made_of_their_lines() -> None:
    fields = [(b"X", b"y"), (b"Date", b"today"), (b"Connection", b"close"), (b"Server", b"me")]

    for length in (b"3", b"4"):
        head = response_head(200, [*fields, (b"Content-Length", length)])

        lines = b"X: y\r\nDate: today\r\nServer: me\r\nContent-Length: %b\r\n" % length
        assert head.start == b"HTTP/1.1 200 OK\r\n" + lines
        assert (head.close, head.content_length) == (True, int(length))
        assert head.own == response.OWN_DATE | response.OWN_SERVER


def test_a_large_head_is_not_remembered() -> None:
    response_head(200, [(b"x", b"y" * 2048)])

    assert not response._HEADS
    assert not response._lines


def test_the_memory_for_heads_lines_and_names_is_bounded() -> None:
    for number in range(3000):
        response_head(200, [(b"x-%d" % number, b"y")])

    assert 0 < len(response._HEADS) <= 256
    assert 0 < len(response._lines) <= 1024
    assert 0 < len(response._names) <= 1024


def test_a_name_is_lowered_once() -> None:
    assert field_name(b"X-Name") == b"x-name"
    assert field_name(b"X-Name") is field_name(b"X-Name")
    assert field_line(b"X-Name", b"v") == b"X-Name: v\r\n"


# --- the rest of a head -----------------------------------------------------------------------


def test_a_length_can_be_left_out() -> None:
    none = response_head(204, [(b"x", b"content-length: 1")])
    some = response_head(204, [(b"a", b"1"), (b"Content-Length", b"5"), (b"b", b"2")])

    assert without_content_length(none) is none.start
    assert without_content_length(some) == b"HTTP/1.1 204 No Content\r\na: 1\r\nb: 2\r\n"


def test_trailers_become_lines() -> None:
    assert trailer_section([(b"X-Sum", b"1"), (b"x-sum", b"2")]) == b"X-Sum: 1\r\nx-sum: 2\r\n"
    assert trailer_section([]) == b""


@pytest.mark.parametrize("name", sorted(FORBIDDEN_IN_RESPONSE_TRAILERS))
def test_a_field_that_must_come_before_the_body_is_no_trailer(name: bytes) -> None:
    with pytest.raises(AppError, match="may not be sent as a trailer"):
        trailer_section([(name.title(), b"x")])


def test_links_become_a_103() -> None:
    assert early_hints([b"<a>", b"<b>"]) == (
        b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\nlink: <b>\r\n\r\n"
    )


@pytest.mark.parametrize("link", ["<a>", b"<a>\r\nx: y", None])
def test_a_link_that_would_break_a_head_is_refused(link: Any) -> None:
    with pytest.raises(AppError):
        early_hints([link])
