"""What all connections of one event loop share: the application, its state, limits and counters.

Built by `worker/process.py` (or by an `AsyncPool` that runs alone), read by every connection; only
the thread of `loop` may touch it.
"""

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from serval.access_log import AccessLog
from serval.asgi.types import ASGIApp
from serval.config import ServerConfig
from serval.lifecycle import LifecycleCollector
from serval.protocols.response import ResponseDefaults
from serval.worker.deadlines import Deadlines

EAGER = sys.version_info >= (3, 12)


class ServedConnection(Protocol):
    """A connection as the drain sees it, whatever speaks on it."""

    def drain(self) -> None:
        """The server stops: end what is idle, let run what runs, take nothing new."""

    def disconnect(self) -> None:
        """The grace is over: what the application receives next is a disconnect."""

    def abort(self) -> None:
        """The deadline is over: cancel the application and drop the connection."""


@dataclass(slots=True)
class Stats:
    """Counters of one worker since its start; the scoreboard shows them to the supervisor."""

    requests: int = 0
    in_flight: int = 0
    connections: int = 0
    websockets: int = 0
    rejected: int = 0


@dataclass(slots=True, eq=False)
class Service:
    """One application, served on one event loop.

    Attributes:
        context: The context variables as they were after lifespan startup; each request runs in a
            copy, so that nothing it sets is seen by another.
        connections: Every open connection of the loop, both lanes.
        tasks: Running application tasks; the loop itself holds them only weakly.
        draining: Set once the server is stopping; every response then says `Connection: close`.
    """

    app: ASGIApp
    config: ServerConfig
    loop: asyncio.AbstractEventLoop
    defaults: ResponseDefaults
    deadlines: Deadlines[Any]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    lifespan_state: dict[str, Any] = field(default_factory=dict)
    stats: Stats = field(default_factory=Stats)
    access_log: AccessLog | None = None
    lifecycle: LifecycleCollector | None = None
    connections: set[ServedConnection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    draining: bool = False

    def start(
        self, coro: Coroutine[Any, Any, None], context: contextvars.Context
    ) -> asyncio.Task[None]:
        """Run an application's coroutine as a task, its first step at once where Python can.

        The task is kept alive until it is done; the coroutine must not let an exception escape.
        """
        if EAGER:
            task = asyncio.Task(coro, loop=self.loop, context=context, eager_start=True)
            if task.done():
                return task
        else:
            task = asyncio.Task(coro, loop=self.loop, context=context)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task
