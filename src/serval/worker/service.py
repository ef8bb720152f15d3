"""What all connections of one event loop share: the application, its state, limits and counters.

Built by `worker/process.py` (or by an `AsyncPool` that runs alone), read by every connection; only
the thread of `loop` may touch it.
"""

import asyncio
import contextvars
import copy
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from serval.access_log import AccessLog
from serval.asgi.exchange import Exchange
from serval.asgi.farewell import Draining
from serval.asgi.proxy import Proxies, ProxyRules
from serval.asgi.scope import scope_template
from serval.asgi.types import Address, ASGIApp, Scope
from serval.config import ServerConfig
from serval.errors import PeerError
from serval.fault_log import FaultLog
from serval.lifecycle import (
    Lane,
    LifecycleCollector,
    LifecycleEvent,
    RequestFinished,
    RequestStarted,
)
from serval.net.addresses import address_text
from serval.protocols.response import ResponseDefaults
from serval.protocols.sections import HeadLimits
from serval.scoreboard import CONNECTIONS, IN_FLIGHT, REJECTED, REQUESTS, WEBSOCKETS, Slot
from serval.worker.deadlines import Deadlines, Wait
from serval.worker.eager import TaskStarter
from serval.worker.meter import Meter
from serval.worker.shared_counts import SharedFaultLog, SharedMeter
from serval.worker.shared_waits import SharedSweeper
from serval.worker.sweeper import Sweeper

logger = logging.getLogger("serval.error")

# The peer's time to read a last answer after our side is closed.
LINGER_SECONDS: Final = 2.0
# What the access log says of a request whose client did not wait (nginx's convention).
CLIENT_LEFT: Final = 499
# Routes whose mistakes are remembered, so that each is logged once and not per request.
WARNED_COUNT: Final = 1024
TEMPLATES_COUNT: Final = 256
# What the access log is told of a request that could not be read.
_UNREAD: Final[Scope] = {
    "method": "-",
    "raw_path": b"-",
    "query_string": b"",
    "http_version": "1.1",
    "headers": [],
}


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


class RequestSource(Protocol):
    """A connection as the counters and logs see it."""

    @property
    def lane(self) -> Lane:
        """Which lane serves it."""

    @property
    def connection_id(self) -> int:
        """Its number in this process."""


@dataclass(slots=True)
class Stats:
    """Counters of one worker since its start; the scoreboard shows them to the supervisor.

    Attributes:
        requests: Those whose response is complete, or was given up.
        websockets: Sessions that are open.
        rejected: Requests that the server refused by itself.
    """

    requests: int = 0
    websockets: int = 0
    rejected: int = 0


class Counts(NamedTuple):
    """What a worker shows to the supervisor of one of its parts."""

    requests: int
    in_flight: int
    connections: int
    websockets: int
    rejected: int


