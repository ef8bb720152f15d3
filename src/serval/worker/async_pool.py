"""The async lane: one event loop and the connections on its transports.

Takes what the sync lane will not serve: WebSockets and connections that are known to live long.
`accept_handoff` and `request_stop` may be called from any thread; everything else belongs to the
thread of the loop.  An `AsyncPool` also works alone: construct it, `run()` it in a thread, hand it
sockets.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, assert_never

from serval.access_log import AccessLog
from serval.asgi.types import Address, ASGIApp, Scope
from serval.config import ServerConfig
from serval.lifecycle import LifecycleCollector
from serval.net.listeners import Listener
from serval.protocols.http1 import H1Protocol
from serval.protocols.sections import HeadLimits
from serval.worker.connections.transport import Opening, TransportConnection
from serval.worker.connections.websocket import handle_websocket
from serval.worker.drain import drain
from serval.worker.handoffs import (
    ConnectionHandoff,
    HandoffRequest,
    StreamingHandoff,
    WebSocketHandoff,
    request_of,
    scope_of,
)
from serval.worker.loops import loop_factory
from serval.worker.service import Service

logger = logging.getLogger("serval.error")


def _create_h1_protocol(*, max_incomplete_event_size: int | None = None) -> H1Protocol:
    """A parser for a fresh connection.

    Args:
        max_incomplete_event_size: The largest request head in bytes; None for the default.
    """
    if max_incomplete_event_size is None:
        return H1Protocol()
    size = max_incomplete_event_size
    return H1Protocol(HeadLimits(request_line_bytes=size, field_bytes=size, block_bytes=size))


class Arrival:
    """A connection that has left its last owner and has no transport yet: a stop waits for it."""

    __slots__ = ("_service",)

    def __init__(self, service: Service) -> None:
        self._service = service
        service.opened(self)

    def ended(self) -> None:
        """It has a transport now, or will never have one."""
        self._service.closed(self)

    def drain(self) -> None:
        """Nothing can be said to it; what becomes of it sees that the server stops."""

    leave = disconnect = abort = drain


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
        self._handoffs: deque[HandoffRequest] = deque()
        self._service: Service | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ended = False
        self._handlers: set[asyncio.Task[None]] = set()

    def set_lifespan_state(self, state: dict[str, Any]) -> None:
        """Set the state that every request gets a shallow copy of."""
        self._state = state
        if self._service is not None:
            self._service.lifespan_state = state

    # From any thread.

    def accept_handoff(self, handoff: HandoffRequest) -> None:
        """Take over a connection; from any thread, also before `run()`.

        After the pool has stopped, the connection is closed.
        """
        self._handoffs.append(handoff)
        service = self._service
        if service is None:
            return  # opening takes what has queued up
        try:
            service.loop.call_soon_threadsafe(self._take_handoffs)
        except RuntimeError:  # the loop is closed
            self._close_handoffs()

    def request_stop(self) -> None:
        """Let `run()` drain and return; from any thread, also before `run()`."""
        service = self._service
        if service is None:
            self._stop.set()  # nobody waits for it yet
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped
            service.loop.call_soon_threadsafe(self._stop.set)

    # The life of the pool.

    def run(self) -> None:
        """Run the loop until shutdown, then let what runs finish; blocking."""
        try:
            with asyncio.Runner(loop_factory=loop_factory(self._config.loop)) as runner:
                runner.run(self._serve())
        finally:
            self._close_handoffs()

    def hurry(self) -> None:
        """End the drain now: cancel what still runs.  Thread of the loop only."""
        self._hurry.set()

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
        end_watch = self._watch_shutdown_event()
        try:
            await self._stop.wait()
            await drain(service, self._config.timeout_graceful_shutdown, hurry=self._hurry)
        finally:
            self._ended = True
            service.sweeper.close()
            end_watch()

    def _watch_shutdown_event(self) -> Callable[[], None]:
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

    # Handoffs.

    def _take_handoffs(self) -> None:
        while self._handoffs and not self._ended:
            self.take(self._handoffs.popleft())
        if self._ended:  # and not else: another thread may have brought one just now
            self._close_handoffs()

    def take(self, handoff: HandoffRequest) -> None:
        """Take over a connection at once.  Thread of the loop only."""
        service = self.open()
        task = service.loop.create_task(self._handle_handoff_async(handoff, Arrival(service)))
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    def _close_handoffs(self) -> None:
        while self._handoffs:
            self._handoffs.popleft().conn.close()

    async def _handle_handoff_async(self, handoff: HandoffRequest, arrival: Arrival) -> None:
        try:
            if isinstance(handoff, StreamingHandoff):
                await self._handle_streaming_handoff(handoff, arrival)
            elif isinstance(handoff, WebSocketHandoff):
                await self._handle_websocket_handoff(handoff, arrival)
            elif isinstance(handoff, ConnectionHandoff):
                await self._handle_connection_handoff(handoff, arrival)
            else:
                assert_never(handoff)
        except OSError as error:  # the client left before the transport was made
            logger.debug("a connection was lost while it was handed over: %s", error)
        finally:
            arrival.ended()

    async def _handle_streaming_handoff(self, handoff: StreamingHandoff, arrival: Arrival) -> None:
        """Call the application for a request that has been parsed; returns when it has answered."""
        scope = self._with_state(scope_of(handoff))
        request = request_of(handoff)

        def begin(connection: TransportConnection) -> None:
            arrival.ended()
            connection.take_up(request, scope)

        connection = await self._connect(
            handoff.conn,
            scope.get("client"),
            scope.get("server"),
            scheme=scope.get("scheme", "http"),
            opening=begin,
        )
        if connection.task is not None:
            await asyncio.wait([connection.task])

    async def _handle_websocket_handoff(self, handoff: WebSocketHandoff, arrival: Arrival) -> None:
        """Run a WebSocket session to its end."""
        await handle_websocket(
            self.open(),
            handoff.request,
            self._with_state(handoff.scope),
            sock=handoff.conn,
            data=handoff.data,
            connection_id=handoff.connection_id,
            connected=arrival.ended,
        )

    async def _handle_connection_handoff(
        self, handoff: ConnectionHandoff, arrival: Arrival
    ) -> None:
        """Serve a connection from the bytes on that were read of it already."""

        def begin(connection: TransportConnection) -> None:
            arrival.ended()
            if handoff.data:
                connection.data_received(handoff.data)

        await self._connect(handoff.conn, handoff.client, handoff.server, opening=begin)

    def _with_state(self, scope: Scope) -> Scope:
        """A scope of our own, with a shallow copy of the lifespan's state."""
        state = self.open().lifespan_state or scope.get("state", {})
        return {**scope, "state": state.copy()}

    async def _connect(
        self,
        conn: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
        opening: Opening,
    ) -> TransportConnection:
        service = self.open()
        connection = TransportConnection(service, client, server, scheme=scheme, opening=opening)
        try:
            conn.setblocking(False)
            await service.loop.connect_accepted_socket(lambda: connection, conn)
        except BaseException:
            service.closed(connection)
            conn.close()
            raise
        return connection
