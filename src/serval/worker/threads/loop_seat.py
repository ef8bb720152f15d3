"""A thread with an event loop, as the connections that it serves see it.

The pool's poller is one reader in the loop of each such thread, which takes one event of it at a
time.  While its requests merely wait, it leaves new ones to threads that are free, as long as there
are any.  Where nothing else is said, only the thread of the loop may call.
"""

import asyncio
import logging
import socket
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from serval.worker.async_pool import AsyncPool
from serval.worker.connections.socket_connection import Ready
from serval.worker.deadlines import Wait
from serval.worker.service import Service
from serval.worker.sync_worker import SyncWorker
from serval.worker.threads.asgi_connection import AsgiConnection
from serval.worker.threads.asgi_connection import LoopSeat as SeatWithLoop
from serval.worker.threads.pace import INSTANT_SECONDS
from serval.worker.threads.pooled_connection import PooledConnection
from serval.worker.threads.roster import Roster
from serval.worker.threads.thread_pool import Connect, PoolSeat, ThreadPool

logger = logging.getLogger("serval.error")

# A request that has only waited for so long is taken for one that does nothing else: most that
# block do so before that.
PATIENCE_SECONDS: Final = 0.05
# How long a thread with requests that wait leaves new ones to threads that have none.
REST_SECONDS: Final = 0.01


class LoopPool(ThreadPool):
    """A pool whose threads have event loops.

    Attributes:
        roster: Who is free, and what is parked.
        home: The main thread's seat, for what lives long.
    """

    def __init__(
        self,
        front: Service,
        pool: AsyncPool,
        connect: Connect,
        roster: Roster[SeatWithLoop, AsgiConnection],
    ) -> None:
        super().__init__(front, pool, connect, roster)
        self.roster = roster
        self.home = LoopSeat(self, front.loop, is_home=True)

    @property
    @abstractmethod
    def seats(self) -> list["LoopSeat"]:
        """The threads' seats."""


