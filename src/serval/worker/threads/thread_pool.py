"""Connections that are served by threads: who may touch which, and how they all end.

A connection that waits is `armed`; whoever takes it out there owns it.  The pool is built, drained
and closed by the main thread; `claim`, `release`, `came_further`, `forget`, `replace` and `settled`
may be called by any.
"""

import asyncio
import logging
import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from serval.asgi.types import Address
from serval.worker.async_pool import AsyncPool
from serval.worker.connections.socket_connection import Ready
from serval.worker.connections.wire import State
from serval.worker.counts.tally import Counts
from serval.worker.deadlines import Wait
from serval.worker.poller import READ, Poller, create_poller
from serval.worker.service import ServedConnection, Service
from serval.worker.shared_waits import SharedDeadlines, SharedSweeper
from serval.worker.threads.armed import Armed
from serval.worker.threads.newcomers import Newcomers
from serval.worker.threads.pooled_connection import PooledConnection
from serval.worker.threads.roster import Roster

logger = logging.getLogger("serval.error")

# Requests that were read and wait for a thread; beyond that, clients wait in the kernel's queue.
PARKED_COUNT: Final = 1024
# How long the threads may take to see that they shall end.
JOIN_SECONDS: Final = 1.0


class Connect(Protocol):
    """What makes a connection of a socket, which speaks TLS if `tls` says how."""

    def __call__(
        self,
        threads: "ThreadPool",
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str,
        tls: dict[str, Any] | None,
    ) -> PooledConnection:
        """A connection that has just come."""


class PoolSeat:
    """A thread, as the connections that it serves see it; the pool watches their sockets."""

    def __init__(self, threads: "ThreadPool", service: Service) -> None:
        self.threads = threads
        self.service = service
        self.pool: AsyncPool = threads.pool
        self.poller: Poller = threads.poller

    def watch(self, sock: socket.socket, member: Ready) -> None:
        """The pool does, once the connection is released."""

    def forget(self, sock: socket.socket) -> None:
        """The pool does, when the connection closes."""

    def expired(self, connection: PooledConnection, wait: Wait, *, late: bool) -> None:
        """A wait of a connection that a thread has claimed is over.  Main thread."""
        self.threads.retry(connection, wait)

    def disconnect(self, connection: PooledConnection) -> None:
        """Tell the application that its client is gone.  Main thread."""

    def abort(self, connection: PooledConnection) -> None:
        """Cancel what runs on a connection that a thread has claimed.  Main thread."""
        connection.unblock()


