"""The threads of a WSGI application: each waits in the pool's poller and calls it by itself.

A thread has no event loop.  What it does with a connection is in `worker/wsgi_connection.py`.
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
from serval.worker.pooled_connection import PooledConnection
from serval.worker.roster import Roster
from serval.worker.service import TEMPLATES_COUNT, Service
from serval.worker.thread_pool import PoolSeat, PoolThread, ThreadPool
from serval.worker.wsgi_connection import (
    TlsWsgiConnection,
    WsgiConnection,
)
from serval.worker.wsgi_connection import WsgiSeat as SeatAtWsgi
from serval.wsgi import Environ, WSGIApp, environ_template

# Threads where the operator has not said how many.  Most applications wait for a database now and
# then, and few are known to their authors to stand many threads: gunicorn's advice is 2 to 4 for
# each core, and each may hold a connection to the database.
DEFAULT_THREADS: Final = 4


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

    Args:
        app: The application.
        count: How many requests may block at a time.
    """

    def __init__(self, front: Service, pool: AsyncPool, app: WSGIApp, count: int) -> None:
        roster: Roster[SeatAtWsgi, WsgiConnection] = Roster(count)
        super().__init__(front, pool, connect_wsgi, roster)
        self.app = app
        self.roster = roster
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
        self._templates: dict[tuple[Address | None, str], Environ] = {}

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
        members, poll = threads.members, threads.poller.poll
        try:
            while not threads.is_closed:
                for fd, bits in poll(-1, 1):
                    connection = members.pop(fd, None) or threads.came_early(fd)
                    if connection is not None:
                        self._serve(connection, bits)
                        while roster.has_parked and (parked := roster.take(seat)) is not None:
                            self._serve(parked, 0)
        finally:
            roster.ended(seat)

    def _serve(self, connection: PooledConnection, bits: int) -> None:
        try:
            connection.serve(self._seat, bits)
        except BaseException:
            connection.drop()
            raise


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
