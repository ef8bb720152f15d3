"""An AsyncPool alone: run in a thread, given sockets by another one."""

import asyncio
import logging
import os
import socket
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from process.harness import needs_procfs
from process.lanes import (
    PATIENCE_SECONDS,
    Client,
    Collector,
    Notes,
    answer,
    echo,
    errors_of,
    last,
    part,
    request,
    start,
)
from serval import AsyncPool, HandoffRequest, ServerConfig, StreamingHandoff, WebSocketHandoff
from serval.asgi.types import ASGIApp, Receive, Scope, Send
from serval.async_pool import ConnectionHandoff
from serval.protocols.events import RequestReceived
from serval.protocols.http1 import H1Protocol

LOOPS = ["asyncio", "uvloop"]
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = request(
    "GET",
    "/chat",
    "Connection: upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


class Embedder:
    """Whoever runs a pool in a thread of its own."""

    def __init__(self, app: ASGIApp, loop_name: str, **settings: Any) -> None:
        self.stop = threading.Event()
        self.collector = Collector()
        self.pool = AsyncPool(
            ServerConfig(loop=loop_name, timeout_graceful_shutdown=1.0, **settings),  # type: ignore[arg-type]
            app,
            shutdown_event=self.stop,
            lifecycle_collector=self.collector,
        )
        self.thread = threading.Thread(target=self.pool.run, name="pool")
        self.clients: list[Client] = []

    def pair(self) -> tuple[Client, socket.socket]:
        """A client and the server's end of its connection."""
        ours, theirs = socket.socketpair()
        self.clients.append(Client(ours))
        return self.clients[-1], theirs

    def stream(self, path: str = "/", *, body: bytes = b"", **scope: Any) -> Client:
        """Hand over a request whose application has not been called."""
        client, conn = self.pair()
        self.pool.accept_handoff(StreamingHandoff(conn, scope_of(path, **scope), body, "id-1"))
        return client

    def chat(self, data: bytes = b"") -> Client:
        """Hand over an upgrade request."""
        client, conn = self.pair()
        parser = H1Protocol()
        parser.receive_data(UPGRADE + data)
        event = parser.next_event()
        assert isinstance(event, RequestReceived)
        scope = {**scope_of("/chat"), "type": "websocket", "subprotocols": []}
        del scope["method"]
        self.pool.accept_handoff(
            WebSocketHandoff(conn, event, ("client", 1), ("server", 2), scope, parser.trailing_data)
        )
        return client

    def join(self) -> None:
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive()


class LateHandoffs(deque[HandoffRequest]):
    """Handoffs of which one is brought just when the last seems to have been taken."""

    def __init__(self, late: HandoffRequest) -> None:
        super().__init__()
        self.late = [late]

    def __len__(self) -> int:
        count = super().__len__()
        if not count and self.late:
            self.append(self.late.pop())
        return count


def scope_of(path: str = "/", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"test")],
        "client": ("client", 1),
        "server": ("server", 2),
        "state": {},
        "extensions": {},
        **more,
    }


@contextmanager
def embedding(app: ASGIApp, loop_name: str, **settings: Any) -> Iterator[Embedder]:
    """A pool that runs to the end of the block."""
    embedder = Embedder(app, loop_name, **settings)
    embedder.thread.start()
    try:
        yield embedder
    finally:
        embedder.stop.set()
        for client in embedder.clients:
            client.close()
        embedder.join()


