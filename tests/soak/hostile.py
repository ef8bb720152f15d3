"""Honest and hostile clients together, for a time; then nothing may have grown, failed or broken.

    PYTHONPATH=src:tests python -m soak.hostile [SECONDS] [--quick] [--seed N]
    PYTHONPATH=src:tests python -m soak.hostile --count 1000000      fuzzed requests and frames
    ... --threads 4 | --wsgi | --tls

The server is the command, with one worker, its log in a file.  The last line says how many checks
passed and failed; the status is 0 only if none failed.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import trustme

import serval
from process.harness import children_of
from soak.hostile_clients import (
    HTTP,
    TLS,
    UNHEARD_OF,
    UPGRADE,
    WEBSOCKETS,
    Address,
    Soak,
    unheard_of,
)
from soak.observed import Worker, broken_lines, slope

TESTS: Final = Path(__file__).resolve().parent.parent
_PATH: Final = os.pathsep.join([str(TESTS), str(Path(serval.__file__).resolve().parent.parent)])
QUICK_SECONDS: Final = 10.0
WARM_UP_SHARE: Final = 0.35  # of all: caches fill, the allocator finds its size
REST_SECONDS: Final = 10.0
START_SECONDS: Final = 60.0  # a start takes half a second of a processor, which others may have
SAMPLE_SECONDS: Final = 0.25
GROWTH_BYTES: Final = 6 << 20  # after the warm-up; a leak of 100 bytes in each request is more
# Requests with made-up names and paths: as part of the warm-up, so that whatever remembers such
# things is full by then, and afterwards, so that what is kept of each request shows in the sum.
FILLING_COUNT: Final = 40_000
FLOOD_COUNT: Final = 60_000
FLOOD_SECONDS: Final = 100.0
# The same as a line through all samples, where there are enough to draw one, and what clients fill
# with made-up names and paths, which is bounded, has been filled before.
GROWTH_OF_100K_BYTES: Final = 1 << 20
ENOUGH_COUNT: Final = 100_000
FILLED_COUNT: Final = 300_000
OPTIONS: Final = [
    *("--port", "0", "--workers", "1", "--lifespan", "off", "--max-body-size", "100000"),
    *("--timeout-headers", "1", "--timeout-body-idle", "1", "--timeout-write-idle", "1"),
    *("--timeout-keep-alive", "3", "--ws-max-size", "65536", "--ws-close-timeout", "1"),
    # A machine that is busy with something else holds up the loop, too.
    *("--timeout-tls-handshake", "2", "--watchdog-lag", "0"),
]


@contextlib.contextmanager
def server(
    log: Path, app: str, options: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
    """The command, ready, with its whole output in a file."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serval", app, *OPTIONS, *options],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": _PATH},
        )
    try:
        yield process, address_in(log)
    finally:
        process.kill()
        process.wait()


def address_in(log: Path) -> Address:
    for _ in range(int(START_SECONDS / 0.1)):
        text = log.read_text()
        found = re.search(r"https?://([\d.]+):(\d+)", text)
        if found and "ready" in text:
            return found[1], int(found[2])
        time.sleep(0.1)
    raise SystemExit(f"the server does not start:\n{log.read_text()}")


def certificate(folder: Path) -> list[str]:
    """The options for TLS, with a certificate that was made for it."""
    file = folder / "server.pem"
    issued = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(file)
    return ["--ssl-certfile", str(file)]


