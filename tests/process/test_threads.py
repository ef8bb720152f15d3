"""Applications on threads, through the command: what blocks holds up only itself."""

import hashlib
import json
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from process import wsgi_app
from process.harness import Program, running
from serval.errors import ExitStatus

pytestmark = pytest.mark.timeout(90)

Address = tuple[str, int]


@contextmanager
def serving(target: str, *options: str, workers: int = 1) -> Iterator[tuple[Program, Address]]:
    with running("serval", target, "--port", "0", "--workers", str(workers), *options) as program:
        address = program.address()
        if workers:
            program.expect("ready: ")
        yield program, address


@pytest.fixture(scope="module")
def wsgi() -> Iterator[tuple[Program, Address]]:
    with serving("process.wsgi_app:app", "--threads", "4") as (program, address):
        yield program, address
        assert program.stop() == ExitStatus.OK


def ask(
    address: Address,
    path: str = "/",
    method: str = "GET",
    body: bytes | Iterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(*address, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def exchange(address: Address, data: bytes) -> bytes:
    """Send that and read to the end."""
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(data)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    answer = b""
    while chunk := client.recv(65536):
        answer += chunk
    return answer


# --- WSGI: the environ, as the validator and we see it ------------------------------------------


def test_a_wsgi_application_is_recognised_and_answers(wsgi: tuple[Program, Address]) -> None:
    response, body = ask(wsgi[1])

    assert (response.status, body) == (200, b"hello")
    assert response.headers["content-length"] == "5"
    assert response.headers["server"] == "serval"
    assert response.headers["date"]


def test_the_environ_says_how_it_is_run(wsgi: tuple[Program, Address]) -> None:
    host, port = wsgi[1]
    response, body = ask(wsgi[1], "/environ?a=b", headers={"X-Some": "thing"})
    lines = body.decode().splitlines()

    assert response.reason == "Very Well"
    for line in (
        "PATH_INFO=/environ",
        "QUERY_STRING=a=b",
        "HTTP_X_SOME=thing",
        f"SERVER_NAME={host}",
        f"SERVER_PORT={port}",
        "REMOTE_ADDR=127.0.0.1",
        "wsgi.multithread=True",
        "wsgi.multiprocess=False",
        "wsgi.run_once=False",
        "wsgi.version=(1, 0)",
    ):
        assert line in lines


def test_one_thread_and_two_processes_are_said_honestly() -> None:
    options = ("--threads", "1", "--interface", "wsgi")
    with serving("process.wsgi_app:app", *options, workers=2) as (program, address):
        lines = ask(address, "/environ")[1].decode().splitlines()
        with ThreadPoolExecutor(3) as clients:
            list(clients.map(lambda _: ask(address, "/sleep"), range(3)))

        assert "wsgi.multithread=False" in lines
        assert "wsgi.multiprocess=True" in lines
        assert ask(address, "/most")[1] in {b"0", b"1"}  # of either process
        assert program.stop() == ExitStatus.OK


# --- WSGI: bodies of requests -----------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 60_000, 70_000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_arrives_whole(wsgi: tuple[Program, Address], size: int, chunked: bool) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    pieces = (data[start : start + 30_000] for start in range(0, size, 30_000))

    body = ask(wsgi[1], "/digest", "POST", pieces if chunked else data)[1]

    assert body.decode() == f"{size} {hashlib.sha256(data).hexdigest()}"


def test_an_upload_in_small_pieces_arrives_whole(wsgi: tuple[Program, Address]) -> None:
    with socket.create_connection(wsgi[1], timeout=20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(
            b"POST /digest HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n"
        )
        for _ in range(100):
            client.sendall(b"x")
        answer = read_all(client)

    assert f"100 {hashlib.sha256(b'x' * 100).hexdigest()}".encode() in answer


def test_a_body_is_asked_for_when_the_application_reads(wsgi: tuple[Program, Address]) -> None:
    with socket.create_connection(wsgi[1], timeout=20) as client:
        client.sendall(
            b"POST /digest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        asked = client.recv(100)
        client.sendall(b"abc")
        answer = read_all(client)

    assert asked == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert hashlib.sha256(b"abc").hexdigest().encode() in answer


def test_a_body_that_nobody_reads_is_not_asked_for(wsgi: tuple[Program, Address]) -> None:
    answer = exchange(
        wsgi[1],
        b"POST /ignored HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in answer


def test_a_body_that_is_not_read_does_not_spoil_the_next_request(
    wsgi: tuple[Program, Address],
) -> None:
    connection = HTTPConnection(*wsgi[1], timeout=20)
    try:
        for _ in range(3):
            connection.request("POST", "/ignored", body=b"x" * 50_000)
            assert connection.getresponse().read() == b"not read"
    finally:
        connection.close()


def test_a_body_over_the_limit_is_refused() -> None:
    options = ("--max-body-size", "100000", "--threads", "2")
    with serving("process.wsgi_app:app", *options) as (program, address):
        announced = ask(address, "/digest", "POST", b"x" * 100_001)[0]
        chunks = (b"x" * 10_000 for _ in range(11))
        in_chunks = ask(address, "/digest", "POST", chunks)[0]

        assert announced.status == 413
        assert in_chunks.status == 413
        assert program.stop() == ExitStatus.OK
        assert "Traceback" not in program.text


def test_a_slow_body_is_given_up_and_takes_no_thread() -> None:
    options = ("--timeout-body-idle", "2", "--threads", "2")
    head = b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with serving("process.wsgi_app:app", *options) as (program, address):
        slow = [socket.create_connection(address, timeout=20) for _ in range(8)]
        for client in slow:
            client.sendall(head + b"x" * 100)
        assert ask(address)[1] == b"hello"
        assert select.select(slow, [], [], 0)[0] == []  # not after they were given up
        for client in slow:
            assert read_all(client).startswith(b"HTTP/1.1 408 ")
            client.close()
        assert program.stop() == ExitStatus.OK


def test_a_large_body_that_stalls_in_mid_read_is_given_up() -> None:
    options = ("--timeout-body-idle", "1", "--threads", "2")
    head = b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with serving("process.wsgi_app:app", *options) as (program, address):
        answer = exchange(address, head + b"x" * 100_000)

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert program.stop() == ExitStatus.OK
        assert "Traceback" not in program.text


# --- WSGI: responses --------------------------------------------------------------------------


def test_a_generator_is_sent_in_chunks_and_closed(wsgi: tuple[Program, Address]) -> None:
    response, body = ask(wsgi[1], "/stream")

    assert response.headers["transfer-encoding"] == "chunked"
    assert body == b"".join(b"%d\n" % number for number in range(1000))
    wsgi[0].expect("app: closed stream")


def test_http_1_0_gets_its_stream_to_the_end_of_the_connection(
    wsgi: tuple[Program, Address],
) -> None:
    answer = exchange(wsgi[1], b"GET /stream HTTP/1.0\r\n\r\n")

    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"998\n999\n")


def test_what_is_written_comes_before_what_is_returned(wsgi: tuple[Program, Address]) -> None:
    assert ask(wsgi[1], "/written")[1] == b"".join(b"%d\n" % n for n in range(10)) + b"end"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_is_sent_from_where_it_stands(wsgi: tuple[Program, Address], method: str) -> None:
    response, body = ask(wsgi[1], "/file", method)

    if method == "GET":
        assert response.headers["content-length"] == str(256 * 8191)
        assert body == bytes(range(256)) * 8191
    else:
        assert body == b""


def test_a_small_file_is_sent(wsgi: tuple[Program, Address]) -> None:
    assert ask(wsgi[1], "/small-file")[1] == Path(wsgi_app.__file__).read_bytes()


@pytest.mark.parametrize(
    ("path", "status", "length"), [("/nothing", 204, None), ("/not-modified", 304, None)]
)
def test_a_response_without_a_body_has_none(
    wsgi: tuple[Program, Address], path: str, status: int, length: str | None
) -> None:
    response, body = ask(wsgi[1], path)

    assert (response.status, body) == (status, b"")
    assert response.headers["content-length"] == length
    assert response.headers["transfer-encoding"] is None


def test_the_head_alone_has_the_length_of_the_body(wsgi: tuple[Program, Address]) -> None:
    response, body = ask(wsgi[1], "/", "HEAD")

    assert (response.headers["content-length"], body) == ("5", b"")


def test_pipelined_requests_are_answered_in_order(wsgi: tuple[Program, Address]) -> None:
    head = b" HTTP/1.1\r\nHost: x\r\n"
    answer = exchange(
        wsgi[1],
        b"GET /written" + head + b"\r\nGET /" + head + b"\r\n"
        b"POST /digest" + head + b"Content-Length: 2\r\n\r\nab"
        b"GET /stream" + head + b"Connection: close\r\n\r\n",
    )

    order = [b"3\r\nend\r\n", b"hello", hashlib.sha256(b"ab").hexdigest().encode(), b"999\n"]
    assert [answer.find(part) for part in order] == sorted(answer.find(part) for part in order)
    assert answer.count(b"HTTP/1.1 200 ") == 4


# --- WSGI: requests that come again -------------------------------------------------------------


@pytest.fixture(scope="module")
def unwatched_wsgi() -> Iterator[tuple[Program, Address]]:
    """A server that tells nobody of its requests, so that it takes the shortest way."""
    with serving("process.wsgi_app:app", "--threads", "4", "--no-access-log") as (program, address):
        yield program, address
        assert program.stop() == ExitStatus.OK, program.text


def test_many_pipelined_requests_with_bodies_are_all_answered(
    unwatched_wsgi: tuple[Program, Address],
) -> None:
    head = b" HTTP/1.1\r\nHost: x\r\n"
    chunked = b"POST /digest" + head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    plain = b"GET /" + head + b"\r\n"
    last = b"GET /" + head + b"Connection: close\r\n\r\n"

    for count in (63, 64, 65, 66):
        answer = exchange(unwatched_wsgi[1], plain * count + (chunked + plain) * 70 + last)
        assert answer.count(b"HTTP/1.1 200 ") == count + 2 * 70 + 1


SAME = ["/", "/environ", "/digest", "/stream", "/written", "/nothing", "/not-modified", "/file"]
SAME += ["/small-file", "/raising", "/exiting", "/too-long", "/listed", "/large", "/no-length"]
SAME += ["/started-anew", "/pause", "/closing"]
TIMES = 8  # more than enough to be known


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", SAME)
def test_a_request_that_comes_again_is_answered_and_counted_each_time(
    unwatched_wsgi: tuple[Program, Address], path: str, method: str
) -> None:
    name = f"again-{method}-{path[1:]}"
    host, port = unwatched_wsgi[1]
    answers = []
    connection = HTTPConnection(host, port, timeout=20)
    try:
        for _ in range(TIMES):
            connection.request(method, f"/counted{path}/{name}" if path != "/" else f"/{name}")
            response = connection.getresponse()
            body = response.read()
            fields = [field for field in response.getheaders() if field[0] != "date"]
            body = re.sub(rb"0x[0-9a-f]+", b"somewhere", body)  # the validator's own objects
            answers.append((response.status, response.reason, fields, body))
    finally:
        connection.close()

    assert answers == [answers[0]] * TIMES
    if path != "/":
        counts = json.loads(ask(unwatched_wsgi[1], "/counts")[1])
        assert counts[name] == TIMES


def test_the_environ_of_a_request_that_comes_again_is_its_own(
    unwatched_wsgi: tuple[Program, Address],
) -> None:
    for _ in range(3):
        connection = HTTPConnection(*unwatched_wsgi[1], timeout=20)
        try:
            for _ in range(TIMES):
                connection.request("GET", "/environ")
                lines = connection.getresponse().read().decode().splitlines()
                assert f"REMOTE_PORT={connection.sock.getsockname()[1]}" in lines
                assert "REMOTE_ADDR=127.0.0.1" in lines
        finally:
            connection.close()


def test_what_a_trusted_proxy_says_is_heard_each_time(
    unwatched_wsgi: tuple[Program, Address],
) -> None:
    connection = HTTPConnection(*unwatched_wsgi[1], timeout=20)
    try:
        for headers, line in (
            ({}, "REMOTE_ADDR=127.0.0.1"),
            ({"X-Forwarded-For": "10.1.2.3"}, "REMOTE_ADDR=10.1.2.3"),
            ({"X-Forwarded-Proto": "https"}, "wsgi.url_scheme=https"),
        ) * TIMES:
            connection.request("GET", "/environ", headers=headers)
            assert line in connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()


def test_each_request_that_comes_again_is_logged() -> None:
    with serving("process.wsgi_app:app", "--threads", "2") as (program, address):
        connection = HTTPConnection(*address, timeout=20)
        for _ in range(TIMES):
            connection.request("GET", "/again")
            assert connection.getresponse().read() == b"hello"
        connection.close()
        assert program.stop() == ExitStatus.OK
        assert program.text.count('"GET /again HTTP/1.1" 200 5B') == TIMES


def test_each_request_that_comes_again_has_an_id_of_its_own() -> None:
    options = ("--threads", "2", "--request-id-header", "X-Some-Id", "--no-access-log")
    with serving("process.wsgi_app:app", *options) as (program, address):
        ids = set()
        connection = HTTPConnection(*address, timeout=20)
        for _ in range(TIMES):
            connection.request("GET", "/environ")
            lines = connection.getresponse().read().decode().splitlines()
            ids |= {line for line in lines if line.startswith("HTTP_X_SOME_ID=")}
        connection.close()
        assert len(ids) == TIMES
        assert program.stop() == ExitStatus.OK


# --- WSGI: what goes wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(("path", "what"), [("/raising", "ValueError"), ("/exiting", "SystemExit")])
def test_an_exception_is_a_500_and_is_logged(
    wsgi: tuple[Program, Address], path: str, what: str
) -> None:
    response, _ = ask(wsgi[1], path)

    assert response.status == 500
    wsgi[0].expect(f"^{what}")
    assert ask(wsgi[1])[1] == b"hello"


def test_an_exception_in_mid_response_is_seen_by_the_client(
    wsgi: tuple[Program, Address],
) -> None:
    answer = exchange(wsgi[1], b"GET /raising-late HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.endswith(b"5\r\nbegun\r\n")
    wsgi[0].expect("app: closed raising late")
    wsgi[0].expect("ValueError: on purpose, late")


def test_a_body_longer_than_announced_is_cut_and_logged(wsgi: tuple[Program, Address]) -> None:
    response, body = ask(wsgi[1], "/too-long")

    assert (response.status, body) == (200, b"abc")
    wsgi[0].expect("longer than its content-length")


def test_a_body_shorter_than_announced_breaks_the_connection(
    wsgi: tuple[Program, Address],
) -> None:
    answer = exchange(wsgi[1], b"GET /too-short HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.endswith(b"\r\n\r\nabc")
    wsgi[0].expect("shorter than its content-length")


def test_nothing_is_kept_of_what_the_application_held_as_its_client_left() -> None:
    head = b"POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with serving("process.wsgi_app:app", "--threads", "2") as (program, address):
        for _ in range(3):
            with socket.create_connection(address, timeout=20) as client:
                client.sendall(head + b"x" * 70_000)
            program.expect('POST /hold HTTP/1.1" 499')
        give_up_at = time.monotonic() + 5  # that is logged a moment before the application ends
        while ask(address, "/still-held")[1] != b"0 of 3" and time.monotonic() < give_up_at:
            pass

        assert ask(address, "/still-held")[1] == b"0 of 3"


def test_a_client_that_leaves_ends_its_stream(wsgi: tuple[Program, Address]) -> None:
    with socket.create_connection(wsgi[1], timeout=20) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(100_000)

    wsgi[0].expect("app: closed endless")
    wsgi[0].expect(r"GET /endless HTTP/1.1\" 499")


def test_a_client_that_does_not_read_is_given_up() -> None:
    options = ("--timeout-write-idle", "1", "--threads", "2")
    with (
        serving("process.wsgi_app:app", *options) as (program, address),
        socket.create_connection(address, timeout=20) as client,
    ):
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        program.expect("app: closed endless")
        assert program.stop() == ExitStatus.OK


def test_a_client_that_reads_slowly_but_steadily_is_not_given_up() -> None:
    options = ("--timeout-write-idle", "0.8", "--threads", "2")
    with (
        serving("process.wsgi_app:app", *options) as (program, address),
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(address)
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        end_at = time.monotonic() + 1.5
        received = 0
        while time.monotonic() < end_at:
            received += len(client.recv(10_000))
            time.sleep(0.05)
        while data := client.recv(1 << 20):
            received += len(data)

        assert received > 2**22
        assert program.stop() == ExitStatus.OK


# --- threads ------------------------------------------------------------------------------------


def pace_of(address: Address, path: str, until: threading.Event) -> list[float]:
    """How long requests for that path took, one after the other on one connection."""
    taken: list[float] = []
    connection = HTTPConnection(*address, timeout=20)
    try:
        while not until.is_set():
            began_at = time.monotonic()
            connection.request("GET", path)
            assert connection.getresponse().read() == b"hello"
            taken.append(time.monotonic() - began_at)
            time.sleep(0.005)  # a client, not a load test
    finally:
        connection.close()
    return taken


def crowd(address: Address, path: str, count: int) -> tuple[float, list[float]]:
    """Ask for a slow path all at once, and for a quick one meanwhile; how long each took."""
    over = threading.Event()
    with ThreadPoolExecutor(count + 1) as clients:
        meanwhile = clients.submit(pace_of, address, "/", over)
        began_at = time.monotonic()
        bodies = list(clients.map(lambda _: ask(address, path)[1], range(count)))
        took_seconds = time.monotonic() - began_at
        over.set()
        paces = sorted(meanwhile.result())
    assert bodies == [b"hello"] * count
    return took_seconds, paces


def crowd_holds_up_only_itself(address: Address, path: str) -> None:
    """Sixteen requests of half a second take eight threads a second; others notice nothing.

    On a busy machine, not every time.
    """
    seen = []
    for _ in range(6):
        took_seconds, paces = crowd(address, path, 16)
        if took_seconds < 1.3 and percentile(paces, 0.99) < 0.05:
            return
        seen.append((took_seconds, percentile(paces, 0.99)))
    raise AssertionError(f"seconds for all, and for 99 % of others: {seen}")


def percentile(sorted_values: list[float], share: float) -> float:
    return sorted_values[int(len(sorted_values) * share)]


@pytest.mark.alone
def test_sleeping_requests_hold_up_only_themselves() -> None:
    with serving("process.wsgi_app:app", "--threads", "8") as (program, address):
        crowd_holds_up_only_itself(address, "/sleep")
        assert ask(address, "/most")[1] == b"8"
        assert program.stop() == ExitStatus.OK


@pytest.mark.alone
@pytest.mark.parametrize("target", ["process.wsgi_app:app", "process.threaded_app:app"])
def test_a_thousand_idle_connections_take_no_thread(target: str) -> None:
    options = ("--threads", "8", "--no-access-log", "--timeout-keep-alive", "60")
    with serving(target, *options) as (program, address):
        idle = []
        for _ in range(1000):
            idle.append(socket.create_connection(address, timeout=20))
            idle[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle[-1].recv(1000).endswith(b"hello")
        took = []
        for _ in range(20):
            began_at = time.monotonic()
            assert ask(address)[1] == b"hello"
            took.append(time.monotonic() - began_at)
        assert min(took) < 0.05  # at once, where the machine lets it
        for client in idle:
            client.close()
        assert program.stop() == ExitStatus.OK, program.text


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stop_lets_running_requests_finish(workers: int) -> None:
    with (
        serving("process.wsgi_app:app", "--threads", "2", workers=workers) as (program, address),
        socket.create_connection(address, timeout=20) as idle,
        socket.create_connection(address, timeout=20) as client,
    ):
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(1000).endswith(b"hello")
        client.sendall(b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.2)  # the application says nothing as it begins
        program.signal(signal.SIGTERM)
        answer = read_all(client)

        assert answer.endswith(b"hello")
        assert b"connection: close" in answer
        assert read_all(idle) == b""
        assert program.wait() == ExitStatus.OK


def test_a_thread_that_does_not_end_is_left_behind() -> None:
    options = ("--threads", "2", "--timeout-graceful-shutdown", "1")
    with (
        serving("process.wsgi_app:app", *options) as (program, address),
        socket.create_connection(address, timeout=20) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
        assert program.stop() == ExitStatus.OK
        assert re.search("graceful stop ends", program.text)


def test_a_thread_that_dies_is_replaced() -> None:
    # Whose event a thread was just told of as it dies waits until this is over.
    options = ("--threads", "2", "--no-access-log", "--timeout-headers", "1")
    with serving("process.wsgi_app:app", *options) as (program, address):
        for _ in range(3):
            died_count = program.text.count("Killed")
            assert ask(address, "/kill")[1] == b"2"
            give_up_at = time.monotonic() + 20
            # One dies as it wakes, and which one wakes for a request nobody knows.
            while program.text.count("Killed") == died_count and time.monotonic() < give_up_at:
                assert ask(address)[1] == b"hello"
            assert program.text.count("Killed") > died_count
        assert re.search("thread . died and is replaced", program.text)
        with ThreadPoolExecutor(2) as clients:
            assert (
                list(clients.map(lambda _: ask(address, "/sleep")[1], range(2))) == [b"hello"] * 2
            )
        assert program.stop() == ExitStatus.OK, program.text


# --- the time that an application has -------------------------------------------------------------


@pytest.fixture(scope="module")
def hurried() -> Iterator[tuple[Program, Address]]:
    options = (
        "--threads",
        "2",
        "--timeout-request",
        "200ms",
        "--request-id-header",
        "X-Request-ID",
    )
    with serving("process.wsgi_app:app", *options) as (program, address):
        yield program, address
        assert program.stop() == ExitStatus.OK, program.text
        assert "Traceback" not in program.text


@pytest.mark.parametrize("path", ["/sleep", "/sleep-before-reading"])
def test_a_thread_that_takes_too_long_is_answered_for(
    hurried: tuple[Program, Address], path: str
) -> None:
    program, address = hurried
    head = b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70_000
    began_at = time.monotonic()
    answer = exchange(address, b"POST " + path.encode() + head)

    assert time.monotonic() - began_at >= 0.2
    assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer
    assert len(re.findall(rb"\r\nx-request-id: [0-9a-f]{32}\r\n", answer)) == 1
    program.expect(rf"no response within 0.2 s .timeout_request.*: POST '{path}'")
    program.expect(rf'POST {path} HTTP/1.1" 504')


def test_nobody_answers_for_a_thread_whose_client_has_left(
    hurried: tuple[Program, Address],
) -> None:
    program, address = hurried
    head = b"POST /sleep-when-left HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(head + b"x" * 70_000)

    program.expect('POST /sleep-when-left HTTP/1.1" 499')
    program.expect("app: has slept")  # for longer than it may take
    assert "ERROR" not in program.text  # nor has the sweep stumbled, and forgotten all others


def test_requests_that_wait_for_a_thread_are_answered_in_time_too(
    hurried: tuple[Program, Address],
) -> None:
    address = hurried[1]
    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(lambda _: ask(address, "/sleep")[0].status, range(8)))

    assert statuses == [504] * 8
    assert ask(address)[1] == b"hello"
    assert ask(address, "/stream")[1].endswith(b"999\n")
    assert ask(address, "/digest", "POST", b"x" * 100_000)[1].startswith(b"100000 ")


def test_an_application_that_awaits_too_long_in_a_thread_is_cancelled() -> None:
    options = ("--threads", "2", "--timeout-request", "200ms")
    with serving("process.threaded_app:app", *options) as (program, address):
        assert ask(address, "/wait")[0].status == 504
        assert ask(address, "/pause")[1] == b"hello"
        # Nobody can answer for one that blocks: its loop is held up, and its answer comes late.
        assert ask(address, "/block")[0].status in {200, 504}
        assert program.stop() == ExitStatus.OK, program.text


# --- ASGI ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asgi() -> Iterator[tuple[Program, Address]]:
    with serving("process.threaded_app:app", "--threads", "4") as (program, address):
        yield program, address
        assert program.stop() == ExitStatus.OK, program.text


def test_each_loop_has_a_lifespan_and_all_end_once() -> None:
    with serving("process.threaded_app:app", "--threads", "2") as (program, address):
        for _ in range(20):
            thread, same_loop, since, lane = ask(address, "/where")[1].decode().split()
            assert thread.startswith("serval-")
            assert (same_loop, since, lane) == ("True", thread, "thread")
        assert program.stop() == ExitStatus.OK

        threads = ["MainThread", "serval-1", "serval-2", "serval-3"]
        lines = program.text.splitlines()
        for thread in threads:
            assert lines.count(f"app: starts up in {thread}") == 1
            assert lines.count(f"app: shuts down in {thread}") == 1


def test_a_lifespan_that_fails_in_one_thread_fails_the_worker() -> None:
    command = ("serval", "process.threaded_app:app", "--port", "0", "--threads", "2")
    with running(*command, environ={"FAILS_IN": "serval-2"}) as program:
        assert program.wait() == ExitStatus.BOOT
        assert "lifespan startup failed: not in serval-2" in program.text
        assert "app: shuts down in MainThread" in program.text
        assert "app: shuts down in serval-1" in program.text
        assert "serval-3" not in program.text


def test_a_lifespan_that_fails_late_in_one_thread_is_told() -> None:
    command = ("serval", "process.threaded_app:app", "--port", "0", "--threads", "2")
    with running(*command, environ={"FAILS_LATE_IN": "serval-2"}) as program:
        program.expect("ready: ")
        assert program.stop() == ExitStatus.SHUTDOWN
        assert "not in serval-2" in program.text
        assert program.text.count("app: shuts down in ") == 4


@pytest.mark.alone
@pytest.mark.parametrize("path", ["/block", "/wait-and-block"])
def test_blocking_handlers_hold_up_only_themselves(path: str) -> None:
    with serving("process.threaded_app:app", "--threads", "8") as (program, address):
        crowd_holds_up_only_itself(address, path)
        assert program.stop() == ExitStatus.OK


@pytest.mark.alone
def test_without_threads_a_blocking_handler_freezes_the_rest() -> None:
    with serving("process.threaded_app:app", "--no-access-log") as (program, address):
        took_seconds, paces = crowd(address, "/block", 4)

        assert took_seconds > 1.9
        assert paces[-1] > 0.4
        assert program.stop() == ExitStatus.OK


@pytest.mark.alone
def test_requests_that_merely_wait_need_no_thread_each() -> None:
    with serving("process.threaded_app:app", "--threads", "2") as (program, address):
        began_at = time.monotonic()
        with ThreadPoolExecutor(40) as clients:
            bodies = list(clients.map(lambda _: ask(address, "/wait")[1], range(40)))

        assert bodies == [b"hello"] * 40
        assert time.monotonic() - began_at < 5  # two after two, they would take ten
        assert program.stop() == ExitStatus.OK


@pytest.mark.parametrize("size", [0, 1, 60_000, 70_000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_arrives_whole_and_a_long_one_at_home(
    asgi: tuple[Program, Address], size: int, chunked: bool
) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    pieces = (data[start : start + 30_000] for start in range(0, size, 30_000))

    body = ask(asgi[1], "/digest", "POST", pieces if chunked else data)[1].decode()

    assert body.startswith(f"{size} {hashlib.sha256(data).hexdigest()} ")
    if size > 65536:
        assert body.endswith(" MainThread")


def test_a_stream_arrives_whole_and_its_connection_lives_on(
    asgi: tuple[Program, Address],
) -> None:
    connection = HTTPConnection(*asgi[1], timeout=20)
    try:
        for _ in range(3):
            connection.request("GET", "/stream")
            body = connection.getresponse().read()
            assert body == b"".join(b"%d\n" % number for number in range(200))
            connection.request("GET", "/where")
            assert b"serval-" in connection.getresponse().read()
    finally:
        connection.close()


def test_an_event_stream_is_served_at_home(asgi: tuple[Program, Address]) -> None:
    with socket.create_connection(asgi[1], timeout=20) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        assert b"MainThread" in client.recv(1000) + client.recv(1000)
    asgi[0].expect("app: endless ended")


def test_a_connection_comes_back_from_home(asgi: tuple[Program, Address]) -> None:
    connection = HTTPConnection(*asgi[1], timeout=20)
    try:
        for _ in range(3):
            connection.request("POST", "/digest", body=b"x" * 100_000)
            assert connection.getresponse().read().endswith(b" MainThread")
            connection.request("GET", "/where")
            assert connection.getresponse().read().endswith(b" thread")
    finally:
        connection.close()


def test_threads_whose_kept_connections_rest_hold_up_nobody() -> None:
    options = ("--threads", "2", "--no-access-log")
    with serving("process.threaded_app:app", *options) as (program, address):
        kept = [HTTPConnection(*address, timeout=20) for _ in range(2)]
        for connection in kept:
            for _ in range(3):
                connection.request("GET", "/wait-and-block")
                assert connection.getresponse().read() == b"hello"
        assert ask(address, "/wait-and-block")[1] == b"hello"
        for connection in kept:
            connection.close()
        assert program.stop() == ExitStatus.OK, program.text


def test_a_stream_that_nobody_foresaw_ends_when_its_client_leaves(
    asgi: tuple[Program, Address],
) -> None:
    with socket.create_connection(asgi[1], timeout=20) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"serval-" in client.recv(1000) + client.recv(1000)
    asgi[0].expect("app: endless ended")


def test_more_streams_than_threads_leave_room_for_requests() -> None:
    with serving("process.threaded_app:app", "--threads", "2") as (program, address):
        streams = [socket.create_connection(address, timeout=20) for _ in range(8)]
        for client in streams:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in streams:
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        for _ in range(20):
            assert ask(address)[1] == b"hello"
        for client in streams:
            client.close()
        assert program.stop() == ExitStatus.OK


def test_a_thread_with_a_loop_that_dies_is_replaced() -> None:
    options = ("--threads", "2", "--loop", "asyncio", "--no-access-log")
    with serving("process.threaded_app:app", *options) as (program, address):
        assert ask(address, "/kill")[1] == b"2"
        for _ in range(2):
            give_up_at = time.monotonic() + 20
            while "died and is replaced" not in program.text and time.monotonic() < give_up_at:
                assert ask(address)[1] == b"hello"
        with ThreadPoolExecutor(4) as clients:
            assert (
                list(clients.map(lambda _: ask(address, "/block")[1], range(4))) == [b"hello"] * 4
            )
        assert program.stop() == ExitStatus.OK, program.text


def test_nothing_is_left_to_a_thread_that_could_not_be_replaced() -> None:
    command = ("serval", "process.threaded_app:app", "--port", "0", "--threads", "2")
    options = ("--loop", "asyncio", "--no-access-log")
    with running(*command, *options, environ={"FAILS_AGAIN": "1"}) as program:
        address = program.address()
        assert ask(address, "/kill")[1] == b"2"
        give_up_at = time.monotonic() + 20
        while program.text.count("could not be replaced") < 2 and time.monotonic() < give_up_at:
            assert ask(address)[1] == b"hello"
        with socket.create_connection(address, timeout=20) as stream:
            stream.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stream.recv(1000).startswith(b"HTTP/1.1 200 ")

            assert ask(address)[1] == b"hello"
        program.expect("app: endless ended")


def test_what_a_request_leaves_behind_goes_on(asgi: tuple[Program, Address]) -> None:
    thread = ask(asgi[1], "/background")[1].decode()

    asgi[0].expect(f"app: task ended in {thread}|app: went on after the response")
    asgi[0].expect(f"app: task ended in {thread}|app: went on after the response")


@pytest.mark.parametrize(("path", "what"), [("/raising", "ValueError"), ("/exiting", "SystemExit")])
def test_an_exception_in_a_thread_is_a_500(
    asgi: tuple[Program, Address], path: str, what: str
) -> None:
    for _ in range(10):
        assert ask(asgi[1], path)[0].status == 500
        asgi[0].expect(f"^{what}")
    assert ask(asgi[1])[1] == b"hello"


def test_pipelined_requests_of_all_kinds_are_answered_in_order(
    asgi: tuple[Program, Address],
) -> None:
    head = b" HTTP/1.1\r\nHost: x\r\n"
    requests = [
        b"GET /" + head + b"\r\n",
        b"GET /wait" + head + b"\r\n",
        b"POST /digest" + head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        b"GET /where" + head + b"Accept: text/event-stream\r\n\r\n",
        b"GET /block" + head + b"\r\n",
        b"GET /stream" + head + b"\r\n",
    ]
    last = b"GET /" + head + b"Connection: close\r\n\r\n"

    answer = exchange(asgi[1], b"".join(requests * 3) + last)

    assert answer.count(b"HTTP/1.1 200 ") == 19
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")]
    assert [body for body in bodies if body.startswith(b"Main")] == [
        b"MainThread True MainThread async"
    ] * 3
    assert answer.endswith(b"hello")


@pytest.mark.parametrize("comes", ["an end", "a request and an end"])
def test_what_comes_while_a_request_moves_to_another_thread_is_not_lost(
    asgi: tuple[Program, Address], comes: str
) -> None:
    further = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        socket.create_server(("127.0.0.1", 0)) as bell,
        socket.create_connection(asgi[1], timeout=20) as client,
    ):
        # Its body brings this one home, where what follows it must not stay.
        head = b"POST /held-up?%d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head % bell.getsockname()[1] + b"5\r\nhello\r\n0\r\n\r\n" + further)
        handler, _ = bell.accept()
        with handler:  # the thread sees nothing of this before the handler ends
            if comes != "an end":
                client.sendall(further)
            client.shutdown(socket.SHUT_WR)

        answers = read_all(client)
        assert answers.count(b"HTTP/1.1 200 OK") == (2 if comes == "an end" else 3)
