"""One HTTP/1.x connection: its requests in order, its deadlines, its end.

Everything that both lanes share; `worker/sync_worker.py` gives it a socket in a selector and
`worker/async_pool.py` a transport.  Only the thread of the service's loop may call in.
"""

from abc import abstractmethod
from http import HTTPStatus
from typing import Final

from serval.asgi.exchange import Exchange
from serval.asgi.request_side import ARRIVING
from serval.asgi.response_side import DISCARD_BYTES
from serval.asgi.scope import http_scope, websocket_scope
from serval.asgi.types import Address, Scope
from serval.errors import PeerError
from serval.protocols.events import BodyReceived, RequestEnded, RequestReceived
from serval.protocols.http1 import H1Protocol
from serval.protocols.response_defaults import plain_response
from serval.worker.connections.request_runner import RequestRunner
from serval.worker.connections.wire import HIGH_WATER_BYTES, State
from serval.worker.deadlines import Wait
from serval.worker.service import Service

# More request body bytes than these are held for no application: reading pauses.  What one read
# brings is just not more, or each would cost two changes of what the selector watches.
BODY_BUFFER_BYTES: Final = 65_536
# Pipelined requests that are served before other connections get their turn.
PIPELINE_COUNT: Final = 64
# A body must bring this many bytes in each `timeout_body_idle`, or one byte now and then would
# hold the connection for ever: at the default 30 s, some 240 bytes a second.
BODY_PROGRESS_BYTES: Final = 7_200

# Read on every request: a global is cheaper than a member of an enum (CPython 3.11: by 40 ns).
_OPEN: Final = State.OPEN
_IDLE: Final = State.IDLE
_KEEP_ALIVE: Final = Wait.KEEP_ALIVE


