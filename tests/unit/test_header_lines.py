"""Headers for every response, from text."""

import pytest

from serval.errors import ConfigError
from serval.header_lines import parse_header


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("X-Frame-Options: DENY", (b"x-frame-options", b"DENY")),
        ("a:b", (b"a", b"b")),
        ("a: b:\tc ", (b"a", b"b:\tc")),
        ("a:", (b"a", b"")),
    ],
)
def test_a_header_is_a_name_a_colon_and_a_value(line: str, expected: tuple[bytes, bytes]) -> None:
    assert parse_header(line) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("X-Frame-Options", "has no colon"),
        (": x", "which is no token"),
        ("a b: c", "which is no token"),
        (" a: c", "which is no token"),
        ("a: b\r\nc: d", "beyond visible ASCII"),
        ("a: b\0", "beyond visible ASCII"),
        ("a: ü", "beyond visible ASCII"),
        ("Content-Length: 3", "framing"),
        ("transfer-encoding: chunked", "framing"),
        ("Connection: close", "framing"),
    ],
)
def test_a_header_that_no_response_may_carry_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_header(line)
