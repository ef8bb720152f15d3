"""What proxies say, over real connections: headers, and the PROXY protocol before them."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from process.harness import Program, running

pytestmark = pytest.mark.timeout(90)

REQUEST = b"GET /x HTTP/1.1\r\nhost: inner\r\nconnection: close\r\n%b\r\n"
LINE = b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n"


@contextmanager
def serving(*options: str) -> Iterator[Program]:
    with running("serval", "process.scope_app:app", "--port", "0", *options) as program:
        yield program


def told(sock: socket.socket, *pieces: bytes) -> dict[str, Any]:
    """What the application says of a request."""
    with sock:
        for piece in pieces:
            sock.sendall(piece)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def dialled(address: tuple[str, int] | Path) -> socket.socket:
    """A connection there, or to the Unix socket of that path."""
    if isinstance(address, Path):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(str(address))
        return sock
    return socket.create_connection(address, timeout=20)


def ended(sock: socket.socket) -> bool:
    """Whether the server closes without a word."""
    with sock:
        try:
            return sock.recv(1) == b""
        except ConnectionResetError:
            return True


def test_a_local_proxy_is_believed_in_what_it_says_of_client_and_scheme() -> None:
    claims = b"x-forwarded-for: 6.6.6.6, 1.2.3.4\r\nx-forwarded-proto: https\r\n"
    others = b"x-forwarded-host: evil\r\nx-forwarded-prefix: /evil\r\nforwarded: for=6.6.6.6\r\n"

    with serving() as program:
        found = told(dialled(program.address()), REQUEST % (claims + others))

    assert (found["client"], found["scheme"]) == (["1.2.3.4", 0], "https")
    assert (found["host"], found["root_path"], found["path"]) == (["inner"], "", "/x")


def test_a_second_request_on_a_connection_speaks_for_itself() -> None:
    first = b"GET / HTTP/1.1\r\nhost: inner\r\nx-forwarded-for: 1.2.3.4\r\n\r\n"

    with serving() as program, dialled(program.address()) as sock:
        sock.sendall(first)
        head, _, rest = sock.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert json.loads(rest)["client"] == ["1.2.3.4", 0]
        port = sock.getsockname()[1]
        found = told(sock, REQUEST % b"")

    assert found["client"] == ["127.0.0.1", port]


def test_a_websocket_is_told_of_client_and_scheme_as_well() -> None:
    with serving() as program:
        host, port = program.address()
        claims = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
        with connect(f"ws://{host}:{port}/", additional_headers=claims, proxy=None) as client:
            found = json.loads(client.recv())

    assert (found["client"], found["scheme"]) == (["1.2.3.4", 0], "wss")


def test_a_proxy_on_a_unix_socket_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"

    with running("serval", "process.scope_app:app", "--bind", f"unix:{path}") as program:
        program.expect("ready: 1 worker")
        found = told(dialled(path), REQUEST % b"x-forwarded-for: 1.2.3.4\r\n")

    assert found["client"] == ["1.2.3.4", 0]


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not tell")
def test_applications_learn_which_process_is_behind_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"

    with running("serval", "process.scope_app:app", "--bind", f"unix:{path}") as program:
        program.expect("ready: 1 worker")
        found = told(dialled(path), REQUEST % b"")

    assert found["peer"] == {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}


def test_whoever_is_not_in_the_list_is_not_believed() -> None:
    claims = b"x-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\n"

    with serving("--forwarded-allow-ips", "10.0.0.0/8") as program:
        found = told(dialled(program.address()), REQUEST % claims)

    assert (found["client"][0], found["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (["--host", "0.0.0.0", "--forwarded-allow-ips", "*"], True),
        (["--host", "0.0.0.0", "--proxy-hops", "1"], True),
        (["--host", "127.0.0.1", "--forwarded-allow-ips", "*"], False),
        (["--host", "0.0.0.0"], False),
    ],
)
def test_trust_in_everybody_is_warned_of_where_others_can_connect(
    options: list[str], warned: bool
) -> None:
    with serving(*options) as program:
        program.expect("ready: 1 worker")

        assert ("can claim to be any client" in program.text) is warned


@pytest.mark.parametrize("version", ["v1", "auto"])
def test_the_proxy_protocol_tells_client_and_server(version: str) -> None:
    with serving("--proxy-protocol", version) as program:
        address = program.address()
        whole = told(dialled(address), LINE + REQUEST % b"")
        pieces = told(dialled(address), LINE[:9], LINE[9:], REQUEST % b"")

    for found in (whole, pieces):
        assert (found["client"], found["server"]) == (["1.2.3.4", 5678], ["10.0.0.1", 443])


def test_the_client_of_the_proxy_protocol_is_the_peer_whose_headers_count() -> None:
    forged = b"x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: https\r\n"

    with serving("--proxy-protocol", "v1") as program:
        found = told(dialled(program.address()), LINE + REQUEST % forged)

    assert (found["client"], found["scheme"]) == (["1.2.3.4", 5678], "http")


def test_a_peer_that_is_not_listed_speaks_without_a_preamble() -> None:
    options = ("--proxy-protocol", "v1", "--proxy-protocol-from", "10.0.0.0/8")

    with serving(*options) as program:
        address = program.address()
        found = told(dialled(address), REQUEST % b"")
        with dialled(address) as sock:
            sock.sendall(LINE + REQUEST % b"")
            refusal = sock.recv(65536)

    assert found["client"][0] == "127.0.0.1"
    assert refusal.startswith(b"HTTP/1.1 400 ")


def test_a_listed_peer_without_a_preamble_is_cut_off_with_one_line() -> None:
    with serving("--proxy-protocol", "v2") as program:
        address = program.address()
        for _ in range(3):
            sock = dialled(address)
            sock.sendall(REQUEST % b"")
            assert ended(sock)
        program.expect("refused 127.0.0.1:[0-9]+: 400 bad-proxy-preamble")
        program.expect_silence(0.5)


def test_a_preamble_that_does_not_come_is_not_waited_for() -> None:
    with serving("--proxy-protocol", "v2", "--timeout-headers", "0.5") as program:
        sock = dialled(program.address())
        sock.sendall(b"\r\n\r\n")

        assert ended(sock)


def test_a_stop_does_not_wait_for_preambles() -> None:
    with serving("--proxy-protocol", "auto") as program:
        sock = dialled(program.address())
        sock.sendall(b"PROXY ")
        program.expect("ready: 1 worker")

        assert program.stop(10.0) == 0
        assert ended(sock)
