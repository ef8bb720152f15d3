"""A connection whose requests a WSGI application answers, on the thread that has claimed it.

The thread is taken up only while the application runs: heads and short bodies arrive, and what is
left of an answer leaves, with no thread waiting for the peer.
"""

import io
import os
import select
import socket
import stat
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from serval.asgi.disconnects import only_disconnects
from serval.asgi.exchange import Exchange
from serval.asgi.http_messages import Phase
from serval.asgi.request_side import Input
from serval.asgi.types import Address, Scope
from serval.errors import AppError, ClientDisconnected, PeerError
from serval.protocols.events import BodyReceived, RequestReceived
from serval.protocols.response import ResponseHead, response_head
from serval.protocols.response_framing import Framing
from serval.worker.connection import BODY_BUFFER_BYTES, BODY_PROGRESS_BYTES
from serval.worker.pooled_connection import Owner, PooledConnection, Seat
from serval.worker.roster import Roster
from serval.worker.socket_connection import RECEIVE_BYTES
from serval.worker.tls import TlsConnection
from serval.wsgi import BodyReader, Environ, Fields, WSGIApp, call, environ_of

# A file up to this size is sent together with its head.
SMALL_FILE_BYTES: Final = 65_536
# What one `sendfile` is asked for; the thread looks at the time in between.
SENDFILE_BYTES: Final = 1_048_576


class WsgiSeat(Seat, Protocol):
    """A thread that calls a WSGI application.

    Attributes:
        running: The shape of the request that it runs and that may block.
    """

    running: bytes

    @property
    def app(self) -> WSGIApp:
        """The application."""

    @property
    def roster(self) -> "Roster[WsgiSeat, WsgiConnection]":
        """Who is free."""

    @property
    def soon(self) -> deque[tuple[Callable[..., object], tuple[Any, ...]]]:
        """What is to be called before the connection is released, with its arguments."""

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

    def __init__(
        self,
        threads: Owner,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
        tls: dict[str, Any] | None = None,
    ) -> None:
        self._call = Call.NONE
        self._waited_seconds = 0.0
        super().__init__(threads, sock, client, server, scheme=scheme, tls=tls)

    def serve(self, seat: Seat, bits: int) -> None:
        """The socket is ready for what `bits` say, or the parked request has its turn."""
        self.sit(seat)
        if self._call is _PARKED:
            self._run_now()
        else:
            self.ready(bits)
        if self._call is not _NONE:
            self._run_when_read()
        soon = self.seat.soon
        while soon:
            callback, arguments = soon.popleft()
            callback(*arguments)
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
            if service.journal.lifecycle is not None:
                service.journal.request_started(self, scope)
        if self._ending:
            self._last_request_is_known()
        if request.complete or request.expect_continue:
            self._run_app(exchange)
        else:
            self._call = Call.AWAITING_BODY

    def _run_when_read(self) -> None:
        exchange = self.exchange
        if self._call is _PARKED:
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

    def _run_app(self, exchange: "WsgiExchange") -> None:
        """Run the application, unless that may take long and as many as may block do already."""
        seat = self.seat
        paces = seat.roster.paces
        shape = paces.shape(self._scope["raw_path"])
        if not (paces.is_quick(shape) or seat.roster.may_run(seat, shape)):
            self._call = _PARKED
            return
        self._call = _NONE
        began_at = time.monotonic()
        error: BaseException | None = None
        try:
            call(seat.app, self._environ(exchange), exchange)
        except BaseException as raised:
            error = raised
        paces.note(shape, time.monotonic() - began_at)
        if seat.running:
            seat.roster.ended(seat)
        if error is not None and self.exchange is not exchange and only_disconnects(error):
            pass  # its input has failed, and that was logged
        elif error is not None or exchange.phase is not Phase.DONE:
            self._app_ended(exchange, self._scope, error)
        if self.exchange is exchange and exchange.phase is Phase.DONE:
            self._conclude(exchange)

    def _environ(self, exchange: "WsgiExchange") -> Environ:
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

    # Waiting for the peer, which takes up the thread.

    def read_more(self, exchange: "WsgiExchange") -> None:
        """Wait for more of the request's body.

        Raises:
            ClientDisconnected: There will not be more; the request is answered or lost.
        """
        data = self._receive_more()
        if not data:
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
                return self._sock.recv(RECEIVE_BYTES)
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

    def push(self, exchange: Exchange) -> None:
        """Send what is queued, to the last byte.

        Raises:
            ClientDisconnected: It could not be sent.
        """
        self.flush()
        while self.congested:
            if self._await(select.POLLOUT, self.service.config.timeout_write_idle):
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
                if not self._await(select.POLLOUT, self.service.config.timeout_write_idle):
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

    def _await(self, event: int, seconds: float) -> bool:
        """Wait until the socket is ready; False where it is not in time.  0 waits for ever."""
        poll = select.poll()
        poll.register(self._sock.fileno(), event)
        return bool(poll.poll(seconds * 1000 if seconds else None))


