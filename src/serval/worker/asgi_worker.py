"""The threads of an ASGI application: each has an event loop of its own and runs the lifespan.

The pool's poller is one reader in each loop; a thread takes one event of it at a time.  While its
requests merely wait, it leaves new ones to threads that are free, as long as there are any.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from serval.asgi.lifespan import Lifespan
from serval.asgi.types import Address, ASGIApp
from serval.errors import LifespanError, LifespanShutdownError
from serval.worker.asgi_connection import AsgiConnection, TlsAsgiConnection
from serval.worker.asgi_connection import LoopSeat as SeatWithLoop
from serval.worker.async_pool import AsyncPool
from serval.worker.deadlines import Wait
from serval.worker.guards import in_time
from serval.worker.loops import loop_factory
from serval.worker.pooled_connection import PooledConnection
from serval.worker.roster import Roster
from serval.worker.service import Service
from serval.worker.socket_connection import Ready
from serval.worker.sync_worker import SyncWorker
from serval.worker.thread_pool import PoolSeat, PoolThread, ThreadPool

logger = logging.getLogger("serval.error")

# A request that has only waited for so long is taken for one that does nothing else: most that
# block do so before that.
PATIENCE_SECONDS: Final = 0.05
# How long a thread with requests that wait leaves new ones to threads that have none.
REST_SECONDS: Final = 0.01
# What a thread gets beyond the time for its lifespan's shutdown to say that it has ended.
SPARE_SECONDS: Final = 1.0


class LoopSeat(PoolSeat):
    """A thread with a loop, as the connections that it serves see it.

    Attributes:
        housed_count: Connections that are watched by this thread alone.
        is_free: It has nothing to do.
    """

    def __init__(
        self, threads: "AsgiPool", loop: asyncio.AbstractEventLoop, *, is_home: bool
    ) -> None:
        super().__init__(threads, threads.sibling(loop))
        self.loop = loop
        self.is_home = is_home
        self.roster = threads.roster
        self.running = b""
        self.housed_count = 0
        self.is_free = not is_home
        self._unproven_count = 0
        self._asgi_pool = threads
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
            self.loop.add_reader(self.threads.poller.fileno(), self._take)

    def _stop_taking(self) -> None:
        if self._takes:
            self._takes = False
            self.loop.remove_reader(self.threads.poller.fileno())

    def _take(self) -> None:
        """Serve one event of the pool, if nobody else was quicker."""
        if self.housed_count and self._shall_rest():
            self._stop_taking()
            self.loop.call_later(REST_SECONDS, self.take_part)
            return
        for fd, bits in self.threads.poller.poll(0, 1):
            connection = self.threads.members.pop(fd, None) or self.threads.came_early(fd)
            if connection is not None:
                self.is_free = False
                self._serve(connection, bits)
                self._calm()

    def _shall_rest(self) -> bool:
        """Whether another thread had better take what comes."""
        if self._unproven_count:
            return True
        return any(seat.is_free for seat in self._asgi_pool.seats)

    def _calm(self) -> None:
        """See whether anything here may still block; if not, take what is parked."""
        roster = self.roster
        while not self._unproven_count:
            if self.running:
                roster.ended(self)
            if not roster.has_parked or (parked := roster.take(self)) is None:
                break
            self._serve_held(parked)
        self.is_free = not self.housed_count

    def receive(self, connection: AsgiConnection) -> None:
        """Serve a request that another thread has sent here."""
        self._serve_held(connection)

    def _serve(self, connection: PooledConnection, bits: int) -> None:
        try:
            connection.serve(self, bits)
        except Exception:
            logger.exception("a connection is dropped because of a defect in serval")
            connection.drop()

    def _serve_held(self, connection: AsgiConnection) -> None:
        try:
            connection.serve_held(self)
        except Exception:
            logger.exception("a connection is dropped because of a defect in serval")
            connection.drop()

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
        if connection.exchange is exchange and connection.seat is self and connection.is_housed:
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
        if not self.housed_count and not self.is_home:
            self.loop.call_soon(self._calm)

    def send_home(self, connection: AsgiConnection) -> None:
        """Let the main thread serve the request that is held."""
        home = self._asgi_pool.home
        home.loop.call_soon_threadsafe(home.receive, connection)

    def park(self, connection: AsgiConnection) -> None:
        """Let the next thread that has time serve the request that is held."""
        self.roster.park(connection)
        self.loop.call_soon(self._calm)

    # By the main thread, about connections that this one has.

    def expired(self, connection: PooledConnection, wait: Wait, *, late: bool) -> None:
        """A wait of the connection is over."""
        self._tell(self._expired, connection, wait, late)

    def _expired(self, connection: PooledConnection, wait: Wait, late: bool) -> None:
        if connection in self.service.sweeper.deadlines[wait]:
            return  # it waits anew by now
        if connection.seat is self and connection.is_housed:
            connection.end_wait(wait, late=late)
        else:  # it has moved on: whoever has it now shall look
            self.threads.front.loop.call_soon_threadsafe(self.threads.retry, connection, wait)

    def disconnect(self, connection: PooledConnection) -> None:
        """Tell the application that its client is gone."""
        self._tell(self._disconnect, connection)

    def _disconnect(self, connection: PooledConnection) -> None:
        if connection.seat is self and connection.is_housed:
            connection.disconnect_here()

    def abort(self, connection: PooledConnection) -> None:
        """Cancel what runs."""
        self._tell(self._abort, connection)

    def _abort(self, connection: PooledConnection) -> None:
        if connection.seat is self and connection.is_housed:
            connection.abort_here()

    def cancel_tasks(self) -> None:
        """Cancel what applications have left behind."""
        self._tell(self._cancel_tasks)

    def _cancel_tasks(self) -> None:
        for task in list(self.service.tasks):
            task.cancel()

    def _tell(self, call: Callable[..., object], *args: Any) -> None:
        self.loop.call_soon_threadsafe(call, *args)


class AsgiPool(ThreadPool):
    """The threads of an ASGI application.

    Attributes:
        home: The main thread's seat, for what lives long.

    Args:
        app: The application.
        count: How many requests may block at a time.
    """

    def __init__(self, front: Service, pool: AsyncPool, app: ASGIApp, count: int) -> None:
        roster: Roster[SeatWithLoop, AsgiConnection] = Roster(count)
        super().__init__(front, pool, connect_asgi, roster)
        self.app = app
        self.roster = roster
        self.home = LoopSeat(self, front.loop, is_home=True)
        self.home.service.app = in_time(app, self.home.service)
        self._crew_count = count + 1

    async def startup(self) -> None:
        """Start the threads, and the application's lifespan on each of them, one by one.

        Raises:
            LifespanError: One has failed; those that have started are to be shut down.
        """
        self.home.open()
        crew = [AsgiThread(self, number + 1) for number in range(self._crew_count)]
        self.start(crew)
        for thread in crew:
            await asyncio.wrap_future(thread.startup())
        for thread in crew:
            thread.take_part()

    async def shutdown(self) -> None:
        """Shut down the lifespan of every thread that the application lets go.

        Raises:
            LifespanShutdownError: One has failed.
        """
        seconds = self.front.config.timeout_lifespan_shutdown + SPARE_SECONDS
        futures = {asyncio.wrap_future(thread.shutdown()): thread for thread in self._loops}
        if not futures:
            return
        done, pending = await asyncio.wait(futures, timeout=seconds)
        errors = [error for future in done if (error := future.exception()) is not None]
        if errors:
            raise errors[0]
        if pending:
            numbers = ", ".join(str(futures[future].number) for future in pending)
            raise LifespanShutdownError(
                f"the lifespan was not shut down in threads {numbers}, which are still in the "
                "application"
            )

    def close(self) -> None:
        """End the threads."""
        self.is_closed = True
        for thread in self._loops:
            thread.stop()
        self.home.close()
        super().close()

    def abort(self) -> None:
        """Drop what waits, and cancel what runs."""
        super().abort()
        for seat in (self.home, *(thread.seat for thread in self._loops)):
            seat.cancel_tasks()

    @property
    def _loops(self) -> list["AsgiThread"]:
        """The threads whose loops are there to be told something."""
        return [
            thread
            for thread in self.crew
            if isinstance(thread, AsgiThread) and not thread.seat.loop.is_closed()
        ]

    @property
    def seats(self) -> list[LoopSeat]:
        """The threads' seats."""
        return [thread.seat for thread in self.crew if isinstance(thread, AsgiThread)]

    def _services(self) -> list[Service]:
        return [*super()._services(), self.home.service]


