"""A status report as lines of text, for a person.  Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from serval.admin.status import StatusReport, TotalsReport, WorkerReport
from serval.latency import quantile

T = TypeVar("T", TotalsReport, WorkerReport)

_HEADINGS: Final = (
    *("WORKER", "PID", "STATE", "GEN", "AGE", "REQUESTS", "REQ/S", "IN FLIGHT", "CONNS", "WS"),
    *("P50", "P99", "LAG", "RSS"),
)
_LEFT: Final = 2  # the column that is text
_NONE: Final = "-"
_SERVING: Final = ("ready", "retiring")


class Screen(NamedTuple):
    """What is shown: some lines about the server, and a table of its workers."""

    summary: list[str]
    table: list[str]


def screen_of(report: StatusReport) -> Screen:
    """The report in words and columns."""
    return Screen(_summary(report), _table(report["workers"]))


def since(report: StatusReport, before: StatusReport) -> StatusReport:
    """The report, its quantiles of the requests since an earlier one instead of since the start."""
    workers = {worker["pid"]: worker for worker in before["workers"]}
    return {
        **report,
        "totals": _recent(report["totals"], before["totals"]),
        "workers": [
            _recent(worker, workers[worker["pid"]]) if worker["pid"] in workers else worker
            for worker in report["workers"]
        ],
    }


def _recent(report: T, before: T) -> T:
    pairs = zip(report["latency_counts"], before["latency_counts"], strict=True)
    counts = [now - then for now, then in pairs]
    found = report.copy()
    found["p50_seconds"], found["p99_seconds"] = quantile(counts, 0.5), quantile(counts, 0.99)
    return found


def _summary(report: StatusReport) -> list[str]:
    totals = report["totals"]
    ready = sum(worker["state"] in _SERVING for worker in report["workers"])
    waiting = sum(report["accept_queues"].values())
    return [
        f"{report['app']}  {report['state']}  generation {report['generation']}  "
        f"up {duration(report['uptime_seconds'])}  pid {report['pid']}  "
        f"serval {report['version']}",
        f"{ready} of {report['workers_wanted']} workers ready, {report['restarts']} restarts, "
        f"{size(totals['rss_bytes'])}",
        f"{totals['requests']} requests, {totals['requests_per_second']:.1f}/s, "
        f"{totals['in_flight']} in flight, {totals['rejected']} rejected; "
        f"p50 {duration(totals['p50_seconds'])}, p99 {duration(totals['p99_seconds'])}",
        f"{totals['connections']} connections, {totals['websockets']} WebSockets, "
        f"{waiting} waiting to be accepted",
    ]


def _table(workers: Sequence[WorkerReport]) -> list[str]:
    rows = [_HEADINGS, *map(_row, workers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return [
        "  ".join(
            cell.ljust(width) if column == _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _row(worker: WorkerReport) -> tuple[str, ...]:
    return (
        str(worker["worker"]),
        str(worker["pid"]),
        worker["state"],
        str(worker["generation"]),
        duration(worker["age_seconds"]),
        str(worker["requests"]),
        f"{worker['requests_per_second']:.1f}",
        str(worker["in_flight"]),
        str(worker["connections"]),
        str(worker["websockets"]),
        duration(worker["p50_seconds"]),
        duration(worker["p99_seconds"]),
        duration(worker["lag_seconds"]),
        size(worker["rss_bytes"]),
    )


def duration(seconds: float | None) -> str:
    """Some three digits of a time: `0.3ms`, `12ms`, `1.5s`, `42s`, `2h05m`, `3d04h`."""
    if seconds is None:
        return _NONE
    if seconds < 0.01:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 100:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86_400}d{whole // 3600 % 24:02}h"


def size(size_bytes: int) -> str:
    """Memory in mebibytes, or gibibytes where it is much."""
    mebibytes = size_bytes / 1024**2
    if not size_bytes:
        return _NONE
    return f"{mebibytes:.0f}MiB" if mebibytes < 10_000 else f"{mebibytes / 1024:.1f}GiB"
