"""Figures as Prometheus reads them: the text format, version 0.0.4.  Pure.

Counters are sums over all workers that ever were, so that they never fall while the server runs;
only gauges tell workers apart.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Literal, TypeAlias

from serval.admin.figures import Figures, WorkerFigures
from serval.latency import BOUNDS_SECONDS
from serval.protocols.refusals import REASONS
from serval.scoreboard import WorkerState

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels: TypeAlias = dict[str, str]
Samples: TypeAlias = Iterable[tuple[Labels, float]]

_STATES: Final = [state for state in WorkerState if state is not WorkerState.EMPTY]


def metrics_text(figures: Figures) -> str:
    """All series."""
    return "".join(f"{line}\n" for line in _lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    yield from _of_the_server(figures)
    yield from _of_requests(figures)
    yield from _of_workers(figures.workers)


def _of_the_server(figures: Figures) -> Iterator[str]:
    constants, outlook = figures.constants, figures.outlook
    yield from _family(
        "info", "gauge", "The server's version.", [({"version": constants.version}, 1)]
    )
    yield from _single(
        "start_time_seconds",
        "gauge",
        "When the server started, in Unix time.",
        constants.started_unix_seconds,
    )
    yield from _single(
        "ready",
        "gauge",
        "1 while the readiness endpoint says yes.",
        int(not figures.readiness),
    )
    yield from _single("generation", "gauge", "The configuration in force.", outlook.generation)
    yield from _single("reloads_total", "counter", "Reloads that were asked for.", outlook.reloads)
    yield from _single(
        "workers_wanted", "gauge", "How many workers there shall be.", outlook.workers_wanted
    )
    states = [worker.state for worker in figures.workers]
    yield from _family(
        "workers",
        "gauge",
        "Workers by state.",
        [({"state": state.name.lower()}, states.count(state)) for state in _STATES],
    )
    yield from _family(
        "worker_exits_total",
        "counter",
        "Workers that have ended, by what that meant.",
        [({"reason": reason}, count) for reason, count in sorted(outlook.exits.items())],
    )
    yield from _family(
        "accept_queue_connections",
        "gauge",
        "Connections that no worker has accepted yet.",
        [({"listener": listener}, depth) for listener, depth in figures.queues],
    )


def _of_requests(figures: Figures) -> Iterator[str]:
    totals = figures.totals
    yield from _single("requests_total", "counter", "Requests finished.", totals.requests)
    yield from _histogram(
        "request_duration_seconds",
        "From a whole request head to the end of its response.",
        totals.latency,
        totals.serving_microseconds / 1e6,
    )
    yield from _single(
        "request_body_bytes_total", "counter", "Bytes of request bodies.", totals.received_bytes
    )
    yield from _single(
        "response_body_bytes_total", "counter", "Bytes of response bodies.", totals.sent_bytes
    )
    yield from _family(
        "requests_refused_total",
        "counter",
        "Requests that the server answered by itself, by reason and response status.",
        [
            ({"reason": reason, "status": str(status) if status else ""}, count)
            for (reason, status), count in zip(REASONS.items(), totals.refused, strict=False)
        ],
    )
    yield from _single(
        "abandoned_requests_total",
        "counter",
        "Requests given up whose application ignored its cancellation.",
        totals.abandoned,
    )
    yield from _single(
        "connections_accepted_total", "counter", "Connections accepted.", totals.accepted
    )
    yield from _histogram(
        "loop_lag_seconds",
        "How late event loops ran, asked now and then.",
        totals.lag,
        totals.lag_microseconds / 1e6,
    )


def _of_workers(workers: Sequence[WorkerFigures]) -> Iterator[str]:
    for name, help_text, values in (
        ("up", "1 while a worker takes requests.", [int(w.is_up) for w in workers]),
        ("in_flight_requests", "Requests being served.", [w.in_flight for w in workers]),
        ("connections", "Open connections.", [w.connections for w in workers]),
        ("websockets", "Open WebSocket sessions.", [w.websockets for w in workers]),
        ("loop_lag_seconds", "How late the event loop ran.", [w.lag_seconds for w in workers]),
        (
            "heartbeat_age_seconds",
            "How long ago the event loop turned.",
            [w.heartbeat_age_seconds for w in workers],
        ),
        ("pool_threads_limit", "Threads of AnyIO's pool.", [w.pool_tokens for w in workers]),
        ("pool_threads_busy", "Those that are taken.", [w.pool_busy for w in workers]),
        ("pool_calls_waiting", "Calls that wait for one.", [w.pool_waiting for w in workers]),
        ("resident_memory_bytes", "Resident memory.", [w.rss_bytes for w in workers]),
        ("age_seconds", "Time since a worker's start.", [w.age_seconds for w in workers]),
    ):
        samples = [
            ({"worker": str(worker.number)}, value)
            for worker, value in zip(workers, values, strict=True)
        ]
        yield from _family(f"worker_{name}", "gauge", help_text, samples)


def _single(
    name: str, kind: Literal["counter", "gauge"], help_text: str, value: float
) -> Iterator[str]:
    return _family(name, kind, help_text, [({}, value)])


def _family(
    name: str, kind: Literal["counter", "gauge"], help_text: str, samples: Samples
) -> Iterator[str]:
    yield f"# HELP serval_{name} {help_text}"
    yield f"# TYPE serval_{name} {kind}"
    for labels, value in samples:
        yield f"serval_{name}{_labels(labels)} {_number(value)}"


def _histogram(name: str, help_text: str, buckets: Sequence[int], total: float) -> Iterator[str]:
    yield f"# HELP serval_{name} {help_text}"
    yield f"# TYPE serval_{name} histogram"
    bounds = [*map(_number, BOUNDS_SECONDS), "+Inf"]
    for bound, count in zip(bounds, accumulate(buckets), strict=True):
        yield f"serval_{name}_bucket{_labels({'le': bound})} {count}"
    yield f"serval_{name}_sum {_number(total)}"
    yield f"serval_{name}_count {sum(buckets)}"


def _labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """Whole numbers without an exponent or a point: a large `:g` would lose its last digits."""
    return str(int(value)) if value == int(value) else repr(float(value))
