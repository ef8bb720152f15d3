"""The shortest way of a WSGI request: one that came before, word for word, and asks for nothing.

What is known of it, environ included, is kept for all connections to one of our addresses. Whatever
turns out not to be plain, on the request's side or on the response's, goes on in
`worker/threads/wsgi_connection.py` as if this did not exist; the application is called once all the
same.
"""

import io
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from serval.asgi.proxy import Amend
from serval.asgi.scope import http_scope
from serval.asgi.types import Address, Scope
from serval.protocols.events import RequestReceived
from serval.protocols.head import known_request
from serval.worker.connections.socket_connection import RECEIVE_BYTES
from serval.worker.connections.tls import TlsConnection
from serval.worker.connections.wire import State
from serval.worker.poller import READ
from serval.worker.threads.pace import INSTANT_SECONDS
from serval.worker.threads.wsgi_connection import WsgiConnection
from serval.worker.threads.wsgi_connection import WsgiSeat as Seat
from serval.worker.threads.wsgi_exchange import WsgiExchange
from serval.wsgi import Environ, Response
from serval.wsgi_environ import environ_of

logger = logging.getLogger("serval.error")

# Requests that are known for each of our addresses; begun anew when full.
KNOWN_COUNT: Final = 512

_OPEN: Final = State.OPEN
_IDLE: Final = State.IDLE


class Known(NamedTuple):
    """A plain request that has come before.

    Attributes:
        request: As it was read.
        scope: Of a request from nobody; like the environ, to be copied.
        environ: The same.
        shape: What it has in common with others that take as long.
    """

    request: RequestReceived
    scope: Scope
    environ: Environ
    shape: bytes


@dataclass(slots=True)
class Sent:
    """A plain response, as the logs see it."""

    status: int
    sent_bytes: int
    response_headers: Iterable[tuple[bytes, bytes]]
    received_bytes: int = 0
    lost: bool = False


# Where requests come to, and what is done to their scopes because of whom they come from.
Place: TypeAlias = tuple[Address | None, str, Amend | None]


class WsgiSeat(Seat, Protocol):
    """A thread that calls a WSGI application."""

    @property
    def takes_short_way(self) -> bool:
        """Whether no two requests need to differ, and nobody looks at the time."""

    def known(self, place: Place) -> dict[bytes, Known]:
        """The requests that are known there; threads may share it."""


class KnowingConnection(WsgiConnection):
    """A connection that knows requests again."""

    __slots__ = ("_begun", "_known", "_remote")

    seat: WsgiSeat

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._known: dict[bytes, Known] | None = None
        self._begun: Known | None = None
        self._remote = (self.client[0], str(self.client[1])) if self.client else ("", "")

    def serve(self, seat: Any, bits: int) -> None:
        """The socket is ready for what `bits` say, or the parked request has its turn."""
        if bits != READ or self.state is not _IDLE or not seat.takes_short_way:
            super().serve(seat, bits)
            return
        if self.seat is not seat:
            self.sit(seat)
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except self._not_ready:
            self.threads.release(self)
        except OSError:
            self.peer_lost()
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Serve what was read, of which nothing is the end of the input; release the connection."""
        table = self._known
        if table is None:
            table = self._known = self.seat.known((self.server, self.scheme, self._amend))
        known = table.get(data)
        try:
            if (
                known is not None
                and self.keep_alive
                and self.seat.roster.paces.is_instant(known.shape)
            ):
                self._serve_known(known)
            elif data:
                self.data_received(data)
            else:
                self._input_ended()
        except Exception:
            self._give_up()
        if known is None:
            self._learn(table, data)
        self._after()

    def _learn(self, table: dict[bytes, Known], data: bytes) -> None:
        """Know a request again that came more than once and holds nothing private."""
        request = known_request(data)
        if request is None:
            return
        if len(table) >= KNOWN_COUNT:
            table.clear()
        scope = http_scope(self._template, None, request, {})
        if self._amend is not None:
            self._amend(scope)
            if scope["client"] is not None:  # it came through a proxy, as those of others do
                return
        template = self.seat.template(self.server, scope["scheme"])
        shape = self.seat.roster.paces.shape(scope["raw_path"])
        table[data] = Known(request, scope, environ_of(template, scope, None, 0), shape)

    def _serve_known(self, known: Known) -> None:
        """Call the application, and send its answer if that is as plain."""
        seat, service = self.seat, self.service
        environ = known.environ.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = self._remote
        environ["wsgi.input"] = io.BytesIO()
        self._begun = known
        response = Response(self._begin_known)
        self.state = _OPEN
        began_at = seat.busy_since = time.monotonic()
        if service.observed:
            self._started_at = began_at
            self._scope = {**known.scope, "client": self.client}
            if service.journal.lifecycle is not None:
                service.journal.request_started(self, self._scope)
        try:
            result = seat.app(environ, response.start)
        except BaseException as error:
            self._end_known(response, (), error)
            return
        given = response.given
        if given is not None and type(result) is list and len(result) == 1:
            body, head = result[0], given.head
            if (
                type(body) is bytes
                and head.plain_bytes == len(body)
                and response.answer is None
                and service.keeps_alive
            ):
                now = time.monotonic()
                if now - began_at > INSTANT_SECONDS:
                    seat.roster.paces.note(known.shape, now - began_at)
                service.stats.requests += 1
                if service.observed:
                    sent = Sent(given.status, len(body), given.fields)
                    service.journal.request_finished(self, sent, self._scope, began_at, "")
                if self._send_at_once(head.start + service.timely_ends.ends[head.own] + body):
                    self.state = _IDLE
                    service.idle.restart(self, now)
                return
        self._end_known(response, result, None)

    def _send_at_once(self, data: bytes) -> bool:
        """Send a whole response; whether all of it has left."""
        try:
            sent = self._sock.send(data)
        except self._not_ready:
            sent = 0
        except OSError:
            self.drop()
            return False
        if sent == len(data):
            return True
        self.queue(data)
        self._keep_rest(sent)
        self._settle()
        return False

    def _begin_known(self) -> WsgiExchange:
        """The exchange of a response that takes more than one step."""
        known = self._begun
        assert known is not None
        self.parser.skip_request()
        exchange = WsgiExchange(known.request, self, self.service.timely_ends, plain=True)
        exchange.take_body()
        self._scope = {**known.scope, "client": self.client}
        self.corked = True
        self.exchange = exchange
        return exchange

    def _end_known(self, response: Response, result: Any, error: BaseException | None) -> None:
        """Send what the application has returned, which is no plain answer, or answer for it."""
        known, exchange = self._begun, response.answer or self._begin_known()
        assert known is not None
        assert isinstance(exchange, WsgiExchange)
        if error is None:
            try:
                response.answer = exchange
                response.send_and_close(result)
            except BaseException as raised:
                error = raised
        self._begun = None
        self.seat.roster.paces.note(known.shape, time.monotonic() - self.seat.busy_since)
        self._app_returned(exchange, error)
        del error  # its traceback holds this frame, and what the application was doing
        self.corked = False
        self.flush()
        self._settle()


class TlsKnowingConnection(TlsConnection, KnowingConnection):
    """The same over TLS."""

    __slots__ = ()
