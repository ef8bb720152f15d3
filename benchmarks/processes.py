"""What the processes of a server cost, read from /proc; which core they and we run on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cost:
    """User and system time of a tree of processes so far, and the largest process's RSS."""

    cpu_seconds: float
    rss_bytes: int


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name (see proc(5)), or None once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat_fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cost(root: int) -> Cost:
    """The cost of a server so far: every thread of every process, and children already reaped."""
    ticks, rss_pages = 0, 0
    for pid in tree(root):
        if fields := stat_fields(pid):
            ticks += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
            rss_pages = max(rss_pages, int(fields[21]))
    return Cost(ticks / TICKS, rss_pages * PAGE_BYTES)


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run the block, and every process it starts, on one core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores() -> tuple[int | None, int | None]:
    """A core for the server and one for the load; nothing is pinned where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else (None, None)
