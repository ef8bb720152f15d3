"""A server whose workers are killed again and again: `python -m soak.killed`.

Each death is one more chance to leave something behind: a zombie, a descriptor, a slot of the
scoreboard that nobody takes up.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from process.harness import children_of, running, state_of

PATIENCE_SECONDS = 60.0


def status(path: Path) -> Any:
    """What the server says of itself."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=20) as client:
        return client.get("http://x/status").json()


def settled(path: Path, workers: int) -> Any:
    """The same once all workers serve."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = status(path)
        if [worker["state"] for worker in found["workers"]] == ["ready"] * workers:
            return found
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"not all are ready after {PATIENCE_SECONDS:.0f} s: {found}")
        time.sleep(0.1)


def count_of_descriptors(pid: int) -> int:
    """How many the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def kill(*, deaths: int, workers: int) -> list[str]:
    """The whole of it; what is wrong at its end."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "admin")
        command = ("serval", "process.quiet_app:app", "--port", "0", "--workers", str(workers))
        options = ("--crash-limit", "0", "--no-access-log", "--admin-bind", f"unix:{path}")
        with running(*command, *options) as program:
            program.expect(f"ready: {workers} worker")
            descriptors = count_of_descriptors(program.pid)
            killed = 0
            while killed < deaths:
                for pid in children_of(program.pid)[: deaths - killed]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
                settled(path, workers)
            found = settled(path, workers)
            children = children_of(program.pid)
            give_up_at = time.monotonic() + 5.0  # the end of our own question may not be seen yet
            while count_of_descriptors(program.pid) > descriptors and time.monotonic() < give_up_at:
                time.sleep(0.1)
            left = {
                "restarts": (found["restarts"], deaths),
                "descriptors": (count_of_descriptors(program.pid), descriptors),
                "children": (children, sorted(worker["pid"] for worker in found["workers"])),
                "zombies": ([pid for pid in children if state_of(pid) == "Z"], []),
                "connections": (found["totals"]["connections"], 0),
            }
            left["exit status"] = (program.stop(), 0)
    return [f"{name}: {is_}, not {should}" for name, (is_, should) in left.items() if is_ != should]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where something was left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deaths", type=int, default=100)
    parser.add_argument("--workers", type=int, default=10)
    given = parser.parse_args(arguments)
    wrong = kill(deaths=given.deaths, workers=given.workers)
    print(f"{given.deaths} workers were killed;", "; ".join(wrong) or "nothing was left behind")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
