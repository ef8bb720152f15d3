"""Deadlines and the stop of the server, over real sockets."""

import asyncio
import time

import pytest

from process.lanes import (
    Answer,
    Client,
    Kind,
    Notes,
    answer,
    echo,
    errors_of,
    last,
    part,
    read_body,
    request,
    serving,
    start,
    waiting,
)
from serval.asgi.types import Receive, Scope, Send
from serval.errors import ClientDisconnected

MEBIBYTE = 1 << 20


# --- deadlines --------------------------------------------------------------------------------


def test_a_head_that_does_not_end_is_a_408(kind: Kind) -> None:
    with serving(kind, echo, timeout_headers=0.1) as server:
        slow = server.connect()
        slow.send(b"GET / HTTP/1.1\r\nHo")
        silent = server.connect()

        assert slow.read().status == 408
        assert slow.at_end()
        assert silent.at_end()


def test_a_body_that_does_not_come_is_a_408_and_the_application_hears_of_it(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put(await waiting(receive))

    with serving(kind, app, timeout_body_idle=0.1) as server:
        client = server.connect()
        client.send(request("POST", "/", "Content-Length: 10") + b"12345")

        assert client.read().status == 408
        assert notes.next() == {"type": "http.disconnect"}
        assert client.at_end()


def test_a_body_that_does_not_come_ends_a_response_that_has_begun(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await start(send)
        await part(send, b"so far")
        notes.put(await waiting(receive))
        with pytest.raises(ClientDisconnected):
            await last(send)

    with serving(kind, app, timeout_body_idle=0.1) as server:
        client = server.connect()
        client.send(request("POST", "/", "Content-Length: 10") + b"12345")
        client.read_head()

        assert client.read_chunk() == b"so far"
        assert client.at_end()
        assert notes.next() == {"type": "http.disconnect"}
        server.at_rest()
    assert errors_of(caplog.records) == []


def test_an_idle_connection_is_closed_in_time_and_a_working_one_is_not(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await asyncio.sleep(0.6)
        await answer(send, scope["path"].encode())

    with serving(kind, app, timeout_keep_alive=0.1, timeout_headers=0.1) as server:
        slow = server.connect()
        slow.get("/")
        slow.send(request("GET", "/slow"))
        idle = server.connect()
        idle.get("/")

        assert idle.at_end()
        assert slow.read().body == b"/slow"
        assert slow.at_end()


def test_a_request_that_crosses_the_end_of_an_idle_wait_is_served(kind: Kind) -> None:
    with serving(kind, echo, timeout_keep_alive=0.1) as server:
        client = server.connect()
        client.get("/")

        async def hold_up() -> None:
            client.send(request("GET", "/late"))
            time.sleep(0.5)  # noqa: ASYNC251 - the loop is held up beyond the wait

        server.run(hold_up)

        assert client.read().body == b"GET /late "


def test_a_client_that_reads_nothing_is_given_up(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        try:
            while True:
                await part(send, b"x" * 65_536)
        except ClientDisconnected:
            notes.put("gone")
            raise

    with serving(kind, app, timeout_write_idle=0.2) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.send(request("GET", "/"))

        assert notes.next() == "gone"
        server.at_rest()
        assert server.ask(lambda: server.service.connections) == set()


def test_a_client_that_reads_slowly_but_steadily_is_not_given_up(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, 200, (b"content-length", b"%d" % (8 * MEBIBYTE)))
        for _ in range(8):
            await part(send, b"x" * MEBIBYTE)

    # It takes so little at a time that the socket has room for more but rarely.
    with serving(kind, app, timeout_write_idle=0.8) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.send(request("GET", "/"))
        client.read_head()
        end_at = time.monotonic() + 1.5
        received = 0
        while time.monotonic() < end_at:
            received += len(client.read_exactly(2_000))
            time.sleep(0.05)

        assert received < MEBIBYTE
        assert len(client.read_exactly(8 * MEBIBYTE - received)) == 8 * MEBIBYTE - received


def test_a_closing_connection_waits_for_a_reader_only_so_long(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"x" * (8 * MEBIBYTE), 200, (b"connection", b"close"))

    with serving(kind, app, timeout_write_idle=0.2) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.send(request("GET", "/"))
        server.until(lambda: server.service.stats.requests == 1)
        server.at_rest()

        with pytest.raises((EOFError, ConnectionResetError)):
            client.read()


# --- the stop ---------------------------------------------------------------------------------


def test_a_drain_closes_idle_connections_and_ends_working_ones_with_their_answer(
    kind: Kind,
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/work":
            gate = asyncio.Event()
            notes.put(gate.set)
            await gate.wait()
        await answer(send, b"done")

    with serving(kind, app) as server:
        idle = server.connect()
        idle.get("/")
        working = server.connect()
        working.send(request("GET", "/work"))
        finish = notes.next()
        server.drain()
        assert idle.at_end()
        server.ask(finish)
        found = working.read()

        assert found.body == b"done"
        assert found.closes
        assert working.at_end()


def test_a_request_in_a_drain_is_not_told_that_its_client_left(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        waiter = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        notes.put(waiter.done())
        await answer(send, b"served")
        await waiter

    with serving(kind, app) as server:
        client = server.connect()
        server.until(lambda: server.service.connections != set())
        server.drain()  # accepted, and not heard of yet
        found = client.get("/")

        assert found.body == b"served"
        assert found.closes
        assert notes.next() is False


def test_dismissed_applications_end_quietly_with_a_503(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        await waiting(receive)
        if scope["path"] == "/raise":
            raise ValueError("disconnected")

    def dismiss() -> None:
        for connection in list(server.service.connections):
            connection.disconnect()

    with serving(kind, app) as server:
        clients: list[Client] = []
        for path in ("/return", "/raise"):
            clients.append(server.connect())
            clients[-1].send(request("GET", path))
            assert notes.next() == "began"
        server.ask(dismiss)

        assert [client.read().status for client in clients] == [503, 503]
    assert errors_of(caplog.records) == []


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_abort_answers_503_and_cancels(
    kind: Kind, stubborn: bool, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not stubborn:
                raise
        await answer(send, b"all the same")
        notes.put("sent")

    def abort() -> None:
        server.service.draining = True
        for connection in list(server.service.connections):
            connection.abort()

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        assert notes.next() == "began"
        server.ask(abort)
        found: Answer = client.read()

        assert found.status == 503
        assert found.closes
        assert client.at_end()
        server.at_rest()
    assert notes.empty is not stubborn
    assert errors_of(caplog.records) == []
