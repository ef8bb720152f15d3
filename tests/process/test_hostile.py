"""Clients that drip, flood, stall, lie and overrun limits, against the command itself.

The server runs in one process, so that its memory and its processor time can be looked up.
"""

import re
import select
import shutil
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from process.harness import PATIENCE_SECONDS, Program, cpu_ticks, needs_procfs, running
from process.hostile_app import LARGE_BYTES, resident_bytes
from process.lanes import Client

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

Address = tuple[str, int]
MIB = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
HOSTILE_COUNT = 1_000
TRICKLE_SECONDS = 0.1
ATTEMPTS = 6  # to measure what takes less than a millisecond on a machine that is busy
DRIPS_EACH_TENTH = 100  # of the clients send a byte in each tenth of a second: all, in a second


@contextmanager
def hardened(*options: str) -> Iterator[tuple[Program, Address]]:
    """The server with an application of its own process, and its address."""
    fixed = ["--port", "0", "--workers", "0", "--lifespan", "off"]
    with running("serval", "process.hostile_app:app", *fixed, *options) as program:
        yield program, program.address()
        assert program.process.poll() is None, program.text
        assert "Traceback" not in program.text


def connect(address: Address, *, receive_buffer_bytes: int = 0) -> Client:
    sock = socket.socket()
    if receive_buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    sock.settimeout(20)
    sock.connect(address)
    return Client(sock)


def crowd(stack: ExitStack, address: Address, count: int, **buffers: int) -> list[Client]:
    clients = [connect(address, **buffers) for _ in range(count)]
    for client in clients:
        stack.callback(client.close)
    return clients


def p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


def slowdown(
    hold: Callable[[ExitStack, Address], Callable[[], None]], seconds: float, *options: str
) -> float:
    """How many times as long an honest client's requests take (p99) beside others.

    It asks two servers in turns, one of which has the others, so that whatever else the machine
    has to do holds up both.

    Args:
        hold: Connects the others; what it returns is called in each tenth of a second.
        options: Of both servers.
    """
    took: list[list[float]] = [[], []]
    quiet = ("--no-access-log", *options)
    with hardened(*quiet) as (_, beside), hardened(*quiet) as (_, alone), ExitStack() as stack:
        honest = [*crowd(stack, beside, 1), *crowd(stack, alone, 1)]
        each = hold(stack, beside)
        end_at = time.monotonic() + seconds
        next_at = 0.0
        while (now := time.monotonic()) < end_at:
            if now >= next_at:
                each()
                next_at = time.monotonic() + TRICKLE_SECONDS
            for client, seen in zip(honest, took, strict=True):
                began_at = time.perf_counter()
                assert client.get().status == 200
                seen.append(time.perf_counter() - began_at)
    beside_others, by_itself = map(p99, took)
    ratio = beside_others / by_itself
    print(
        f"p99 of {len(took[0])}: {beside_others * 1e6:.0f} us beside others, "
        f"{by_itself * 1e6:.0f} us alone: {ratio:.2f}"
    )
    return ratio


def drip(clients: list[Client], byte: bytes, count: int = DRIPS_EACH_TENTH) -> Callable[[], None]:
    """Send one byte more on the next so many of the connections that still take it."""
    waiting = deque(clients)

    def once() -> None:
        for _ in range(min(count, len(waiting))):
            client = waiting.popleft()
            with suppress(OSError):  # it was refused and closed
                client.send(byte)
                waiting.append(client)

    return once


def statuses(clients: list[Client]) -> list[int]:
    """What each was answered before its end; 0 where it was merely closed."""
    found = []
    for client in clients:
        try:
            text = client.read_to_end()
        except ConnectionResetError:  # it went on dripping after its answer
            text = b""
        found.append(int(text.split(b" ")[1]) if text else 0)
    return found


# --- slow clients -----------------------------------------------------------------------------


