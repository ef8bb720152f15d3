"""Who serves the connections of a worker: its event loop, or threads.

Chosen by `worker/process.py` from the configuration and from what the application speaks.  Main
thread only.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from serval.config import ServerConfig
from serval.loader import LoadedApp
from serval.net.listeners import Listener
from serval.net.tls import Certificates
from serval.worker.async_pool import AsyncPool
from serval.worker.service import Service
from serval.worker.sync_worker import SyncWorker
from serval.worker.threads.asgi_worker import AsgiPool
from serval.worker.threads.thread_pool import ThreadPool
from serval.worker.threads.wsgi_worker import DEFAULT_THREADS, WsgiPool

# How long access lines are collected: at full load a write for each turn of the loop was a quarter
# of the log's whole cost (0.4 of 1.7 us for each request, 2026-11).
FLUSH_SECONDS: Final = 0.01


class Lanes(ABC):
    """What serves connections; the base serves nothing by itself but accepts."""

    def __init__(self, worker: SyncWorker) -> None:
        self._worker = worker

    def start(self) -> None:
        """Begin to accept and to serve."""
        self._worker.start()

    def stop_accepting(self) -> None:
        """Take what the kernel has queued, then accept no more."""
        self._worker.stop_accepting()

    @abstractmethod
    async def startup(self) -> None:
        """Run the application's startup wherever else than here it is served.

        Raises:
            LifespanError: It has failed; `shutdown` ends what has started.
        """

    @abstractmethod
    async def shutdown(self) -> None:
        """Run its shutdown there; every connection must be gone.

        Raises:
            LifespanShutdownError: It has failed.
        """

    def close(self) -> None:
        """End."""
        self._worker.close()


class Inline(Lanes):
    """The event loop serves."""

    async def startup(self) -> None:
        """The application is served on the loop of this thread alone."""

    async def shutdown(self) -> None:
        """Likewise."""


class WsgiLanes(Lanes):
    """Threads call a WSGI application."""

    def __init__(self, pool: WsgiPool, worker: SyncWorker) -> None:
        super().__init__(worker)
        self._pool = pool

    async def startup(self) -> None:
        """A WSGI application has none."""
        self._pool.start_crew()

    async def shutdown(self) -> None:
        """Nor a shutdown."""

    def close(self) -> None:
        """End the threads."""
        super().close()
        self._pool.close()


class AsgiLanes(Lanes):
    """Threads run an ASGI application, each on a loop of its own."""

    def __init__(self, pool: AsgiPool, worker: SyncWorker) -> None:
        super().__init__(worker)
        self._pool = pool

    async def startup(self) -> None:
        """Start the threads, and the application on each of them."""
        await self._pool.startup()

    async def shutdown(self) -> None:
        """Shut the application down on each of them."""
        await self._pool.shutdown()

    def close(self) -> None:
        """End the threads."""
        super().close()
        self._pool.close()


def runs_in_threads(config: ServerConfig, loaded: LoadedApp) -> bool:
    """Whether threads call the application."""
    return bool(config.threads) or loaded.interface == "wsgi"


def open_lanes(
    loaded: LoadedApp,
    service: Service,
    listeners: Sequence[Listener],
    pool: AsyncPool,
    certificates: Certificates | None,
) -> Lanes:
    """What serves the connections from these listeners; the service has none yet."""

    def accepting(threads: ThreadPool | None) -> SyncWorker:
        adopt = threads.adopt if threads is not None else None
        worker = SyncWorker(service, listeners, pool, certificates=certificates, adopt=adopt)
        if threads is not None:
            worker.door.crew = threads
        return worker

    count = service.config.threads
    if loaded.interface == "wsgi":
        wsgi_pool = WsgiPool(service, pool, loaded.app, count or DEFAULT_THREADS)
        return WsgiLanes(wsgi_pool, accepting(wsgi_pool))
    if count:
        asgi_pool = AsgiPool(service, pool, loaded.app, count)
        return AsgiLanes(asgi_pool, accepting(asgi_pool))
    return Inline(accepting(None))


def flush_soon(
    loop: asyncio.AbstractEventLoop, *, from_threads: bool
) -> Callable[[Callable[[], None]], None]:
    """What has the access lines written soon, called where a line is the first."""

    def from_here(flush: Callable[[], None]) -> None:
        loop.call_later(FLUSH_SECONDS, flush)

    def from_any_thread(flush: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(loop.call_later, FLUSH_SECONDS, flush)

    return from_any_thread if from_threads else from_here