class Service:
    """One application, served on one event loop.

    Attributes:
        context: The context variables as they were after lifespan startup; each request runs in a
            copy, so that nothing it sets is seen by another.
        connections: Every open connection of the loop, both lanes.
        tasks: Running application tasks; the loop itself holds them only weakly.
        slot: Where the counters are shown to the supervisor; None without one.
        slots: Those of all workers.
        keeps_alive: Connections may outlive a response; it is cleared before a stop.
        draining: Set once the server is stopping: nothing new is taken.
        farewell: Tells applications of that.
        last_request_seconds: How long idle connections may wait for a last request before a drain.
        date_is_stale: Nobody keeps the Date field true for the moment: `renew_date` must be called
            before a response.
        idle: The connections that wait for their next request.
        connection_ended: Called when a connection is gone, where a limit counts them.
        watch: Called now and then while there is work, for a watchdog.
        requests_limit: After how many requests `limit_reached` is called.
        meter: Counts times and bytes, where somebody may ask for them; else None.
        observed: Whether anybody wants to be told of each request.
        speaks_websocket: Whether an upgrade to WebSocket is taken up.
    """

    __slots__ = (
        "_emptied",
        "_further",
        "_starter",
        "_templates",
        "_warned",
        "access_log",
        "app",
        "config",
        "connection_ended",
        "connections",
        "context",
        "date_is_stale",
        "defaults",
        "draining",
        "farewell",
        "faults",
        "head_limits",
        "idle",
        "keeps_alive",
        "last_request_seconds",
        "lifecycle",
        "lifespan_state",
        "limit_reached",
        "loop",
        "meter",
        "observed",
        "proxies",
        "requests_limit",
        "slot",
        "slots",
        "speaks_websocket",
        "stats",
        "sweeper",
        "tasks",
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
        self.access_log = access_log
        self.lifecycle = lifecycle
        self.meter: Meter | None = None
        self.observed = access_log is not None or lifecycle is not None
        self.context = contextvars.copy_context()
        self.lifespan_state: dict[str, Any] = {}
        self.stats = Stats()
        self.connections: set[ServedConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.keeps_alive = True
        self.draining = False
        self.farewell = Draining()
        self.last_request_seconds = 0.0
        self.speaks_websocket = True
        self.proxies = Proxies(_proxy_rules(config))
        self.head_limits = HeadLimits(
            request_line_bytes=config.limit_request_line,
            field_bytes=config.limit_header_field,
            block_bytes=config.limit_header_block,
            count=config.limit_header_count,
        )
        self.defaults = ResponseDefaults(
            time.time,
            server=config.server_header,
            date=config.date_header,
            headers=config.extra_headers,
        )
        self.sweeper = Sweeper(
            Deadlines(
                {
                    Wait.HANDSHAKE: config.timeout_tls_handshake,
                    Wait.HEAD: config.timeout_headers,
                    Wait.KEEP_ALIVE: config.timeout_keep_alive,
                    Wait.BODY: config.timeout_body_idle,
                    Wait.WRITE: config.timeout_write_idle,
                    Wait.LINGER: LINGER_SECONDS,
                }
            ),
            loop,
        )
        self.date_is_stale = True
        self.idle = self.sweeper.deadlines[Wait.KEEP_ALIVE]
        self.faults = FaultLog()
        self.slot: Slot | None = None
        self.slots: Sequence[Slot] = ()
        self.watch: Callable[[], None] = lambda: None
        self.connection_ended: Callable[[], None] | None = None
        self.requests_limit = math.inf
        self.limit_reached: Callable[[], None] = lambda: None
        self._templates: dict[tuple[Address | None, str, Lane], Scope] = {}
        self._starter = TaskStarter(loop)
        self._warned: set[str] = set()
        self._further: Callable[[], Counts] | None = None
        self._emptied: Callable[[], None] | None = None

    # Several threads.

    def share(self, sweeper: SharedSweeper, further: Callable[[], Counts]) -> None:
        """Become a service that others are siblings of, before there is any connection.

        Args:
            sweeper: Takes the place of ours; any thread may start and stop waits.
            further: What the siblings have counted.
        """
        self.sweeper = sweeper
        self.idle = sweeper.deadlines[Wait.KEEP_ALIVE]
        self.faults = SharedFaultLog()
        self._further = further
        if self.meter is not None:
            self.meter = SharedMeter(time.monotonic())

    def sibling(
        self, loop: asyncio.AbstractEventLoop, connections: set[ServedConnection]
    ) -> "Service":
        """The same service for another thread; what must not be shared, it has of its own.

        Args:
            loop: That thread's.
            connections: Where to keep those that are open.
        """
        other = copy.copy(self)
        other.loop = loop
        other.connections = connections
        other.tasks = set()
        other.stats = Stats()
        other.slot = None
        other._further = None
        other.connection_ended = self._tell_ended
        other.watch = lambda: None
        other.date_is_stale = True
        other._starter = TaskStarter(loop)
        other._emptied = None
        return other

    def _tell_ended(self) -> None:
        """A sibling's connection has ended.  Any thread."""
        if self.connection_ended is not None:
            self.loop.call_soon_threadsafe(self.connection_ended)

    # Connections and tasks.

    @property
    def open_count(self) -> int:
        """Connections of all threads, but for WebSockets."""
        count = len(self.connections) - self.stats.websockets
        if self._further is not None:
            further = self._further()
            count += further.connections - further.websockets
        return count

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
        """Build the Date field now and once a second, for as long as there is something to do."""
        self.defaults.lines()
        self.date_is_stale = False
        self.watch()
        self.loop.call_later(1.0 - time.time() % 1.0, self._date_passed)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is being served, nor was a moment ago."""
        return self.date_is_stale and not self.tasks

    def _date_passed(self) -> None:
        if self.tasks:  # what is being served will want the time of its end
            self.renew_date()
        else:
            self.date_is_stale = True

    def measure(self) -> None:
        """Count from now on what the admin endpoint tells."""
        self.meter = Meter(time.monotonic())
        self.observed = True

    def publish(self) -> None:
        """Show the counters to the supervisor."""
        if self._further is not None:
            self._publish_all(self._further())
        elif self.slot is not None:
            counters = self.slot.counters
            counters[REQUESTS] = self.stats.requests
            counters[IN_FLIGHT] = len(self.tasks)
            counters[CONNECTIONS] = len(self.connections)
            counters[WEBSOCKETS] = self.stats.websockets
            counters[REJECTED] = self.stats.rejected
            if self.stats.requests >= self.requests_limit:
                self.limit_reached()
            if self.meter is not None:
                self.meter.show(self.slot, time.monotonic())

    def _publish_all(self, further: Counts) -> None:
        """The same together with what siblings have counted."""
        if self.slot is None:
            return
        requests = self.stats.requests + further.requests
        counters = self.slot.counters
        counters[REQUESTS] = requests
        counters[IN_FLIGHT] = len(self.tasks) + further.in_flight
        counters[CONNECTIONS] = len(self.connections) + further.connections
        counters[WEBSOCKETS] = self.stats.websockets + further.websockets
        counters[REJECTED] = self.stats.rejected + further.rejected
        if requests >= self.requests_limit:
            self.limit_reached()
        if self.meter is not None:
            self.meter.show(self.slot, time.monotonic())

    # What happens, for counters, logs and collectors.

    def request_started(self, source: RequestSource, scope: Scope) -> None:
        """The application is about to be called."""
        if self.lifecycle is not None:
            self.tell(
                RequestStarted(
                    source.connection_id,
                    source.lane,
                    scope.get("method", "GET"),
                    scope["path"],
                    self.loop.time(),
                )
            )

    def request_finished(
        self,
        source: RequestSource,
        exchange: Exchange,
        scope: Scope,
        started_at: float,
        cause: str,
    ) -> None:
        """The response is complete, or was given up for `cause`."""
        now = time.monotonic()
        status = CLIENT_LEFT if exchange.lost else exchange.status
        if self.meter is not None:
            self.meter.finished(now - started_at, exchange.sent_bytes, exchange.received_bytes)
        if self.access_log is not None:
            self.access_log.record(
                scope,
                status=status,
                sent_bytes=exchange.sent_bytes,
                received_bytes=exchange.received_bytes,
                seconds=now - started_at,
                headers=exchange.response_headers,
                cause=cause,
            )
        if self.lifecycle is not None:
            self.tell(
                RequestFinished(
                    source.connection_id,
                    source.lane,
                    status,
                    exchange.sent_bytes,
                    now - started_at,
                    now,
                )
            )

    def count_refusal(self, status: int) -> None:
        """The server answers a request in the application's stead."""
        self.stats.rejected += 1
        if self.meter is not None:
            self.meter.refused(status)

    def refused(self, client: Address | None, error: PeerError) -> None:
        """A client's mistake was answered; one line says so, however often it is repeated."""
        self.count_refusal(error.status)
        line = self.faults.refused(address_text(client), error, self.loop.time())
        if line is not None:
            logger.info("%s", line)

    def refusal_sent(
        self, client: Address | None, scheme: str, error: PeerError, sent_bytes: int
    ) -> None:
        """A request that has no scope, since it was refused before, was answered."""
        if self.access_log is not None:
            self.access_log.record(
                {**_UNREAD, "client": client, "scheme": scheme},
                status=error.status,
                sent_bytes=sent_bytes,
                received_bytes=0,
                seconds=0.0,
                headers=(),
                cause=error.reason,
            )

    def warn_once(self, key: str, text: str, scope: Scope) -> None:
        """Log a mistake of the application the first time that it is seen."""
        if key in self._warned:
            return
        if len(self._warned) >= WARNED_COUNT:
            self._warned.clear()
        self._warned.add(key)
        logger.warning("%s: %s %a", text, scope.get("method", "GET"), scope["path"])

    def tell(self, event: LifecycleEvent) -> None:
        """Give an event to the collector; what that raises is not our end."""
        assert self.lifecycle is not None
        try:
            self.lifecycle.record(event)
        except Exception:
            logger.exception("the lifecycle collector failed on %r", event)


def _proxy_rules(config: ServerConfig) -> ProxyRules:
    return ProxyRules(
        trust=config.proxies,
        hops=config.proxy_hops,
        headers=frozenset(name.encode() for name in config.believed_headers),
        strip=config.forwarded_strip,
        root_path=config.root_path,
        path_is_whole=config.root_path_mode == "keep",
    )