async def chatting(scope: Scope, receive: Receive, send: Send) -> None:
    """Echo messages until the client has gone."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


# --- handoffs ---------------------------------------------------------------------------------


def test_a_handed_over_request_is_answered_by_the_application(loop_name: str) -> None:
    calls: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append(scope)
        await echo(scope, receive, send)

    with embedding(app, loop_name) as embedder:
        client = embedder.stream("/path", method="POST", body=b"hello")

        assert client.read().body == b"POST /path hello"
        assert [one["path"] for one in calls] == ["/path"]
        assert calls[0]["client"] == ("client", 1)


def test_a_connection_is_kept_after_a_streamed_response(loop_name: str) -> None:
    calls = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        await start(send)
        for piece in (b"one", b"two"):
            await part(send, piece)
            await asyncio.sleep(0)
        await last(send, scope["path"].encode())

    with embedding(app, loop_name) as embedder:
        client = embedder.stream("/first")
        found = [client.read(), client.get("/second"), client.get("/third")]

        assert [one.body for one in found] == [b"onetwo" + path for path in PATHS]
        assert not any(one.closes for one in found)
        assert calls == 3


PATHS = (b"/first", b"/second", b"/third")


def test_what_was_pipelined_behind_a_handoff_is_answered_after_it(loop_name: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.01 if scope["path"] == "/first" else 0)
        await answer(send, scope["path"].encode())

    with embedding(app, loop_name) as embedder:
        client, conn = embedder.pair()
        client.send(request("GET", "/second") + request("GET", "/third"))
        embedder.pool.accept_handoff(StreamingHandoff(conn, scope_of("/first"), b"", None))

        assert tuple(client.read().body for _ in PATHS) == PATHS


def test_a_handoff_that_is_brought_while_others_are_taken_is_served(loop_name: str) -> None:
    with embedding(echo, loop_name) as embedder:
        client, conn = embedder.pair()
        late = StreamingHandoff(conn, scope_of("/late"), b"", None)
        embedder.pool._handoffs = LateHandoffs(late)

        assert embedder.stream("/first").read().body == b"GET /first "
        assert embedder.stream("/second").read().body == b"GET /second "  # its bringer would wake
        assert client.read().body == b"GET /late "


@pytest.mark.parametrize(
    ("version", "line", "closes"),
    [("1.1", b"close", True), ("1.0", b"keep-alive", False), ("1.0", b"x", True)],
)
def test_a_handoff_is_kept_as_its_headers_say(
    loop_name: str, version: str, line: bytes, closes: bool
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"x")

    with embedding(app, loop_name) as embedder:
        client = embedder.stream(http_version=version, headers=[(b"connection", line)])

        assert client.read().closes is closes


def test_a_request_is_called_in_logs_what_the_handoff_calls_it(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["extensions"]["serval"]["request_id"])
        raise ValueError("no")

    with embedding(app, loop_name) as embedder:
        assert embedder.stream("/broken").read().status == 500

    assert seen == ["id-1"]
    assert "GET '/broken' [id-1]" in caplog.text


def test_a_minimal_scope_will_do(loop_name: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["path"].encode())

    with embedding(app, loop_name) as embedder:
        client, conn = embedder.pair()
        scope = {"type": "http", "method": "GET", "path": "/bare", "headers": []}
        embedder.pool.accept_handoff(StreamingHandoff(conn, scope, b"", None))

        assert client.read().body == b"/bare"


def test_a_connection_is_handed_over_with_what_was_read_of_it(loop_name: str) -> None:
    with embedding(echo, loop_name) as embedder:
        whole = request("POST", "/", body=b"hello")
        client, conn = embedder.pair()
        client.send(whole[20:])
        embedder.pool.accept_handoff(ConnectionHandoff(conn, whole[:20], ("client", 1), None))
        silent, conn = embedder.pair()
        embedder.pool.accept_handoff(ConnectionHandoff(conn, b"", None, None))

        assert client.read().body == b"POST / hello"
        assert silent.get("/later").body == b"GET /later "


def test_a_websocket_is_handed_over_with_what_followed_its_request(loop_name: str) -> None:
    with embedding(chatting, loop_name) as embedder:
        client = embedder.chat(b"\x81\x82\0\0\0\0hi")
        assert client.read_head()[0] == 101

        assert client.read_exactly(4) == b"\x81\x02hi"
        client.send(b"\x81\x82\0\0\0\0ho")
        assert client.read_exactly(4) == b"\x81\x02ho"
        client.send(b"\x88\x82\0\0\0\0\x03\xe8")
        assert client.read_exactly(4) == b"\x88\x02\x03\xe8"
        assert client.at_end()


def least_median(once: Callable[[], float]) -> float:
    """Of three series: a busy machine spoils one, not all."""
    return min(statistics.median(once() for _ in range(40)) for _ in range(3))


@pytest.mark.alone
def test_the_first_byte_leaves_within_five_milliseconds(loop_name: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"first")
        await asyncio.sleep(0)
        await last(send)

    def once() -> float:
        client, conn = embedder.pair()
        handoff = StreamingHandoff(conn, scope_of(), b"", None)
        began_at = time.perf_counter()
        embedder.pool.accept_handoff(handoff)
        assert client.sock.recv(1) == b"H"
        return time.perf_counter() - began_at

    with embedding(app, loop_name) as embedder:
        assert least_median(once) < 0.005


@pytest.mark.alone
def test_the_first_message_of_a_websocket_leaves_within_five_milliseconds(loop_name: str) -> None:
    def once() -> float:
        began_at = time.perf_counter()
        client = embedder.chat()
        assert client.sock.recv(1) == b"H"
        return time.perf_counter() - began_at

    with embedding(chatting, loop_name) as embedder:
        assert least_median(once) < 0.005


def test_a_client_that_left_meanwhile_does_no_harm(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with embedding(chatting, loop_name) as embedder:
        gone, conn = embedder.pair()
        gone.close()
        conn.close()
        embedder.pool.accept_handoff(StreamingHandoff(conn, scope_of(), b"", None))
        client = embedder.chat()

        assert client.read_head()[0] == 101
    assert errors_of(caplog.records) == []


# --- state, collector -------------------------------------------------------------------------


def test_requests_get_a_shallow_copy_of_the_pools_state(loop_name: str) -> None:
    notes = Notes()
    shared: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put(dict(scope["state"]))
        scope["state"]["own"] = 1
        scope["state"]["shared"].append(scope["path"])
        await answer(send)

    embedder = Embedder(app, loop_name)
    embedder.pool.set_lifespan_state({"shared": shared})
    embedder.thread.start()
    client = embedder.stream("/a", state={"not": "ours"})
    client.read()
    client.get("/b")
    embedder.stop.set()
    embedder.join()
    client.close()

    assert [notes.next(), notes.next()] == [{"shared": shared}] * 2
    assert shared == ["/a", "/b"]


def test_the_state_may_be_set_while_the_pool_runs(loop_name: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, repr(scope["state"]).encode())

    with embedding(app, loop_name) as embedder:
        given = embedder.stream(state={"given": 1}).read().body
        embedder.pool.set_lifespan_state({"set": 1})

        assert given == b"{'given': 1}"
        assert embedder.stream(state={"given": 1}).read().body == b"{'set': 1}"


def test_a_collector_hears_of_handoffs(loop_name: str) -> None:
    with embedding(echo, loop_name) as embedder:
        client = embedder.stream()
        client.read()
        client.close()
    names = [type(one).__name__ for one in embedder.collector.events]

    assert names == ["ConnectionOpened", "RequestStarted", "RequestFinished", "ConnectionClosed"]


def test_a_failing_collector_harms_nobody(loop_name: str, caplog: pytest.LogCaptureFixture) -> None:
    with embedding(echo, loop_name) as embedder:
        embedder.collector.events = None  # type: ignore[assignment]
        body = embedder.stream().read().body

        assert body == b"GET / "
    assert "collector failed" in errors_of(caplog.records)[0]


# --- waiting ----------------------------------------------------------------------------------


def switches(thread: threading.Thread) -> int:
    """How often a thread has gone to sleep."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


