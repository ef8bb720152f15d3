"""A worker from outside, while clients are set upon it: what it holds, and what it has logged."""

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Final, NamedTuple

from process.hostile_app import resident_bytes

# Lines of the log: a time and a process before each, or an access line.
LINE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \[\d+\] [A-Z]*")


class Sample(NamedTuple):
    """What the worker held at a moment.

    Attributes:
        sent_count: How much it had been sent by then.
    """

    at: float
    sent_count: int
    resident_bytes: int
    descriptors: int


class Worker:
    """The worker process, from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.samples: list[Sample] = []

    @property
    def descriptors(self) -> int:
        return len(self.open_files)

    @property
    def open_files(self) -> list[str]:
        """What its descriptors stand for."""
        found = []
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.append(f"{entry.name} {entry.readlink()}")
        return found

    @property
    def threads(self) -> int:
        """How many it has of its own; the kernel's for io_uring come and go."""
        names = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # ended meanwhile
                names.append((task / "comm").read_text())
        return sum(not name.startswith("iou-") for name in names)

    @property
    def resident_bytes(self) -> int:
        return resident_bytes(self.pid)

    def sample(self, sent_count: int) -> None:
        """Look at it; no reading of the open files' names, for it is done often."""
        descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        self.samples.append(Sample(time.monotonic(), sent_count, self.resident_bytes, descriptors))


def slope(points: list[tuple[float, float]]) -> float:
    """How steep the straight line is that fits best (least squares)."""
    size = len(points)
    mean_x = sum(x for x, _ in points) / size
    mean_y = sum(y for _, y in points) / size
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def broken_lines(log: Path) -> list[str]:
    """The lines of the log that do not begin as lines do, or hold what a terminal would obey."""
    with log.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        lines = [line.removesuffix("\n") for line in file]
    return [line for line in lines if not LINE.match(line) or not line.isprintable()]
