"""Requests that take too long, and clients that are too many."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from process.harness import Program, needs_procfs, running
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def serving(*options: str, workers: int = 1) -> Iterator[tuple[Program, tuple[str, int]]]:
    """The command, once it is ready, and its address."""
    command = ("serval", "process.limits_app:app", "--port", "0", "--workers", str(workers))
    grace = ("--timeout-graceful-shutdown", "500ms")
    with running(*command, "--lifespan", "off", *grace, *options) as program:
        address = program.address()
        program.expect(f"ready: {workers} worker")
        yield program, address


def ask(address: tuple[str, int], path: str = "/") -> tuple[int, str | None]:
    """The status of an answer, and its Connection field."""
    connection = HTTPConnection(*address, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("Connection")
    finally:
        connection.close()


def open_client(stack: ExitStack, address: tuple[str, int], path: str = "") -> socket.socket:
    """A connection, and perhaps a request on it."""
    client = stack.enter_context(socket.create_connection(address, timeout=20))
    if path:
        client.sendall(GET % path.encode())
    return client


# --- time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_request_that_takes_too_long_gets_504_and_is_cancelled(loop: str) -> None:
    with serving("--timeout-request", "300ms", "--loop", loop) as (program, address):
        with ExitStack() as stack:
            other = open_client(stack, address)
            assert ask(address, "/sleep") == (504, "close")

            program.expect(r"no response within 0.3 s \(timeout_request\), cancelled: GET '/sleep'")
            other.sendall(GET % b"/")
            assert other.recv(65536).startswith(b"HTTP/1.1 200")
        program.expect("cleaned up")
        assert "Traceback" not in program.text
        assert program.stop() == ExitStatus.OK


def test_a_handler_that_ignores_its_cancellation_is_left_behind(tmp_path: Path) -> None:
    admin = f"unix:{tmp_path}/admin"
    with serving("--timeout-request", "200ms", "--admin-bind", admin) as (program, address):
        assert ask(address, "/ignore-cancellation") == (504, "close")

        program.expect("goes on")
        program.expect("it ignores its cancellation and is abandoned: GET '/ignore-cancellation'")
        assert ask(address) == (200, None)
        with httpx.Client(transport=httpx.HTTPTransport(uds=admin[5:])) as client:
            while "serval_abandoned_requests_total 1\n" not in client.get("http://x/metrics").text:
                pass
        assert program.stop(10.0) == ExitStatus.OK


def test_a_stream_that_began_in_time_may_go_on() -> None:
    with serving("--timeout-request", "300ms") as (program, address):
        assert ask(address, "/slow-stream") == (200, None)
        assert program.stop() == ExitStatus.OK


def test_a_stream_that_goes_on_is_not_idle() -> None:
    with serving("--timeout-response-idle", "400ms") as (program, address):
        assert ask(address, "/slow-stream") == (200, None)
        assert program.stop() == ExitStatus.OK


def test_a_stream_that_does_not_go_on_is_cut_short() -> None:
    with serving("--timeout-response-idle", "300ms") as (program, address):
        with pytest.raises(IncompleteRead):
            ask(address, "/stalled-stream")

        program.expect("cleaned up")
        program.expect(r"no part of the response for 0.3 s \(timeout_response_idle\)")
        assert program.stop() == ExitStatus.OK


# --- numbers ----------------------------------------------------------------------------------


def test_idle_connections_take_no_place_of_requests() -> None:
    with serving("--limit-concurrency", "5") as (program, address), ExitStack() as stack:
        for _ in range(50):
            open_client(stack, address)

        assert ask(address) == (200, None)
        assert program.stop() == ExitStatus.OK


def test_of_too_many_requests_some_wait_and_some_are_sent_away() -> None:
    options = ("--limit-concurrency", "2", "--limit-queue", "1", "--timeout-queue", "60")
    with serving(*options) as (program, address), ExitStack() as stack:
        slow = [open_client(stack, address, "/wait") for _ in range(2)]
        for _ in slow:
            program.expect("waits")
        queued = open_client(stack, address, "/")
        connection = HTTPConnection(*address, timeout=20)
        stack.callback(connection.close)
        while True:  # until the queued one is seen to have come first
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            if response.status == 503:
                break
        assert response.getheader("Retry-After") == "60"
        slow[0].close()

        assert queued.recv(65536).startswith(b"HTTP/1.1 200")
        assert program.stop() == ExitStatus.OK


def test_websockets_have_a_number_of_their_own() -> None:
    with serving("--limit-websockets", "1") as (program, (host, port)):
        with connect(f"ws://{host}:{port}/"):
            with pytest.raises(InvalidStatus) as refusal, connect(f"ws://{host}:{port}/"):
                pass
            assert refusal.value.response.status_code == 503
            assert refusal.value.response.headers["Retry-After"] == "5"
            assert ask((host, port)) == (200, None)
        assert program.stop() == ExitStatus.OK


def test_the_oldest_idle_connection_makes_way() -> None:
    with serving("--limit-connections", "2") as (program, address), ExitStack() as stack:
        clients = [open_client(stack, address, "/") for _ in range(2)]
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200")

        third = open_client(stack, address, "/")

        assert third.recv(65536).startswith(b"HTTP/1.1 200")
        assert clients[0].recv(1) == b""
        clients[1].sendall(GET % b"/")
        assert clients[1].recv(65536).startswith(b"HTTP/1.1 200")
        assert program.stop() == ExitStatus.OK


def test_where_no_connection_is_idle_new_ones_wait() -> None:
    with serving("--limit-connections", "2") as (program, address), ExitStack() as stack:
        busy = [open_client(stack, address, "/wait") for _ in range(2)]
        for _ in busy:
            program.expect("waits")
        third = open_client(stack, address, "/")
        third.settimeout(0.3)
        with pytest.raises(TimeoutError):
            third.recv(1)
        third.settimeout(20)

        busy[0].close()

        assert third.recv(65536).startswith(b"HTTP/1.1 200")
        assert program.stop() == ExitStatus.OK


# --- shares -----------------------------------------------------------------------------------


def test_connections_are_shared_out_evenly() -> None:
    with serving(workers=4) as (program, address), ExitStack() as stack:
        pids: list[bytes] = []
        for _ in range(40):
            client = open_client(stack, address, "/")
            pids.append(client.recv(65536).rpartition(b"\r\n")[2])

        # Ten each, were it not for a machine whose other work keeps workers from waking in time.
        counts = sorted(pids.count(pid) for pid in set(pids))
        assert len(counts) >= 3
        assert counts[-1] <= 25
        assert program.stop() == ExitStatus.OK