class PoolThread(ABC):
    """A thread of a pool: takes one event at a time and serves the connection that it is for."""

    def __init__(self, threads: "ThreadPool", number: int) -> None:
        self.threads = threads
        self.number = number
        self._thread = threading.Thread(target=self._live, name=f"serval-{number}", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread, so long; whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    @abstractmethod
    def service(self) -> Service:
        """What this thread serves."""

    @abstractmethod
    def run(self) -> None:
        """Serve until the pool has closed."""

    @abstractmethod
    def successor(self) -> "PoolThread":
        """A thread to take the place of this one, which has died."""

    def _live(self) -> None:
        try:
            self.run()
        except BaseException:
            if not self.threads.is_closed:  # else nobody waits for it, whatever it still met
                logger.critical("thread %d died and is replaced", self.number, exc_info=True)
                self.threads.replace(self)


class ThreadPool:
    """The connections of all threads, and the threads.

    Attributes:
        front: The service of the main thread.
        pool: Takes what the threads will not serve.
        poller: Where connections wait, each armed for one event.
        armed: Those that wait.
        connections: All that are open, claimed or not.
        desk: The seat of those that wait.
        crew: The threads.
        is_closed: They shall end.
        is_awaited: A thread that has come further should say so, by `came_further`.

    Args:
        connect: Makes a connection of an accepted socket.
        roster: Who is free, and what is parked.
    """

    def __init__(
        self, front: Service, pool: AsyncPool, connect: Connect, roster: Roster[Any, Any]
    ) -> None:
        self.front = front
        self.pool = pool
        self.poller: Poller = create_poller()
        self.armed: Armed[PooledConnection] = Armed(self.poller)
        self.connections: set[PooledConnection] = set()
        self.is_closed = False
        self.is_awaited = False
        self._told: Callable[[], None] = lambda: None
        self._newcomers = Newcomers()
        self._connect = connect
        self.crew: list[PoolThread] = []
        self._roster = roster
        self._retired: list[Service] = []
        own = front.sweeper.deadlines
        waits = {wait: queue.seconds for wait, queue in own.queues.items()}
        self._sweeper = SharedSweeper(SharedDeadlines(waits, own.telling), front.loop)
        front.share(self._sweeper, self._count, self.loops)
        self.desk = PoolSeat(self, self.sibling(front.loop))

    # The threads.

    def start(self, threads: Sequence[PoolThread]) -> None:
        """Let these threads serve."""
        self.front.opened(self)
        self.crew += threads
        for thread in threads:
            thread.start()

    def replace(self, dead: PoolThread) -> None:
        """Let another thread take the place of one that has died.  That thread."""
        successor = dead.successor()
        self._retired.append(dead.service)
        self.crew[self.crew.index(dead)] = successor
        # In this order: a stop that begins finds it in the crew, or we see that it has begun.
        if self.front.draining:
            self._drain_service(successor.service)
        elif not self.front.keeps_alive:
            successor.service.keeps_alive = False
        successor.start()

    def close(self) -> None:
        """End the threads; those that the application does not let go are left behind."""
        self.is_closed = True
        # A pipe whose other end is closed can be read for ever: every thread is woken by it.
        bell, other_end = os.pipe()
        os.close(other_end)
        self.poller.register(bell, READ)
        end_at = time.monotonic() + JOIN_SECONDS
        left = sum(not thread.join(max(end_at - time.monotonic(), 0.0)) for thread in self.crew)
        if left:
            logger.warning("%d threads are still in the application and are abandoned", left)
            return
        self.poller.close()
        os.close(bell)

    def _services(self) -> list[Service]:
        """Every service whose counters count, but the front's."""
        return [self.desk.service, *self._retired, *(thread.service for thread in self.crew)]

    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """The loops on which threads run the application."""
        return []

    def sibling(self, loop: asyncio.AbstractEventLoop) -> Service:
        """The front's service for a thread with that loop, to be told of the pool's connections."""
        return self.front.sibling(loop, cast("set[ServedConnection]", self.connections))

    def _count(self) -> Counts:
        services = self._services()
        return Counts(
            requests=sum(service.stats.requests for service in services),
            in_flight=len(self.connections) - len(self.armed),
            connections=len(self.connections) - 1,  # the front counts the pool as one
            websockets=0,
            rejected=sum(service.stats.rejected for service in services),
            abandoned=sum(service.stats.abandoned for service in services),
        )

    # Who owns a connection.

    def adopt(
        self,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
        tls: dict[str, Any] | None = None,
    ) -> PooledConnection:
        """Take an accepted socket.  Main thread."""
        sock.setblocking(False)
        connection = self._connect(self, sock, client, server, scheme=scheme, tls=tls)
        if self.front.draining:
            connection.drain_here()
        if connection.state is not State.CLOSED:
            self.poller.register(connection.fd, 0)
            self._newcomers.came(connection)
            self.armed.arm(connection)
        return connection

    def is_behind(self) -> bool:
        """Whether the threads cannot keep up, and no more should be accepted yet.  Main thread."""
        return self._roster.parked_count >= PARKED_COUNT or self._newcomers.are_too_many()

    def await_progress(self, told: Callable[[], None]) -> None:
        """Have that called once, on the main loop, when a thread has come further.  Main thread."""
        self._told = told
        self.is_awaited = True

    def came_further(self) -> None:
        """A connection was served or has ended, which is awaited.  Any thread."""
        self.is_awaited = False
        with suppress(RuntimeError):  # the loop is closed: the thread was left behind
            self.front.loop.call_soon_threadsafe(self._told)

    def claim(self, connection: PooledConnection) -> bool:
        """Own a connection that waits; False where somebody else owns it."""
        found = self.armed.take_from(connection)
        if found is connection:
            return True
        if found is not None:
            self.release(found)
        return False

    def release(self, connection: PooledConnection) -> None:
        """Own a connection no more: whichever thread comes first will serve its next event."""
        service = connection.service
        if service.draining:
            connection.drain_here()
        if connection.state is not State.CLOSED:
            self.armed.arm(connection)
            # The drain may have begun in between, and has not found it among those that wait.
            if service.draining and not connection.is_ending and self.claim(connection):
                self.release(connection)

    def forget(self, sock: socket.socket) -> None:
        """Watch the socket of a claimed connection no more; before it is closed or given away."""
        with suppress(FileNotFoundError):  # it was not yet, where it is refused as it comes
            self.poller.unregister(sock.fileno())

    def retry(self, connection: PooledConnection, wait: Wait) -> None:
        """A wait is over of a connection that has just been claimed: look again soon."""
        if connection.state is not State.CLOSED:
            self._sweeper.retry(wait, connection)

    # The end; main thread.  To the front service, all this is one connection.

    def leave(self) -> None:
        """Let the next response of each connection be its last."""
        for service in self._services():
            service.keeps_alive = False

    def drain(self) -> None:
        """Close what is idle, let run what runs, take nothing new."""
        for service in self._services():
            self._drain_service(service)
        for connection in list(self.connections):
            connection.drain()
        self._check_settled()

    def _drain_service(self, service: Service) -> None:
        service.keeps_alive = False
        service.draining = True
        service.when_emptied(self.settled)

    def disconnect(self) -> None:
        """Tell running applications that their clients are gone."""
        for connection in list(self.connections):
            connection.disconnect()

    def abort(self) -> None:
        """Drop what waits, and cancel what runs as far as it can be."""
        while (parked := self._roster.drop()) is not None:
            parked.drop()
        for connection in list(self.connections):
            connection.abort()
        self._check_settled()

    def settled(self) -> None:
        """A thread has nothing left to do.  Any thread."""
        with suppress(RuntimeError):  # the loop is closed: this thread was left behind
            self.front.loop.call_soon_threadsafe(self._check_settled)

    def _check_settled(self) -> None:
        if not self.connections and not any(service.tasks for service in self._services()):
            self.front.closed(self)