class LoopSeat(PoolSeat):
    """A thread with a loop, as the connections that it serves see it.

    Attributes:
        housed_count: Connections that are watched by this thread alone.
        is_free: It takes part, and has nothing to do.
    """

    def __init__(
        self, threads: "LoopPool", loop: asyncio.AbstractEventLoop, *, is_home: bool
    ) -> None:
        super().__init__(threads, threads.sibling(loop))
        self.loop = loop
        self.is_home = is_home
        self.roster = threads.roster
        self.running = b""
        self.housed_count = 0
        self.is_free = False
        self._unproven_count = 0
        self._loop_pool = threads
        self._selector = SyncWorker(self.service, (), threads.pool)
        self.poller = self._selector.poller
        self._takes = False

    def open(self) -> None:
        """Serve what is housed here.  Its own thread, like all that follow."""
        self._selector.start()

    def close(self) -> None:
        """Serve no more."""
        self._stop_taking()
        self._selector.close()

    # Work from the pool.

    def take_part(self) -> None:
        """Take events of the pool from now on."""
        if not self._takes and not self.threads.is_closed:
            self._takes = True
            self.is_free = not self.housed_count
            self.loop.add_reader(self.threads.poller.fileno(), self._take)

    def _stop_taking(self) -> None:
        if self._takes:
            self._takes = False
            self.loop.remove_reader(self.threads.poller.fileno())

    def _take(self) -> None:
        """Serve an event of the pool, if nobody else was quicker, and what follows at once."""
        if self.housed_count and self._shall_rest():
            self._stop_taking()
            self.loop.call_later(REST_SECONDS, self.take_part)
            return
        threads = self.threads
        poll, take = threads.poller.poll, threads.armed.take
        end_at = time.monotonic() + INSTANT_SECONDS
        # One by one, so that others find what this thread does not come to.  But not for each of
        # them through the loop, which costs more than a quick request, and wakes the others anew.
        while events := poll(0, 1):
            fd, bits = events[0]
            connection = take(fd)
            if connection is not None:
                self.is_free = False
                self._serve(connection, bits)
                self._calm()
            if self.housed_count or time.monotonic() >= end_at:
                break

    def _shall_rest(self) -> bool:
        """Whether another thread had better take what comes."""
        if self._unproven_count:
            return True
        return any(seat.is_free for seat in self._loop_pool.seats)

    def _calm(self) -> None:
        """See whether anything here may still block; if not, take what is parked."""
        roster = self.roster
        while not self._unproven_count:
            if self.running:
                roster.ended(self)
            if not roster.parked_count or (parked := roster.take(self)) is None:
                break
            self.is_free = False  # or others would leave to us what we cannot take
            self._serve_held(parked)
        self.is_free = self._takes and not self.housed_count

    def receive(self, connection: AsgiConnection) -> None:
        """Serve a request that another thread has sent here."""
        self._serve_held(connection)

    def _serve(self, connection: PooledConnection, bits: int) -> None:
        try:
            connection.serve(self, bits)
        except Exception:
            logger.exception("a connection is dropped because of a defect in serval")
            connection.drop()
        if self.threads.is_awaited:
            self.threads.came_further()

    def _serve_held(self, connection: AsgiConnection) -> None:
        try:
            connection.serve_held(self)
        except Exception:
            logger.exception("a connection is dropped because of a defect in serval")
            connection.drop()
        if self.threads.is_awaited:
            self.threads.came_further()

    # What connections ask for.

    def watch(self, sock: socket.socket, member: Ready) -> None:
        """Watch a socket for this thread alone."""
        self._selector.watch(sock, member)

    def forget(self, sock: socket.socket) -> None:
        """Watch it no more."""
        self._selector.forget(sock)

    def house(self, connection: AsgiConnection) -> None:
        """Watch its socket."""
        connection.is_housed = True
        self.housed_count += 1
        self._selector.watch(connection.sock, connection, connection.interest)
        connection.is_proven = self.is_home or self.roster.paces.is_quick(connection.shape)
        if not connection.is_proven:
            self._unproven_count += 1
            self.loop.call_later(PATIENCE_SECONDS, self._prove, connection, connection.exchange)

    def _prove(self, connection: AsgiConnection, exchange: object) -> None:
        """A request has waited without blocking."""
        if self._houses(connection) and connection.exchange is exchange:
            self._now_proven(connection)

    def _now_proven(self, connection: AsgiConnection) -> None:
        if not connection.is_proven:
            connection.is_proven = True
            self._unproven_count -= 1
            self.loop.call_soon(self._calm)

    def unhouse(self, connection: AsgiConnection) -> None:
        """Watch its socket no more."""
        connection.is_housed = False
        self.housed_count -= 1
        self._selector.forget(connection.sock)
        self._now_proven(connection)
        # Also where it has begun another request here, which nobody has seen to the end of.
        if (self.running or not self.housed_count) and not self.is_home:
            self.loop.call_soon(self._calm)

    def send_home(self, connection: AsgiConnection) -> None:
        """Let the main thread serve the request that is held."""
        home = self._loop_pool.home
        home.loop.call_soon_threadsafe(home.receive, connection)

    def park(self, connection: AsgiConnection) -> None:
        """Let the next thread that has time serve the request that is held."""
        self.roster.park(connection)
        self.loop.call_soon(self._calm)

    def drop_housed(self) -> None:
        """Close the connections that are watched here: nobody will watch them any more."""
        for connection in list(self.threads.connections):
            if self._houses(connection):
                connection.is_housed = False
                connection.drop(reset=True)

    # By the main thread, about connections that this one has.

    def expired(self, connection: PooledConnection, wait: Wait, *, late: bool) -> None:
        """A wait of the connection is over."""
        self._tell(self._expired, connection, wait, late)

    def _expired(self, connection: PooledConnection, wait: Wait, late: bool) -> None:
        if connection in self.service.sweeper.deadlines[wait]:
            return  # it waits anew by now
        if self._houses(connection):
            connection.end_wait(wait, late=late)
        else:  # it has moved on: whoever has it now shall look
            self.threads.front.loop.call_soon_threadsafe(self.threads.retry, connection, wait)

    def disconnect(self, connection: PooledConnection) -> None:
        """Tell the application that its client is gone."""
        self._tell(self._disconnect, connection)

    def _disconnect(self, connection: PooledConnection) -> None:
        if self._houses(connection):
            connection.disconnect_here()

    def abort(self, connection: PooledConnection) -> None:
        """Cancel what runs."""
        self._tell(self._abort, connection)

    def _abort(self, connection: PooledConnection) -> None:
        if self._houses(connection):
            connection.abort_here()

    def cancel_tasks(self) -> None:
        """Cancel what applications have left behind."""
        self._tell(self._cancel_tasks)

    def _cancel_tasks(self) -> None:
        for task in list(self.service.tasks):
            task.cancel()

    def _houses(self, connection: PooledConnection) -> bool:
        # In this order: whoever houses it has sat down there before, and only we sit here.
        return connection.is_housed and connection.seat is self

    def _tell(self, call: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, and what was housed there is gone
            self.loop.call_soon_threadsafe(call, *args)
