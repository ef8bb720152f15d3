"""What travels over a connection, on both lanes and both event loops."""

import asyncio

import pytest

from process.lanes import (
    Kind,
    answer,
    echo,
    errors_of,
    last,
    part,
    request,
    serving,
    start,
)
from serval.access_log import AccessLog, Finished
from serval.asgi.types import Receive, Scope, Send
from serval.worker.connections.wire import State

# --- many requests ----------------------------------------------------------------------------


def test_a_connection_carries_many_requests(kind: Kind) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        answers = [client.get(f"/{number}") for number in range(5)]

        assert [one.body for one in answers] == [b"GET /%d " % number for number in range(5)]
        assert not any(one.closes for one in answers)
        assert server.ask(lambda: server.service.stats.requests) == 5


def test_pipelined_requests_are_answered_in_order(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/0":
            await asyncio.sleep(0.01)  # the first is the slowest
        await echo(scope, receive, send)

    with serving(kind, app) as server:
        client = server.connect()
        paths = [f"/{number}" for number in range(200)]
        client.send(b"".join(request("GET", path) for path in paths))

        assert [client.read().body for _ in paths] == [f"GET {path} ".encode() for path in paths]


@pytest.mark.parametrize("count", [1, 3, 200])
@pytest.mark.parametrize("waits", [True, False])
def test_pipelined_requests_are_answered_although_an_end_follows(
    kind: Kind, count: int, waits: bool
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if waits:
            await asyncio.sleep(0)
        await answer(send, scope["path"].encode())

    with serving(kind, app) as server:
        client = server.connect()
        client.send(b"".join(request("GET", f"/{number}") for number in range(count)))
        client.shut()

        bodies = [client.read().body for _ in range(count)]
        assert bodies == [b"/%d" % number for number in range(count)]
        assert client.at_end()
        server.at_rest()


def test_half_a_head_before_an_end_is_dropped(kind: Kind) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        client.send(request("GET", "/whole") + b"GET /half HTTP/1.1\r\nHo")
        client.shut()

        assert client.read().body == b"GET /whole "
        assert client.at_end()
        server.at_rest()


def test_a_request_in_single_bytes_is_served(kind: Kind) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        for byte in request("POST", "/", body=b"hello"):
            client.send(bytes([byte]))

        assert client.read().body == b"POST / hello"


@pytest.mark.parametrize("line", ["Connection: close", "Connection: Keep-Alive, CLOSE"])
def test_a_client_that_wants_to_close_is_told_so(kind: Kind, line: str) -> None:
    with serving(kind, echo) as server:
        client = server.connect()

        assert client.get("/", line).closes
        assert client.at_end()


def test_an_application_can_close_the_connection(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"bye", 200, (b"connection", b"close"))

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/") * 2)
        found = client.read()

        assert found.closes
        assert found.body == b"bye"
        assert client.at_end()
        assert server.ask(lambda: server.service.stats.requests) == 1


def test_nothing_is_served_after_a_mistake(kind: Kind) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        client.send(b"GET / HTTP/9.9\r\n\r\n" + request("GET", "/"))
        found = client.read()

        assert found.status == 505
        assert found.closes
        assert client.at_end()
        assert server.ask(lambda: server.service.stats.requests) == 0


# --- HTTP/1.0, HEAD ---------------------------------------------------------------------------


def test_http_1_0_closes_unless_it_is_asked_not_to(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["http_version"].encode())

    with serving(kind, app) as server:
        plain = server.connect()
        plain.send(request("GET", "/", version="1.0"))
        kept = server.connect()
        kept.send(request("GET", "/", "Connection: keep-alive", version="1.0") * 2)

        assert plain.read().closes
        assert plain.at_end()
        for _ in range(2):
            found = kept.read()
            assert found.headers[b"connection"] == b"keep-alive"
            assert found.body == b"1.0"


def test_a_stream_to_http_1_0_ends_with_the_connection(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for piece in (b"one ", b"two ", b"three"):
            await part(send, piece)
        await last(send)

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/", "Connection: keep-alive", version="1.0"))
        status, headers = client.read_head()

        assert status == 200
        assert headers[b"connection"] == b"close"
        assert b"transfer-encoding" not in headers
        assert client.read_to_end() == b"one two three"


def test_head_has_the_fields_of_get_and_no_body(kind: Kind) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        client.send(request("HEAD", "/x"))
        status, headers = client.read_head()
        after = client.get("/y")

        assert status == 200
        assert headers[b"content-length"] == b"8"
        assert after.body == b"GET /y "


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_gets_none(
    kind: Kind, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"not to be sent", status)

    with serving(kind, app) as server:
        client = server.connect()
        for _ in range(3):
            found = client.get("/route")
            assert found.status == status
            assert (b"content-length" in found.headers) is (status == 304)

        client.send(request("GET", "/"))
        client.read_head()
    assert [line for line in errors_of(caplog.records) if "/route" in line] == [
        f"a {status} response has no body: 14 bytes dropped: GET '/route'"
    ]


# --- what is told of it -----------------------------------------------------------------------


def test_a_collector_hears_of_connections_and_requests(kind: Kind) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        client.get("/a")
        client.close()
        server.at_rest()

        events = [type(one).__name__ for one in server.collector.events]
        assert events == [
            "ConnectionOpened",
            "RequestStarted",
            "RequestFinished",
            "ConnectionClosed",
        ]


def test_each_request_is_logged_at_its_end(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    found: list[tuple[Finished, Scope, str]] = []

    class Log(AccessLog):
        def __init__(self) -> None:
            """Nothing of the real one is needed."""

        def finished(
            self, source: object, exchange: Finished, scope: Scope, started_at: float, cause: str
        ) -> None:
            found.append((exchange, scope, cause))

    with serving(kind, echo, access_log=Log()) as server:
        client = server.connect()
        client.send(request("POST", "/a", body=b"hello"))
        client.read()

    [(exchange, scope, cause)] = found
    assert scope["path"] == "/a"
    assert exchange.status == 200
    assert exchange.received_bytes == 5
    assert exchange.sent_bytes == len(b"POST /a hello")
    assert cause == ""


def test_the_state_of_an_idle_connection_is_idle(kind: Kind) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        client.get("/")

        server.until(lambda: server.connection.state is State.IDLE)
        assert server.ask(lambda: server.connection.exchange) is None
