"""The corpus once more, through a real server and a real socket.

Left out are cases with limits of their own, since one server has one set of limits, and WebSocket
handshakes, which have tests of their own.
"""

import json
import socket
from collections.abc import Iterator

import pytest

from process.harness import running
from serval.protocols.http1 import HeadLimits
from wire.driver import Case, SeenRequest, cases

SECONDS = 10.0
CASES = [
    case
    for case in cases()
    if (case.limits, case.max_body_bytes) == (HeadLimits(), 0)
    and not any(request.upgrade == b"websocket" for request in case.requests)
]


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    options = ["--port", "0", "--workers", "0", "--lifespan", "off", "--max-body-size", "0"]
    # Nobody reads the log after the first lines: it must not fill the pipe.
    quiet = ["--no-access-log", "--log-level", "info"]
    with running("serval", "wire.echo_app:app", *options, *quiet) as program:
        yield program.address()


def answers(address: tuple[str, int], case: Case) -> list[tuple[int, bytes]]:
    """Status and body of every final response, up to the end of the connection."""
    with socket.create_connection(address, timeout=SECONDS) as peer:
        peer.sendall(case.data)
        peer.shutdown(socket.SHUT_WR)
        received = bytearray()
        while data := peer.recv(65536):
            received += data
    methods = [request.method for request in case.requests]
    return list(responses(bytes(received), methods))


def responses(received: bytes, methods: list[bytes]) -> Iterator[tuple[int, bytes]]:
    asked = iter(methods)
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        status = int(line.split(b" ")[1])
        if status < 200:
            continue
        pairs = dict(field.lower().split(b": ", 1) for field in fields)
        length = 0 if next(asked, b"") == b"HEAD" else int(pairs[b"content-length"])
        body, received = received[:length], received[length:]
        assert len(body) == length
        yield status, body


def shown(request: SeenRequest) -> dict[str, object]:
    """What the application makes of a request; an absolute target knows the host better."""
    target = b"" if request.target.startswith(b"/") else request.target.partition(b"://")[2]
    host = target.partition(b"/")[0].partition(b"?")[0].rpartition(b"@")[2]
    headers = [
        (name, host or value if name == b"host" else value) for name, value in request.headers
    ]
    return {
        "method": request.method.decode("latin-1").upper(),
        "version": request.version,
        "headers": [[part.decode("latin-1") for part in pair] for pair in headers],
        "body": request.body.decode("latin-1"),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_server_answers_a_case_as_expected(case: Case, address: tuple[str, int]) -> None:
    found = answers(address, case)

    wanted = [request for request in case.requests if request.ended]
    assert [status for status, _ in found[: len(wanted)]] == [200] * len(wanted)
    for request, (_, body) in zip(wanted, found, strict=False):
        assert request.method == b"HEAD" or json.loads(body) == shown(request)
    last = [status for status, _ in found[len(wanted) :]]
    if case.refusal is None:
        assert last == []
    elif case.refusal[1].startswith("incomplete"):
        assert last in ([], [400], [500])  # the peer has left; what it hears is the application's
    else:
        assert last == [case.refusal[0]]
