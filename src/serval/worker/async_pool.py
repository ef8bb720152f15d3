"""The async lane: one event loop and the connections on its transports.

Takes what the sync lane will not serve: WebSockets, connections that are known to live long, TLS.
`accept_handoff` may be called from any thread; everything else belongs to the thread of the loop.
An `AsyncPool` also works alone: construct it, `run()` it in a thread, hand it sockets.
"""

import asyncio
import logging
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias, assert_never

from serval.access_log import AccessLog
from serval.asgi.types import Address, ASGIApp, Scope
from serval.config import ServerConfig
from serval.lifecycle import Lane, LifecycleCollector
from serval.net.addresses import local_address, peer_address
from serval.net.listeners import Listener
from serval.protocols.events import RequestReceived
from serval.protocols.http1 import H1Protocol
from serval.protocols.sections import HeadLimits
from serval.worker.connection import HttpConnection
from serval.worker.deadlines import Wait
from serval.worker.drain import drain
from serval.worker.loops import loop_factory
from serval.worker.service import Service
from serval.worker.websocket import WebSocketConnection, handle_websocket
from serval.worker.wire import HIGH_WATER_BYTES, State

logger = logging.getLogger("serval.error")

_NO_ADDRESS: Final = ("", 0)


def _create_h1_protocol(*, max_incomplete_event_size: int | None = None) -> H1Protocol:
    """A parser for a fresh connection.

    Args:
        max_incomplete_event_size: The largest request head in bytes; None for the default.
    """
    if max_incomplete_event_size is None:
        return H1Protocol()
    size = max_incomplete_event_size
    return H1Protocol(HeadLimits(request_line_bytes=size, field_bytes=size, block_bytes=size))


@dataclass(frozen=True, slots=True)
class StreamingHandoff:
    """A parsed request whose application has not been called: the pool calls it.

    Attributes:
        conn: The connection; it belongs to the pool from now on.
        scope: The request's scope; the pool adds its own lifespan state.
        body: The whole request body.
        request_id: An identifier for logs, if there is one.
    """

    conn: socket.socket
    scope: dict[str, Any]
    body: bytes
    request_id: str | None


@dataclass(frozen=True, slots=True)
class WebSocketHandoff:
    """A parsed upgrade request, not yet answered.

    Attributes:
        data: What came after the request's head.
    """

    conn: socket.socket
    request: RequestReceived
    client: tuple[str, int | None]
    server: tuple[str, int | None]
    scope: dict[str, Any]
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class ConnectionHandoff:
    """A connection of which some bytes have been read and none been parsed."""

    conn: socket.socket
    data: bytes
    client: Address | None
    server: Address | None


HandoffRequest: TypeAlias = StreamingHandoff | WebSocketHandoff | ConnectionHandoff


class TransportConnection(HttpConnection, asyncio.Protocol):
    """An HTTP connection on an asyncio transport."""

    __slots__ = ("_transport",)

    lane: ClassVar[Lane] = "async"

    def __init__(
        self,
        service: Service,
        client: Address | None = None,
        server: Address | None = None,
        *,
        scheme: str = "http",
    ) -> None:
        self._transport: asyncio.Transport = _UNCONNECTED
        super().__init__(service, client, server, scheme=scheme)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ready."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=0)
        self._transport = transport
        if self.client is None:
            self.client = peer_address(transport.get_extra_info("peername"))
            self._amend = self.service.proxies.amend_for(self.client)
        if self.server is None:
            self.server = local_address(transport.get_extra_info("socket"))
            self._template = self.service.scope_template(self.server, self.scheme, self.lane)
        self._wait_for(Wait.HEAD)

    def eof_received(self) -> bool:
        """The peer has shut its sending side; ours stays open, where the transport can do that."""
        self.peer_left()
        return self.state is not State.CLOSED and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self.peer_lost()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self.congested = True
        self.service.sweeper.start(Wait.WRITE, self)

    def resume_writing(self) -> None:
        """The peer has read what there was."""
        self._all_sent()

    def flush(self) -> None:
        """Give what is queued to the transport, which buffers what the socket does not take."""
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._out_bytes = 0
            self._transport.write(data)

    def _set_reading(self, reading: bool) -> None:
        if self._transport.is_closing():
            return
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _take_late_bytes(self) -> bool:
        return False  # a transport reads before it lets a timer run

    def _shut_output(self) -> None:
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self.drop()

    def _close_wire(self, *, reset: bool) -> None:
        if reset:
            self._transport.abort()
        else:
            self._transport.close()

    def _hand_over(self, request: RequestReceived, scope: Scope) -> None:
        connection = WebSocketConnection(
            self.service, request, scope, data=self.parser.trailing_data
        )
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        if not self._reading:
            self._transport.resume_reading()


