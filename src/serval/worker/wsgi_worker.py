"""The threads of a WSGI application: each waits in the pool's poller and calls it by itself.

A thread has no event loop.  It is taken up by a request only while the application runs: heads and
short bodies arrive, and what is left of an answer leaves, with no thread waiting for the peer.
"""

import asyncio
import io
import os
import select
import socket
import stat
import sys
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

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
from serval.worker.pooled_connection import PooledConnection
from serval.worker.service import TEMPLATES_COUNT, Service
from serval.worker.socket_connection import RECEIVE_BYTES
from serval.worker.thread_pool import PoolSeat, PoolThread, ThreadPool
from serval.worker.tls import TlsConnection
from serval.wsgi import BodyReader, Environ, Fields, WSGIApp, call, environ_of, environ_template

# Threads where the operator has not said how many.  Most applications wait for a database now and
# then, and few are known to their authors to stand many threads: gunicorn's advice is 2 to 4 for
# each core, and each may hold a connection to the database.
DEFAULT_THREADS: Final = 4
# A file up to this size is sent together with its head.
SMALL_FILE_BYTES: Final = 65_536
# What one `sendfile` is asked for; the thread looks at the time in between.
SENDFILE_BYTES: Final = 1_048_576


class ThreadLoop:
    """What connections ask of their loop, on a thread that has none."""

    __slots__ = ("_soon",)

    def __init__(self) -> None:
        self._soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def time(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call that before the connection is released."""
        self._soon.append((callback, args))

    def run_soon(self) -> None:
        """Call what was to be called soon."""
        soon = self._soon
        while soon:
            callback, args = soon.popleft()
            callback(*args)


class WsgiSeat(PoolSeat):
    """A thread without a loop, as the connections that it serves see it."""

    def __init__(self, threads: ThreadPool, app: WSGIApp) -> None:
        self.loop = ThreadLoop()
        # Of a loop, a connection without tasks needs no more than this one has.
        loop = cast("asyncio.AbstractEventLoop", self.loop)
        super().__init__(threads, threads.sibling(loop))
        self.app = app
        self._templates: dict[Address | None, Environ] = {}

    def template(self, server: Address | None) -> Environ:
        """What the environs of requests to that address have in common."""
        template = self._templates.get(server)
        if template is None:
            if len(self._templates) >= TEMPLATES_COUNT:  # a wildcard may stand for many addresses
                self._templates.clear()
            config = self.service.config
            template = self._templates[server] = environ_template(
                server,
                errors=sys.stderr,
                multithread=config.threads != 1,
                multiprocess=config.workers > 1,
            )
        return template


class WsgiThread(PoolThread):
    """A thread that calls a WSGI application."""

    def __init__(self, threads: ThreadPool, number: int, app: WSGIApp) -> None:
        super().__init__(threads, number)
        self._seat = WsgiSeat(threads, app)

    @property
    def service(self) -> Service:
        """What this thread serves."""
        return self._seat.service

    def successor(self) -> "WsgiThread":
        """A thread to take the place of this one."""
        return WsgiThread(self.threads, self.number, self._seat.app)

    def run(self) -> None:
        """Serve one event after the other until the pool has closed."""
        threads, seat = self.threads, self._seat
        members, poll = threads.members, threads.poller.poll
        while not threads.is_closed:
            for fd, bits in poll(-1, 1):
                member = members.pop(fd, None)
                if member is not None:
                    try:
                        member.serve(seat, bits)
                    except BaseException:
                        member.drop()
                        raise


class WsgiConnection(PooledConnection):
    """An HTTP connection whose requests a WSGI application answers."""

    __slots__ = ("_is_called", "_waited_seconds")

    def __init__(
        self,
        threads: ThreadPool,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
        tls: dict[str, Any] | None = None,
    ) -> None:
        self._is_called = True
        self._waited_seconds = 0.0
        super().__init__(threads, sock, client, server, scheme=scheme, tls=tls)

    def serve(self, seat: Any, bits: int) -> None:
        """The socket is ready for what `bits` say."""
        self.sit(seat)
        self.ready(bits)
        if not self._is_called:
            self._call_when_read()
        seat.loop.run_soon()
        self.threads.release(self)
        if seat.service.draining:
            seat.threads.settled()

    # Requests.

    def begin(self, request: RequestReceived, scope: Scope, *, plain: bool = False) -> None:
        """Call the application, once a short body is here or a long one is on its way."""
        service = self.service
        service.defaults.lines()  # nobody else keeps the Date field true
        exchange = self.exchange = WsgiExchange(request, self, service.defaults, plain=plain)
        self._scope = scope
        if service.observed:
            self._started_at = time.monotonic()
            service.request_started(self, scope)
        if self._ending:
            self._last_request_is_known()
        if request.complete or request.expect_continue:
            self._call(exchange)
        else:
            self._is_called = False

    def _call_when_read(self) -> None:
        exchange = self.exchange
        if exchange is None:  # it was refused, or is lost
            self._is_called = True
        elif exchange.input is not Input.ARRIVING or exchange.buffered_bytes >= BODY_BUFFER_BYTES:
            self._is_called = True
            self._wait_for(None)
            self.corked = True
            self._call(cast("WsgiExchange", exchange))
            self.corked = False
            self._resume_reading()
            self.advance()

    def _call(self, exchange: "WsgiExchange") -> None:
        error: BaseException | None = None
        try:
            call(cast("WsgiSeat", self.seat).app, self._environ(exchange), exchange)
        except BaseException as raised:
            error = raised
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
        template = cast("WsgiSeat", self.seat).template(self.server)
        return environ_of(template, self._scope, body, length)

    # Waiting for the peer, which takes up the thread.

    def read_more(self, exchange: "WsgiExchange") -> None:
        """Wait for more of the request's body.

        Raises:
            ClientDisconnected: There will not be more; the request is answered or lost.
        """
        limit_seconds = self.service.config.timeout_body_idle
        while True:
            try:
                data = self._sock.recv(RECEIVE_BYTES)
                break
            except self._not_ready:
                began_at = time.monotonic()
                ready = self._await(select.POLLIN, max(limit_seconds - self._waited_seconds, 0.0))
                self._waited_seconds += time.monotonic() - began_at
                if not ready and limit_seconds:
                    self._refuse(PeerError(HTTPStatus.REQUEST_TIMEOUT, "body-timeout"))
                    raise ClientDisconnected("the client has not sent its body in time") from None
            except OSError:
                data = b""
                break
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


def connect_wsgi(
    threads: ThreadPool,
    sock: socket.socket,
    client: Address | None,
    server: Address | None,
    *,
    scheme: str,
    tls: dict[str, Any] | None,
) -> WsgiConnection:
    """A connection that has just come, over TLS if `tls` says how."""
    kind = WsgiConnection if tls is None else TlsWsgiConnection
    return kind(threads, sock, client, server, scheme=scheme, tls=tls)


class WsgiExchange(Exchange):
    """An exchange whose application answers by calls that return when the client has its bytes."""

    _lane: WsgiConnection
    _given: tuple[int, Fields] | None = None
    _reason = b""
    _given_head: ResponseHead | None = None

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
        self._given_head = response_head(status, headers)
        self._given = status, headers
        self._reason = reason

    def write(self, data: bytes) -> None:
        """Send a part of the body; returns when it is on its way."""
        head = self._given_head
        first = self._begin_response()
        self._check_end(data)
        last = first and head is not None and head.content_length == len(data)
        self._body({"type": "http.response.body", "body": data, "more_body": not last})
        if not last:
            self._lane.push(self)

    def finish(self, data: bytes = b"") -> None:
        """Send the last part of the body; what the socket does not take, leaves without us."""
        self._begin_response()
        self._check_end(data)
        if self.phase is not Phase.DONE:
            self._body({"type": "http.response.body", "body": data, "more_body": False})

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
        """Hand over what `start` was given; whether that was now."""
        if self.phase is not Phase.WAITING or self._given is None:
            return False
        status, headers = self._given
        self._start({"type": "http.response.start", "status": status, "headers": headers})
        reason = self._reason
        usual, _, rest = self._head.start.partition(b"\r\n")
        if reason and usual[13:] != reason:
            start = b"%b%b\r\n%b" % (usual[:13], reason, rest)
            head = self._head
            self._head = ResponseHead(
                start, head.bodiless, head.plain_bytes, head.content_length, head.close, head.own
            )
        return True
