"""A service in this process, on a loop in a thread of its own; the tests are its clients.

Every combination of lane and event loop serves the same connections, so most tests run on all four.
"""

import asyncio
import logging
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Literal, NamedTuple, TypeVar

from serval.access_log import AccessLog
from serval.asgi.types import ASGIApp, Message, Receive, Scope, Send
from serval.config import ServerConfig
from serval.lifecycle import LifecycleEvent
from serval.net.bind import TcpBind
from serval.net.listeners import Listener, open_listeners
from serval.worker.async_pool import AsyncPool
from serval.worker.connections.connection import HttpConnection
from serval.worker.connections.socket_connection import Adopt
from serval.worker.counts.tally import Stats
from serval.worker.drain import drain
from serval.worker.loops import loop_factory
from serval.worker.service import Service
from serval.worker.sync_worker import SyncWorker
from serval.worker.threads.asgi_worker import AsgiPool

PATIENCE_SECONDS = 20.0

Result = TypeVar("Result")


class Kind(NamedTuple):
    """A lane and the loop under it."""

    lane: Literal["sync", "async", "thread"]
    loop: Literal["asyncio", "uvloop"]

    def __str__(self) -> str:
        return f"{self.lane}-{self.loop}"


KINDS = [Kind(lane, loop) for lane in ("sync", "async", "thread") for loop in ("asyncio", "uvloop")]


class Notes:
    """What an application tells the test, from the loop's thread to the test's."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(self, note: Any) -> None:
        self._queue.put(note)

    def next(self, seconds: float = PATIENCE_SECONDS) -> Any:
        return self._queue.get(timeout=seconds)

    @property
    def empty(self) -> bool:
        return self._queue.empty()


class Collector:
    """A lifecycle collector that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[LifecycleEvent] = []

    def record(self, event: LifecycleEvent) -> None:
        self.events.append(event)


class Answer(NamedTuple):
    """A response as a client reads it."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get(b"connection", b"").lower() == b"close"


class Client:
    """A blocking client that sends exact bytes and reads whole responses."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_SECONDS)
        self.sock = sock
        self._held = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_at_once(self, data: bytes) -> int:
        """Send what the kernel takes without waiting; how much that is."""
        self.sock.setblocking(False)
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        finally:
            self.sock.settimeout(PATIENCE_SECONDS)

    def get(self, path: str = "/", *lines: str) -> Answer:
        self.send(request("GET", path, *lines))
        return self.read()

    def shut(self) -> None:
        """Say that nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave with an error for the server."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def read_until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            data = self.sock.recv(65_536)
            if not data:
                raise EOFError(f"the end came before {mark!r}: {self._held!r}")
            self._held += data
        found, _, self._held = self._held.partition(mark)
        return found + mark

    def read_exactly(self, size: int) -> bytes:
        parts = [self._held]
        missing = size - len(self._held)
        while missing > 0:
            data = self.sock.recv(min(missing, 1 << 20))
            if not data:
                raise EOFError(f"{missing} of {size} bytes are missing")
            parts.append(data)
            missing -= len(data)
        whole = b"".join(parts)
        self._held = whole[size:]
        return whole[:size]

    def read_to_end(self) -> bytes:
        parts, self._held = [self._held], b""
        while data := self.sock.recv(65_536):
            parts.append(data)
        return b"".join(parts)

    def read_head(self) -> tuple[int, dict[bytes, bytes]]:
        line, *fields = self.read_until(b"\r\n\r\n")[:-4].split(b"\r\n")
        assert line.startswith(b"HTTP/1.1 "), line
        headers: dict[bytes, bytes] = {}
        for field in fields:
            name, _, value = field.partition(b": ")
            assert name.lower() not in headers or name.lower() == b"set-cookie"
            headers[name.lower()] = value
        return int(line.split(b" ")[1]), headers

    def read(self, method: str = "GET") -> Answer:
        """The next response, in the framing that it announces."""
        status, headers = self.read_head()
        if method == "HEAD" or status in (204, 304) or status < 200:
            body = b""
        elif b"content-length" in headers:
            body = self.read_exactly(int(headers[b"content-length"]))
        elif headers.get(b"transfer-encoding") == b"chunked":
            body, _ = self.read_chunks()
        else:
            body = self.read_to_end()
        return Answer(status, headers, body)

    def read_chunk(self) -> bytes:
        size = int(self.read_until(b"\r\n"), 16)
        if not size:
            return b""
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def read_chunks(self) -> tuple[bytes, bytes]:
        """A whole chunked body, and its trailer section."""
        body = b""
        while chunk := self.read_chunk():
            body += chunk
        trailers = b""
        while (line := self.read_until(b"\r\n")) != b"\r\n":
            trailers += line
        return body, trailers

    def at_end(self) -> bool:
        """Wait for the server's end; False where bytes come instead."""
        try:
            return not self._held and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()


