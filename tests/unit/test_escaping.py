from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.escaping import (
    escape_target,
    escape_text,
    escape_value,
    request_extras,
    request_text,
    traceparent,
)


@pytest.mark.parametrize(
    ("target", "escaped"),
    [
        (b"/plain?a=b%0Ac", "/plain?a=b%0Ac"),
        (b"/a\r\nb", "/a%0D%0Ab"),
        (b"/\x1b[2J", "/%1B[2J"),
        (b'/"quoted"', "/%22quoted%22"),
        ("/é".encode(), "/%C3%A9"),
        (b"/\x7f\x85", "/%7F%85"),
    ],
)
def test_a_target_is_percent_encoded_where_it_may_not_stand_in_a_log(
    target: bytes, escaped: str
) -> None:
    assert escape_target(target) == escaped


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        (b"curl/8.5", "curl/8.5"),
        (b"a\nb\tc", r"a\x0ab\x09c"),
        (b'say "hi"', r"say \x22hi\x22"),
        (rb"back\slash", r"back\x5cslash"),
        ("é".encode(), r"\xc3\xa9"),
    ],
)
def test_a_value_is_written_with_escapes_where_it_may_not_stand_in_a_log(
    value: bytes, escaped: str
) -> None:
    assert escape_value(value) == escaped


@given(st.binary())
def test_whatever_is_escaped_is_one_line_of_printable_ascii_without_quotes(data: bytes) -> None:
    for escaped in (escape_target(data), escape_value(data)):
        assert escaped.isascii()
        assert escaped.isprintable()
        assert '"' not in escaped


@given(st.binary(), st.integers(min_value=1, max_value=80))
def test_a_cut_value_is_the_beginning_of_the_whole_one_and_ends_between_escapes(
    data: bytes, limit: int
) -> None:
    cut = escape_value(data, limit=limit)

    assert len(cut) <= limit
    assert escape_value(data).startswith(cut)
    assert any(cut == escape_value(data[:count]) for count in range(len(data) + 1))


def test_text_beyond_ascii_appears_as_its_utf_8_bytes_and_a_lone_surrogate_by_name() -> None:
    assert escape_text("ü\ud800") == r"\xc3\xbc\x5cud800"


TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_request_is_told_in_a_few_words_and_with_its_id_if_it_has_one() -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/\u00e9\n"}

    assert request_text(scope) == "GET '/\\xe9\\n'"
    assert request_text(scope | {"extensions": {"serval": {"request_id": "a-1"}}}) == (
        "GET '/\\xe9\\n' [a-1]"
    )
    assert request_text({"type": "websocket", "path": "/"}) == "WebSocket '/'"
    assert request_text(None) == "no request"


def test_a_record_has_what_is_known_of_its_request() -> None:
    scope: dict[str, Any] = {
        "method": "GET",
        "path": "/\n",
        "headers": [(b"a", b"b"), (b"traceparent", TRACE)],
        "extensions": {"serval": {"request_id": "a-1"}},
    }

    assert request_extras(scope) == {
        "method": "GET",
        "path": "/\\x0a",
        "request_id": "a-1",
        "traceparent": TRACE.decode(),
    }
    assert request_extras({"path": "/"}) == {"method": "WEBSOCKET", "path": "/"}


@pytest.mark.parametrize("value", [b"", b"x", TRACE.upper(), TRACE + b"-more", b'"' + TRACE[1:]])
def test_what_is_no_trace_context_is_none(value: bytes) -> None:
    assert traceparent({"headers": [(b"traceparent", value)]}) == ""
