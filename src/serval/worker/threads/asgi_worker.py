"""The threads of an ASGI application: each has an event loop of its own and runs the lifespan.

What a thread does with connections is in `worker/threads/loop_seat.py`; here is its life.  The main
thread starts the threads and shuts them down, through their loops.
"""

import asyncio
import logging
import socket
from concurrent.futures import Future
from typing import Any, Final

from serval.asgi.lifespan import Lifespan
from serval.asgi.types import Address, ASGIApp
from serval.errors import LifespanError, LifespanShutdownError
from serval.worker.anyio_pool import resize_pool
from serval.worker.async_pool import AsyncPool
from serval.worker.guards import in_time
from serval.worker.loops import loop_factory
from serval.worker.service import Service
from serval.worker.threads.asgi_connection import AsgiConnection, TlsAsgiConnection
from serval.worker.threads.asgi_connection import LoopSeat as SeatWithLoop
from serval.worker.threads.loop_seat import LoopPool, LoopSeat
from serval.worker.threads.roster import Roster
from serval.worker.threads.thread_pool import PoolThread, ThreadPool

logger = logging.getLogger("serval.error")

# What a thread gets beyond the time for its lifespan's shutdown to say that it has ended.
SPARE_SECONDS: Final = 1.0


class AsgiPool(LoopPool):
    """The threads of an ASGI application.

    Args:
        app: The application.
        count: How many requests may block at a time.
    """

    def __init__(self, front: Service, pool: AsyncPool, app: ASGIApp, count: int) -> None:
        roster: Roster[SeatWithLoop, AsgiConnection] = Roster(count)
        super().__init__(front, pool, connect_asgi, roster)
        self.app = app
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

    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """The loops on which threads run the application."""
        return [thread.seat.loop for thread in self._loops]

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
            is_first=False,
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
        resize_pool(self.service.config.anyio_tokens)
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
            self.seat.drop_housed()

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
