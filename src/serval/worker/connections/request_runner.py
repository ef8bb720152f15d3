"""The application's side of a connection: one request at a time, its task and how both end.

`worker/connections/connection.py` gives it requests.  Only the thread of the service's loop may
call in.
"""

import asyncio
import logging
from abc import abstractmethod
from http import HTTPStatus
from time import monotonic

from serval.asgi.exchange import Exchange
from serval.asgi.http_messages import DONE
from serval.asgi.request_side import ARRIVING
from serval.asgi.types import Address, Scope
from serval.escaping import request_extras, request_text
from serval.protocols.events import RequestReceived
from serval.protocols.response_framing import Framing
from serval.worker.connections.wire import State, Wire
from serval.worker.service import Service

logger = logging.getLogger("serval.error")


class RequestRunner(Wire):
    """A connection that runs the application.

    Attributes:
        exchange: The request that is being served, until its response is complete.
        task: The application's, while it is being served.
        keep_alive: Whether another request will be taken after the running one.
    """

    __slots__ = (
        "_ending",
        "_receivers",
        "_scope",
        "_started_at",
        "exchange",
        "keep_alive",
        "task",
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
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[None] | None = None
        self.keep_alive = service.keeps_alive
        self._scope: Scope = {}
        self._started_at = 0.0
        self._ending = service.draining
        self._receivers: list[asyncio.Future[None]] | None = None

    # What the protocol supplies.

    @abstractmethod
    def _last_request_is_known(self) -> None:
        """Once nothing more is read, the last request that was read gets `Connection: close`."""

    @abstractmethod
    def _conclude(self, exchange: Exchange, cause: str = "") -> None:
        """Make the connection ready for what follows a complete response.

        Args:
            cause: Why we answered in the application's stead, if we did.
        """

    @abstractmethod
    def response_done(self) -> None:
        """The running exchange has written the last byte of its response."""

    @abstractmethod
    def limit_body(self, limit_bytes: int) -> None:
        """The application bears no more of the running request's body, or more; 0 for all."""

    @abstractmethod
    def body_wanted(self) -> None:
        """The application took the body bytes that were held for it."""

    # The application.

    def begin(self, request: RequestReceived, scope: Scope, *, plain: bool = False) -> None:
        """Call the application for a request that has been parsed; exactly once for each.

        Args:
            plain: The request is one that `H1Protocol.take_request` gave.
        """
        service = self.service
        exchange = self.exchange = Exchange(request, self, service.defaults, plain=plain)
        self._scope = scope
        if service.date_is_stale:
            service.renew_date()
        if service.observed:
            self._started_at = monotonic()
            if service.announces:
                self._announce(exchange, scope)
        if self._ending:
            self._last_request_is_known()
            if self._eof and request.complete and service.config.half_close != "serve":
                exchange.peer_left()
        task = service.start(self._run(exchange, scope), service.context.copy())
        if self.exchange is exchange:
            if exchange.phase is DONE:
                self._conclude(exchange)
            else:
                self.task = task
                if exchange.defaults is service.defaults:
                    exchange.defaults = service.timely_ends
        elif exchange.lost and not task.done():  # found out in its first step
            self.task = task
            self._cancel_later(exchange)

    def _announce(self, exchange: Exchange, scope: Scope) -> None:
        """Tell the collector of a request, and the client its id."""
        service = self.service
        if service.journal.lifecycle is not None:
            service.journal.request_started(self, scope)
        if service.request_ids is not None:
            exchange.defaults = service.request_ids.head_ends(exchange, service.timely_ends, scope)

    async def _run(self, exchange: Exchange, scope: Scope) -> None:
        try:
            await self.service.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            # Not kept beyond this clause: its traceback holds what the application was doing.
            self._app_ended(exchange, scope, error)
        else:
            if exchange.phase is not DONE:
                self._app_ended(exchange, scope, None)

    def _app_ended(self, exchange: Exchange, scope: Scope, error: BaseException | None) -> None:
        ending = exchange.app_ended(error)
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if not ending.fault or (is_cancelled and (exchange.lost or self.service.draining)):
            return
        if error is not None and error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next  # without our own frame
        if ending.excused:
            logger.info("%s: %s: %a", ending.fault, request_text(scope), error)
        else:
            logger.error(
                "%s: %s",
                ending.fault,
                request_text(scope),
                exc_info=error,
                extra=request_extras(scope),
            )

    # The lane of the running exchange.

    async def input_changed(self) -> None:
        """Wait until the exchange has something new to tell the application."""
        # Half the time of an `asyncio.Event`, which would be one for each read of a body.
        waiter = self.service.loop.create_future()
        if self._receivers is None:
            self._receivers = []
        self._receivers.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if self._receivers is not None and waiter in self._receivers:
                self._receivers.remove(waiter)
            raise

    def read_on(self) -> bool:
        """Read what is known to lie there: nothing is, unless a lane knows better."""
        return False

    def break_off(self) -> None:
        """Cut the response short so that the peer can tell."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            usual = "client left" if exchange.lost else "response cut short"
            self._finished(exchange, exchange.cause or usual)
            self._wake_receivers()
        self.flush()
        # Where only the end of the connection would tell the end of the body, a reset must.
        self.drop(reset=exchange is not None and exchange.framing is Framing.CLOSE)

    def fault(self, text: str) -> None:
        """Log what the application did wrong, where the response survived it."""
        scope = self._scope
        self.service.journal.warn_once(f"{text.partition(':')[0]} {scope['path']}", text, scope)

    def _finished(self, exchange: Exchange, cause: str) -> None:
        """The running exchange was given up."""
        self.service.stats.requests += 1
        if self.service.observed:
            self.service.journal.request_finished(
                self, exchange, self._scope, self._started_at, cause
            )

    def _wake_receivers(self) -> None:
        waiters, self._receivers = self._receivers, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    # The end.

    def peer_lost(self, cause: str = "client left") -> None:
        """The connection is broken, or was closed under us."""
        if self.state is State.CLOSED:
            return
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.peer_lost()
            self._finished(exchange, cause)
            self._cancel_later(exchange)
        self.drop()

    def _note_leaving(self, exchange: Exchange) -> None:
        """The client sends no more, which may mean that it has left."""
        policy = self.service.config.half_close
        if policy == "close":
            self.peer_lost()
        elif policy == "disconnect" or exchange.input is ARRIVING:
            exchange.peer_left()
            self._wake_receivers()
            self._cancel_later(exchange)

    def _cancel_later(self, exchange: Exchange) -> None:
        """Nobody waits for the application any more: let it go on for so long."""
        seconds = self.service.config.cancel_after_disconnect
        if seconds and self.task is not None:
            self.service.loop.call_later(seconds, self._cancel, self.task, exchange)
            self.task = None

    def _cancel(self, task: asyncio.Task[None], exchange: Exchange) -> None:
        if not task.done():
            if self.exchange is exchange:
                self.peer_lost()
            task.cancel()

    def _closed(self) -> None:
        self._wake_receivers()

    # The stop of the server.

    def disconnect(self) -> None:
        """Tell the running application that its client is gone, though it may not be."""
        if self.exchange is not None:
            self.exchange.dismiss()
            self._wake_receivers()

    def abort(self) -> None:
        """Cancel the running application and end the connection."""
        if self.task is not None:
            self.task.cancel()
        if self.exchange is not None:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            self.exchange.refuse(status, status.phrase, "server stopped")
        else:
            self.drop()
