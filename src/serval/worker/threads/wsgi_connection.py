"""A connection whose requests a WSGI application answers, on the thread that has claimed it.

The thread is taken up only while the application runs: heads and short bodies arrive, and what is
left of an answer leaves, with no thread waiting for the peer.
"""

import io
import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from serval.asgi.disconnects import only_disconnects
from serval.asgi.exchange import Exchange
from serval.asgi.http_messages import Phase
from serval.asgi.request_side import Input
from serval.asgi.types import Address, Scope
from serval.errors import ClientDisconnected, PeerError
from serval.escaping import request_text
from serval.protocols.events import BodyReceived, RequestReceived
from serval.protocols.response_defaults import plain_response
from serval.worker.connections.connection import BODY_BUFFER_BYTES, BODY_PROGRESS_BYTES
from serval.worker.connections.socket_connection import RECEIVE_BYTES
from serval.worker.deadlines import Wait
from serval.worker.threads.overdue import Overdue
from serval.worker.threads.pooled_connection import PooledConnection, Seat
from serval.worker.threads.roster import Roster
from serval.worker.threads.wsgi_exchange import WsgiExchange
from serval.wsgi import BodyReader, Environ, WSGIApp, call
from serval.wsgi_environ import environ_of

logger = logging.getLogger("serval.error")

# What one `sendfile` is asked for; the thread looks at the time in between.
SENDFILE_BYTES: Final = 1_048_576


class WsgiSeat(Seat, Protocol):
    """A thread that calls a WSGI application.

    Attributes:
        running: The shape of the request that it runs and that may block.
        busy_since: When it began what it does.
    """

    running: bytes
    busy_since: float

    @property
    def app(self) -> WSGIApp:
        """The application."""

    @property
    def roster(self) -> "Roster[WsgiSeat, WsgiConnection]":
        """Who is free."""

    @property
    def soon(self) -> deque[tuple[Callable[..., object], tuple[Any, ...]]]:
        """What is to be called before the connection is released, with its arguments."""

    @property
    def limits_time(self) -> bool:
        """Whether applications have so much time, and no more, to begin a response."""

    def pass_turn(self) -> None:
        """Let another thread look for events, before this one may take its time."""

    def template(self, server: Address | None, scheme: str) -> Environ:
        """What the environs of requests to that address have in common."""


class Call(Enum):
    """What a connection has to do before it calls the application for its request."""

    NONE = auto()
    AWAITING_BODY = auto()
    PARKED = auto()  # no thread has time


# Read for every request: a global is cheaper than a member of an enum.
_NONE: Final = Call.NONE
_PARKED: Final = Call.PARKED


