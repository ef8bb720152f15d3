"""Figures as JSON, for programs and for `serval status`.  Pure.

A `TypedDict` for each object, because both ends are ours: the endpoint writes what the commands
read, and they may be of different versions only while an upgrade goes on.
"""

import json
from typing import TypedDict, cast

from serval.admin.figures import Figures, WorkerFigures
from serval.latency import BOUNDS_SECONDS, quantile
from serval.protocols.refusals import REASONS


class WorkerReport(TypedDict):
    """One worker."""

    worker: int
    pid: int
    state: str
    generation: int
    age_seconds: float
    requests: int
    requests_per_second: float
    in_flight: int
    connections: int
    websockets: int
    p50_seconds: float | None
    p99_seconds: float | None
    lag_seconds: float
    heartbeat_age_seconds: float
    rss_bytes: int
    pool_threads_limit: int
    pool_threads_busy: int
    pool_calls_waiting: int
    latency_counts: list[int]


class TotalsReport(TypedDict):
    """The sums; counters include workers that have ended."""

    requests: int
    requests_per_second: float
    rejected: int
    abandoned: int
    refused: dict[str, int]
    accepted: int
    in_flight: int
    connections: int
    websockets: int
    p50_seconds: float | None
    p99_seconds: float | None
    received_bytes: int
    sent_bytes: int
    rss_bytes: int
    latency_counts: list[int]


class StatusReport(TypedDict):
    """The whole answer to GET /status."""

    version: str
    app: str
    pid: int
    state: str
    ready: bool
    uptime_seconds: float
    generation: int
    reloads: int
    workers_wanted: int
    restarts: int
    exits: dict[str, int]
    accept_queues: dict[str, int]
    latency_bounds_seconds: list[float]
    totals: TotalsReport
    workers: list[WorkerReport]


# What is no ending that anybody has asked for; the rest are stops, reloads and replacements.
_UNASKED = ("crash", "failed_boot")


def status_text(figures: Figures) -> str:
    """The JSON text."""
    return json.dumps(report_of(figures)) + "\n"


def parse_status(text: str) -> StatusReport:
    """What `status_text` has written.

    Raises:
        ValueError: It has not.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or not StatusReport.__required_keys__ <= found.keys():
        raise ValueError("not a status report")
    return cast("StatusReport", found)


def report_of(figures: Figures) -> StatusReport:
    """The object to be written."""
    constants, outlook = figures.constants, figures.outlook
    return {
        "version": constants.version,
        "app": constants.app,
        "pid": constants.pid,
        "state": outlook.state.value,
        "ready": not figures.readiness,
        "uptime_seconds": round(figures.uptime_seconds, 3),
        "generation": outlook.generation,
        "reloads": outlook.reloads,
        "workers_wanted": outlook.workers_wanted,
        "restarts": sum(outlook.exits.get(reason, 0) for reason in _UNASKED),
        "exits": dict(outlook.exits),
        "accept_queues": dict(figures.queues),
        "latency_bounds_seconds": list(BOUNDS_SECONDS),
        "totals": _totals(figures),
        "workers": [_worker(worker) for worker in figures.workers],
    }


def _totals(figures: Figures) -> TotalsReport:
    totals, workers = figures.totals, figures.workers
    return {
        "requests": totals.requests,
        "requests_per_second": round(sum(w.requests_per_second for w in workers), 3),
        "rejected": totals.rejected,
        "abandoned": totals.abandoned,
        "refused": {
            reason: count for reason, count in zip(REASONS, totals.refused, strict=False) if count
        },
        "accepted": totals.accepted,
        "in_flight": sum(w.in_flight for w in workers),
        "connections": sum(w.connections for w in workers),
        "websockets": sum(w.websockets for w in workers),
        "p50_seconds": quantile(totals.latency, 0.5),
        "p99_seconds": quantile(totals.latency, 0.99),
        "received_bytes": totals.received_bytes,
        "sent_bytes": totals.sent_bytes,
        "rss_bytes": sum(w.rss_bytes for w in workers),
        "latency_counts": totals.latency,
    }


def _worker(worker: WorkerFigures) -> WorkerReport:
    return {
        "worker": worker.number,
        "pid": worker.pid,
        "state": worker.state.name.lower(),
        "generation": worker.generation,
        "age_seconds": round(worker.age_seconds, 3),
        "requests": worker.requests,
        "requests_per_second": round(worker.requests_per_second, 3),
        "in_flight": worker.in_flight,
        "connections": worker.connections,
        "websockets": worker.websockets,
        "p50_seconds": quantile(worker.latency, 0.5),
        "p99_seconds": quantile(worker.latency, 0.99),
        "lag_seconds": round(worker.lag_seconds, 6),
        "heartbeat_age_seconds": round(worker.heartbeat_age_seconds, 3),
        "rss_bytes": worker.rss_bytes,
        "pool_threads_limit": worker.pool_tokens,
        "pool_threads_busy": worker.pool_busy,
        "pool_calls_waiting": worker.pool_waiting,
        "latency_counts": worker.latency,
    }
