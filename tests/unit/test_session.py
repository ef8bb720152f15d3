"""One connection to the admin endpoint, byte by byte."""

import pytest

from serval.admin.routes import Answer, Ask
from serval.admin.session import AdminSession

ASKED = Ask("GET", "/status", "a=b")
REQUEST = b"GET /status?a=b HTTP/1.1\r\nHost: x\r\n\r\n"


def session(*answers: Answer) -> tuple[AdminSession, list[Ask]]:
    asked: list[Ask] = []
    left = list(answers or (Answer(200, "yes\n"),))

    def answer(ask: Ask) -> Answer:
        asked.append(ask)
        return left.pop(0)

    return AdminSession(answer), asked


def test_a_request_is_answered_and_the_connection_ends() -> None:
    admin, asked = session()

    response = admin.receive(REQUEST)

    assert asked == [ASKED]
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in head
    assert b"content-length: 4" in head
    assert b"content-type: text/plain; charset=utf-8" in head
    assert body == b"yes\n"


def test_a_request_may_come_byte_by_byte() -> None:
    admin, asked = session()

    responses = [admin.receive(bytes([byte])) for byte in REQUEST]

    assert responses[:-1] == [b""] * (len(REQUEST) - 1)
    assert responses[-1].startswith(b"HTTP/1.1 200")
    assert asked == [ASKED]


def test_a_body_is_read_to_its_end_and_means_nothing() -> None:
    admin, asked = session()

    first = admin.receive(b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
    second = admin.receive(b"cd")

    assert first == b""
    assert second.startswith(b"HTTP/1.1 200")
    assert asked == [Ask("POST", "/reload")]


def test_a_head_alone_is_answered_with_a_head_alone() -> None:
    response = session()[0].receive(REQUEST.replace(b"GET", b"HEAD"))

    assert response.endswith(b"\r\n\r\n")
    assert b"content-length: 4" in response


def test_a_refused_method_is_told_the_allowed_ones() -> None:
    response = session(Answer(405, "no\n", allow="GET, HEAD"))[0].receive(REQUEST)

    assert b"\r\nallow: GET, HEAD\r\n" in response


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 2000, b"414"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 9000, b"431"),
        (b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", b"413"),
    ],
)
def test_a_bad_request_is_refused_without_an_answer_of_ours(data: bytes, status: bytes) -> None:
    admin, asked = session()

    response = admin.receive(data)

    assert response.split()[1] == status
    assert asked == []


def test_a_pipelined_request_gets_no_answer() -> None:
    admin, asked = session()

    response = admin.receive(REQUEST * 2)

    assert response.count(b"HTTP/1.1") == 1
    assert len(asked) == 1