@needs_procfs
def test_an_idle_pool_is_not_woken_and_uses_no_processor(loop_name: str) -> None:
    with embedding(echo, loop_name) as embedder:
        client = embedder.stream()
        client.read()  # an idle connection must not cost either
        time.sleep(1.2)  # the Date field is true to the end of its second
        clock = time.pthread_getcpuclockid(embedder.thread.ident or 0)
        before = (switches(embedder.thread), time.clock_gettime(clock))
        time.sleep(1.0)
        after = (switches(embedder.thread), time.clock_gettime(clock))

        assert after[0] == before[0]
        assert after[1] - before[1] < 0.01 / os.cpu_count()  # type: ignore[operator]
        assert client.get("/").body == b"GET / "


# --- start and stop ---------------------------------------------------------------------------


def test_what_is_handed_over_before_the_start_is_served(loop_name: str) -> None:
    embedder = Embedder(echo, loop_name)
    client = embedder.stream("/early")
    embedder.thread.start()

    assert client.read().body == b"GET /early "
    embedder.stop.set()
    embedder.join()
    client.close()


@pytest.mark.parametrize("first", [True, False], ids=["before", "during"])
def test_the_event_stops_the_pool_at_once(loop_name: str, first: bool) -> None:
    embedder = Embedder(echo, loop_name)
    if first:
        embedder.stop.set()
    embedder.thread.start()
    if not first:
        client = embedder.stream()
        client.read()
        embedder.stop.set()
        assert client.at_end()
        client.close()

    embedder.join()


