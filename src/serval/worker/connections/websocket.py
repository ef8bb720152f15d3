"""A WebSocket on an asyncio transport, from the upgrade request to the end of the application.

Made by the lanes.  The bytes, waits and moments are in `worker/connections/websocket_wire.py`; this
half runs the application's task, ends with the server, and reports.  Thread of the service's loop
only.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, cast

from serval.access_log import CLIENT_LEFT
from serval.asgi.disconnects import only_disconnects
from serval.asgi.types import Address, Scope
from serval.asgi.websocket import WebSocketSession
from serval.asgi.websocket_limits import SessionLimits
from serval.asgi.websocket_messages import Phase
from serval.config import ServerConfig
from serval.errors import PeerError
from serval.lifecycle import ConnectionClosed, Lane, RequestFinished, RequestStarted
from serval.protocols.events import RequestReceived
from serval.protocols.frames import MessageLimits
from serval.protocols.handshake import Offer, read_offer
from serval.worker.connections.tls_transport import TlsTransport
from serval.worker.connections.websocket_clock import Due
from serval.worker.connections.websocket_wire import FAREWELL_SECONDS, WebSocketWire
from serval.worker.service import Service

error_log = logging.getLogger("serval.error")

# Where messages have no limit, a queue of them has.
QUEUE_BYTES: Final = 1024 * 1024

# What the tasks inherit that an application starts in a session: so the watchdog can name it.
SERVED: Final[ContextVar[Scope]] = ContextVar("serval.served")

NO_OFFER: Final = Offer(accept=b"", subprotocols=[], extensions=[])


def session_limits(config: ServerConfig) -> SessionLimits:
    """What the configuration lets one session cost."""
    return SessionLimits(
        messages=MessageLimits(
            message_bytes=config.ws_max_size, fragment_count=config.ws_max_fragments
        ),
        queue_count=config.ws_max_queue,
        queue_bytes=config.ws_max_size or QUEUE_BYTES,
        deflate=config.ws_per_message_deflate,
    )


async def handle_websocket(
    service: Service,
    request: RequestReceived,
    scope: Scope,
    *,
    sock: socket.socket,
    data: bytes = b"",
    connection_id: int = 0,
    connected: Callable[[], None] = lambda: None,
) -> None:
    """Serve an upgrade request on a connected socket, to the end of the session.

    Args:
        service: What the connection belongs to; the call must come from its loop.
        request: The upgrade request; the application has not been called.
        scope: Of type "websocket"; becomes the application's.
        sock: Connected and non-blocking; closed at the end.
        data: Bytes that came after the request's head.
        connection_id: What the lifecycle collector knows the connection as.
        connected: Called once the service knows of the connection.
    """
    connection = WebSocketConnection(
        service, request, scope, data=data, connection_id=connection_id
    )
    if isinstance(sock, ssl.SSLSocket):
        TlsTransport(service.loop, sock, connection)
    else:
        await service.loop.connect_accepted_socket(lambda: connection, sock)
    connected()
    try:
        await asyncio.shield(connection.closed)
    except asyncio.CancelledError:
        connection.abort()
        raise


class WebSocketConnection(WebSocketWire):
    """One WebSocket.

    Attributes:
        closed: Done when transport and application have ended.
    """

    __slots__ = (
        "_data",
        "_refused",
        "_scope",
        "_started_at",
        "_task",
        "client",
        "closed",
        "connection_id",
    )

    lane: Lane = "async"

    def __init__(
        self,
        service: Service,
        request: RequestReceived,
        scope: Scope,
        *,
        data: bytes = b"",
        connection_id: int = 0,
    ) -> None:
        self._refused: PeerError | None = None
        try:
            offer = read_offer(request)
        except PeerError as error:
            self._refused = error
            offer = NO_OFFER
        scope["subprotocols"] = offer.subprotocols
        session = WebSocketSession(offer, session_limits(service.config), service.timely_ends)
        if service.request_ids is not None:
            session.defaults = service.request_ids.head_ends(session, session.defaults, scope)
        super().__init__(session, service, scope["path"])
        self.closed: asyncio.Future[None] = service.loop.create_future()
        self.client: Address | None = scope.get("client")
        self.connection_id = connection_id
        self._scope = scope
        self._data = data
        self._task: asyncio.Task[None] | None = None
        self._started_at = service.loop.time()

    # The transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the application's task, or refuse the handshake."""
        service = self._service
        self._transport = cast("asyncio.Transport", transport)
        service.opened(self)
        service.stats.websockets += 1
        session = self._session
        if self._refused is not None:
            service.journal.refused(self.client, self._refused)
            self._write(session.refuse(self._refused))
        elif service.draining:
            self._write(session.shut_down(self._parting_code))
        else:
            self._start()
        self._data = b""
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        super().connection_lost(exc)
        if self._task is None or self._task.done():
            self._finish()

    # The application.

    def _start(self) -> None:
        service = self._service
        if self._data:
            self._received_bytes = len(self._data)
            self._session.receive_data(self._data)
        if service.journal.lifecycle is not None:
            service.journal.tell(
                RequestStarted(self.connection_id, self.lane, "GET", self.path, service.loop.time())
            )
        if service.date_is_stale:
            service.renew_date()
        context = service.context.copy()
        context.run(SERVED.set, self._scope)
        self._task = service.start(self._run(), context)

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            await self._service.app(self._scope, self.receive, self.send)
        except BaseException as raised:  # nothing of an application may end a worker
            error = raised
        self._app_ended(error)

    def _app_ended(self, error: BaseException | None) -> None:
        wrong = self._session.unfinished
        if error is not None:
            quiet = only_disconnects(error) or self._was_cancelled(error)
            wrong = "" if quiet else "app raised in a websocket session"
        if wrong:
            if error is not None and error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next  # without our own frame
            error_log.error("%s: %a", wrong, self.path, exc_info=error)
        out = self._session.app_ended(raised=error is not None)
        if out:
            self._write(out)
        self._settle()
        if self._lost:
            self._finish()

    def _was_cancelled(self, error: BaseException) -> bool:
        """Whether we ended the application ourselves."""
        return isinstance(error, asyncio.CancelledError) and (
            self._lost or self._service.draining or self._transport.is_closing()
        )

    # The stop of the server.

    def leave(self) -> None:
        """Go on: a session has no next request."""

    def drain(self) -> None:
        """Refuse a handshake that is not answered; let an open session say farewell."""
        if self._session.phase is Phase.OPEN:
            self._clock.start(Due.LAST_WORD, self._loop.time() + FAREWELL_SECONDS)
            self._arm()
        else:
            self._last_word()

    def disconnect(self) -> None:
        """Tell the application that the session is over."""
        self._last_word()
        self._session.disconnect(self._parting_code)
        self._wake_receivers()

    def abort(self) -> None:
        """Cancel the application and drop the connection."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    # The end.

    def _finish(self) -> None:
        if self.closed.done():
            return
        service = self._service
        service.stats.websockets -= 1
        if self._task is not None:
            service.stats.requests += 1
        now = service.loop.time()
        self._report(now - self._started_at, now)
        self.closed.set_result(None)
        service.closed(self)

    def _report(self, seconds: float, now: float) -> None:
        service = self._service
        session = self._session
        status = session.status or CLIENT_LEFT
        if service.journal.access_log is not None:
            service.journal.access_log.record(
                self._scope,
                status=status,
                sent_bytes=self._sent_bytes,
                received_bytes=self._received_bytes,
                seconds=seconds,
                headers=session.response_headers,
                cause=session.cause,
            )
        if service.journal.lifecycle is None:
            return
        if self._task is not None:
            service.journal.tell(
                RequestFinished(
                    self.connection_id, self.lane, status, self._sent_bytes, seconds, now
                )
            )
        service.journal.tell(ConnectionClosed(self.connection_id, self.lane, now))
