"""A WebSocket on an asyncio transport: moves bytes, waits, keeps time, runs the application's task.

Made by the lanes from an upgrade request; what is legal and what goes on the wire is decided in
`asgi/websocket.py`.  Everything runs on the thread of the service's loop.
"""

import asyncio
import logging
import socket
from typing import Final, cast

from serval.asgi.disconnects import only_disconnects
from serval.asgi.types import Message, Scope
from serval.asgi.websocket import Line, SessionLimits, WebSocketSession
from serval.asgi.websocket_messages import Phase
from serval.config import ServerConfig
from serval.errors import PeerError
from serval.protocols.events import RequestReceived
from serval.protocols.frames import CloseCode
from serval.protocols.handshake import Offer, read_offer
from serval.protocols.heartbeat import Beat, Heartbeat
from serval.protocols.websocket import MessageLimits
from serval.worker.service import CLIENT_LEFT, Service
from serval.worker.websocket_clock import NEVER, Due, WebSocketClock

error_log = logging.getLogger("serval.error")

# Between the news that the server stops, which an application can await, and our close frame; and
# between a violation by the peer and ours, where an application has not answered what came before.
FAREWELL_SECONDS: Final = 0.5

# Where messages have no limit, a queue of them has.
QUEUE_BYTES: Final = 1024 * 1024

PING_PAYLOAD: Final = b"serval"

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
) -> None:
    """Serve an upgrade request on a connected socket, to the end of the session.

    Args:
        data: Bytes that came after the request's head.
    """
    connection = WebSocketConnection(service, request, scope, data=data)
    await service.loop.connect_accepted_socket(lambda: connection, sock)
    try:
        await asyncio.shield(connection.closed)
    except asyncio.CancelledError:
        connection.abort()
        raise


