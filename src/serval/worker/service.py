"""What all connections of one event loop share: the application, its state, limits and tasks.

Built by `worker/process.py` (or by an `AsyncPool` that runs alone), read by every connection; only
the thread of `loop` may touch it.
"""

import asyncio
import contextvars
import copy
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

from serval.access_log import AccessLog
from serval.asgi.farewell import Draining
from serval.asgi.proxy import Proxies
from serval.asgi.request_ids import Amends, RequestIds
from serval.asgi.scope import scope_template
from serval.asgi.types import Address, ASGIApp, Scope
from serval.config import ServerConfig
from serval.lifecycle import Lane, LifecycleCollector
from serval.net.unsent import Allowances
from serval.protocols.body_limits import BodyLimits
from serval.protocols.response_defaults import TimelyEnds
from serval.worker.counts.journal import Journal
from serval.worker.counts.tally import Counts, Tally
from serval.worker.deadlines import Deadlines, Wait
from serval.worker.eager import TaskStarter
from serval.worker.shared_waits import SharedSweeper
from serval.worker.sweeper import Sweeper
from serval.worker.terms import (
    head_limits,
    proxy_rules,
    response_defaults,
    telling_waits,
    waits,
)
from serval.worker.turn import Turn

TEMPLATES_COUNT: Final = 256


class ServedConnection(Protocol):
    """A connection as the drain sees it, whatever speaks on it."""

    def leave(self) -> None:
        """The server stops soon: go on, but let the next response be the last."""

    def drain(self) -> None:
        """The server stops: end what is idle, let run what runs, take nothing new."""

    def disconnect(self) -> None:
        """The grace is over: what the application receives next is a disconnect."""

    def abort(self) -> None:
        """The deadline is over: cancel the application and drop the connection."""


