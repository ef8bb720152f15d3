"""The threads of a WSGI application: each waits in the pool's poller and calls it by itself.

A thread has no event loop.  What it does with a connection is in
`worker/threads/wsgi_connection.py`.
"""

import asyncio
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from serval.asgi.types import Address
from serval.worker.async_pool import AsyncPool
from serval.worker.loops import runs_free_threaded
from serval.worker.service import TEMPLATES_COUNT, Service
from serval.worker.threads.pooled_connection import PooledConnection
from serval.worker.threads.roster import Roster
from serval.worker.threads.thread_pool import PoolSeat, PoolThread, ThreadPool
from serval.worker.threads.turns import Turns
from serval.worker.threads.wsgi_connection import WsgiConnection
from serval.worker.threads.wsgi_connection import WsgiSeat as SeatAtWsgi
from serval.worker.threads.wsgi_known import KnowingConnection, Known, Place, TlsKnowingConnection
from serval.wsgi import Environ, WSGIApp
from serval.wsgi_environ import environ_template

# Threads where the operator has not said how many.  Most applications wait for a database now and
# then, and few are known to their authors to stand many threads: gunicorn's advice is 2 to 4 for
# each core, and each may hold a connection to the database.
DEFAULT_THREADS: Final = 4


# Events that one thread takes from the poller at a time; any thread may serve them.
BATCH_COUNT: Final = 64


class ThreadLoop:
    """What connections ask of their loop, on a thread that has none.

    Attributes:
        soon: What is to be called before the connection is released, with its arguments.
    """

    __slots__ = ("soon",)

    def __init__(self) -> None:
        self.soon: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def time(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call that before the connection is released."""
        self.soon.append((callback, args))


class WsgiPool(ThreadPool):
    """The threads of a WSGI application.

    Attributes:
        ready: Events that were told of and not yet served; any thread takes the first.
        turns: Who looks for more; None where all do.
        batch_count: How many it takes at a time.
        known: Requests that have come before, by the address that they came to.

    Args:
        app: The application.
        count: How many requests may block at a time.
    """

    def __init__(self, front: Service, pool: AsyncPool, app: WSGIApp, count: int) -> None:
        roster: Roster[SeatAtWsgi, WsgiConnection] = Roster(count)
        super().__init__(front, pool, connect_wsgi, roster)
        self.app = app
        self.roster = roster
        self.ready: deque[tuple[int, int]] = deque()
        self.turns: Turns[WsgiSeat] | None = None
        self.batch_count = 1
        self.known: dict[Place, dict[bytes, Known]] = {}
        if not runs_free_threaded():
            self.turns = Turns()
            self.batch_count = BATCH_COUNT
        # An application that stands no second thread must not get one.
        self._crew_count = count + (count > 1)

    def start_crew(self) -> None:
        """Start the threads."""
        self.start([WsgiThread(self, number + 1) for number in range(self._crew_count)])


class WsgiSeat(PoolSeat):
    """A thread without a loop, as the connections that it serves see it."""

    def __init__(self, threads: WsgiPool) -> None:
        loop = ThreadLoop()
        # Of a loop, a connection without tasks needs no more than this one has.
        service = threads.sibling(cast("asyncio.AbstractEventLoop", loop))
        service.speaks_websocket = False
        super().__init__(threads, service)
        self.app = threads.app
        self.roster = threads.roster
        self.soon = loop.soon
        self.running = b""
        self.busy_since = 0.0
        self.limits_time = bool(service.config.timeout_request)
        self.takes_short_way = not (self.limits_time or service.config.request_id_header)
        self._turns = threads.turns
        self._known = threads.known
        self._templates: dict[tuple[Address | None, str], Environ] = {}

    def known(self, place: Place) -> dict[bytes, Known]:
        """The requests that are known there; threads share it."""
        if len(self._known) >= TEMPLATES_COUNT:
            self._known.clear()
        return self._known.setdefault(place, {})

    def pass_turn(self) -> None:
        """Let another thread look for events, before this one may take its time."""
        if self._turns is not None and self._turns.holder is self:
            self._turns.pass_on(self)

    def template(self, server: Address | None, scheme: str) -> Environ:
        """What the environs of requests to that address have in common."""
        template = self._templates.get((server, scheme))
        if template is None:
            if len(self._templates) >= TEMPLATES_COUNT:  # a wildcard may stand for many addresses
                self._templates.clear()
            config = self.service.config
            template = self._templates[server, scheme] = environ_template(
                server,
                scheme,
                errors=sys.stderr,
                multithread=config.threads != 1,
                multiprocess=config.workers > 1,
            )
        return template


class WsgiThread(PoolThread):
    """A thread that calls a WSGI application."""

    def __init__(self, threads: WsgiPool, number: int) -> None:
        super().__init__(threads, number)
        self._pool = threads
        self._seat = WsgiSeat(threads)

    @property
    def service(self) -> Service:
        """What this thread serves."""
        return self._seat.service

    def successor(self) -> "WsgiThread":
        """A thread to take the place of this one."""
        return WsgiThread(self._pool, self.number)

    def run(self) -> None:
        """Serve one event after the other until the pool has closed."""
        threads, seat, roster = self._pool, self._seat, self._pool.roster
        armed, ready, turns = threads.armed, threads.ready, threads.turns
        try:
            while not threads.is_closed:
                if turns is not None and turns.holder is not seat:
                    turns.take(seat)
                try:
                    fd, bits = ready.popleft()
                except IndexError:
                    self._look()
                    continue
                connection = armed.take(fd)
                if connection is not None:
                    self._serve(connection, bits)
                    while roster.parked_count and (parked := roster.take(seat)) is not None:
                        self._serve(parked, 0)
        finally:
            roster.ended(seat)
            seat.pass_turn()

    def _look(self) -> None:
        """Wait for events."""
        threads, seat = self._pool, self._seat
        seat.busy_since = 0.0
        events = threads.poller.poll(-1, threads.batch_count)
        seat.busy_since = time.monotonic()
        if threads.turns is not None and threads.turns.is_unwatched:
            threads.turns.wake()
        threads.ready.extend(events)

    def _serve(self, connection: PooledConnection, bits: int) -> None:
        try:
            connection.serve(self._seat, bits)
        except BaseException:
            connection.drop()
            raise
        if self._pool.is_awaited:
            self._pool.came_further()


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
    kind = KnowingConnection if tls is None else TlsKnowingConnection
    return kind(threads, sock, client, server, scheme=scheme, tls=tls)