def stranger() -> ssl.SSLContext:
    """What clients use that trust everybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Trial:
    """One server and the clients that are set upon it.

    Attributes:
        checks: By name, what is wrong; nothing where it is right.
    """

    def __init__(self, pid: int, soak: Soak, given: argparse.Namespace) -> None:
        (worker,) = children_of(pid)
        self.pid = pid
        self.worker = Worker(worker)
        self.soak = soak
        self.crowd = [*HTTP, *([] if given.wsgi else WEBSOCKETS), *(TLS if given.tls else [])]
        self.count: int = given.count
        self.seconds = QUICK_SECONDS if given.quick else given.seconds
        self.checks: dict[str, str] = {}

    @property
    def lives(self) -> bool:
        return children_of(self.pid) == [self.worker.pid]

    def run(self) -> None:
        """Warm up, go on, and look at what is left."""
        worker, soak = self.worker, self.soak
        self._converse()
        # From its first stream on, libuv keeps one more descriptor in reserve.
        descriptors, threads = worker.descriptors + 1, worker.threads
        tasks = self._tasks()
        asyncio.run(self._load(WARM_UP_SHARE))
        asyncio.run(self._flood(FILLING_COUNT))
        warm = self._at_rest(descriptors, tasks)
        worker.samples.clear()
        before = self._held_bytes()
        asyncio.run(self._load(1.0))
        asyncio.run(self._flood(FLOOD_COUNT))
        cool = self._at_rest(descriptors, tasks)
        files = worker.open_files if self.lives else []
        self.checks |= {
            "the worker lives": "" if self.lives else "it was replaced",
            "nothing went wrong": ", ".join(
                f"{n} times {what}" for what, n in soak.failures.items()
            ),
            "descriptors and tasks are as many as before": ""
            if warm and cool
            else (
                f"{len(files)} instead of {descriptors}: {', '.join(files)}; "
                f"{self._tasks()} tasks instead of {tasks}"
            ),
            "threads are as many as before": ""
            if worker.threads == threads
            else str(worker.threads),
            **self._growth(before),
        }

    def _converse(self) -> None:
        """Call upon the loops, so that they are known; a WebSocket has the main one."""

        async def converse() -> None:
            async with self.soak.connected() as (reader, writer):
                writer.write(UPGRADE + b"\r\n")
                await reader.readuntil(b"\r\n\r\n")
            for _ in range(20):
                await asyncio.gather(*[self.soak.ask("/late") for _ in range(8)])

        asyncio.run(converse())
        time.sleep(1.0)

    def _tasks(self) -> int:
        """How many tasks there are in the worker, or calls of a WSGI application."""
        return int(asyncio.run(self.soak.ask("/tasks")))

    def _held_bytes(self) -> int:
        """How much memory the worker holds, without what it only keeps for later."""
        return int(asyncio.run(self.soak.ask("/held")))

    async def _load(self, share: float) -> None:
        """Set the clients upon it until that share of all is done."""
        soak, count = self.soak, self.count
        began_at = time.monotonic() - (self.seconds * WARM_UP_SHARE if share == 1.0 else 0.0)

        def is_over() -> bool:
            if count:
                return soak.fuzzed_count >= count * share
            return time.monotonic() - began_at >= self.seconds * share

        sampling = asyncio.ensure_future(self._sample(is_over))
        await soak.run(self.crowd, is_over)
        await sampling

    async def _flood(self, count: int) -> None:
        """Have so many more requests answered that are like none before."""
        counts = self.soak.counts
        count += counts[UNHEARD_OF]
        give_up_at = time.monotonic() + FLOOD_SECONDS
        await self.soak.run(
            [(unheard_of, 4)],
            lambda: counts[UNHEARD_OF] >= count or time.monotonic() > give_up_at,
        )
        if counts[UNHEARD_OF] < count:
            self.soak.failures["a flood of requests was not answered"] += 1

    async def _sample(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            if self.lives:
                self.worker.sample(self.soak.fuzzed_count)
            await asyncio.sleep(SAMPLE_SECONDS)

    def _at_rest(self, descriptors: int, tasks: int) -> bool:
        """Whether the worker lets go of everything, soon after its clients have."""
        give_up_at = time.monotonic() + REST_SECONDS
        while time.monotonic() < give_up_at and self.lives:
            if self.worker.descriptors <= descriptors and self._tasks() <= tasks:
                return True
            time.sleep(0.1)
        return False

    def _growth(self, before: int) -> dict[str, str]:
        """What the worker holds more than after the warm-up, at rest, and ever more under load."""
        samples = self.worker.samples
        grown = self._held_bytes() - before if self.lives else 0
        print(f"memory held: {before >> 10} KiB after the warm-up, {grown >> 10:+} KiB since")
        wrong = {"memory is flat": "" if grown < GROWTH_BYTES else f"{grown >> 10} KiB more"}
        count = samples[-1].sent_count - samples[0].sent_count
        if count >= ENOUGH_COUNT and samples[0].sent_count >= FILLED_COUNT:
            of_each = slope([(sample.sent_count, sample.resident_bytes) for sample in samples])
            of_100k = of_each * 100_000
            files = slope([(sample.sent_count, sample.descriptors) for sample in samples]) * count
            print(
                f"fitted through {len(samples)} samples, {count} requests and frames: RSS "
                f"{of_100k / 1024:+.0f} KiB with 100,000, descriptors {files:+.1f} with all"
            )
            wrong["memory under load is flat"] = (
                "" if of_100k < GROWTH_OF_100K_BYTES else f"{of_100k / 1024:.0f} KiB with 100,000"
            )
            usual = sum(sample.descriptors for sample in samples) / len(samples)
            wrong["descriptors under load are flat"] = (
                "" if files < usual / 4 else f"{files:.1f} more, where {usual:.0f} are usual"
            )
        return wrong


def checks_of_log(log: Path) -> dict[str, str]:
    broken = broken_lines(log)
    text = log.read_text(errors="replace")
    loud = re.findall(r"(?m)^.*(?:WARNING|ERROR|CRITICAL).*$", text)
    print(f"log: {text.count(chr(10))} lines, {text.count(': refused ')} of refusals")
    return {
        "no line of the log is broken": f"{len(broken)}: {broken[:5]}" if broken else "",
        "no traceback": text[text.find("Traceback") - 200 :][:3000] if "Traceback" in text else "",
        # Nor that the stop had to wait for a task or a connection that nobody ended.
        "no error is logged": "\n".join(loud[:5]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS:g} seconds")
    parser.add_argument("--count", type=int, default=0, help="fuzzed requests and frames, instead")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--wsgi", action="store_true")
    parser.add_argument("--tls", action="store_true")
    given = parser.parse_args()
    # Where a TLS client goes on writing to a connection that is closed, it would say so.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    print(" ".join(f"{name} {value}" for name, value in vars(given).items()))
    app = "soak.mixed_wsgi_app:app" if given.wsgi else "soak.mixed_app:app"
    options = ["--threads", str(given.threads)] if given.threads else []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        options += certificate(Path(folder)) if given.tls else []
        with server(log, app, options) as (process, address):
            soak = Soak(address, given.seed, stranger() if given.tls else None)
            trial = Trial(process.pid, soak, given)
            began_at = time.monotonic()
            trial.run()
            for name, count in sorted(soak.counts.items()):
                print(f"{count:9} {name}")
            print(f"{soak.fuzzed_count} fuzzed in {time.monotonic() - began_at:.0f} s")
            process.terminate()
            status = process.wait(40)
        checks = trial.checks | checks_of_log(log)
        checks["the server stops in order"] = f"status {status}" if status else ""
    failed = {name: why for name, why in checks.items() if why}
    for name, why in failed.items():
        print(f"FAILED: {name}: {why}")
    print(f"{len(checks) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