class AsgiThread(PoolThread):
    """A thread that runs an event loop."""

    def __init__(self, threads: AsgiPool, number: int) -> None:
        super().__init__(threads, number)
        front = threads.front
        config = front.config
        self._pool = threads
        loop = loop_factory(config.loop)()
        loop.set_exception_handler(front.loop.get_exception_handler())
        self.seat = LoopSeat(threads, loop, is_home=False)
        self.seat.service.app = in_time(threads.app, self.seat.service)
        self._lifespan = Lifespan(
            threads.app,
            config.lifespan,
            startup_seconds=config.timeout_startup,
            shutdown_seconds=config.timeout_lifespan_shutdown,
            extensions={"serval": {"draining": front.farewell}},
        )

    @property
    def service(self) -> Service:
        """What this thread serves."""
        return self.seat.service

    def startup(self) -> "Future[None]":
        """Run the startup of the lifespan.  Main thread."""
        return asyncio.run_coroutine_threadsafe(self._startup(), self.seat.loop)

    def shutdown(self) -> "Future[None]":
        """Run the shutdown of the lifespan.  Main thread."""
        return asyncio.run_coroutine_threadsafe(self._lifespan.shutdown(), self.seat.loop)

    def take_part(self) -> None:
        """Take events of the pool from now on.  Main thread."""
        self.seat.loop.call_soon_threadsafe(self.seat.take_part)

    def stop(self) -> None:
        """End the loop.  Main thread."""
        self.seat.loop.call_soon_threadsafe(self.seat.loop.stop)

    async def _startup(self) -> None:
        await self._lifespan.startup()
        service = self.seat.service
        service.lifespan_state = self._lifespan.state
        service.context = self._lifespan.context

    def run(self) -> None:
        """Run the loop until the pool has closed."""
        loop = self.seat.loop
        asyncio.set_event_loop(loop)
        self.seat.open()
        try:
            while not self.threads.is_closed:
                try:
                    loop.run_forever()
                except (SystemExit, KeyboardInterrupt):
                    logger.exception("thread %d goes on after what a task raised", self.number)
        finally:
            self.seat.roster.ended(self.seat)
            self.seat.is_free = False
            self.seat.close()
            _wind_up(loop)

    def successor(self) -> PoolThread:
        """A thread to take the place of this one."""
        successor = AsgiThread(self._pool, self.number)
        successor.revive()
        return successor

    def revive(self) -> None:
        """Run the lifespan and take part, as soon as the thread runs."""
        self.seat.loop.call_soon(self._revive)

    def _revive(self) -> None:
        self.service.start(self._start_again(), self.service.context.copy())

    async def _start_again(self) -> None:
        try:
            await self._startup()
        except LifespanError as error:
            logger.error("thread %d could not be replaced: %s", self.number, error)  # noqa: TRY400 - it holds what traceback there is to show
        else:
            self.seat.take_part()


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on a loop and close it."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=SPARE_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def connect_asgi(
    threads: ThreadPool,
    sock: socket.socket,
    client: Address | None,
    server: Address | None,
    *,
    scheme: str,
    tls: dict[str, Any] | None,
) -> AsgiConnection:
    """A connection that has just come, over TLS if `tls` says how."""
    kind = AsgiConnection if tls is None else TlsAsgiConnection
    return kind(threads, sock, client, server, scheme=scheme, tls=tls)
