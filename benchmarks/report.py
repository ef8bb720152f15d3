"""From measurements to a table and to JSON.  Pure, apart from what its caller prints or writes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.environment import Machine
from benchmarks.measurement import Measurement
from benchmarks.works import Work

OURS = "serval"


@dataclass(frozen=True, slots=True)
class Row:
    """One server's rounds of one work, summed up.  Costs are microseconds of CPU per unit."""

    server: str
    least_us: float = 0.0
    median_us: float = 0.0
    units_per_second: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    rss_bytes: int = 0
    start_seconds: float = 0.0
    fault: str = ""


def summed_up(server: str, rounds: Sequence[Measurement]) -> Row:
    """The least and the median over the rounds: neighbours on the machine only ever add."""
    sound = [one for one in rounds if not one.fault]
    if not sound:
        return Row(server, fault=rounds[-1].fault if rounds else "not measured")
    return Row(
        server,
        min(one.cpu_us for one in sound),
        median(one.cpu_us for one in sound),
        max(one.units / one.seconds for one in sound),
        min(one.p50_us for one in sound),
        min(one.p99_us for one in sound),
        min(one.rss_bytes for one in sound),
        min(one.start_seconds for one in sound),
        "; ".join(sorted({one.fault for one in rounds if one.fault})),
    )


def rows(work: Work, measurements: Sequence[Measurement]) -> list[Row]:
    """A row for each server, in the order of the measurements."""
    of_work = [one for one in measurements if one.work == work.name]
    servers = dict.fromkeys(one.server for one in of_work)
    return [summed_up(name, [one for one in of_work if one.server == name]) for name in servers]


def best_peer(found: Sequence[Row]) -> Row | None:
    """The peer with the least cost."""
    peers = [row for row in found if row.server != OURS and row.least_us]
    return min(peers, key=lambda row: row.least_us, default=None)


HEADING = (
    f"  {'':10} {'of best':>8} {'least us':>9} {'median':>9} {'per second':>11}"
    f" {'p50 ms':>8} {'p99 ms':>8} {'RSS MiB':>8} {'start s':>8}"
)


def milliseconds(us: float) -> str:
    """A column of the table; wrk has no 99th percentile of pipelined requests."""
    return f"{us / 1000:8.2f}" if us else f"{'-':>8}"


def line(row: Row, best: Row | None) -> str:
    """One row of the table; the ratio to the best peer comes first."""
    if not row.least_us:
        return f"  {row.server:10} {'-':>8}  {row.fault}"
    ratio = f"{row.least_us / best.least_us:.2f}" if best else "-"
    return (
        f"  {row.server:10} {ratio:>8} {row.least_us:9.1f} {row.median_us:9.1f}"
        f" {row.units_per_second:11,.0f} {milliseconds(row.p50_us)} {milliseconds(row.p99_us)}"
        f" {row.rss_bytes / 2**20:8.1f} {row.start_seconds:8.2f}"
        + (f"  ({row.fault})" if row.fault else "")
    )


def goals(work: Work, found: Sequence[Row]) -> list[str]:
    """How far our cost is from what we want of it, peer by peer; at an equal load, our latency."""
    costs = {row.server: row.least_us for row in found if row.least_us}
    if OURS not in costs:
        return []
    if work.rate:
        return latency_goal(found)
    return [
        f"  goal: {goal:.2f} of {peer}, reached: {reached:.2f}"
        + ("" if reached <= goal else "  MISSED")
        for peer, goal in work.goals.items()
        if peer in costs and (reached := costs[OURS] / costs[peer])
    ]


def latency_goal(found: Sequence[Row]) -> list[str]:
    """How our 99th percentile stands beside the best peer's."""
    latencies = {row.server: row.p99_us for row in found if row.p99_us}
    ours = latencies.pop(OURS)
    if not latencies:
        return []
    best = min(latencies, key=latencies.__getitem__)
    reached = ours / latencies[best]
    missed = "" if reached <= 1 else "  MISSED"
    return [f"  goal: p99 no worse than the best peer's, {best}'s, reached: {reached:.2f}{missed}"]


def table(work: Work, measurements: Sequence[Measurement]) -> str:
    """The table of one work, ready to print."""
    found = rows(work, measurements)
    best = best_peer(found)
    lines = [f"{work.name}: {work.title} (CPU time per {work.unit})", HEADING]
    return "\n".join([*lines, *(line(row, best) for row in found), *goals(work, found)])


def as_json(machine: Machine, works: Sequence[Work], measurements: Sequence[Measurement]) -> str:
    """Everything that was measured, and its summary by work."""
    return json.dumps(
        {
            "machine": asdict(machine),
            "works": {
                work.name: {
                    "title": work.title,
                    "unit": work.unit,
                    "goals": dict(work.goals),
                    "servers": {row.server: asdict(row) for row in rows(work, measurements)},
                }
                for work in works
            },
            "measurements": [asdict(one) for one in measurements],
        },
        indent=1,
    )
