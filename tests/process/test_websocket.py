"""WebSockets through the command itself, with a client library and with bytes of our own."""

import re
import signal
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from process.harness import Program, children_of, needs_procfs, running
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

REQUEST = (
    b"GET %b HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)
DEFLATE = b"sec-websocket-extensions: permessage-deflate\r\n"


class Server:
    """A running server, one worker."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.address = program.address()
        program.expect("ready: 1 worker")

    def connect(self, path: str, subprotocols: list[Subprotocol] | None = None) -> ClientConnection:
        host, port = self.address
        return connect(f"ws://{host}:{port}{path}", subprotocols=subprotocols, proxy=None)

    @contextmanager
    def raw(self, path: bytes, fields: bytes = b"") -> Iterator[socket.socket]:
        """A socket on which the handshake is done."""
        with socket.create_connection(self.address, timeout=20) as sock:
            sock.sendall(REQUEST % (path, fields))
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            assert head.startswith(b"HTTP/1.1 101 ")
            yield sock

    def resident_bytes(self) -> int:
        """The resident memory of the worker."""
        (worker,) = children_of(self.program.pid)
        status = Path(f"/proc/{worker}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


@contextmanager
def serving(*options: str) -> Iterator[Server]:
    command = ("serval", "process.websocket_app:app", "--port", "0", *options)
    with running(*command) as program:
        yield Server(program)


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving("--loop", request.param) as served:
        yield served
        assert served.program.stop() == ExitStatus.OK


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while chunk := sock.recv(65_536):
        data += chunk
    return data


def masked(first_byte: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first_byte, 0x80 | size, 0, 0, 0, 0)) + payload
    return bytes((first_byte, 0xFF)) + size.to_bytes(8, "big") + bytes(4) + payload


def test_messages_come_back_with_subprotocol_headers_and_deflate(server: Server) -> None:
    with server.connect("/echo", [Subprotocol("chat"), Subprotocol("other")]) as client:
        for message in ("h\u00e9llo", b"\0\xff", "x" * 500_000):
            client.send(message)
            assert client.recv() == message

        assert client.subprotocol == "chat"
        assert client.response is not None
        assert int(client.response.headers["x-worker"]) in children_of(server.program.pid)
        assert "permessage-deflate" in client.response.headers["sec-websocket-extensions"]


def test_a_message_that_comes_with_the_request_is_not_lost(server: Server) -> None:
    with socket.create_connection(server.address, timeout=20) as sock:
        sock.sendall(REQUEST % (b"/echo", b"") + masked(0x81, b"early"))
        answer = b""
        while not answer.endswith(b"\r\n\r\n\x81\x05early"):
            answer += sock.recv(1)
        sock.sendall(masked(0x88, b""))

        assert read_all(sock) == b"\x88\x00"


def test_a_refused_handshake_is_a_403(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        server.connect("/refuse")

    assert refused.value.response.status_code == 403


def test_a_denial_arrives_whole(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        server.connect("/deny")

    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b'{"who":"are you"}'


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"version: 13", b"version: 12", b"426"),
        (b"GET", b"POST", b"405"),
        (b"key: dGhl", b"key: ", b"400"),
        (b"\r\n\r\n", b"\r\nsec-websocket-protocol: caf\xe9\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"\r\ncontent-length: 3\r\n\r\nabc", b"400"),
    ],
)
def test_a_bad_handshake_is_answered_and_nothing_after_it_is_read(
    server: Server, old: bytes, new: bytes, status: bytes
) -> None:
    with socket.create_connection(server.address, timeout=20) as sock:
        request = (REQUEST % (b"/echo", b"")).replace(old, new)
        sock.sendall(request + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = read_all(sock)

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1") == 1


def test_the_clients_code_and_reason_reach_the_application(server: Server) -> None:
    with server.connect("/end") as client:
        client.close(4000, "enough")

    server.program.expect("ended with 4000 'enough'")


def test_a_client_that_vanishes_is_told_as_1006(server: Server) -> None:
    with server.raw(b"/end") as sock:
        sock.shutdown(socket.SHUT_RDWR)

    server.program.expect("ended with 1006 ''")


def test_an_exception_closes_with_1011_and_is_logged_once(server: Server) -> None:
    with server.connect("/raise") as client, pytest.raises(ConnectionClosed):
        client.recv()

    assert client.close_code == 1011
    server.program.expect("app raised in a websocket session: '/raise'")
    server.program.expect("ValueError: the application's own")
    assert server.program.text.count("ValueError: the application's own") == 1


def test_a_message_that_would_inflate_to_a_gigabyte_costs_little_memory(server: Server) -> None:
    stream = zlib.compressobj(wbits=-15)
    piece = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    bomb = piece * 1024  # after a full flush each is read as if it were the first
    with server.connect("/echo") as client:
        client.send("x" * 500_000)
        client.recv()
    before = server.resident_bytes()

    with server.raw(b"/echo", DEFLATE) as sock:
        with suppress(ConnectionError):  # refused in the middle
            sock.sendall(masked(0xC2, bomb[:-4]))
        answer = read_all(sock)

    assert answer[2:4] == b"\x03\xf1"
    assert server.resident_bytes() - before < 8_000_000


def test_a_flood_of_tiny_fragments_is_refused(server: Server) -> None:
    before = server.resident_bytes()

    with server.raw(b"/echo") as sock:
        with suppress(ConnectionError):  # refused in the middle
            sock.sendall(masked(0x02, b"x") + masked(0x00, b"x") * 100_000)
        answer = read_all(sock)

    assert answer[2:4] == b"\x03\xf1"
    assert server.resident_bytes() - before < 8_000_000


def test_a_peer_that_never_reads_does_not_fill_the_memory(server: Server) -> None:
    before = server.resident_bytes()

    with server.raw(b"/flood"):
        time.sleep(0.5)
        grown = server.resident_bytes() - before

    assert grown < 8_000_000


def test_a_stop_closes_idle_sessions_with_1012_and_ends() -> None:
    with serving() as served:
        with served.connect("/end") as client:
            began = time.monotonic()
            served.program.signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                client.recv()

        assert client.close_code == 1012
        assert served.program.wait() == ExitStatus.OK
        assert time.monotonic() - began < 5
        assert "ended with 1012 ''" in served.program.text


def test_a_stop_does_not_wait_for_ever_for_a_clients_close() -> None:
    with serving("--ws-close-timeout", "0.5") as served, served.raw(b"/end") as sock:
        began = time.monotonic()
        served.program.signal(signal.SIGTERM)

        assert read_all(sock) == b"\x88\x02\x03\xf4"
        assert served.program.wait() == ExitStatus.OK
        assert time.monotonic() - began < 5
        assert "ended with 1006 ''" in served.program.text


def test_the_access_log_has_one_line_for_a_session() -> None:
    with serving("--access-log") as served:
        with served.connect("/echo") as client:
            client.send("hi")
            client.recv()
        served.program.expect(r"/echo.* 101 ")
        with pytest.raises(InvalidStatus):
            served.connect("/refuse")
        served.program.expect(r"/refuse.* 403 ")
        assert served.program.stop() == ExitStatus.OK
        assert served.program.text.count("/echo") == 1


def test_messages_over_the_limit_are_refused_and_under_it_served() -> None:
    with serving("--ws-max-size", "1000", "--no-ws-per-message-deflate") as served:
        with served.connect("/echo") as client:
            client.send("x" * 1000)
            assert client.recv() == "x" * 1000
            client.send("x" * 1001)
            with pytest.raises(ConnectionClosed):
                client.recv()
            assert client.close_code == 1009
        assert served.program.stop() == ExitStatus.OK
