"""A connection whose requests an ASGI application answers, on the loop of one of several threads.

While a request runs, the connection is housed: its thread alone watches the socket.  Between
requests it waits in the pool, for whichever thread comes first.  What is known beforehand to live
long, or to bring a long body, is served at home, by the loop of the main thread.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from serval.asgi.exchange import Exchange
from serval.asgi.types import Scope
from serval.protocols.events import RequestReceived
from serval.worker.connections.tls import TlsConnection
from serval.worker.connections.wire import State
from serval.worker.poller import WRITE
from serval.worker.request_timeout import RequestTimeout
from serval.worker.threads.pooled_connection import PooledConnection, Seat
from serval.worker.threads.roster import Roster
from serval.worker.timed import Timed

# A body that is longer arrives at home.
LONG_BODY_BYTES: Final = 65_536
_EVENT_STREAM: Final = b"text/event-stream"


class LoopSeat(Seat, Protocol):
    """A thread with an event loop.

    Attributes:
        running: The shape of the last request that it began and that may block.
    """

    running: bytes

    @property
    def is_home(self) -> bool:
        """Whether it is the main thread, which serves what lives long."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its loop."""

    @property
    def roster(self) -> "Roster[LoopSeat, AsgiConnection]":
        """Who is free."""

    def house(self, connection: "AsgiConnection") -> None:
        """Watch its socket."""

    def unhouse(self, connection: "AsgiConnection") -> None:
        """Watch its socket no more."""

    def send_home(self, connection: "AsgiConnection") -> None:
        """Let the main thread serve the request that is held."""

    def park(self, connection: "AsgiConnection") -> None:
        """Let the next thread that has time serve the request that is held."""


class AsgiConnection(PooledConnection):
    """An HTTP connection whose requests run on the loops of threads.

    Attributes:
        shape: Of the request that runs.
        is_proven: Where it is housed, requests like it are known not to block.
    """

    __slots__ = ("_held", "_is_moving", "_rests", "_steps", "is_proven", "shape")

    seat: LoopSeat

    def __init__(self, *args: Any, **options: Any) -> None:
        self.shape = b""
        self.is_proven = False
        self._steps: Timed | None = None
        self._held: tuple[RequestReceived, Scope] | None = None
        self._rests = True
        self._is_moving = False
        super().__init__(*args, **options)

    @property
    def interest(self) -> int:
        """What the socket is to be watched for; one that holds a request is ready at once."""
        return self._interest if self._held is None else self._interest | WRITE

    # By the thread of the seat.

    def serve(self, seat: Seat, bits: int) -> None:
        """The socket is ready for what `bits` say; the seat's thread has claimed it."""
        self.sit(seat)
        if self._held is None:
            self.ready(bits)
            self._find_place()
        else:
            self.serve_held(self.seat)

    def serve_held(self, seat: LoopSeat) -> None:
        """The request that was held has its turn, if it may."""
        assert self._held is not None
        request, scope = self._held
        self.sit(seat)
        if self._is_broken():  # the client has not waited, and no thread need work for it
            self.peer_lost()
            return
        if not seat.is_home and not self._may_run(scope):
            seat.park(self)
            return
        self._held = None
        self.state = State.OPEN
        scope["state"] = seat.service.lifespan_state.copy()
        self.corked = True
        self._begin_here(request, scope, plain=False)
        self.corked = False
        self.advance()
        self._find_place()

    def _find_place(self) -> None:
        """See who goes on with the connection, which nobody watches."""
        if self.state is State.CLOSED:
            return
        if self._held is not None:
            self._send_away(self._held[0])
        elif self.exchange is not None or not self._rests:
            self.seat.house(self)
        else:
            self.threads.release(self)

    def _send_away(self, request: RequestReceived) -> None:
        if belongs_at_home(request):
            self.seat.send_home(self)
        elif self.seat.is_home:
            self.threads.release(self)
        else:
            self.seat.park(self)

    def _settle(self) -> None:
        super()._settle()
        if self.is_housed and self.exchange is None and not self._is_moving:
            # Not at once: whoever called us may not be done with the connection.  And not twice:
            # by the second time, it may be the house of another thread.
            self._is_moving = True
            self.seat.loop.call_soon(self._move_out)

    def _move_out(self) -> None:
        self._is_moving = False
        if self.is_housed and self.exchange is None and self._rests:
            self.seat.unhouse(self)
            self._find_place()

    def _take_events(self) -> bool:
        self._rests = super()._take_events()
        return self._rests

    # Requests.

    def begin(self, request: RequestReceived, scope: Scope, *, plain: bool = False) -> None:
        """Call the application, or hold the request for a thread that may."""
        is_home = self.seat.is_home
        if belongs_at_home(request) is is_home and (is_home or self._may_run(scope)):
            self._begin_here(request, scope, plain=plain)
        else:
            self._held = request, scope
            self._wait_for(None)
            self.state = State.HELD

    def _may_run(self, scope: Scope) -> bool:
        roster = self.seat.roster
        return roster.may_run(self.seat, roster.paces.shape(scope["raw_path"]))

    def _begin_here(self, request: RequestReceived, scope: Scope, *, plain: bool) -> None:
        seat = self.seat
        self.shape = seat.roster.paces.shape(scope["raw_path"])
        if seat.is_home:
            extensions = scope["extensions"]
            ours = {**extensions["serval"], "lane": "async"}
            scope["extensions"] = {**extensions, "serval": ours}
        super().begin(request, scope, plain=plain)

    def _run(self, exchange: Exchange, scope: Scope) -> Coroutine[Any, Any, None]:
        steps = self._steps = Timed(super()._run(exchange, scope))
        return steps

    def _conclude(self, exchange: Exchange, cause: str = "") -> None:
        super()._conclude(exchange, cause)
        # Whatever the application says from here on must not reach a connection that another
        # thread may have by then.
        exchange.part()
        event, self._writable = self._writable, None
        if event is not None:
            event.set()  # by the thread whose loop waits for it, as long as that has the connection
        steps, service = self._steps, self.service
        if steps is not None:
            # Under a timeout the application runs in a task of its own, whose steps nobody sees.
            is_seen = type(service.app) is not RequestTimeout
            seconds = steps.longest_yet_seconds if is_seen else steps.seconds
            self.seat.roster.paces.note(self.shape, seconds)

    async def writable(self) -> None:
        """Wait until the peer has read what was written, is gone, or has all of the response.

        For the rest of that, the application need not wait, and another thread may see to it.
        """
        exchange = self.exchange
        while self.congested and self.exchange is exchange:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()

    # The end.

    def _close_wire(self, *, reset: bool) -> None:
        if self.is_housed:
            self.seat.unhouse(self)
        super()._close_wire(reset=reset)

    def _hand_over(self, request: RequestReceived, scope: Scope) -> None:
        if self.is_housed:
            self.seat.unhouse(self)
        super()._hand_over(request, scope)


class TlsAsgiConnection(TlsConnection, AsgiConnection):
    """The same over TLS."""

    __slots__ = ()


def belongs_at_home(request: RequestReceived) -> bool:
    """Whether a request is known to live long, or to bring a body that takes its time."""
    if not request.complete and (
        request.expect_continue
        or request.content_length is None
        or request.content_length > LONG_BODY_BYTES
    ):
        return True
    for name, value in request.headers:
        if name == b"accept":
            return _EVENT_STREAM in value
    return False