class WsgiConnection(PooledConnection):
    """An HTTP connection whose requests a WSGI application answers."""

    __slots__ = ("_call", "_waited_seconds")

    seat: WsgiSeat

    def __init__(self, *args: Any, **options: Any) -> None:
        self._call = Call.NONE
        self._waited_seconds = 0.0
        super().__init__(*args, **options)

    def serve(self, seat: Seat, bits: int) -> None:
        """The socket is ready for what `bits` say, or the parked request has its turn."""
        self.sit(seat)
        if self._call is not _PARKED:
            self.ready(bits)
        elif self._is_broken():
            self._give_up_waiting()
        else:
            self._run_now()
        self._after()

    def _after(self) -> None:
        """See what is to be done before the connection is released, and release it."""
        soon = self.seat.soon
        before: object = self  # no exchange
        # Whatever is done may have brought about the next, in what was read already.
        while soon or (self._call is not _NONE and self.exchange is not before):
            before = self.exchange
            self._run_when_read()
            if soon:
                callback, arguments = soon.popleft()
                callback(*arguments)
                before = self
        if self._call is _PARKED:
            self.seat.roster.park(self)
        else:
            self.threads.release(self)

    # Requests.

    def begin(self, request: RequestReceived, scope: Scope, *, plain: bool = False) -> None:
        """Call the application, once a short body is here or a long one is on its way."""
        service = self.service
        exchange = self.exchange = WsgiExchange(request, self, service.timely_ends, plain=plain)
        self._scope = scope
        if service.observed:
            self._started_at = time.monotonic()
            if service.announces:
                self._announce(exchange, scope)
        if self._ending:
            self._last_request_is_known()
        if request.complete or request.expect_continue:
            self._run_app(exchange)
        else:
            self._call = Call.AWAITING_BODY

    def _run_when_read(self) -> None:
        exchange = self.exchange
        if self._call is not Call.AWAITING_BODY:
            return
        if exchange is None:  # it was refused, or is lost
            self._call = Call.NONE
        elif self._eof and exchange.input is Input.ARRIVING:
            self._call = Call.NONE
            self.peer_lost()
        elif exchange.input is not Input.ARRIVING or exchange.buffered_bytes >= BODY_BUFFER_BYTES:
            self._run_now()

    def _run_now(self) -> None:
        """Run the application for a request that was read before."""
        self._wait_for(None)
        self.corked = True
        self._run_app(cast("WsgiExchange", self.exchange))
        self.corked = False
        self.advance()

    def _give_up_waiting(self) -> None:
        """The client has left, or was told that it took too long: no thread need work for it."""
        self._call = _NONE
        exchange = cast("WsgiExchange", self.exchange)
        if exchange.overdue is None or self._in_time(exchange, exchange.overdue):
            self.peer_lost()

    def _run_app(self, exchange: WsgiExchange) -> None:
        """Run the application, unless that may take long and as many as may block do already."""
        seat = self.seat
        paces = seat.roster.paces
        shape = paces.shape(self._scope["raw_path"])
        if seat.limits_time and exchange.overdue is None:
            self._limit_time(exchange)
        if not (paces.is_quick(shape) or seat.roster.may_run(seat, shape)):
            self._call = _PARKED
            return
        self._call = _NONE
        if not paces.is_instant(shape):
            seat.pass_turn()
        began_at = seat.busy_since = time.monotonic()
        error: BaseException | None = None
        try:
            call(seat.app, self._environ(exchange), exchange)
        except BaseException as raised:
            error = raised
        paces.note(shape, time.monotonic() - began_at)
        if seat.running:
            seat.roster.ended(seat)
        self._app_returned(exchange, error)
        del error  # its traceback holds this frame, and what the application was doing

    def _app_returned(self, exchange: WsgiExchange, error: BaseException | None) -> None:
        """The application is done with a request: end the response if it did not."""
        if exchange.overdue is not None and not self._in_time(exchange, exchange.overdue):
            return
        if error is not None and self.exchange is not exchange and only_disconnects(error):
            pass  # its input has failed, and that was logged
        elif error is not None or exchange.phase is not Phase.DONE:
            self._app_ended(exchange, self._scope, error)
        if self.exchange is exchange and exchange.phase is Phase.DONE:
            self._conclude(exchange)

    def _conclude(self, exchange: Exchange, cause: str = "") -> None:
        super()._conclude(exchange, cause)
        exchange.part()  # whoever kept its input or its `write` must not reach the next request

    def _environ(self, exchange: WsgiExchange) -> Environ:
        body: object
        if exchange.input is Input.ARRIVING:
            length = None
            body = io.BufferedReader(BodyReader(exchange.next_piece), RECEIVE_BYTES)
        else:
            whole = exchange.take_body()
            length = len(whole)
            body = io.BytesIO(whole)
        scope = self._scope
        template = self.seat.template(self.server, scope["scheme"])
        return environ_of(template, scope, body, length)

    # The time that the application has to begin its response.

    def _limit_time(self, exchange: WsgiExchange) -> None:
        exchange.overdue = Overdue(self)
        self.service.sweeper.start(Wait.REQUEST, exchange.overdue)

    def _in_time(self, exchange: WsgiExchange, overdue: Overdue) -> bool:
        """Whether the response is still the application's to end; else drop the connection."""
        self.service.sweeper.stop(Wait.REQUEST, overdue)
        if overdue.ended():
            return True
        exchange.peer_lost()
        self.exchange = None
        self.drop()
        return False

    def overtake(self) -> None:
        """Answer 504 while the thread goes on.  Main thread; it holds the request's lock."""
        exchange, service = self.exchange, self.threads.front
        if exchange is None:  # it was lost as the client was asked for its body
            return
        text = "504 Gateway Timeout: the application took too long"
        exchange.status, exchange.sent_bytes = 504, len(text) + len("\n")
        with suppress(OSError):
            self._sock.send(plain_response(504, text, exchange.defaults))
        self.unblock()
        service.stats.requests += 1
        service.journal.count_refusal("request-timeout")
        logger.warning(
            "no response within %g s (timeout_request), answered 504 while its thread goes on: %s",
            service.config.timeout_request,
            request_text(self._scope),
        )
        if service.observed:
            cause = "timeout_request"
            service.journal.request_finished(self, exchange, self._scope, self._started_at, cause)

    # Waiting for the peer, which takes up the thread.

    def read_more(self, exchange: WsgiExchange) -> None:
        """Wait for more of the request's body.

        Raises:
            ClientDisconnected: There will not be more; the request is answered or lost.
        """
        data = self._receive_more()
        if not data:
            if exchange.overdue is not None:
                exchange.overdue.begin()  # nobody is to be answered any more
            self.peer_lost()
            raise ClientDisconnected("the client has closed the connection")
        self._progress_bytes += len(data)
        if self._progress_bytes >= BODY_PROGRESS_BYTES:
            self._progress_bytes = 0
            self._waited_seconds = 0.0
        try:
            self.parser.receive_data(data)
            while exchange.input is Input.ARRIVING and (event := self.parser.next_event()):
                if type(event) is BodyReceived:
                    exchange.body_received(event.data)
                else:
                    exchange.body_ended()
        except PeerError as error:
            self._refuse(error)
            raise ClientDisconnected(str(error)) from error

    def _receive_more(self) -> bytes:
        """Wait for bytes; b"" where the client is gone."""
        limit_seconds = self.service.config.timeout_body_idle
        while True:
            try:
                return self._take_more()
            except self._not_ready:
                pass
            except OSError:
                return b""
            left_seconds = limit_seconds - self._waited_seconds
            began_at = time.monotonic()
            if limit_seconds and (
                left_seconds <= 0 or not self._await(select.POLLIN, left_seconds)
            ):
                self._refuse(PeerError(HTTPStatus.REQUEST_TIMEOUT, "body-timeout"))
                raise ClientDisconnected("the client has not sent its body in time")
            if not limit_seconds:
                self._await(select.POLLIN, 0.0)
            self._waited_seconds += time.monotonic() - began_at

    def _take_more(self) -> bytes:
        exchange = cast("WsgiExchange", self.exchange)
        if exchange.overdue is None:
            return self._sock.recv(RECEIVE_BYTES)
        with exchange.overdue.lock:
            exchange.overdue.check()
            return self._sock.recv(RECEIVE_BYTES)

    def _refuse(self, error: PeerError) -> None:
        exchange = self.exchange
        if isinstance(exchange, WsgiExchange) and exchange.overdue is not None:
            exchange.overdue.begin()
        super()._refuse(error)

    def push(self, exchange: Exchange) -> None:
        """Send what is queued, to the last byte.

        Raises:
            ClientDisconnected: It could not be sent.
        """
        self.flush()
        while self.congested:
            if self._await_reader():
                self._send_rest()
            else:
                self.peer_lost()
        if exchange.lost:
            raise ClientDisconnected("the client has closed the connection")

    def send_file(self, exchange: Exchange, fd: int, offset: int, size: int) -> int:
        """Send so much of a file, and return how much there was of it."""
        self.push(exchange)
        sent = 0
        while sent < size:
            count = min(size - sent, SENDFILE_BYTES)
            try:
                took = os.sendfile(self._sock.fileno(), fd, offset + sent, count)
            except self._not_ready:
                self._note_full()
                if self._await_reader():
                    self._note_room()
                else:
                    self.peer_lost()
            except OSError:
                self.peer_lost()
            else:
                if not took:
                    break
                sent += took
            if exchange.lost:
                raise ClientDisconnected("the client has closed the connection")
        return sent

    @property
    def can_send_files(self) -> bool:
        """Whether the kernel can send a file as it is."""
        return self.scheme == "http" or type(self._sock) is socket.socket

    def _await_reader(self) -> bool:
        """Wait until there is room for more; False where the peer reads nothing for too long."""
        unread = self._unread()
        while not self._await(select.POLLOUT, self.service.config.timeout_write_idle):
            before, unread = unread, self._unread()
            if unread >= before:
                return False
        return True

    def _await(self, event: int, seconds: float) -> bool:
        """Wait until the socket is ready; False where it is not in time.  0 waits for ever."""
        self.seat.pass_turn()
        poll = select.poll()
        poll.register(self._sock.fileno(), event)
        return bool(poll.poll(seconds * 1000 if seconds else None))