class Service:
    """One application, served on one event loop.

    Attributes:
        allowances: How much the kernel may take of answers ahead of their clients.
        context: The context variables as they were after lifespan startup; each request runs in a
            copy, so that nothing it sets is seen by another.
        connections: Every open connection of the loop, both lanes.
        tasks: Running application tasks; the loop itself holds them only weakly.
        tally: What is counted, and where it is shown.
        stats: Those of its counters that every request changes.
        journal: Tells what happens to requests.
        observed: Whether anybody wants to be told of each request.
        announces: Whether that is so of its beginning, too.
        keeps_alive: Connections may outlive a response; it is cleared before a stop.
        draining: Set once the server is stopping: nothing new is taken.
        farewell: Tells applications of that.
        last_request_seconds: How long idle connections may wait for a last request before a drain.
        date_is_stale: The Date field may be wrong, and nothing has happened in this second:
            `renew_date` must be called before a request is served.
        timely_ends: The ends of heads for whoever answers later than in the turn of the request.
        turn: The running turn of the loop, for what is to be sent at its end.
        idle: The connections that wait for their next request.
        connection_ended: Called when a connection is gone, where a limit counts them.
        watch: Called once in each second in which something happens, for a watchdog.
        request_ids: Tells clients the ids of their requests; None where nobody does.
        other_loops: The loops of siblings that run the application on one of their own.
        speaks_websocket: Whether an upgrade to WebSocket is taken up.
    """

    __slots__ = (
        "_emptied",
        "_starter",
        "_templates",
        "allowances",
        "announces",
        "app",
        "body_limits",
        "config",
        "connection_ended",
        "connections",
        "context",
        "date_is_stale",
        "defaults",
        "draining",
        "farewell",
        "head_limits",
        "idle",
        "journal",
        "keeps_alive",
        "last_request_seconds",
        "lifespan_state",
        "loop",
        "observed",
        "other_loops",
        "proxies",
        "request_ids",
        "speaks_websocket",
        "stats",
        "sweeper",
        "tally",
        "tasks",
        "timely_ends",
        "turn",
        "watch",
    )

    def __init__(
        self,
        app: ASGIApp,
        config: ServerConfig,
        loop: asyncio.AbstractEventLoop,
        *,
        access_log: AccessLog | None = None,
        lifecycle: LifecycleCollector | None = None,
    ) -> None:
        self.app = app
        self.config = config
        self.loop = loop
        self.context = contextvars.copy_context()
        self.lifespan_state: dict[str, Any] = {}
        self.connections: set[ServedConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.tally = Tally(self.connections, self.tasks)
        self.stats = self.tally.stats
        self.journal = Journal(loop, self.tally, access_log=access_log, lifecycle=lifecycle)
        self.observed = access_log is not None or lifecycle is not None
        self.keeps_alive = True
        self.draining = False
        self.farewell = Draining()
        self.last_request_seconds = 0.0
        self.speaks_websocket = True
        self.other_loops: Callable[[], list[asyncio.AbstractEventLoop]] = list
        proxies = Proxies(proxy_rules(config))
        self.proxies: Amends = proxies
        self.request_ids: RequestIds | None = None
        if config.request_id_header:
            ids = RequestIds(proxies, config.request_id_header.lower().encode(), new_id)
            self.proxies = ids
            self.request_ids = ids if config.request_id_response else None
            self.observed = self.observed or config.request_id_response
        self.announces = lifecycle is not None or self.request_ids is not None
        self.head_limits = head_limits(config)
        self.body_limits = BodyLimits(config.max_body_size, config.body_limits)
        self.defaults = response_defaults(config, time.time)
        self.timely_ends = TimelyEnds(self.defaults)
        self.turn = Turn(loop)
        self.allowances = Allowances()
        self.sweeper = Sweeper(Deadlines(waits(config), telling_waits(config)), loop)
        self.date_is_stale = True
        self.idle = self.sweeper.deadlines[Wait.KEEP_ALIVE]
        self.watch: Callable[[], None] = lambda: None
        self.connection_ended: Callable[[], None] | None = None
        self._templates: dict[tuple[Address | None, str, Lane], Scope] = {}
        self._starter = TaskStarter(loop)
        self._emptied: Callable[[], None] | None = None

    # Several threads.

    def share(
        self,
        sweeper: SharedSweeper,
        further: Callable[[], Counts],
        loops: Callable[[], list[asyncio.AbstractEventLoop]],
    ) -> None:
        """Become a service that others are siblings of, before there is any connection.

        Args:
            sweeper: Takes the place of ours; any thread may start and stop waits.
            further: What the siblings have counted.
            loops: The loops on which they run the application.
        """
        self.other_loops = loops
        self.sweeper = sweeper
        self.idle = sweeper.deadlines[Wait.KEEP_ALIVE]
        self.tally.share(further)
        self.journal.share()

    def sibling(
        self, loop: asyncio.AbstractEventLoop, connections: set[ServedConnection]
    ) -> "Service":
        """The same service for another thread; what must not be shared, it has of its own.

        Several threads have in common what says that any may call (`allowances`, `farewell`, the
        queues of the sweeper, the meter and the log of faults), what never changes (`config`, the
        limits), and tables in which a lost entry is merely made again (templates, `proxies`,
        `defaults`).  Everything else has one owner: a service its thread, a connection whoever
        has taken it from `worker/threads/armed.py`.

        Args:
            loop: That thread's.
            connections: Where to keep those that are open.
        """
        other = copy.copy(self)
        other.loop = loop
        other.connections = connections
        other.tasks = set()
        other.tally = self.tally.sibling(connections, other.tasks)
        other.stats = other.tally.stats
        other.journal = self.journal.sibling(loop, other.tally)
        other.connection_ended = self._tell_ended
        other.watch = lambda: None
        other.date_is_stale = True
        other.turn = Turn(loop)
        other._starter = TaskStarter(loop)
        other._emptied = None
        return other

    def _tell_ended(self) -> None:
        """A sibling's connection has ended.  Any thread."""
        if self.connection_ended is not None:
            with suppress(RuntimeError):  # the loop is closed: the thread was left behind
                self.loop.call_soon_threadsafe(self.connection_ended)

    # Connections and tasks.

    def opened(self, connection: ServedConnection) -> None:
        """A connection has come."""
        self.connections.add(connection)

    def closed(self, connection: ServedConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if self._emptied is not None:
            self._check_emptied()
        if self.connection_ended is not None:
            self.connection_ended()

    def scope_template(self, server: Address | None, scheme: str, lane: Lane) -> Scope:
        """What the scopes of all connections to one of our addresses have in common."""
        key = (server, scheme, lane)
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) >= TEMPLATES_COUNT:  # a wildcard may stand for many addresses
                self._templates.clear()
            template = self._templates[key] = scope_template(
                server=server,
                scheme=scheme,
                root_path=self.proxies.root_path,
                lane=lane,
                further={"draining": self.farewell},
            )
        return template

    def start(
        self, coro: Coroutine[Any, Any, None], context: contextvars.Context
    ) -> asyncio.Task[None]:
        """Run an application's coroutine as a task, its first step at once.

        The task is kept alive until it is done; the coroutine must not let an exception escape.
        """
        task = self._starter.start(coro, context)
        if task.done():
            return task
        self.tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if self._emptied is not None:
            self._check_emptied()

    def _check_emptied(self) -> None:
        if not self.connections and not self.tasks and self._emptied is not None:
            self._emptied()

    async def emptied(self) -> None:
        """Wait until no connection is open and no application task runs."""
        event = asyncio.Event()
        self.when_emptied(event.set)
        await event.wait()

    def when_emptied(self, call: Callable[[], None]) -> None:
        """Have that called whenever no connection is open and no application task runs."""
        self._emptied = call
        self._check_emptied()

    def leave(self) -> None:
        """Serve on, but let each response be the last of its connection."""
        self.keeps_alive = False
        for connection in list(self.connections):
            connection.leave()

    def renew_date(self) -> None:
        """Build the Date field, and let it be true for the rest of this second."""
        self.defaults.lines()
        self.date_is_stale = False
        self.watch()
        self.loop.call_later(1.0 - time.time() % 1.0, self._date_passed)

    def _date_passed(self) -> None:
        self.date_is_stale = True

    def measure(self) -> None:
        """Count from now on what the admin endpoint tells."""
        self.tally.measure()
        self.journal.choose_finisher()
        self.observed = True


def new_id() -> str:
    """An id that no other request has: 32 hexadecimal digits, as the traces of W3C have them."""
    return os.urandom(16).hex()