class TlsWsgiConnection(TlsConnection, WsgiConnection):
    """The same over TLS."""

    __slots__ = ()


class WsgiExchange(Exchange):
    """An exchange whose application answers by calls that return when the client has its bytes."""

    _lane: WsgiConnection
    _given: tuple[int, ResponseHead, Fields] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the client may have seen some of the response."""
        return self.phase is not Phase.WAITING

    # The request.

    def take_body(self) -> bytes:
        """The whole body, which has arrived."""
        self.input = Input.DELIVERED
        return self._take_body()

    def next_piece(self) -> bytes:
        """Wait for more of the body; b"" at its end."""
        while not self._chunks:
            if self.input is not Input.ARRIVING:
                return b""
            self._ask_for_body()
            self._lane.read_more(self)
        return self._take_body()

    # The response.

    def start(self, status: int, reason: bytes, headers: Fields) -> None:
        """Hold a status and fields; called again, hold others instead."""
        head = response_head(status, headers)
        usual, _, rest = head.start.partition(b"\r\n")
        if reason and usual[13:] != reason:
            head = replace(head, start=b"%b%b\r\n%b" % (usual[:13], reason, rest))
        self._given = status, head, headers

    def write(self, data: bytes) -> None:
        """Send a part of the body; returns when it is on its way."""
        first = self._begin_response()
        self._check_end(data)
        last = first and self._head.content_length == len(data)
        self._body({"body": data, "more_body": not last})
        if not last:
            self._lane.push(self)

    def finish(self, data: bytes = b"") -> None:
        """Send the last part of the body; what the socket does not take, leaves without us."""
        self._begin_response()
        if self.phase is Phase.DONE:
            self._check_end(data)
        else:
            self._body({"body": data, "more_body": False})

    def write_file(self, file: Any) -> bool:
        """Send all that is left of a file as the body; False, with nothing sent, if it can't be."""
        if not self._lane.can_send_files or self.has_begun:
            return False
        try:
            fd = file.fileno()
            status = os.fstat(fd)
            offset = file.tell()
        except (AttributeError, OSError):  # no file of the system's
            return False
        size = status.st_size - offset
        if not stat.S_ISREG(status.st_mode) or size <= SMALL_FILE_BYTES:
            return False
        self._begin_response()
        self._lane.queue(self._framed_head(self._head, size, False))
        self.phase = Phase.STREAMING
        if self.framing is not Framing.NONE:
            sent = self._lane.send_file(self, fd, offset, min(size, self._left_bytes))
            self.sent_bytes += sent
            self._left_bytes -= sent
        self._body_complete()
        return True

    def _check_end(self, data: bytes) -> None:
        """Refuse what comes after the whole of an announced body.

        Raises:
            AppError: There is something.
        """
        is_ours = self._given is not None and self._given[0] == self.status  # and no 413, say
        if (
            data
            and is_ours
            and self.phase is Phase.DONE
            and self.framing is Framing.LENGTH
            and self.request.method != b"HEAD"
        ):
            raise AppError(f"body is longer than its content-length: {len(data)} bytes cut off")

    def _begin_response(self) -> bool:
        """Take what `start` was given for what the application says; whether that was now."""
        if self.phase is not Phase.WAITING or self._given is None:
            return False
        self.status, self._head, self.response_headers = self._given
        self.phase = Phase.HEAD_HELD
        return True