class Together:
    """The services of all threads of a pool, as tests ask about one and tell it things."""

    def __init__(self, front: Service, threads: AsgiPool) -> None:
        self.front = front
        self.threads = threads

    @property
    def all(self) -> list[Service]:
        return [self.front, *self.threads._services()]

    @property
    def connections(self) -> set[Any]:
        others = self.front.connections - {self.threads}
        return others | self.threads.connections

    @property
    def tasks(self) -> set[Any]:
        """With the threads that are in a task's first step, of which no task tells yet."""
        seats = (thread.seat for thread in self.threads._loops)
        busy = {seat for seat in seats if not seat.is_free and not seat.housed_count}
        return busy.union(*(service.tasks for service in self.all))

    @property
    def stats(self) -> Stats:
        counted = [service.stats for service in self.all]
        return Stats(
            requests=sum(stats.requests for stats in counted),
            rejected=sum(stats.rejected for stats in counted),
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"front", "threads"}:
            super().__setattr__(name, value)
        else:
            for service in self.all:
                setattr(service, name, value)


class Server:
    """A running service, seen from another thread."""

    def __init__(self, kind: Kind, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self.kind = kind
        self.loop = loop
        self.address = listener.sock.getsockname()
        self.collector = Collector()
        self.faults: list[dict[str, Any]] = []
        self._clients: list[Client] = []
        self.service: Any  # a Service, or Together
        self.pool: AsyncPool
        self.sync_worker: SyncWorker

    def connect(self, *, receive_buffer_bytes: int = 0) -> Client:
        sock = socket.socket()
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect(self.address)
        client = Client(sock)
        self._clients.append(client)
        return client

    def run(self, function: Callable[[], Awaitable[Result]]) -> Result:
        """Await something on the server's loop."""

        async def call() -> Result:
            return await function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE_SECONDS)

    def ask(self, function: Callable[[], Result]) -> Result:
        """Call something on the server's loop."""

        async def call() -> Result:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE_SECONDS)

    def lives(self) -> bool:
        """Whether another client is answered as if nothing had happened."""
        other = self.connect()
        try:
            return other.get("/").body == b"right"
        finally:
            other.close()

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until the condition holds there."""

        async def turn() -> None:
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while not condition():
                assert time.monotonic() < give_up_at, "it never came to pass"
                await asyncio.sleep(0.001)

        self.run(turn)

    @property
    def connection(self) -> HttpConnection:
        """The only connection that is open."""
        (connection,) = self.service.connections
        assert isinstance(connection, HttpConnection)
        return connection

    def drain(self) -> None:
        """Tell every connection that the server stops."""

        def drained() -> None:
            if isinstance(self.service, Together):
                self.service.threads.drain()
            for connection in list(self.service.connections):
                connection.drain()

        self.ask(drained)

    def at_rest(self) -> None:
        """Wait until no connection is open and no task runs."""
        self.until(lambda: not self.service.connections and not self.service.tasks)

    async def main(
        self,
        app: ASGIApp,
        config: ServerConfig,
        listener: Listener,
        ready: threading.Event,
        access_log: AccessLog | None,
        state: dict[str, Any],
    ) -> None:
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))
        self.stop = asyncio.Event()
        self.pool = AsyncPool(config, app, lifecycle_collector=self.collector)
        self.pool.set_lifespan_state(state)
        service = self.service = self.pool.open(access_log=access_log)
        async with AsyncExitStack() as stack:
            if self.kind.lane == "async":
                accepting = await self.pool.listen(listener)
                stack.callback(accepting.close)
            else:
                adopt = None
                if self.kind.lane == "thread":
                    adopt = await stack.enter_async_context(self._threads(service, app, state))
                self.sync_worker = SyncWorker(service, [listener], self.pool, adopt=adopt)
                self.sync_worker.start()
                stack.callback(self.sync_worker.close)
            ready.set()
            await self.stop.wait()
            if self.kind.lane == "async":
                accepting.close()
            else:
                self.sync_worker.stop_accepting()
            await drain(service, 0.2)
            service.sweeper.close()

    @asynccontextmanager
    async def _threads(
        self, service: Service, app: ASGIApp, state: dict[str, Any]
    ) -> AsyncIterator[Adopt]:
        """Two threads that serve, and one more."""
        threads = AsgiPool(service, self.pool, app, 2)
        self.service = Together(service, threads)
        await threads.startup()
        for one in threads._services():
            one.lifespan_state = state
        yield threads.adopt
        threads.close()

    def end(self) -> None:
        for client in self._clients:
            client.close()
        self.loop.call_soon_threadsafe(self.stop.set)


@contextmanager
def serving(
    kind: Kind,
    app: ASGIApp,
    *,
    access_log: AccessLog | None = None,
    state: dict[str, Any] | None = None,
    **config: Any,
) -> Iterator[Server]:
    """A service to the end of the block, when nothing of it may be left, nor a fault reported."""
    (listener,) = open_listeners([TcpBind("127.0.0.1", 0)], backlog=64)
    factory = loop_factory(kind.loop)
    ready = threading.Event()
    failures: list[BaseException] = []
    with asyncio.Runner(loop_factory=factory, debug=kind.loop == "asyncio") as runner:
        server = Server(kind, runner.get_loop(), listener)
        settings = ServerConfig(loop=kind.loop, lifespan="off", **config)

        def work() -> None:
            try:
                runner.run(server.main(app, settings, listener, ready, access_log, state or {}))
            except BaseException as error:
                failures.append(error)
                ready.set()

        thread = threading.Thread(target=work, name="serving")
        thread.start()
        ready.wait(PATIENCE_SECONDS)
        try:
            yield server
        finally:
            if not failures:
                server.end()
            thread.join(PATIENCE_SECONDS)
            listener.sock.close()
    assert not failures, failures
    assert not server.faults, server.faults
    assert server.service.connections == set()
    assert server.service.tasks == set()


def request(method: str, path: str, *lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A request in bytes, with a length where it has a body."""
    fields = ["Host: test", *lines]
    if body:
        fields.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([f"{method} {path} HTTP/{version}", *fields, "", ""])
    return head.encode("latin-1") + body


async def answer(
    send: Send, body: bytes = b"", status: int = 200, *headers: tuple[bytes, bytes]
) -> None:
    """A plain response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def start(send: Send, status: int = 200, *headers: tuple[bytes, bytes], **more: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers, **more})


async def part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def last(send: Send, body: bytes = b"") -> None:
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive) -> bytes:
    """The whole request body; an application of these tests is not left by its client in it."""
    pieces = []
    while True:
        message: Message = await receive()
        assert message["type"] == "http.request", message
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


async def waiting(receive: Receive) -> Message:
    """The first message that is no part of the request."""
    while (message := await receive())["type"] == "http.request":
        pass
    return dict(message)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the method, the path and the body."""
    body = await read_body(receive)
    await answer(send, f"{scope['method']} {scope['path']} ".encode() + body)


def errors_of(records: list[logging.LogRecord]) -> list[str]:
    """The server's messages at WARNING and above."""
    return [
        record.getMessage()
        for record in records
        if record.levelno >= logging.WARNING and record.name.startswith("serval")
    ]
