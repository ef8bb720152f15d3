"""Load by h2load at a constant rate: what answers take while every server has the same to do.

wrk asks again as soon as it is answered, so a quicker server gets more to do, and its latencies say
little beside another's.  h2load sees no status where it has no phrase, as in hypercorn's answers.
"""

import re
import subprocess
from pathlib import Path

from benchmarks.client import Load, summed_up
from benchmarks.works import Work

SLACK_SECONDS = 20.0
# Short of this share of the rate the load was not the one that was asked for.
LEAST_SHARE = 0.9


def command(work: Work, address: tuple[str, int], seconds: float, log: Path) -> list[str]:
    """The connections begin one after another, so that their requests come evenly, not at once."""
    host, port = address
    each = work.rate / work.connections
    together = max(1, round(work.rate / 1000))  # the connections that begin in a millisecond
    return [
        *("h2load", "--h1", "-t1", f"-c{work.connections}", f"-n{round(work.rate * seconds)}"),
        *(f"--rps={each:g}", f"-r{together}", "--rate-period=1ms", f"--log-file={log}"),
        *(f"--header={name}: {value}" for name, value in work.headers.items()),
        f"http://{host}:{port}{work.path}",
    ]


def run(work: Work, address: tuple[str, int], seconds: float, folder: Path) -> Load:
    """Run h2load for so long on the core that the caller is pinned to."""
    log = folder / f"{work.name}.tsv"
    log.unlink(missing_ok=True)  # h2load would go on at its end
    done = subprocess.run(
        command(work, address, seconds, log),
        capture_output=True,
        text=True,
        timeout=seconds + SLACK_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ConnectionError(f"h2load failed: {done.stdout}{done.stderr}")
    return told(work, round(work.rate * seconds), log.read_text(), done.stdout)


def told(work: Work, wanted: int, log: str, summary: str) -> Load:
    """What the log says of each request, once all were answered rightly and in time.

    Args:
        wanted: How many requests were to be answered.
        log: A line for each: when it began and how long it took, in microseconds, and between
            these its status.
        summary: What h2load prints at its end.

    Raises:
        ConnectionError: There were other answers, or the rate was not kept.
    """
    requests = [[int(field) for field in line.split()[:3]] for line in log.splitlines()]
    good = [took_us / 1e6 for _, status, took_us in requests if 200 <= status < 300]
    body = re.search(r"\((\d+)\) data$", summary, re.MULTILINE)
    if len(good) != wanted or body is None or int(body[1]) != wanted * len(work.answer):
        raise ConnectionError(f"{len(good)} good answers of {wanted} by h2load's account")
    begins = [began_us for began_us, _, _ in requests]
    seconds = (max(begins) - min(begins)) / 1e6
    if wanted / seconds < work.rate * LEAST_SHARE:
        raise ConnectionError(f"{wanted / seconds:,.0f} requests a second, not {work.rate:,}")
    return summed_up(good, seconds)
