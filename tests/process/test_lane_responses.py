"""Responses over real sockets: framing, streams, trailers, hints, back-pressure."""

import asyncio
import socket
import threading
import time
from email.utils import parsedate_to_datetime
from typing import cast

import pytest

from process.lanes import (
    KINDS,
    Kind,
    Notes,
    answer,
    last,
    part,
    request,
    serving,
    start,
)
from serval.asgi.types import Receive, Scope, Send
from serval.net.unsent import LITTLE_BYTES
from serval.worker.connections.connection import HttpConnection
from serval.worker.connections.socket_connection import SocketConnection
from serval.worker.connections.wire import HIGH_WATER_BYTES


def test_a_response_of_unknown_length_is_chunked(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"one")
        await part(send, b"")
        await part(send, b"two")
        await last(send, b"three")

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        _, headers = client.read_head()
        chunks = list(iter(client.read_chunk, b""))

        assert headers[b"transfer-encoding"] == b"chunked"
        assert chunks == [b"one", b"two", b"three"]


def test_each_part_of_a_stream_leaves_at_once(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gates = [asyncio.Event() for _ in range(3)]
        notes.put(gates)
        await start(send)
        await part(send, b"")
        for gate in gates:
            await gate.wait()
            await part(send, b"x")
        await last(send)

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        assert client.read_head()[0] == 200
        for gate in notes.next():
            server.ask(gate.set)
            assert client.read_chunk() == b"x"
        assert client.read_chunk() == b""


def test_a_late_answer_has_the_date_of_its_own_time(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(1.02 - time.time() % 1.0)  # into the next second
        now = int(time.time())
        plain = [(b"content-length", b"%d" % len(str(now)))]
        await start(send, 200, *(plain if scope["path"] == "/plain" else []))
        await last(send, b"%d" % now)

    with serving(kind, app) as server:
        clients = [server.connect(), server.connect()]
        for client, path in zip(clients, ("/plain", "/chunked"), strict=True):
            client.send(request("GET", path))
        for client in clients:
            answer = client.read()

            date = parsedate_to_datetime(answer.headers[b"date"].decode())
            assert date.timestamp() >= int(answer.body)


@pytest.mark.parametrize("wanted", [True, False])
def test_trailers_go_to_those_who_want_them(kind: Kind, wanted: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "http.response.trailers" in scope["extensions"]
        await start(send, trailers=True)
        await last(send, b"body")
        for value, more in ((b"1", True), (b"2", False)):
            await send(
                {
                    "type": "http.response.trailers",
                    "headers": [(b"x-sum", value)],
                    "more_trailers": more,
                }
            )

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/", *(["TE: trailers"] if wanted else [])))
        client.read_head()
        body, trailers = client.read_chunks()

        assert body == b"body"
        assert trailers == (b"x-sum: 1\r\nx-sum: 2\r\n" if wanted else b"")


def test_early_hints_come_before_the_head(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        links = [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]
        await send({"type": "http.response.early_hint", "links": links})
        await answer(send, b"page")

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        hints = client.read_until(b"\r\n\r\n")

        assert hints.startswith(b"HTTP/1.1 103 ")
        assert hints.count(b"link: ") == 2
        assert client.read().body == b"page"


def test_a_large_download_comes_whole(kind: Kind) -> None:
    block = bytes(range(256)) * 256

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/whole":
            await answer(send, block * 128)
            return
        await start(send)
        for _ in range(128):
            await part(send, block)
        await last(send)

    with serving(kind, app) as server:
        client = server.connect()
        for path in ("/whole", "/parts"):
            assert client.get(path).body == block * 128


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.lane != "async"], ids=str)
def test_a_quick_reader_has_more_taken_ahead_of_it(kind: Kind) -> None:
    enough = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        while not enough.is_set():
            await part(send, bytes(HIGH_WATER_BYTES))
        await last(send)

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        client.read_head()
        sock = cast("SocketConnection", server.connection)._sock
        while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == LITTLE_BYTES:
            client.read_chunk()  # a machine that is busy may hold us up, but not always
        enough.set()
        client.read_chunks()
        client.close()
        server.at_rest()

        allowances = getattr(server.service, "front", server.service).allowances
        assert not allowances._much


def test_a_slow_reader_bounds_what_is_queued_and_stops_the_application(kind: Kind) -> None:
    notes = Notes()
    block = b"x" * HIGH_WATER_BYTES
    count = 512

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, 200, (b"content-length", b"%d" % (count * len(block))))
        for number in range(count):
            notes.put(number)
            await part(send, block)
        await last(send)

    def unsent(connection: HttpConnection) -> int:
        transport = getattr(connection, "_transport", None)
        held: int = transport.get_write_buffer_size() if transport is not None else 0
        return connection._out_bytes + held

    with serving(kind, app) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.send(request("GET", "/"))
        server.until(lambda: bool(server.service.connections) and server.connection.congested)
        queued = server.ask(lambda: unsent(server.connection))
        body = client.read().body

        assert 0 < queued <= 3 * HIGH_WATER_BYTES
        assert len(body) == count * len(block)
        assert not server.ask(lambda: server.connection.congested)


def test_who_pipelines_and_reads_nothing_gets_no_further_answers(kind: Kind) -> None:
    served = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal served
        served += 1
        await answer(send, b"x" * 60_000)

    with serving(kind, app) as server:
        client = server.connect(receive_buffer_bytes=4096)
        one = request("GET", "/")
        sent = 0
        while (count := client.send_at_once(one * 1000)) > 0:
            sent += count
            server.ask(lambda: None)
        server.until(lambda: server.connection.congested)
        before = server.ask(lambda: served)
        for _ in range(before + 10):
            assert len(client.read().body) == 60_000

        assert before < 200
        assert sent // len(one) > before + 10


def test_a_slow_reader_of_the_last_answer_sees_all_of_it_and_then_the_end(kind: Kind) -> None:
    body = b"x" * 5_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, body)

    with serving(kind, app) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.send(request("GET", "/", "Connection: close"))
        server.until(lambda: bool(server.service.connections) and server.connection.congested)

        assert client.read().body == body
        assert client.at_end()


def test_who_pipelines_and_leaves_is_answered_no_further(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    served = 0
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal served
        served += 1
        if served == 3:
            client.reset()
            notes.put("left")
        await answer(send, b"x" * HIGH_WATER_BYTES)

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/") * 40)
        assert notes.next() == "left"
        server.at_rest()

    assert served <= 4
    assert not caplog.records