DRIPS = {
    "head": (b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ", b"a", "head-timeout"),
    "counted body": (
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n",
        b"a",
        "body-timeout",
    ),
    "chunked body": (CHUNKED + b"fffff\r\n", b"a", "body-timeout"),
    "tiny chunks": (CHUNKED, b"1\r\na\r\n", "body-timeout"),
}


@pytest.mark.alone
@pytest.mark.parametrize("kind", DRIPS)
def test_a_thousand_clients_that_drip_are_refused_in_time(kind: str) -> None:
    # A second late at most, and as long again for a machine that has other things to do.
    assert any(seconds_until_refused(kind) < 3 for _ in range(ATTEMPTS))


def seconds_until_refused(kind: str) -> float:
    """How long a thousand clients hold out that have one second."""
    opening, byte, reason = DRIPS[kind]
    timeouts = ["--timeout-headers", "1", "--timeout-body-idle", "1", "--no-access-log"]
    with hardened(*timeouts) as (program, address), ExitStack() as stack:
        slow = crowd(stack, address, HOSTILE_COUNT)
        began_at = time.monotonic()
        for client in slow:
            client.send(opening)
        some_more = drip(slow, byte)
        refused: set[Client] = set()
        while len(refused) < HOSTILE_COUNT and time.monotonic() < began_at + PATIENCE_SECONDS:
            some_more()
            time.sleep(TRICKLE_SECONDS)
            readable = select.select([client.sock for client in slow], [], [], 0)[0]
            refused = {client for client in slow if client.sock in readable}

        took_seconds = time.monotonic() - began_at

        assert len(refused) == HOSTILE_COUNT
        found = statuses(slow)
        assert set(found) <= {408, 0}
        assert found.count(408) >= HOSTILE_COUNT * 9 // 10
        program.expect(f"408 {reason}")
    return took_seconds


@pytest.mark.alone
@pytest.mark.parametrize("lane", [[], ["--threads", "4"]], ids=["inline", "threads"])
@pytest.mark.parametrize("kind", ["head", "chunked body"])
def test_a_thousand_clients_that_drip_hold_nobody_up(kind: str, lane: list[str]) -> None:
    opening, byte, _ = DRIPS[kind]

    def hold(others: ExitStack, address: Address) -> Callable[[], None]:
        slow = crowd(others, address, HOSTILE_COUNT)
        for client in slow:
            client.send(opening)
        return drip(slow, byte)

    assert any(slowdown(hold, 3.0, *lane) < 2 for _ in range(ATTEMPTS))


def test_a_connection_that_sends_nothing_is_closed_in_silence() -> None:
    with hardened("--timeout-headers", "0.5") as (program, address), ExitStack() as stack:
        silent = crowd(stack, address, 20)

        assert statuses(silent) == [0] * 20
        assert "refused" not in program.text


def test_a_client_that_does_not_read_is_cut_and_its_memory_given_back() -> None:
    with hardened("--timeout-write-idle", "1") as (program, address), ExitStack() as stack:
        deaf = crowd(stack, address, 50, receive_buffer_bytes=4096)
        (honest,) = crowd(stack, address, 1)
        for client in deaf:
            client.send(GET.replace(b"/ ", b"/large ", 1))

        for _ in deaf:
            program.expect(r'"GET /large HTTP/1\.1" 499 .*client does not read')
        assert honest.get().status == 200


def deaf_readers(others: ExitStack, address: Address) -> list[Client]:
    """Two hundred clients that ask for 10 MiB and take a few KiB."""
    deaf = crowd(others, address, 200, receive_buffer_bytes=4096)
    for client in deaf:
        client.send(GET.replace(b"/ ", b"/large ", 1))
    return deaf


def test_200_slow_readers_of_a_large_answer_cost_little_memory() -> None:
    with hardened("--no-access-log") as (program, address), ExitStack() as stack:
        (honest,) = crowd(stack, address, 1)
        honest.get()
        before = resident_bytes(program.pid)
        deaf = deaf_readers(stack, address)

        for _ in range(200):  # while all of them are served
            honest.get()
        assert resident_bytes(program.pid) - before < 20 * MIB
        # Whoever reads after all gets everything.
        assert len(deaf[0].read().body) == LARGE_BYTES


@pytest.mark.alone
def test_200_slow_readers_hold_nobody_up() -> None:
    def hold(others: ExitStack, address: Address) -> Callable[[], None]:
        deaf_readers(others, address)
        (witness,) = crowd(others, address, 1)
        for _ in range(300):  # until their sockets are full
            witness.get()
        return lambda: None

    assert any(slowdown(hold, 2.0) < 2 for _ in range(ATTEMPTS))


@pytest.mark.parametrize("lane", [[], ["--threads", "4"]], ids=["inline", "threads"])
def test_clients_that_have_half_left_cost_no_time(lane: list[str]) -> None:
    with hardened("--no-access-log", *lane) as (program, address), ExitStack() as stack:
        waiting = crowd(stack, address, 50)
        for client in waiting:
            client.send(GET.replace(b"/ ", b"/never ", 1))
            client.shut()
        for client in crowd(stack, address, 50, receive_buffer_bytes=4096):
            client.send(GET.replace(b"/ ", b"/large ", 1) * 2)
            client.shut()
        (honest,) = crowd(stack, address, 1)
        for _ in range(300):  # until all is read and what can be sent is
            honest.get()

        before = cpu_ticks(program.pid)
        time.sleep(1.0)
        assert cpu_ticks(program.pid) - before < 10  # of 10 ms
        assert honest.get().status == 200


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_body_that_is_announced_too_large_is_refused_before_the_application(
    expect: bytes,
) -> None:
    with hardened("--max-body-size", "1000") as (program, address), ExitStack() as stack:
        (client,) = crowd(stack, address, 1)
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\n" + expect + b"Content-Length: 1001\r\n\r\n")

        answer = client.read()
        assert (answer.status, answer.closes) == (413, True)
        assert answer.body.endswith(b": body-too-large\n")
        assert client.at_end()
        program.expect(r'"POST / HTTP/1\.1" 413 .* \(body-too-large\)')


def test_an_endless_chunked_body_is_cut_at_the_limit_and_costs_no_memory() -> None:
    with hardened("--max-body-size", str(300 * MIB)) as (program, address), ExitStack() as stack:
        (client,) = crowd(stack, address, 1)
        client.get()
        client.send(CHUNKED)
        piece = b"100000\r\n" + bytes(MIB) + b"\r\n"
        client.send(piece * 10)
        before = resident_bytes(program.pid)
        for _ in range(290):
            client.send(piece)
        grown = resident_bytes(program.pid) - before
        client.send(b"1\r\na\r\n")

        answer = client.read()
        assert (answer.status, answer.closes) == (413, True)
        assert client.at_end()
        assert grown < MIB
        program.expect(r'"POST / HTTP/1\.1" 413 .* \(body-too-large\)')


TOO_LARGE = {
    "request line": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: test\r\n\r\n"),
    "field": (431, b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"a" * 17_000 + b"\r\n\r\n"),
    "block": (431, b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: %b\r\n" % (b"a" * 16_000) * 5),
    "count": (431, b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: a\r\n" * 100 + b"\r\n"),
    "10,000 fields": (431, b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: a\r\n" * 10_000 + b"\r\n"),
    "trailers": (
        431,
        CHUNKED[:-2] + b"X: a\r\n" * 60 + b"\r\n0\r\n" + b"Y: a\r\n" * 60 + b"\r\n",
    ),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_a_head_beyond_a_limit_is_refused_and_nothing_after_it_is_served(case: str) -> None:
    status, data = TOO_LARGE[case]
    with hardened("--no-access-log") as (_, address), ExitStack() as stack:
        (client,) = crowd(stack, address, 1)
        client.send(data + GET)

        answer = client.read()
        assert (answer.status, answer.closes) == (status, True)
        assert client.at_end()


@pytest.mark.alone
def test_a_header_of_10_mb_in_single_bytes_costs_little_and_is_soon_refused() -> None:
    with hardened("--no-access-log") as (program, address), ExitStack() as stack:
        (client,) = crowd(stack, address, 1)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.get()
        started = cpu_ticks(program.pid)
        for _ in range(8_000):
            client.get()
        of_requests = 2 * (cpu_ticks(program.pid) - started)  # as many as there will be bytes

        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX: ")
        answered = select.poll()
        answered.register(client.sock, select.POLLIN)
        started = cpu_ticks(program.pid)
        sent = 0
        while sent < 10_000_000 and not answered.poll(0):
            client.send(b"a")
            sent += 1
        of_bytes = cpu_ticks(program.pid) - started

        assert client.read().status == 431
        assert sent < 100_000  # it is told long before it is done
        # Each byte is an event and a `recv`, and costs less than half of what a request does.
        assert of_bytes < of_requests / 2


# --- refusals ---------------------------------------------------------------------------------


def test_a_refusal_is_one_line_with_what_an_operator_needs() -> None:
    with hardened() as (program, address), ExitStack() as stack:
        (client,) = crowd(stack, address, 1)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nBad\x01Name\x1b[31m: a\r\n\r\n")

        answer = client.read()
        assert answer.status == 400
        assert answer.body == b"400 Bad Request: bad-name\n"
        line = program.expect("refused 127").string
        assert re.search(r"refused 127\.0\.0\.1.*: 400 bad-name at byte \d+, ", line)
        assert line.isprintable()
        assert r"Bad\x01Name\x1b[31m" in line
        program.expect(r'"GET / HTTP/1\.1" 400 .* \(bad-name\)')


def test_a_flood_of_bad_requests_writes_few_lines_and_a_count() -> None:
    count = 2_000
    with hardened("--no-access-log") as (program, address), ExitStack() as stack:
        (honest,) = crowd(stack, address, 1)
        began_at = time.monotonic()
        for _ in range(count):
            with socket.create_connection(address) as sock:
                sock.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert honest.get().status == 200

        told = 0
        while told < count:  # each is shown, or counted in a line that comes a second later
            line = program.expect(r"refused ").string
            more = re.search(r"(and|refused) (\d+) more", line)
            told += (int(more[2]) if more else 0) + (": 400 " in line)
        lines = [line for line in program.text.splitlines() if "refused" in line]
        assert told == count
        assert len(lines) <= time.monotonic() - began_at + 1


UPLOAD = 3 * MIB


@pytest.mark.parametrize(
    ("path", "limit", "status"),
    [("/", "1000", 413), ("/early", "0", 200), ("/later", "0", 200)],
)
def test_an_uploading_client_reads_the_whole_early_answer_and_goes_on(
    path: str, limit: str, status: int
) -> None:
    body = bytes(UPLOAD)
    wanted = 6000 if status == 200 else 0
    with (
        hardened("--max-body-size", limit, "--no-access-log") as (_, (host, port)),
        httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=20) as client,
    ):
        for _ in range(50):
            answer = client.post(path, content=body)
            assert answer.status_code == status
            assert len(answer.content) >= max(wanted, 20)
        assert client.get("/").status_code == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    ("path", "limit", "status"),
    [("/", "1000", 413), ("/early", "0", 200), ("/later", "0", 200)],
)
def test_curl_reads_the_whole_early_answer(
    path: str, limit: str, status: int, tmp_path: Path
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(UPLOAD))
    with hardened("--max-body-size", limit, "--no-access-log") as (_, (host, port)):
        command = ["curl", "--silent", "--show-error", "--output", str(tmp_path / "answer")]
        # curl asks first where a body is large; this one does not wait for an answer.
        command += ["--write-out", "%{http_code} %{size_download}", "--header", "Expect:"]
        command += ["--data-binary", f"@{upload}", f"http://{host}:{port}{path}"]
        for _ in range(50):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
            code, size = done.stdout.split()
            assert (int(code), done.stderr) == (status, "")
            assert int(size) == 6000 if status == 200 else int(size) > 20


# --- smuggling --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="refused"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", id="last"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
            id="bad handshake",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            id="incomplete handshake",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two lengths",
        ),
    ],
)
def test_nothing_is_served_after_the_last_request_of_a_connection(first: bytes) -> None:
    with hardened() as (program, address), ExitStack() as stack:
        (client,) = crowd(stack, address, 1)
        client.send(first + b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")

        answer = client.read()
        assert answer.status in {200, 400, 426}
        assert client.at_end()
        assert "smuggled" not in program.text


@pytest.mark.parametrize("path", ["/early", "/later"])
@pytest.mark.parametrize("size", [500, 60_000, 3 * MIB])
def test_a_body_that_nobody_read_is_never_taken_for_a_request(path: str, size: int) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
    body = (smuggled * (size // len(smuggled) + 1))[:size]
    with hardened() as (program, address), ExitStack() as stack:
        (client,) = crowd(stack, address, 1)
        head = b"POST %b HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
        client.send(head % (path.encode(), size))
        answer = client.read()
        client.send(body)

        assert (answer.status, len(answer.body)) == (200, 6000)
        assert answer.closes == (size > 65_536)
        if not answer.closes:
            assert client.get("/after").body == b"0"
            program.expect("/after")
        else:
            assert client.at_end()
        assert "smuggled" not in program.text