_UNCONNECTED: Final = asyncio.Transport()


class AsyncPool:
    """The event loop of a process or of an embedder's thread, and the connections on it.

    Args:
        config: Limits, timeouts and what else the connections need.
        app: The application; called once for each handoff and for each later request.
        shutdown_event: When set, by any thread, the pool drains and `run()` returns.
        ssl_context: What `listen` speaks TLS with.
        lifecycle_collector: Told of connections and requests.
    """

    def __init__(
        self,
        config: ServerConfig,
        app: ASGIApp,
        *,
        shutdown_event: threading.Event | None = None,
        ssl_context: ssl.SSLContext | None = None,
        lifecycle_collector: LifecycleCollector | None = None,
    ) -> None:
        self._config = config
        self._app = app
        self._shutdown_event = shutdown_event
        self._ssl_context = ssl_context
        self._lifecycle = lifecycle_collector
        self._state: dict[str, Any] = {}
        self._access_log: AccessLog | None = None
        self._handoffs: deque[HandoffRequest] = deque()
        self._service: Service | None = None
        self._stop: asyncio.Event | None = None
        self._hurry: asyncio.Event | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    def set_lifespan_state(self, state: dict[str, Any]) -> None:
        """Set the state that every request gets a shallow copy of."""
        self._state = state
        if self._service is not None:
            self._service.lifespan_state = state

    def accept_handoff(self, handoff: HandoffRequest) -> None:
        """Take over a connection; from any thread, also before `run()`."""
        self._handoffs.append(handoff)
        service = self._service
        if service is None:
            return  # opening takes what has queued up
        try:
            service.loop.call_soon_threadsafe(self._take_handoffs)
        except RuntimeError:  # the loop is closed
            self._close_handoffs()

    def request_stop(self) -> None:
        """Let `run()` drain and return; from any thread."""
        service = self._service
        if service is not None:
            try:
                service.loop.call_soon_threadsafe(self._stop_soon)
            except RuntimeError:  # the loop is closed: it has stopped
                pass

    def hurry(self) -> None:
        """End the drain now: cancel what still runs.  Thread of the loop only."""
        if self._hurry is not None:
            self._hurry.set()

    def run(self) -> None:
        """Run the loop until shutdown, then let what runs finish; blocking."""
        with asyncio.Runner(loop_factory=loop_factory(self._config.loop)) as runner:
            runner.run(self._serve())

    def open(self, *, access_log: AccessLog | None = None) -> Service:
        """Bind the pool to the running loop and take what was handed over before."""
        if self._service is None:
            service = Service(
                self._app,
                self._config,
                asyncio.get_running_loop(),
                access_log=access_log,
                lifecycle=self._lifecycle,
            )
            service.lifespan_state = self._state
            self._stop = asyncio.Event()
            self._hurry = asyncio.Event()
            self._service = service
            self._take_handoffs()
        return self._service

    async def listen(self, listener: Listener) -> asyncio.Server:
        """Accept connections on transports, with TLS if the pool has a context."""
        service = self.open()
        scheme = "http" if self._ssl_context is None else "https"
        handshake = self._config.timeout_tls_handshake if self._ssl_context else None
        return await service.loop.create_server(
            lambda: TransportConnection(service, scheme=scheme),
            sock=listener.sock,
            ssl=self._ssl_context,
            ssl_handshake_timeout=handshake,
        )

    async def _serve(self) -> None:
        service = self.open()
        assert self._stop is not None
        watch = self._watch_shutdown_event(service.loop)
        try:
            await self._stop.wait()
            await drain(service, self._config.timeout_graceful_shutdown, hurry=self._hurry)
        finally:
            service.sweeper.close()
            watch()

    def _watch_shutdown_event(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        """Wake the loop when the event is set; returns what ends the watch.

        Nothing can await a `threading.Event`, so a thread sleeps on it.
        """
        event = self._shutdown_event
        if event is None:
            return lambda: None
        ended = threading.Event()

        def wait() -> None:
            event.wait()
            if not ended.is_set():
                self.request_stop()

        threading.Thread(target=wait, name="serval-shutdown-event", daemon=True).start()
        return ended.set

    def _stop_soon(self) -> None:
        if self._stop is not None:
            self._stop.set()

    def _take_handoffs(self) -> None:
        assert self._service is not None
        while self._handoffs:
            handoff = self._handoffs.popleft()
            task = self._service.loop.create_task(self._handle_handoff_async(handoff))
            self._handlers.add(task)
            task.add_done_callback(self._handlers.discard)

    def _close_handoffs(self) -> None:
        while self._handoffs:
            self._handoffs.popleft().conn.close()

    async def _handle_handoff_async(self, handoff: HandoffRequest) -> None:
        try:
            if isinstance(handoff, StreamingHandoff):
                await self._handle_streaming_handoff(handoff)
            elif isinstance(handoff, WebSocketHandoff):
                await self._handle_websocket_handoff(handoff)
            elif isinstance(handoff, ConnectionHandoff):
                await self._handle_connection_handoff(handoff)
            else:
                assert_never(handoff)
        except OSError as error:  # the client left before the transport was made
            logger.debug("a connection was lost while it was handed over: %s", error)
            handoff.conn.close()

    async def _handle_streaming_handoff(self, handoff: StreamingHandoff) -> None:
        """Call the application for a request that has been parsed; returns when it has."""
        scope = handoff.scope
        connection = await self._connect(
            handoff.conn, scope.get("client"), scope.get("server"), scope.get("scheme", "http")
        )
        service = connection.service
        request = _request_of(scope, handoff.body)
        state = service.lifespan_state or scope.get("state", {})
        connection.begin(request, {**scope, "state": state.copy()})
        connection.flush()
        if connection.task is not None:
            await asyncio.wait([connection.task])

    async def _handle_websocket_handoff(self, handoff: WebSocketHandoff) -> None:
        """Run a WebSocket session to its end."""
        service = self.open()
        scope = {**handoff.scope, "state": service.lifespan_state.copy()}
        await handle_websocket(
            service, handoff.request, scope, sock=handoff.conn, data=handoff.data
        )

    async def _handle_connection_handoff(self, handoff: ConnectionHandoff) -> None:
        """Serve a connection from the bytes on that were read of it already."""
        connection = await self._connect(handoff.conn, handoff.client, handoff.server, "http")
        if handoff.data:
            connection.data_received(handoff.data)

    async def _connect(
        self,
        conn: socket.socket,
        client: Address | None,
        server: Address | None,
        scheme: str,
    ) -> TransportConnection:
        service = self.open()
        conn.setblocking(False)
        connection = TransportConnection(service, client, server, scheme=scheme)
        try:
            await service.loop.connect_accepted_socket(lambda: connection, conn)
        except BaseException:
            service.closed(connection)
            raise
        return connection


def _request_of(scope: Scope, body: bytes) -> RequestReceived:
    """The request that a scope was made from, as far as its response needs it."""
    http_version = scope.get("http_version", "1.1")
    tokens = {
        token.strip(b" \t").lower()
        for name, value in scope["headers"]
        if name == b"connection"
        for token in value.split(b",")
    }
    keep_alive = b"close" not in tokens if http_version == "1.1" else b"keep-alive" in tokens
    return RequestReceived(
        method=scope["method"].encode(),
        target=scope.get("raw_path") or scope["path"].encode(),
        headers=scope["headers"],
        http_version=http_version,
        keep_alive=keep_alive,
        body=body,
        content_length=len(body),
        accepts_trailers=any(n == b"te" and b"trailers" in v for n, v in scope["headers"]),
    )
