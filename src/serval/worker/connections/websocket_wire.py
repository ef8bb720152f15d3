"""The wire half of a WebSocket: bytes between a transport and a session, waits, and time.

`worker/connections/websocket.py` adds the application's task to it.  What is legal and what goes on
the wire is decided in `asgi/websocket.py`.  Everything runs on the thread of the loop.
"""

import asyncio
import logging
from typing import Final

from serval.asgi.types import Message
from serval.asgi.websocket import WebSocketSession
from serval.asgi.websocket_messages import Line, Phase
from serval.net.unread import unread_by_peer
from serval.protocols.frames import CloseCode
from serval.protocols.heartbeat import Beat, Heartbeat
from serval.worker.connections.websocket_clock import NEVER, Due, WebSocketClock
from serval.worker.service import Service

error_log = logging.getLogger("serval.error")

# Between the news that the server stops, which an application can await, and our close frame; and
# between a violation by the peer and ours, where an application has not answered what came before.
FAREWELL_SECONDS: Final = 0.5

PING_PAYLOAD: Final = b"serval"

# Lines on which messages wait for room in the queue; on the others they are dropped.
_PARSED: Final = (Line.UP, Line.DOWN)


class WebSocketWire(asyncio.Protocol):
    """A transport and a session; `receive` and `send` are the application's."""

    __slots__ = (
        "_clock",
        "_config",
        "_heard",
        "_heartbeat",
        "_later",
        "_line",
        "_loop",
        "_lost",
        "_paused",
        "_phase",
        "_received_bytes",
        "_receiver",
        "_receivers",
        "_senders",
        "_sent_bytes",
        "_service",
        "_session",
        "_timer",
        "_timer_at",
        "_transport",
        "_unread_bytes",
        "path",
    )

    _transport: asyncio.Transport

    def __init__(self, session: WebSocketSession, service: Service, path: str) -> None:
        self.path = path
        self._session = session
        self._service = service
        config = self._config = service.config
        loop = self._loop = service.loop
        self._line = session.line
        self._phase = session.phase
        self._receiver: asyncio.Future[None] | None = None
        self._receivers: list[asyncio.Future[None]] = []  # any beside the first
        self._senders: list[asyncio.Future[None]] = []
        self._paused = False
        self._later: asyncio.Handle | None = None
        self._lost = False
        self._sent_bytes = 0
        self._received_bytes = 0
        self._heard = False
        self._heartbeat = Heartbeat(config.ws_ping_interval, config.ws_ping_timeout, loop.time())
        self._unread_bytes = 0
        self._clock = WebSocketClock()
        self._clock.start(Due.BEAT, self._heartbeat.next_at)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER

    @property
    def _parting_code(self) -> CloseCode:
        """What a session is closed with when the server stops."""
        return CloseCode(int(self._config.ws_shutdown_code))

    # What the transport tells us.

    def data_received(self, data: bytes) -> None:
        """Bytes came from the peer."""
        if self._service.date_is_stale:
            self._service.renew_date()
        self._heard = True
        self._received_bytes += len(data)
        session = self._session
        out = session.receive_data(data)
        if out:
            self._write(out)
        if self._receiver is not None:
            self._wake_receivers()
        if session.line is not self._line or session.full or session.behind:
            if self._paused:
                # uvloop begins to read after `connection_made`, though it was told there not to.
                self._set_reading(False)
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
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """The peer reads too slowly: `send` waits from now on."""
        self._session.congested = True
        self._expect_progress()

    def resume_writing(self) -> None:
        """The peer has read."""
        self._clock.stop(Due.WRITE)
        self._session.congested = False
        self._wake_senders()
        # Not at once: asyncio's transport, where a write fails in this call, ends twice.
        self._loop.call_soon(self._send_pong)

    def _send_pong(self) -> None:
        """Answer a ping that came while the peer did not read."""
        if self._session.congested:  # anew
            return
        out = self._session.writable()
        if out:
            self._write(out)

    # The application's two callables.

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
        if self._service.date_is_stale:
            self._service.renew_date()
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
        self._settle()

    def _catch_up(self) -> None:
        """Parse on, in a turn of its own."""
        self._later = None
        self._take_more()

    def _set_reading(self, reading: bool) -> None:
        self._paused = not reading
        if self._lost or self._transport.is_closing():
            return
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

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
        if session.behind and self._later is None:
            self._later = self._loop.call_soon(self._catch_up)
        paused = session.behind or (session.full and session.line in _PARSED)
        if paused is not self._paused:
            self._set_reading(not paused)
        if session.fault_due and Due.LAST_WORD not in self._clock:
            self._clock.start(Due.LAST_WORD, self._loop.time() + FAREWELL_SECONDS)
        self._wake_receivers()
        self._arm()

    def _line_changed(self) -> None:
        if self._lost:
            return
        transport = self._transport
        self._clock.start(Due.CLOSE, self._loop.time() + self._config.ws_close_timeout)
        match self._line:
            case Line.CLOSING if self._paused:  # the peer's close may be in what was held back
                self._take_more()
            case Line.ENDING if not transport.is_closing():
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
        expected = session.phase is Phase.OPEN and session.line is Line.UP and not self._paused
        heard = self._heard or not expected
        self._heard = False
        match self._heartbeat.turn(now, heard=heard):
            case Beat.PING:
                out = session.ping(PING_PAYLOAD)
                if out:
                    self._write(out)
            case Beat.GIVE_UP:
                error_log.info("websocket peer did not answer a ping: %a", self.path)
                out = session.fail(CloseCode.INTERNAL_ERROR, "ping timeout", told_as=CloseCode.LOST)
                self._write(out)
                self._settle()
        self._clock.start(Due.BEAT, self._heartbeat.next_at)

    def _expect_progress(self) -> None:
        seconds = self._config.timeout_write_idle
        self._unread_bytes = unread_by_peer(self._transport)
        if seconds:
            self._clock.start(Due.WRITE, self._loop.time() + seconds)
            self._arm()

    def _check_progress(self) -> None:
        """Cut a peer that has read nothing since the last look; wait on for one that reads."""
        if unread_by_peer(self._transport) < self._unread_bytes:
            self._expect_progress()
        else:
            self._transport.abort()

    def _give_up(self) -> None:
        """The peer has let the time for the end of the connection pass."""
        self._session.receive_eof()
        self._settle()
        self._transport.abort()

    def _last_word(self) -> None:
        """Close, for the peer's fault or because the server stops."""
        self._clock.stop(Due.LAST_WORD)
        session = self._session
        if session.fault_due:
            out = session.fail_for_fault()
        else:
            out = session.shut_down(self._parting_code)
        if out:
            self._write(out)
        self._settle()


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
