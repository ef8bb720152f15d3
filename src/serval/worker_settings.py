"""The settings of a worker's life: how it stops, when it is replaced, what it may be busy with.

A base of `ServerConfig`, apart for room.  Inert like all settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from serval.jitter import Jitter, parse_jitter
from serval.options import Group, option, options_of, seconds, size
from serval.reload_settings import ReloadSettings, reload_faults


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)
class WorkerSettings(ReloadSettings):
    """Stopping, replacing and watching workers."""

    drain_delay: float = seconds(
        0.0,
        "How long everything is served as before after SIGTERM, while /readyz says 503 and each "
        "response closes its connection: for load balancers that take a moment to notice.",
        group=Group.WORKERS,
        zero_means="stopping at once",
    )
    shutdown_stream_grace: float = seconds(
        0.0,
        "How long streams may go on after a stop signal until they are told that their client "
        "has left.",
        group=Group.WORKERS,
        zero_means="half of timeout_graceful_shutdown",
    )
    timeout_request: float = seconds(
        0.0,
        "How long the application may take to begin a response; after that it is cancelled and "
        "the client gets 504.",
        group=Group.WORKERS,
        zero_means="no limit",
        aliases=("--request-timeout",),
    )
    timeout_response_idle: float = seconds(
        0.0,
        "How long the application may send nothing of a response that it has begun; after that it "
        "is cancelled and the response cut short.",
        group=Group.WORKERS,
        zero_means="no limit",
    )
    half_close: Literal["disconnect", "serve", "close"] = option(
        "disconnect",
        "What it means that a client sends no more while its request runs: disconnect tells the "
        "application that it left, and still sends the response; serve waits until it is gone "
        "altogether; close takes it for gone.",
        group=Group.HTTP,
    )
    cancel_after_disconnect: float = seconds(
        0.0,
        "How long a request may go on after its client has left, before it is cancelled.",
        group=Group.WORKERS,
        zero_means="no cancellation",
    )
    limit_concurrency: int = option(
        0,
        "Requests that the application is given at once, in each worker; others wait in a queue.",
        group=Group.LIMITS,
        zero_means="no limit",
    )
    limit_queue: int = option(
        100,
        "Requests that may wait for limit_concurrency; others get 503 with Retry-After.",
        group=Group.LIMITS,
    )
    timeout_queue: float = seconds(
        5.0, "How long a request may wait for limit_concurrency.", zero_means="no limit"
    )
    limit_websockets: int = option(
        0,
        "WebSockets that may be open at once, in each worker; others get 503.",
        group=Group.LIMITS,
        zero_means="no limit",
    )
    limit_connections: int = option(
        0,
        "Connections, but for WebSockets, that may be open at once, in each worker. Idle ones make "
        "way for new ones, the oldest first; where there is none, new ones wait in the backlog.",
        group=Group.LIMITS,
        zero_means="no limit",
        aliases=("--worker-connections",),
    )
    anyio_tokens: int = option(
        0,
        "Threads of AnyIO's default pool in each worker, or in each of its --threads, on which "
        "Starlette and FastAPI run what is not async.",
        group=Group.PROCESSES,
        zero_means="AnyIO's own 40",
    )
    limit_max_requests: int = option(
        0,
        "After how many requests a worker is replaced.",
        group=Group.WORKERS,
        zero_means="no limit",
        aliases=("--max-requests",),
    )
    limit_max_requests_jitter: str = option(
        "10%",
        "How many requests are added to that at most, at random, so that workers do not end "
        "together: a number, or a share.",
        group=Group.WORKERS,
        placeholder="JITTER",
        aliases=("--max-requests-jitter",),
    )
    workers_max_rss: int = size(
        0,
        "How much memory a worker may hold before it is replaced; peaks are borne.",
        group=Group.WORKERS,
        at_least=16 * 1024 * 1024,
        zero_means="no limit",
        aliases=("--max-rss",),
    )
    workers_lifetime: float = seconds(
        0.0,
        "How old a worker gets before it is replaced.",
        group=Group.WORKERS,
        at_least=1.0,
        zero_means="no limit",
        aliases=("--max-lifetime",),
    )
    workers_lifetime_jitter: str = option(
        "10%",
        "How many seconds are added to that at most, at random: a number, or a share.",
        group=Group.WORKERS,
        placeholder="JITTER",
    )
    replace_mode: Literal["start-first", "stop-first"] = option(
        "start-first",
        "Whether a new worker is ready before the old one stops, or the old one is gone before the "
        "new one starts, which takes less memory.",
        group=Group.WORKERS,
    )
    timeout_worker_healthcheck: float = seconds(
        60.0,
        "How long the event loop of a worker may stand still before the worker is replaced.",
        group=Group.WORKERS,
        at_least=0.5,
        zero_means="no limit",
    )
    watchdog_lag: float = seconds(
        0.5,
        "How long a handler may block the event loop of a worker before it is named in the log.",
        group=Group.WORKERS,
        at_least=0.05,
        zero_means="no watchdog",
    )
    crash_limit: int = option(
        5,
        "How many workers may die within a minute; one more ends the server.",
        group=Group.WORKERS,
        zero_means="no limit",
    )
    preload: bool = option(
        False,
        "Load the application once, before the workers start: they share its memory, start at "
        "once, and HUP does not load it anew. It is loaded as the user that starts the command.",
        group=Group.WORKERS,
        aliases=("--preload-app",),
    )

    @property
    def max_requests_jitter(self) -> Jitter:
        """What is added to the limit of requests."""
        return parse_jitter(self.limit_max_requests_jitter)

    @property
    def lifetime_jitter(self) -> Jitter:
        """What is added to the lifetime of workers."""
        return parse_jitter(self.workers_lifetime_jitter)


_SUPERVISED: Final = (
    *("limit_max_requests", "workers_max_rss", "workers_lifetime", "preload", "replace_mode"),
    *("timeout_worker_healthcheck", "crash_limit"),
)


def worker_faults(settings: WorkerSettings, workers: int) -> Iterator[tuple[str, str]]:
    """What contradicts itself: the name of a setting, and what is wrong, as the end of a sentence.

    Args:
        settings: What to look at.
        workers: How many worker processes there shall be.
    """
    yield from reload_faults(settings, workers=workers, preload=settings.preload)
    for name in ("limit_max_requests_jitter", "workers_lifetime_jitter"):
        try:
            parse_jitter(getattr(settings, name))
        except ValueError as exc:
            yield name, str(exc)
    if workers == 0:
        usual = {one.name: one.default for one in options_of(WorkerSettings)}
        for name in _SUPERVISED:
            if getattr(settings, name) != usual[name]:
                yield name, "needs a supervisor, which workers 0 does without"