class WebSocketConnection(asyncio.Protocol):
    """One WebSocket, from its upgrade request to the end of transport and task.

    Attributes:
        closed: Done when both have ended.
    """

    __slots__ = (
        "_clock",
        "_data",
        "_heard",
        "_heartbeat",
        "_line",
        "_loop",
        "_lost",
        "_paused",
        "_phase",
        "_received_bytes",
        "_receiver",
        "_receivers",
        "_refused",
        "_scope",
        "_senders",
        "_sent_bytes",
        "_service",
        "_session",
        "_started_at",
        "_task",
        "_timer",
        "_timer_at",
        "_transport",
        "_unsent_bytes",
        "closed",
    )

    _transport: asyncio.Transport

    def __init__(
        self, service: Service, request: RequestReceived, scope: Scope, *, data: bytes = b""
    ) -> None:
        config = service.config
        self._loop = service.loop
        self.closed: asyncio.Future[None] = service.loop.create_future()
        self._service = service
        self._scope = scope
        self._data = data
        self._refused: PeerError | None = None
        try:
            offer = read_offer(request)
        except PeerError as error:
            self._refused = error
            offer = NO_OFFER
        scope["subprotocols"] = offer.subprotocols
        self._session = WebSocketSession(offer, session_limits(config), service.defaults)
        self._line = self._session.line
        self._phase = self._session.phase
        self._task: asyncio.Task[None] | None = None
        self._receiver: asyncio.Future[None] | None = None
        self._receivers: list[asyncio.Future[None]] = []  # any beside the first
        self._senders: list[asyncio.Future[None]] = []
        self._paused = False
        self._lost = False
        self._started_at = now = service.loop.time()
        self._sent_bytes = 0
        self._received_bytes = len(data)
        self._heard = False
        self._heartbeat = Heartbeat(config.ws_ping_interval, config.ws_ping_timeout, now)
        self._unsent_bytes = 0
        self._clock = WebSocketClock()
        self._clock.start(Due.BEAT, self._heartbeat.next_at)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    # What the transport tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the application's task, or refuse the handshake."""
        service = self._service
        self._transport = cast("asyncio.Transport", transport)
        service.opened(self)
        service.stats.websockets += 1
        session = self._session
        if self._refused is not None:
            service.refused(self._scope["client"], self._refused)
            self._write(session.refuse(self._refused))
        elif service.draining:
            self._write(session.shut_down(CloseCode.RESTART))
        else:
            session.receive_data(self._data)
            self._task = service.start(self._run(), service.context.copy())
        self._data = b""
        self._settle()

    def data_received(self, data: bytes) -> None:
        """Bytes came from the peer."""
        self._heard = True
        self._received_bytes += len(data)
        session = self._session
        out = session.receive_data(data)
        if out:
            self._write(out)
        if self._receiver is not None:
            self._wake_receivers()
        if session.line is not self._line or session.full:
            self._settle()

    def eof_received(self) -> None:
        """The peer sends no more: without a closing handshake, the connection is lost."""
        self._session.receive_eof()
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        self._lost = True
        self._session.receive_eof()
        self._settle()
        self._wake_senders()
        if self._task is None or self._task.done():
            self._finish()

    def pause_writing(self) -> None:
        """The peer reads too slowly: `send` waits from now on."""
        self._session.congested = True
        self._expect_progress()

    def resume_writing(self) -> None:
        """The peer has read."""
        self._clock.stop(Due.WRITE)
        out = self._session.writable()
        if out:
            self._write(out)
        self._wake_senders()

    # The application.

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            await self._service.app(self._scope, self.receive, self.send)
        except BaseException as raised:  # nothing of an application may end a worker
            error = raised
        self._app_ended(error)

    def _app_ended(self, error: BaseException | None) -> None:
        wrong = ""
        if error is not None:
            if not only_disconnects(error) and not self._was_cancelled(error):
                wrong = "app raised in a websocket session"
        elif self._session.phase is Phase.CONNECTING and self._line is Line.UP:
            wrong = "app returned without an answer to the handshake"
        elif self._session.phase in (Phase.DENIAL_HELD, Phase.DENYING) and self._line is Line.UP:
            wrong = "app returned in the middle of its denial"
        if wrong:
            if error is not None and error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next  # without our own frame
            error_log.error("%s: %a", wrong, self._scope["path"], exc_info=error)
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

    async def receive(self) -> Message:
        """The next message for the application; waits where there is none."""
        session = self._session
        while (message := session.next_message()) is None:
            if session.fault_due:
                self._last_word()
                continue
            waiter = self._loop.create_future()
            if self._receiver is None:
                self._receiver = waiter
            else:
                self._receivers.append(waiter)
            await waiter
        if self._paused:
            self._take_more()
        return message

    async def send(self, message: Message) -> None:
        """Take a message of the application; waits while the peer reads too slowly.

        Raises:
            AppError: The message is malformed or out of turn.
            ClientDisconnected: The session is over.
        """
        session = self._session
        out = session.send(message)
        if out:
            self._sent_bytes += len(out)
            self._transport.write(out)
        if session.phase is not self._phase or session.line is not self._line:
            self._settle()
        while session.congested and not self._lost:
            waiter = self._loop.create_future()
            self._senders.append(waiter)
            await waiter

    def _write(self, data: bytes) -> None:
        if not self._lost:
            self._sent_bytes += len(data)
            self._transport.write(data)

    def _take_more(self) -> None:
        """Parse what the full queue held back, and read on once there is room."""
        session = self._session
        out = session.parse()
        if out:
            self._write(out)
        if not session.full:
            self._paused = False
            if not self._lost:
                self._transport.resume_reading()
        if session.line is not self._line:
            self._settle()

    # What follows from a change of the session.

    def _settle(self) -> None:
        """Act on what the session has become: its line, its phase, its queue."""
        session = self._session
        if session.phase is not self._phase:
            self._phase = session.phase
            if self._paused:  # bytes that came before the handshake was answered
                self._take_more()
        if session.line is not self._line:
            self._line = session.line
            self._line_changed()
        if session.line is Line.UP and session.full and not self._paused and not self._lost:
            self._paused = True
            self._transport.pause_reading()
        if session.fault_due and Due.LAST_WORD not in self._clock:
            self._clock.start(Due.LAST_WORD, self._loop.time() + FAREWELL_SECONDS)
        self._wake_receivers()
        self._arm()

    def _line_changed(self) -> None:
        if self._lost:
            return
        transport = self._transport
        self._clock.start(Due.CLOSE, self._loop.time() + self._service.config.ws_close_timeout)
        match self._line:
            case Line.CLOSING | Line.ENDING if not transport.is_closing():
                if self._paused:
                    self._paused = False
                    transport.resume_reading()
                if self._line is Line.ENDING:
                    self._half_close()
            case Line.DOWN:
                transport.close()
            case Line.CUT:
                transport.abort()

    def _half_close(self) -> None:
        """Let the peer see the end, and read on: a close with unread bytes would be a reset."""
        transport = self._transport
        if not transport.can_write_eof():  # TLS
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # ENOTCONN: the peer was quicker
            transport.abort()

    def _wake_receivers(self) -> None:
        waiter, self._receiver = self._receiver, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._receivers:
            _wake(self._receivers)

    def _wake_senders(self) -> None:
        if self._senders:
            _wake(self._senders)

    # Time: one coarse timer for all that has a moment.

    def _arm(self) -> None:
        at = self._clock.next_at()
        if self._lost or at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._timer_at = NEVER
        now = self._loop.time()
        for due in self._clock.take(now):
            match due:
                case Due.BEAT:
                    self._beat(now)
                case Due.LAST_WORD:
                    self._last_word()
                case Due.WRITE:
                    self._check_progress()
                case Due.CLOSE:
                    self._give_up()
        self._arm()

    def _beat(self, now: float) -> None:
        session = self._session
        heard = self._heard or self._paused or self._phase is not Phase.OPEN
        self._heard = False
        match self._heartbeat.turn(now, heard=heard):
            case Beat.PING:
                out = session.ping(PING_PAYLOAD)
                if out:
                    self._write(out)
            case Beat.GIVE_UP:
                error_log.info("websocket peer did not answer a ping: %a", self._scope["path"])
                out = session.fail(CloseCode.INTERNAL_ERROR, "ping timeout", told_as=CloseCode.LOST)
                self._write(out)
                self._settle()
        self._clock.start(Due.BEAT, self._heartbeat.next_at)

    def _expect_progress(self) -> None:
        seconds = self._service.config.timeout_write_idle
        self._unsent_bytes = self._transport.get_write_buffer_size()
        if seconds:
            self._clock.start(Due.WRITE, self._loop.time() + seconds)
            self._arm()

    def _check_progress(self) -> None:
        """Cut a peer that has read nothing since the last look; wait on for one that reads."""
        if self._transport.get_write_buffer_size() < self._unsent_bytes:
            self._expect_progress()
        else:
            self._transport.abort()

    def _give_up(self) -> None:
        """The peer has let the time for the end of the connection pass."""
        self._session.receive_eof()
        self._settle()
        self._transport.abort()

    # The stop of the server.

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
        self._session.disconnect(CloseCode.RESTART)
        self._wake_receivers()

    def abort(self) -> None:
        """Cancel the application and drop the connection."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    def _last_word(self) -> None:
        """Close, for the peer's fault or because the server stops."""
        self._clock.stop(Due.LAST_WORD)
        session = self._session
        if session.fault_due:
            out = session.fail_for_fault()
        else:
            out = session.shut_down(CloseCode.RESTART)
        if out:
            self._write(out)
        self._settle()

    # The end.

    def _finish(self) -> None:
        if self.closed.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        service = self._service
        service.stats.websockets -= 1
        self._log_access()
        self.closed.set_result(None)
        service.closed(self)

    def _log_access(self) -> None:
        access_log = self._service.access_log
        if access_log is None:
            return
        session = self._session
        access_log.record(
            self._scope,
            status=session.status or CLIENT_LEFT,
            sent_bytes=self._sent_bytes,
            received_bytes=self._received_bytes,
            seconds=self._loop.time() - self._started_at,
            headers=session.headers,
            cause=session.cause,
        )


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
