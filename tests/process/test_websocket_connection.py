"""The shell of a WebSocket over a real socket pair, on both event loops."""

import asyncio
import contextvars
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import trustme
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from serval.asgi.types import ASGIApp, Message, Receive, Scope, Send
from serval.config import ServerConfig
from serval.errors import AppError, ClientDisconnected
from serval.lifecycle import (
    ConnectionClosed as TransportClosed,
)
from serval.lifecycle import (
    LifecycleEvent,
    RequestFinished,
    RequestStarted,
)
from serval.protocols.events import RequestReceived
from serval.protocols.http1 import H1Protocol
from serval.worker.connections.websocket import WebSocketConnection, handle_websocket
from serval.worker.loops import loop_factory
from serval.worker.service import Service

Runner = Callable[[Coroutine[Any, Any, None]], None]

REQUEST = (
    b"GET /chat HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HI = b"\x81\x82\0\0\0\0hi"


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Runner]:
    factory = loop_factory(request.param)
    with asyncio.Runner(loop_factory=factory, debug=request.param == "asyncio") as runner:
        yield lambda main: runner.run(asyncio.wait_for(main, 20))


class Serving:
    """A service, and the WebSockets of it."""

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self.loop = asyncio.get_running_loop()
        self.service = Service(app, config, self.loop)
        self.sessions: list[asyncio.Task[None]] = []

    async def open(self) -> socket.socket:
        """The client's end of a new connection; served once its request has come."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.sessions.append(self.loop.create_task(self._serve(ours)))
        return theirs

    async def _serve(self, sock: socket.socket) -> None:
        parser = H1Protocol()
        event = None
        while event is None:
            parser.receive_data(await self.loop.sock_recv(sock, 65_536))
            event = parser.next_event()
        assert isinstance(event, RequestReceived)
        scope = {
            "type": "websocket",
            "path": event.target.decode(),
            "headers": event.headers,
            "client": ("test", 1),
            "state": {},
        }
        await handle_websocket(
            self.service, event, scope, sock=sock, data=bytes(parser.trailing_data)
        )

    async def connect(self, **options: Any) -> ClientConnection:
        return await connect("ws://test/chat", sock=await self.open(), proxy=None, **options)

    @property
    def connection(self) -> WebSocketConnection:
        (connection,) = self.service.connections
        assert isinstance(connection, WebSocketConnection)
        return connection


@asynccontextmanager
async def serving(app: ASGIApp, **config: Any) -> AsyncIterator[Serving]:
    """All sessions must have come to their end by the end."""
    server = Serving(app, ServerConfig(**config))
    yield server
    await asyncio.gather(*server.sessions)
    await asyncio.sleep(0)
    assert server.service.connections == set()
    assert server.service.tasks == set()
    assert server.service.stats.websockets == 0


async def raw(
    server: Serving, data: bytes = REQUEST
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(sock=await server.open())
    writer.write(data)
    return reader, writer


async def accepted(reader: asyncio.StreamReader) -> None:
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def shut(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):  # the server was quicker
        await writer.wait_closed()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"], "bytes": message["bytes"]})


def until_told(then: Callable[[Receive, Send], Awaitable[None]]) -> tuple[ASGIApp, list[Message]]:
    """An application that accepts, does something and receives to the end; what it was told."""
    told: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await then(receive, send)
        while not told or told[-1]["type"] != "websocket.disconnect":
            told.append(await receive())

    return app, told


async def nothing(receive: Receive, send: Send) -> None:
    pass


def disconnect(code: int, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_of_every_size_come_back(run: Runner, compression: str | None) -> None:
    async def main() -> None:
        async with (
            serving(echo) as server,
            await server.connect(compression=compression) as client,
        ):
            for message in ("hi", "", b"", "\u00e9" * 300, b"\0" * 70_000, "a" * 900_000):
                await client.send(message)
                assert await client.recv() == message
            await client.send(["frag", "ment", "ed"])
            assert await client.recv() == "fragmented"
            await (await client.ping())

    run(main())


def test_data_that_came_with_the_request_is_not_lost(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as server:
            reader, writer = await raw(server, REQUEST + HI)
            await accepted(reader)
            assert await reader.readexactly(4) == b"\x81\x02hi"
            await shut(writer)

    run(main())


def test_a_bad_handshake_never_reaches_the_application(run: Runner) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("called")

    async def main() -> None:
        async with serving(app) as server:
            reader, writer = await raw(server, REQUEST.replace(b"version: 13", b"version: 12"))
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 426 ")
            assert b"sec-websocket-version: 13\r\n" in answer
            await shut(writer)
            assert server.service.stats.rejected == 1

    run(main())


def test_closing_before_accepting_is_a_403(run: Runner) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})
        assert await receive() == disconnect(1006)

    async def main() -> None:
        async with serving(app) as server:
            with pytest.raises(InvalidStatus) as refused:
                await server.connect()
            assert refused.value.response.status_code == 403

    run(main())


def test_a_denial_is_the_applications_own_response(run: Runner) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you"})

    async def main() -> None:
        async with serving(app) as server:
            with pytest.raises(InvalidStatus) as refused:
                await server.connect()
            assert refused.value.response.status_code == 401
            assert refused.value.response.body == b"who are you"

    run(main())


def test_an_application_that_raises_before_accepting_is_a_500_and_logged_once(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("mine")

    async def main() -> None:
        async with serving(app) as server:
            with pytest.raises(InvalidStatus) as refused:
                await server.connect()
            assert refused.value.response.status_code == 500

    run(main())
    (record,) = [one for one in caplog.records if one.name == "serval.error"]
    assert record.getMessage() == "app raised in a websocket session: '/chat'"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


@pytest.mark.parametrize(("raises", "code"), [(True, 1011), (False, 1000)])
def test_the_end_of_the_application_is_a_close_code(
    run: Runner, raises: bool, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        if raises:
            raise ValueError("mine")

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == code

    run(main())
    assert len([one for one in caplog.records if one.name == "serval.error"]) == raises


def test_the_peers_close_reaches_the_application(run: Runner) -> None:
    app, told = until_told(nothing)

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.close(4000, "enough")

    run(main())
    assert told == [disconnect(4000, "enough")]


def test_a_lost_connection_reaches_the_application_and_its_sends(run: Runner) -> None:
    raised: list[type[BaseException]] = []

    async def send_after_the_end(receive: Receive, send: Send) -> None:
        assert await receive() == disconnect(1006)
        try:
            await send({"type": "websocket.send", "text": "late"})
        except ClientDisconnected as error:
            raised.append(type(error))

    app, told = until_told(send_after_the_end)

    async def main() -> None:
        async with serving(app) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            await shut(writer)

    run(main())
    assert raised == [ClientDisconnected]
    assert told == [disconnect(1006)]


def test_an_escaped_disconnect_is_no_error(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        await receive()
        await send({"type": "websocket.send", "text": "late"})

    async def main() -> None:
        async with serving(app) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            await shut(writer)

    run(main())
    assert caplog.records == []


def test_a_client_that_leaves_before_the_answer_is_told(run: Runner) -> None:
    told: list[Message] = []
    here = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(await receive())
        here.set()
        told.append(await receive())

    async def main() -> None:
        async with serving(app) as server:
            _, writer = await raw(server)
            await here.wait()
            await shut(writer)

    run(main())
    assert told == [{"type": "websocket.connect"}, disconnect(1006)]


def test_a_message_out_of_turn_raises_out_of_send(run: Runner) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(AppError, match="in phase CONNECTING; legal: "):
            await send({"type": "websocket.send", "text": "early"})
        await send({"type": "websocket.accept"})
        with pytest.raises(AppError, match="neither bytes nor text"):
            await send({"type": "websocket.send"})
        await send({"type": "websocket.send", "text": "fine"})

    async def main() -> None:
        async with (
            serving(app) as server,
            await server.connect() as client,
        ):
            assert await client.recv() == "fine"

    run(main())


def test_several_tasks_may_receive_and_send_at_once(run: Runner) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

        async def answer() -> None:
            message = await receive()
            await send({"type": "websocket.send", "text": message["text"]})

        impatient = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(*(answer() for _ in range(5)))

    async def main() -> None:
        async with (
            serving(app) as server,
            await server.connect() as client,
        ):
            for number in range(5):
                await client.send(str(number))
            assert sorted([await client.recv() for _ in range(5)]) == list("01234")

    run(main())


def test_a_ping_is_answered_while_the_application_is_busy(run: Runner) -> None:
    release = asyncio.Event()

    async def busy(receive: Receive, send: Send) -> None:
        await release.wait()

    app, _ = until_told(busy)

    async def main() -> None:
        async with (
            serving(app) as server,
            await server.connect() as client,
        ):
            await (await client.ping())
            release.set()

    run(main())


@pytest.mark.parametrize("early", [0, 4], ids=["later", "from the first"])
def test_an_application_that_does_not_receive_stops_the_peer(run: Runner, early: int) -> None:
    release = asyncio.Event()

    async def busy(receive: Receive, send: Send) -> None:
        await release.wait()

    app, told = until_told(busy)

    async def main() -> None:
        async with serving(app, ws_max_queue=4) as server:
            reader, writer = await raw(server, REQUEST + HI * early)
            await accepted(reader)
            sent = 0
            writer.transport.set_write_buffer_limits(0)
            while True:
                writer.write(b"\x82\xfe\xff\xff\0\0\0\0" + bytes(65_535))
                sent += 1
                try:
                    await asyncio.wait_for(writer.drain(), 0.3)
                except TimeoutError:
                    break
                assert sent < 100  # what the kernel's buffers hold is far less
            release.set()
            await writer.drain()
            writer.write(b"\x88\x80\0\0\0\0")
            assert await reader.readexactly(2) == b"\x88\x00"
            await shut(writer)
            assert len(told) == early + sent + 1

    run(main())
    assert told[-1] == disconnect(1005)


def test_a_peer_that_does_not_read_stops_the_application_and_is_cut(run: Runner) -> None:
    sent: list[int] = []

    async def flood(receive: Receive, send: Send) -> None:
        while True:
            await send({"type": "websocket.send", "bytes": bytes(65_536)})
            sent.append(1)
            assert len(sent) < 200

    app, _ = until_told(flood)

    async def main() -> None:
        async with serving(app, timeout_write_idle=0.3) as server:
            sock = await server.open()
            await server.loop.sock_sendall(sock, REQUEST)
            await asyncio.gather(*server.sessions)
            sock.close()

    run(main())
    assert sent


def test_a_peer_that_reads_slowly_is_not_cut(run: Runner) -> None:
    count = 40

    async def flood(receive: Receive, send: Send) -> None:
        for _ in range(count):
            await send({"type": "websocket.send", "bytes": bytes(65_536)})

    app, told = until_told(flood)

    async def main() -> None:
        async with serving(app, timeout_write_idle=0.5, ws_per_message_deflate=False) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            for _ in range(count):
                await asyncio.sleep(0.05)
                await reader.readexactly(65_536 + 10)
            writer.write(b"\x88\x80\0\0\0\0")
            await shut(writer)

    run(main())
    assert told == [disconnect(1005)]


def test_pings_of_a_peer_that_does_not_read_do_not_pile_up(run: Runner) -> None:
    app, _ = until_told(nothing)

    async def main() -> None:
        async with serving(app) as server:
            sock = await server.open()
            await server.loop.sock_sendall(sock, REQUEST)
            ping = b"\x89\xfd\0\0\0\0" + bytes(125)
            for _ in range(400):
                await server.loop.sock_sendall(sock, ping * 100)
            transport = server.connection._transport
            assert transport.get_write_buffer_size() < 1_000_000
            sock.close()

    run(main())


def test_a_peer_that_does_not_answer_our_close_is_cut_after_the_timeout(run: Runner) -> None:
    async def close(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": 4000})

    app, told = until_told(close)

    async def main() -> None:
        async with serving(app, ws_close_timeout=0.2) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            assert await reader.read() == b"\x88\x02\x0f\xa0"
            await shut(writer)

    run(main())
    assert told == [disconnect(1006)]


def test_a_silent_peer_is_pinged_and_given_up(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serval.error")
    app, told = until_told(nothing)

    async def main() -> None:
        async with serving(app, ws_ping_interval=0.1, ws_ping_timeout=0.2) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            told_peer = await reader.read()
            assert told_peer == b"\x89\x06serval\x88\x0e\x03\xf3ping timeout"
            await shut(writer)

    run(main())
    assert told == [disconnect(1006, "ping timeout")]
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_a_peer_that_answers_pings_lives_on(run: Runner) -> None:
    async def main() -> None:
        async with (
            serving(echo, ws_ping_interval=0.05, ws_ping_timeout=0.1) as server,
            await server.connect() as client,
        ):
            await asyncio.sleep(0.5)
            await client.send("alive")
            assert await client.recv() == "alive"

    run(main())


def test_no_pings_are_sent_where_they_are_off(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo, ws_ping_interval=0) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            assert server.connection._timer is None
            await shut(writer)

    run(main())


def test_a_violation_is_answered_though_more_data_comes(run: Runner) -> None:
    app, told = until_told(nothing)

    async def main() -> None:
        async with serving(app) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            writer.write(b"\x81\x02hi" + HI * 1000)
            await writer.drain()
            writer.write(HI * 10_000)
            assert await reader.read() == b"\x88\x11\x03\xeaframe-malformed"
            await shut(writer)

    run(main())
    assert told == [disconnect(1002, "frame-malformed")]


def test_what_came_before_a_violation_is_answered(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            writer.write(HI + b"\x81\x02hi")
            assert await reader.read() == b"\x81\x02hi\x88\x11\x03\xeaframe-malformed"
            await shut(writer)

    run(main())


def test_a_violation_fails_the_connection_of_an_application_that_never_receives(
    run: Runner,
) -> None:
    release = asyncio.Event()

    async def busy(receive: Receive, send: Send) -> None:
        await release.wait()

    app, told = until_told(busy)

    async def main() -> None:
        async with serving(app) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            writer.write(HI + b"\x81\x02hi")
            assert await reader.read() == b"\x88\x11\x03\xeaframe-malformed"
            release.set()
            await shut(writer)

    run(main())
    assert told[-1] == disconnect(1002, "frame-malformed")


@pytest.mark.parametrize("code", [1001, 1012])
def test_a_stop_closes_open_sessions_with_the_code_that_is_set(run: Runner, code: int) -> None:
    app, told = until_told(nothing)

    async def main() -> None:
        async with serving(app, ws_shutdown_code=str(code)) as server:
            client = await server.connect()
            server.connection.drain()
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == code

    run(main())
    assert told == [disconnect(code)]


def test_a_session_that_is_left_no_time_is_closed_with_the_code_that_is_set(run: Runner) -> None:
    app, told = until_told(nothing)

    async def main() -> None:
        async with serving(app, ws_shutdown_code="1001") as server:
            client = await server.connect()
            server.connection.disconnect()
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1001

    run(main())
    assert told == [disconnect(1001)]


def test_a_stop_refuses_what_is_not_accepted_with_503(run: Runner) -> None:
    told: list[Message] = []
    here = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        here.set()
        told.append(await receive())

    async def main() -> None:
        async with serving(app) as server:
            reader, writer = await raw(server)
            await here.wait()
            server.connection.drain()
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            await shut(writer)

    run(main())
    assert told == [disconnect(1012)]


def test_an_upgrade_that_comes_while_stopping_never_reaches_the_application(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as server:
            server.service.draining = True
            reader, writer = await raw(server)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            await shut(writer)

    run(main())


def test_the_second_phase_of_a_stop_tells_the_application_at_once(run: Runner) -> None:
    app, told = until_told(nothing)

    async def main() -> None:
        async with serving(app, ws_close_timeout=0.2) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            server.connection.drain()
            server.connection.disconnect()
            assert await reader.read() == b"\x88\x02\x03\xf4"
            await shut(writer)

    run(main())
    assert told == [disconnect(1012)]


def test_an_abort_cancels_the_application(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    cancelled: list[bool] = []

    async def forever(receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    app, _ = until_told(forever)

    async def main() -> None:
        async with serving(app) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            server.connection.abort()
            assert await reader.read() == b""
            await shut(writer)

    run(main())
    assert cancelled == [True]
    assert caplog.records == []


def test_context_variables_of_the_lifespan_are_seen_and_not_shared(run: Runner) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(variable.get())
        variable.set("of one session")
        await send({"type": "websocket.accept"})
        seen.append(variable.get())

    async def main() -> None:
        async with serving(app) as server:
            server.service.context.run(variable.set, "of the lifespan")
            for _ in range(2):
                async with await server.connect():
                    pass

    run(main())
    assert seen == ["of the lifespan", "of one session"] * 2


def test_a_session_cancelled_from_outside_is_dropped(run: Runner) -> None:
    async def main() -> None:
        server = Serving(echo, ServerConfig())
        reader, writer = await raw(server)
        await accepted(reader)
        (session,) = server.sessions
        session.cancel()
        assert await reader.read() == b""
        await shut(writer)
        await asyncio.gather(session, return_exceptions=True)
        await asyncio.sleep(0.01)
        assert server.service.connections == set()

    run(main())


def test_more_than_is_held_before_the_answer_waits_in_the_kernel(run: Runner) -> None:
    here, release = asyncio.Event(), asyncio.Event()
    count = 40

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0.2)  # what is not held has time to come
        here.set()
        await release.wait()
        await send({"type": "websocket.accept"})
        for _ in range(count):
            message = await receive()
            await send({"type": "websocket.send", "bytes": message["bytes"][:1]})

    async def main() -> None:
        async with serving(patient) as server:
            reader, writer = await raw(server)
            writer.write((b"\x82\xfe\xff\xff\0\0\0\0" + bytes(65_535)) * count)
            await here.wait()
            assert server.connection._paused
            release.set()
            await accepted(reader)
            assert await reader.readexactly(3 * count) == b"\x82\x01\0" * count
            await shut(writer)

    run(main())


def test_a_ping_behind_a_full_queue_is_answered_when_there_is_room(run: Runner) -> None:
    release = asyncio.Event()

    async def busy(receive: Receive, send: Send) -> None:
        await release.wait()

    app, told = until_told(busy)

    async def main() -> None:
        async with serving(app, ws_max_queue=2) as server:
            reader, writer = await raw(server, REQUEST + HI * 5 + b"\x89\x80\0\0\0\0")
            await accepted(reader)
            release.set()
            assert await reader.readexactly(2) == b"\x8a\x00"
            await shut(writer)

    run(main())
    assert len(told) == 6


def test_a_ping_of_a_congested_peer_is_answered_when_it_reads(run: Runner) -> None:
    size = 8_000_000

    async def big(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "bytes": bytes(size)})

    app, _ = until_told(big)

    async def main() -> None:
        async with serving(app, ws_per_message_deflate=False) as server:
            reader, writer = await raw(server)
            await accepted(reader)
            writer.write(b"\x89\x80\0\0\0\0")
            await writer.drain()
            await reader.readexactly(size + 10)
            assert await reader.readexactly(2) == b"\x8a\x00"
            await shut(writer)

    run(main())


def test_a_long_message_may_take_longer_than_the_write_timeout_if_it_is_read(run: Runner) -> None:
    size = 4_000_000

    async def big(receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "bytes": bytes(size)})

    app, told = until_told(big)

    async def main() -> None:
        async with serving(app, timeout_write_idle=0.2, ws_per_message_deflate=False) as server:
            sock = await server.open()
            await server.loop.sock_sendall(sock, REQUEST)
            left = size
            while left > 0:
                left -= len(await server.loop.sock_recv(sock, 200_000))
                await asyncio.sleep(0.02)
            await server.loop.sock_sendall(sock, b"\x88\x80\0\0\0\0")
            await asyncio.gather(*server.sessions)
            sock.close()

    run(main())
    assert told == [disconnect(1005)]


def test_a_denial_that_breaks_off_is_seen_to_be_cut(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"half", "more_body": True})

    async def main() -> None:
        async with serving(app) as server:
            reader, writer = await raw(server)
            answer = b""
            with suppress(ConnectionError):
                answer = await reader.read()
            assert b"0\r\n\r\n" not in answer
            await shut(writer)

    run(main())
    (record,) = caplog.records
    assert record.getMessage() == "app returned in the middle of its denial: '/chat'"


class Collector:
    """Remembers the kinds of the events that it is told."""

    def __init__(self) -> None:
        self.events: list[LifecycleEvent] = []

    def record(self, event: LifecycleEvent) -> None:
        self.events.append(event)


def test_a_collector_is_told_of_the_session_as_of_a_request(run: Runner) -> None:
    collector = Collector()

    async def main() -> None:
        async with serving(echo) as server:
            server.service.journal.lifecycle = collector
            async with await server.connect() as client:
                await client.send("hi")
                await client.recv()

    run(main())
    started, finished, closed = collector.events
    assert isinstance(started, RequestStarted)
    assert (started.path, started.lane) == ("/chat", "async")
    assert isinstance(finished, RequestFinished)
    assert finished.status == 101
    assert finished.sent_bytes > 100
    assert isinstance(closed, TransportClosed)


def test_a_session_that_is_not_accepted_is_reported_as_the_clients_leaving(run: Runner) -> None:
    collector = Collector()
    here = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        here.set()
        await receive()

    async def main() -> None:
        async with serving(app) as server:
            server.service.journal.lifecycle = collector
            _, writer = await raw(server)
            await here.wait()
            await shut(writer)

    run(main())
    assert isinstance(collector.events[1], RequestFinished)
    assert collector.events[1].status == 499


def test_a_secure_session_ends_as_an_open_one(run: Runner) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)

    class Upgrade(asyncio.Protocol):
        """Reads the request, then hands its transport over, as a lane does."""

        def __init__(self, service: Service) -> None:
            self.service = service
            self.parser = H1Protocol()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

        def data_received(self, data: bytes) -> None:
            self.parser.receive_data(data)
            event = self.parser.next_event()
            assert isinstance(event, RequestReceived)
            scope = {"type": "websocket", "path": "/", "headers": event.headers, "state": {}}
            connection = WebSocketConnection(self.service, event, scope)
            self.transport.set_protocol(connection)
            connection.connection_made(self.transport)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        service = Service(echo, ServerConfig(), loop)
        server = await loop.create_server(lambda: Upgrade(service), "localhost", 0, ssl=ours)
        port = server.sockets[0].getsockname()[1]
        async with connect(f"wss://localhost:{port}/", ssl=theirs, proxy=None) as client:
            for message in ("hi", b"\0" * 200_000):
                await client.send(message)
                assert await client.recv() == message
        reader, writer = await asyncio.open_connection("localhost", port, ssl=theirs)
        writer.write(REQUEST)
        await accepted(reader)
        writer.write(b"\x81\x02hi")
        assert await reader.read() == b"\x88\x11\x03\xeaframe-malformed"
        await shut(writer)
        await service.emptied()
        server.close()
        await server.wait_closed()

    run(main())


def test_what_came_before_a_loss_is_received_though_the_queue_was_full(run: Runner) -> None:
    release = asyncio.Event()

    async def send_until_lost(receive: Receive, send: Send) -> None:
        await release.wait()
        with suppress(ClientDisconnected):
            while True:
                await send({"type": "websocket.send", "text": "x"})
                await asyncio.sleep(0.01)

    app, told = until_told(send_until_lost)

    async def main() -> None:
        async with serving(app, ws_max_queue=2) as server:
            reader, writer = await raw(server, REQUEST + HI * 7)
            await accepted(reader)
            await shut(writer)
            release.set()

    run(main())
    assert len(told) == 8
    assert told[-1] == disconnect(1006)
