import pytest
from hypothesis import given
from hypothesis import strategies as st

from serval.escaping import escape_target, escape_text, escape_value, request_text


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


def test_a_request_is_named_in_a_few_words_and_by_what_it_is_called() -> None:
    scope = {"type": "http", "method": "GET", "path": "/ü"}
    called = {**scope, "extensions": {"serval": {"request_id": "7f\n1"}}}

    assert request_text(None) == "no request"
    assert request_text(scope) == r"GET '/\xfc'"
    assert request_text(called) == r"GET '/\xfc' [7f\x0a1]"
    assert request_text({"type": "websocket", "path": "/chat"}) == "WebSocket '/chat'"
