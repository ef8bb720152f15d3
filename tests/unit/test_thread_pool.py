"""A thread that takes the place of another, without a connection."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from serval.asgi.types import Receive, Scope, Send
from serval.config import ServerConfig
from serval.worker.async_pool import AsyncPool
from serval.worker.service import Service
from serval.worker.threads.roster import Roster
from serval.worker.threads.thread_pool import Connect, PoolThread, ThreadPool


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Never called."""


class Thread(PoolThread):
    """One that has nothing to do, and while whose successor is made something happens."""

    def __init__(self, threads: ThreadPool, meanwhile: Callable[[], None]) -> None:
        super().__init__(threads, 1)
        self._own = threads.sibling(threads.front.loop)
        self._meanwhile = meanwhile

    @property
    def service(self) -> Service:
        return self._own

    def run(self) -> None:
        """End at once."""

    def successor(self) -> PoolThread:
        successor = Thread(self.threads, self._meanwhile)
        self._meanwhile()
        return successor


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    loop = asyncio.new_event_loop()
    front = Service(app, ServerConfig(), loop)
    connect = cast("Connect", None)
    roster: Roster[Any, Any] = Roster(1)
    threads = ThreadPool(front, cast("AsyncPool", None), connect, roster)
    yield threads
    threads.close()
    loop.close()


def test_a_thread_that_takes_a_place_as_a_stop_begins_stops_too(threads: ThreadPool) -> None:
    def stop() -> None:
        threads.front.draining = True
        threads.drain()

    threads.start([Thread(threads, stop)])
    threads.replace(threads.crew[0])

    assert threads.crew[0].service.draining
    assert not threads.crew[0].service.keeps_alive


def test_a_thread_that_takes_a_place_before_a_stop_lets_no_connection_live_on(
    threads: ThreadPool,
) -> None:
    threads.start([Thread(threads, threads.front.leave)])
    threads.replace(threads.crew[0])

    assert not threads.crew[0].service.keeps_alive
    assert not threads.crew[0].service.draining