def test_a_request_to_stop_needs_no_event(loop_name: str) -> None:
    for asked_first in (True, False):
        pool = AsyncPool(ServerConfig(loop=loop_name), echo)  # type: ignore[arg-type]
        thread = threading.Thread(target=pool.run)
        if asked_first:
            pool.request_stop()
        thread.start()
        if not asked_first:
            pool.request_stop()
            while thread.is_alive():  # it may have come before the loop did
                pool.request_stop()
                thread.join(0.01)
        thread.join(PATIENCE_SECONDS)

        assert not thread.is_alive()
        pool.request_stop()  # once more does no harm


def test_a_running_stream_is_finished_before_the_pool_stops(loop_name: str) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gate = asyncio.Event()
        notes.put((asyncio.get_running_loop(), gate))
        await start(send)
        await part(send, b"one")
        await gate.wait()
        await last(send, b"two")

    embedder = Embedder(app, loop_name)
    embedder.thread.start()
    client = embedder.stream()
    loop, gate = notes.next()
    client.read_head()
    assert client.read_chunk() == b"one"
    embedder.stop.set()
    loop.call_soon_threadsafe(gate.set)

    assert client.read_chunk() == b"two"
    assert client.read_to_end() == b"0\r\n\r\n"
    embedder.join()
    client.close()


def test_a_handoff_in_the_moment_of_the_stop_is_served(loop_name: str) -> None:
    with embedding(chatting, loop_name) as embedder:
        client, conn = embedder.pair()

        async def both() -> None:
            embedder.pool._stop.set()
            embedder.pool.take(ConnectionHandoff(conn, request("GET", "/"), None, None))

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, b"the last")

        embedder.stream("/", type="http")  # so that there is a service
        while embedder.pool._service is None:
            time.sleep(0.001)
        service = embedder.pool._service
        service.app = app
        asyncio.run_coroutine_threadsafe(both(), service.loop).result(PATIENCE_SECONDS)
        found = client.read()

        assert found.body == b"the last"
        assert found.closes


def test_what_is_handed_over_after_the_stop_is_closed(loop_name: str) -> None:
    embedder = Embedder(echo, loop_name)
    embedder.thread.start()
    embedder.stop.set()
    embedder.join()
    client = embedder.stream()

    assert client.at_end()
    client.close()


def test_the_wait_for_an_application_that_does_not_end_is_bounded(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            notes.put("cancelled")
            raise

    embedder = Embedder(app, loop_name)
    embedder.thread.start()
    client = embedder.stream()
    assert notes.next() == "began"
    began_at = time.monotonic()
    embedder.stop.set()
    embedder.join()

    assert notes.next() == "cancelled"
    assert 0.9 < time.monotonic() - began_at < 5
    assert client.read().status == 503
    client.close()
    assert [one.levelno for one in caplog.records if one.name == "serval.error"] == [
        logging.WARNING
    ]
