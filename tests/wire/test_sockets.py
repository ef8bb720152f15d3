"""The corpus once more, through a real server and a real socket, on every lane.

Left out are cases with limits of their own, since one server has one set of limits, and WebSocket
handshakes, which have tests of their own.
"""

import json
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
import trustme

from process.harness import running
from serval.protocols.http1 import HeadLimits
from wire.driver import Case, SeenRequest, cases

SECONDS = 10.0
Result = TypeVar("Result")
CASES = [
    case
    for case in cases()
    if (case.limits, case.max_body_bytes) == (HeadLimits(), 0)
    and not any(request.upgrade == b"websocket" for request in case.requests)
]


OPTIONS = ["--port", "0", "--workers", "0", "--lifespan", "off", "--max-body-size", "0"]
# Nobody reads the log after the first lines: it must not fill the pipe.
QUIET = ["--no-access-log", "--log-level", "info"]


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with running("serval", "wire.echo_app:app", *OPTIONS, *QUIET) as program:
        yield program.address()


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """All that comes back for some bytes and the end of the input."""
    with socket.create_connection(address, timeout=SECONDS) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        received = bytearray()
        while piece := peer.recv(65536):
            received += piece
    return bytes(received)


def exchange_by_tls(address: tuple[str, int], data: bytes) -> bytes:
    """The same over TLS; the end of the input is told by its own word, and what comes is read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    received = bytearray()
    with socket.create_connection(address, timeout=SECONDS) as peer:

        def talk(step: Callable[[], Result]) -> Result:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    peer.sendall(outgoing.read())
                    if not incoming.write(peer.recv(65536)):
                        incoming.write_eof()

        talk(tls.do_handshake)
        tls.write(data)
        with suppress(ssl.SSLWantReadError):  # the server's end is not waited for here
            tls.unwrap()
        peer.sendall(outgoing.read())
        with suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while piece := talk(tls.read):
                received += piece
    return bytes(received)


def answers(address: tuple[str, int], case: Case) -> list[tuple[int, bytes]]:
    """Status and body of every final response, up to the end of the connection."""
    return answers_in(exchange(address, case.data), case)


def answers_in(received: bytes, case: Case) -> list[tuple[int, bytes]]:
    """Status and body of every final response in what has come."""
    return list(responses(received, [request.method for request in case.requests]))


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


def check(case: Case, found: list[tuple[int, bytes]], *, fields: bool = True) -> None:
    """Assert that the answers are what the case expects; `fields` are told by ASGI alone."""
    wanted = [request for request in case.requests if request.ended]
    assert [status for status, _ in found[: len(wanted)]] == [200] * len(wanted)
    for request, (_, body) in zip(wanted, found, strict=False):
        told = shown(request)
        if not fields:
            del told["headers"]
        assert request.method == b"HEAD" or json.loads(body) == told
    last = [status for status, _ in found[len(wanted) :]]
    if case.refusal is None:
        assert last == []
    elif case.refusal[1].startswith("incomplete"):
        assert last in ([], [400], [500])  # the peer has left; what it hears is the application's
    else:
        assert last == [case.refusal[0]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_server_answers_a_case_as_expected(case: Case, address: tuple[str, int]) -> None:
    check(case, answers(address, case))


@pytest.mark.parametrize(
    ("app", "options", "speaks_tls"),
    [
        pytest.param("wire.echo_app:app", ["--threads", "4"], False, id="threads"),
        pytest.param("wire.echo_wsgi_app:app", [], False, id="wsgi"),
        pytest.param("wire.echo_app:app", [], True, id="tls"),
        pytest.param("wire.echo_app:app", ["--threads", "4"], True, id="tls-threads"),
        pytest.param("wire.echo_wsgi_app:app", [], True, id="tls-wsgi"),
    ],
)
def test_every_lane_answers_every_case_as_expected(
    app: str, options: Sequence[str], speaks_tls: bool, tmp_path: Path
) -> None:
    ask, certificate = exchange, []
    if speaks_tls:
        ask, file = exchange_by_tls, tmp_path / "server.pem"
        issued = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))
        certificate = ["--ssl-certfile", str(file)]
    failed: list[str] = []
    with running("serval", app, *OPTIONS, *QUIET, *options, *certificate) as program:
        address = program.address()
        for case in CASES:
            try:
                check(case, answers_in(ask(address, case.data), case), fields="wsgi" not in app)
            except (AssertionError, OSError) as error:
                failed.append(f"{case.name}: {error!r}")
        assert failed == []
        assert "Traceback" not in program.text