class HttpConnection(RequestRunner):
    """A connection that speaks HTTP/1.x; the way bytes travel is left to the lane.

    Attributes:
        parser: What has been read and not yet served is in it.
    """

    __slots__ = (
        "_amend",
        "_discarded_bytes",
        "_progress_bytes",
        "_template",
        "parser",
    )

    def __init__(
        self,
        service: Service,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
    ) -> None:
        super().__init__(service, client, server, scheme=scheme)
        self.parser = H1Protocol(service.head_limits, body_limits=service.body_limits)
        self._template = service.scope_template(server, scheme, self.lane)
        self._amend = service.proxies.amend_for(client)
        self._discarded_bytes = 0
        self._progress_bytes = 0

    @abstractmethod
    def _hand_over(self, request: RequestReceived, scope: Scope) -> None:
        """Give the connection to the WebSocket that the client asks for."""

    # Bytes in.

    def data_received(self, data: bytes) -> None:
        """Bytes came from the peer."""
        if self.state is _IDLE:
            self._leave_idle(data)
        elif self.exchange is None or self.exchange.input is ARRIVING:
            self.advance(data)
        else:
            self.parser.receive_data(data)
            self._pause_reading()  # pipelined: it stays in the parser until the answer is out

    def _leave_idle(self, data: bytes) -> None:
        """Most often the bytes are one whole request, answered before this returns."""
        request = self.parser.take_request(data)
        self.state = _OPEN
        if request is None:
            self.advance()
            return
        service = self.service
        scope = http_scope(self._template, self.client, request, service.lifespan_state)
        if self._amend is not None:
            self._amend(scope)
        self.corked = True
        self.begin(request, scope, plain=True)
        self.corked = False
        self.flush()
        if self.exchange is None and self.state is _OPEN and not self.congested:
            self.state = _IDLE
            service.idle.restart(self, service.loop.time())
        else:
            self._settle()

    def peer_left(self) -> None:
        """The end of the peer's input was read; it may still be reading ours."""
        self._ending = self._eof = True
        self._pause_reading()
        if self.exchange is not None:
            self._last_request_is_known()
            self._wait_for(None)
            if self.parser.has_trailing_data:
                self.advance()  # what came before the end, be it of the running request's body
            else:
                self._settle()
        elif self.state is _OPEN and self.parser.has_trailing_data:
            self.advance()
        elif self.state is not State.HELD:  # what came before the end is served all the same
            self.close()

    def peer_shut(self) -> None:
        """The peer will send no more than what lies unread, since reading is paused."""
        if self.exchange is not None and self.exchange.input is not ARRIVING:
            self._note_leaving(self.exchange)

    def advance(self, data: bytes = b"") -> None:
        """Go on with what the parser holds, until it needs more bytes or an exchange must wait.

        Args:
            data: What has come since.
        """
        if self.corked:
            return
        self.corked = True
        at_rest = True
        try:
            if self.state is _OPEN or self.state is State.DISCARDING:
                if data:
                    self.parser.receive_data(data)
                at_rest = self._take_events()
            elif data and self.state is State.HELD:
                self.parser.receive_data(data)  # it follows the request that waits
        except PeerError as error:
            self._refuse(error)
        finally:
            self.corked = False
        if self._out:
            self.flush()
        if at_rest:
            self._settle()
        else:
            self.service.loop.call_soon(self.advance)

    def _take_events(self) -> bool:
        """Serve what has been read; False where there is more, and others shall have a turn."""
        parser = self.parser
        for _ in range(PIPELINE_COUNT):
            event = parser.next_event()
            if event is None:
                return True
            if isinstance(event, RequestReceived):
                self._begin(event)
                if self.exchange is None and not parser.has_trailing_data:
                    return True
            else:
                self._take_body(event)
            if self.exchange is None:
                if self._out_bytes >= HIGH_WATER_BYTES:
                    self.flush()
                if self.state is not State.DISCARDING and (
                    self.congested or self.state is not _OPEN
                ):
                    return True
            elif self.exchange.input is not ARRIVING:
                return True
        return False

    def _last_request_is_known(self) -> None:
        """Once nothing more is read, the last request that was read gets `Connection: close`."""
        if self._ending and not self.parser.has_trailing_data:
            self.keep_alive = False

    def _take_body(self, event: BodyReceived | RequestEnded) -> None:
        exchange = self.exchange
        if exchange is not None:
            if type(event) is BodyReceived:
                exchange.body_received(event.data)
                self._progress_bytes += len(event.data)
                if exchange.buffered_bytes > BODY_BUFFER_BYTES:
                    self._pause_reading()
            else:
                exchange.body_ended()
            self._wake_receivers()
        elif type(event) is BodyReceived:
            self._discarded_bytes += len(event.data)
            if self._discarded_bytes > DISCARD_BYTES:
                self._linger()
        else:
            self._next_request()

    def _settle(self) -> None:
        """Choose what the connection waits for from now on, and for how long."""
        exchange = self.exchange
        if exchange is not None:
            if self._eof:  # and nothing is left of what was read before it
                self._note_leaving(exchange)
            if self.exchange is exchange:
                self._settle_body(exchange)
        elif self.state is _OPEN:
            self._settle_head()
        elif self.state is State.DISCARDING:
            self._resume_reading()
            if self._wait is not Wait.LINGER:
                self._wait_for(Wait.LINGER)
        elif self.state is State.CLOSING:
            self.close()

    def _settle_head(self) -> None:
        if self.congested:
            # Who asks for more and reads nothing gets no further answer.
            self._pause_reading()
            self._wait_for(None)
        elif self.parser.head_started and not self._eof:
            self._resume_reading()
            if self._wait is not Wait.HEAD:
                self._wait_for(Wait.HEAD)
        elif self._ending:
            self.close()
        else:
            self._resume_reading()
            self.state = _IDLE
            if self._wait is _KEEP_ALIVE:  # since before the request, as a rule
                self.service.idle.restart(self, self.service.loop.time())
            else:
                self._wait_for(_KEEP_ALIVE)

    def _all_sent(self) -> None:
        super()._all_sent()
        if self.state is _OPEN and self.exchange is None:
            self.advance()

    def _settle_body(self, exchange: Exchange) -> None:
        if self._reading and exchange.input is ARRIVING and not exchange.awaits_continue:
            if self._wait is not Wait.BODY or self._progress_bytes >= BODY_PROGRESS_BYTES:
                self._progress_bytes = 0
                self._wait_for(Wait.BODY)
        elif self._wait is not None and self._wait is not Wait.KEEP_ALIVE:
            # An idle wait goes on unheeded: most requests are over before it is.
            self._wait_for(None)
        if not (self._reading or exchange.input is ARRIVING or self.parser.has_trailing_data):
            self._resume_reading()  # or nobody would hear that the client leaves

    # Requests.

    def _begin(self, request: RequestReceived) -> None:
        scope = http_scope(self._template, self.client, request, self.service.lifespan_state)
        if self._amend is not None:
            self._amend(scope)
        if request.upgrade == b"websocket" and self.service.speaks_websocket:
            self.flush()
            if not self._has_unsent():  # else it is ignored, as RFC 9110 section 7.8 allows
                if self._detach():
                    self._hand_over(request, websocket_scope(scope))
                return
        self.begin(request, scope)

    def take_up(self, request: RequestReceived, scope: Scope) -> None:
        """Serve a request that another connection has parsed, before any of our own."""
        self.parser.skip_request()
        self.corked = True
        self.begin(request, scope)
        self.corked = False
        self.flush()
        self._settle()

    def _next_request(self) -> None:
        self.parser.start_next_cycle()
        self.state = _OPEN

    # The lane of the running exchange.

    def body_wanted(self) -> None:
        """The application took the body bytes that were held for it, or asks for the first."""
        exchange = self.exchange
        if self._wait is not Wait.BODY and exchange is not None and exchange.input is ARRIVING:
            self._resume_reading()
            self._settle_body(exchange)

    def limit_body(self, limit_bytes: int) -> None:
        """The application bears no more of the running request's body, or more; 0 for all."""
        try:
            self.parser.limit_body(limit_bytes)
        except PeerError as error:
            self._refuse(error)

    def response_done(self) -> None:
        """The running exchange has written the last byte of its response."""
        assert self.exchange is not None
        self._conclude(self.exchange)
        if self.parser.has_trailing_data:
            self.advance()
        else:
            self.flush()
            self._settle()

    def _conclude(self, exchange: Exchange, cause: str = "") -> None:
        """Make the connection ready for what follows a complete response."""
        self.exchange = self.task = None
        service = self.service
        service.stats.requests += 1
        if service.observed:
            service.journal.request_finished(self, exchange, self._scope, self._started_at, cause)
        if self._receivers is not None:
            self._wake_receivers()
        if exchange.keep_alive and self.keep_alive and exchange.input is not ARRIVING:
            self.parser.start_next_cycle()
        else:
            self._end_or_discard(exchange)

    def _end_or_discard(self, exchange: Exchange) -> None:
        """Go on from a response after which no other request can be read at once."""
        if exchange.keep_alive and self.keep_alive:
            self.state = State.DISCARDING
            self._discarded_bytes = 0
        elif exchange.input is ARRIVING or self.parser.has_trailing_data:
            self._linger()
        else:
            self.state = State.CLOSING

    # Deadlines.

    def expired(self, wait: Wait, *, late: bool) -> None:
        """A wait has lasted as long as it may; one for the peer to read goes on if it did.

        Args:
            late: The loop was held up, so that the peer's bytes may lie unread.
        """
        if wait is Wait.WRITE:
            if self._unread() < self._unread_bytes:
                self._expect_progress()
            else:
                self.peer_lost("client does not read")
            return
        self._wait = None
        if wait is Wait.KEEP_ALIVE and self.state is not _IDLE:
            return
        if late or wait is Wait.KEEP_ALIVE:
            self._wait_for(wait)  # begins anew, should there be bytes
            if self._take_late_bytes():
                return
            self._wait_for(None)
        if wait is Wait.BODY or (wait is Wait.HEAD and self.parser.head_started):
            self._refuse(PeerError(HTTPStatus.REQUEST_TIMEOUT, f"{wait.name.lower()}-timeout"))
        else:
            self.close()

    # The end.

    def _refuse(self, error: PeerError) -> None:
        """Answer a client's mistake; nothing more of this connection is parsed."""
        self.keep_alive = False
        exchange = self.exchange
        if exchange is not None:
            request = exchange.request
            error.request_line = request.method, request.target, request.http_version
        self.service.journal.refused(self.client, error)
        text = f"{error.status} {HTTPStatus(error.status).phrase}: {error.reason}"
        if exchange is not None:
            corked, self.corked = self.corked, True
            exchange.refuse(error.status, text, error.reason)
            self.corked = corked
            self._wake_receivers()
            if self.exchange is exchange:
                self._conclude(exchange, error.reason)
        elif self.state is _OPEN:
            self.queue(plain_response(error.status, text, self.service.timely_ends))
            self.service.journal.refusal_sent(
                self.client, self.scheme, error, len(text) + len("\n")
            )
        if self.state not in (State.LINGERING, State.CLOSED):
            self._linger()

    # The stop of the server.

    def leave(self) -> None:
        """Let the next response be the last, or the running one if its head is not out yet."""
        self.keep_alive = False

    def drain(self) -> None:
        """Take no request after those already read; close if there is none."""
        self._ending = True
        self._last_request_is_known()
        if self.state is _IDLE:
            if not self._take_late_bytes():
                self.close()
        elif self.state is _OPEN and self.exchange is None and not self.parser.head_started:
            # Accepted and not heard of yet: its first request may be on its way.
            self._wait_for(Wait.LINGER)
