"""Who serves the connections of a worker: its event loop, or threads.

Chosen by `worker/process.py` from the configuration and from what the application speaks.  Main
thread only.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from serval.config import ServerConfig
from serval.loader import LoadedApp
from serval.net.listeners import Listener
from serval.net.tls import Certificates
from serval.worker.async_pool import AsyncPool
from serval.worker.service import Service
from serval.worker.sync_worker import SyncWorker
from serval.worker.wsgi_worker import DEFAULT_THREADS, WsgiPool

# How long access lines of several threads are collected: the main thread, which writes them, is
# not woken for each.
FLUSH_SECONDS: Final = 0.02


class Lanes(Protocol):
    """What serves connections."""

    def start(self) -> None:
        """Begin to accept and to serve."""

    def stop_accepting(self) -> None:
        """Take what the kernel has queued, then accept no more."""

    def close(self) -> None:
        """End; every connection must be gone."""


class Threads:
    """Threads serve, and the event loop accepts for them.

    Args:
        service: The main thread's; it must not have connections yet.
    """

    def __init__(
        self,
        loaded: LoadedApp,
        service: Service,
        listeners: Sequence[Listener],
        pool: AsyncPool,
        certificates: Certificates | None,
    ) -> None:
        count = service.config.threads or DEFAULT_THREADS
        self._pool = WsgiPool(service, pool, loaded.app, count)
        self._worker = SyncWorker(
            service, listeners, pool, certificates=certificates, adopt=self._pool.adopt
        )

    def start(self) -> None:
        """Begin to accept and to serve."""
        self._worker.start()

    def stop_accepting(self) -> None:
        """Take what the kernel has queued, then accept no more."""
        self._worker.stop_accepting()

    def close(self) -> None:
        """End the threads."""
        self._worker.close()
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
    """What serves the connections from these listeners."""
    if loaded.interface == "wsgi":
        return Threads(loaded, service, listeners, pool, certificates)
    return SyncWorker(service, listeners, pool, certificates=certificates)


def flush_soon(
    loop: asyncio.AbstractEventLoop, *, from_threads: bool
) -> Callable[[Callable[[], None]], None]:
    """What has the access lines written soon, called where a line is the first."""

    def at_the_end_of_the_turn(flush: Callable[[], None]) -> None:
        loop.call_soon(flush)

    def from_any_thread(flush: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(loop.call_later, FLUSH_SECONDS, flush)

    return from_any_thread if from_threads else at_the_end_of_the_turn
