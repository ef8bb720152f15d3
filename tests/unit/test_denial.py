from typing import Any

import pytest

from serval.asgi.denial import Denial
from serval.errors import AppError
from serval.protocols.response_defaults import ResponseDefaults

DEFAULTS = ResponseDefaults(lambda: 0.0, date=False)


def denial(status: Any = 401, *headers: tuple[bytes, bytes]) -> Denial:
    return Denial({"type": "websocket.http.response.start", "status": status}, list(headers))


def test_a_body_in_one_part_has_a_length() -> None:
    out = denial(401, (b"x-why", b"token")).body({"body": b"no"}, DEFAULTS)

    assert out == (
        b"HTTP/1.1 401 Unauthorized\r\nx-why: token\r\ncontent-length: 2\r\n"
        b"connection: close\r\nserver: serval\r\n\r\nno"
    )


def test_a_body_in_several_parts_is_chunked() -> None:
    answer = denial()

    parts = [
        answer.body({"body": b"one", "more_body": True}, DEFAULTS),
        answer.body({"more_body": True}, DEFAULTS),
        answer.body({"body": bytearray(b"two")}, DEFAULTS),
    ]

    assert b"transfer-encoding: chunked" in parts[0]
    assert parts[0].endswith(b"\r\n\r\n3\r\none\r\n")
    assert parts[1:] == [b"", b"3\r\ntwo\r\n0\r\n\r\n"]


def test_the_applications_content_length_is_kept() -> None:
    answer = denial(401, (b"content-length", b"6"))

    parts = [
        answer.body({"body": b"one", "more_body": True}, DEFAULTS),
        answer.body({"body": b"two"}, DEFAULTS),
    ]

    assert parts[0].count(b"content-length: 6\r\n") == 1
    assert b"chunked" not in parts[0]
    assert parts[1] == b"two"


def test_a_status_without_body_drops_it() -> None:
    out = denial(204).body({"body": b"x"}, DEFAULTS)

    assert out.endswith(b"connection: close\r\nserver: serval\r\n\r\n")
    assert b"content-length" not in out


@pytest.mark.parametrize("status", [101, 99, 1000, "401"])
def test_a_status_that_is_not_final_is_the_applications_fault(status: object) -> None:
    with pytest.raises(AppError, match="status"):
        denial(status)


def test_a_missing_status_is_the_applications_fault() -> None:
    with pytest.raises(AppError, match="no status"):
        Denial({"type": "websocket.http.response.start"}, [])


def test_bad_headers_are_the_applications_fault() -> None:
    with pytest.raises(AppError):
        denial(401, (b"x", b"a\r\nb"))


def test_a_body_that_is_not_bytes_is_the_applications_fault() -> None:
    with pytest.raises(AppError, match="body must be bytes, not str"):
        denial().body({"body": "text"}, DEFAULTS)
