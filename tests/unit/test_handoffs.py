import socket
from collections.abc import Iterator
from typing import Any

import pytest

from serval.worker.handoffs import StreamingHandoff, request_of


@pytest.fixture
def conn() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


def handoff(conn: socket.socket, body: bytes = b"", **scope: Any) -> StreamingHandoff:
    return StreamingHandoff(conn, scope, body, None)


def test_a_request_is_made_of_its_scope(conn: socket.socket) -> None:
    request = request_of(
        handoff(
            conn,
            b"hello",
            method="PUT",
            path="/a b",
            raw_path=b"/a%20b",
            http_version="1.1",
            headers=[(b"te", b"Trailers"), (b"x", b"y")],
        )
    )

    assert (request.method, request.target, request.http_version) == (b"PUT", b"/a%20b", "1.1")
    assert (request.body, request.content_length, request.complete) == (b"hello", 5, True)
    assert request.headers == [(b"te", b"Trailers"), (b"x", b"y")]
    assert request.accepts_trailers
    assert request.keep_alive


def test_what_a_scope_does_not_say_is_the_plainest(conn: socket.socket) -> None:
    request = request_of(handoff(conn))

    assert (request.method, request.target, request.http_version) == (b"GET", b"/", "1.1")
    assert request.headers == []
    assert not request.accepts_trailers


def test_pairs_may_be_lists(conn: socket.socket) -> None:
    request = request_of(handoff(conn, headers=[[b"a", b"b"]]))

    assert request.headers == [(b"a", b"b")]


@pytest.mark.parametrize(
    ("version", "value", "keep_alive"),
    [
        ("1.1", b"", True),
        ("1.1", b"x , Close", False),
        ("1.0", b"", False),
        ("1.0", b"Keep-Alive", True),
    ],
)
def test_the_connection_lives_on_as_the_headers_say(
    conn: socket.socket, version: str, value: bytes, keep_alive: bool
) -> None:
    request = request_of(handoff(conn, http_version=version, headers=[(b"connection", value)]))

    assert request.keep_alive is keep_alive
