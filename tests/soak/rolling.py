"""A server under steady load through everything that replaces workers: `python -m soak.rolling`.

Two crowds ask, one on new connections and one on kept ones, while the server is told to reload, to
grow and to shrink, while a worker is killed and others end for having served long enough.  No
request may fail, but for those that the killed worker had.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from process.harness import Program, children_of, running

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: soak\r\n%b\r\n"
LAST: Final = b"Connection: close\r\n"
CLIENTS_COUNT: Final = 20  # of the crowd on kept connections
# How long after a kill a client may still take its connection for open.
AFTERMATH_SECONDS: Final = 0.5
# What the server says of everything that happens to it, and how often at least.
EVENTS: Final = {
    "reloading: ": 2,
    "workers wanted": 2,
    "killed by SIGKILL": 1,  # it died, or was about to be replaced
    "is to be replaced: ": 1,
}
PATIENCE_SECONDS: Final = 15.0


class Failure(NamedTuple):
    """A request that got no whole answer, or a wrong one.

    Attributes:
        at: When it was sent.
        pid: The worker that had answered on the connection before; 0 on a new one.
    """

    at: float
    pid: int
    reason: str


@dataclass(slots=True)
class Tally:
    """What has come of the requests so far."""

    seconds: list[float] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    def answered(self, began_at: float, pid: int) -> None:
        """A request is over as it should be."""
        self.seconds.append(time.monotonic() - began_at)
        self.pids.add(pid)

    def quantile(self, share: float) -> float:
        """The time within which that share of the requests was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class Client:
    """Asks on one connection for as long as it lasts, then on another, as clients do."""

    def __init__(self, address: tuple[str, int], tally: Tally, *, keeps: bool) -> None:
        self._address = address
        self._tally = tally
        self._keeps = keeps
        self._pid = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> None:
        """One request, and what comes of it."""
        began_at = time.monotonic()
        pid = self._pid
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                pid = self._pid = await self._exchange()
            self._tally.answered(began_at, pid)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self._tally.failures.append(Failure(began_at, pid, repr(error)))
            self.close()

    async def _exchange(self) -> int:
        if self._streams is None or self._streams[0].at_eof():  # closed while it was idle
            self.close()
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(REQUEST % (b"" if self._keeps else LAST))
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head.lower().split(b"\r\n")
        if not status.startswith(b"http/1.1 200"):
            raise ValueError(f"status line {status!r}")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)
        if b"connection: close" in lines:
            self.close()
        return int(body)

    def close(self) -> None:
        """Let go of the connection."""
        self._pid = 0
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def crowd(
    per_second: float, until: float, clients: Sequence[Client], tasks: asyncio.TaskGroup
) -> None:
    """Let clients ask in turn, so often, whatever the answers take."""
    busy: dict[Client, asyncio.Task[None]] = {}
    due_at = time.monotonic()
    number = 0
    while due_at < until:
        await asyncio.sleep(due_at - time.monotonic())
        client = clients[number % len(clients)]
        number += 1
        due_at += 1.0 / per_second
        before = busy.get(client)
        if before is None or before.done():
            busy[client] = tasks.create_task(client.ask())


async def strangers(
    per_second: float,
    until: float,
    make: Callable[[], Client],
    tasks: asyncio.TaskGroup,
) -> None:
    """Let somebody new ask, so often."""
    due_at = time.monotonic()
    while due_at < until:
        await asyncio.sleep(due_at - time.monotonic())
        tasks.create_task(make().ask())
        due_at += 1.0 / per_second


class Ordeal:
    """What happens to the server meanwhile."""

    def __init__(self, program: Program, seconds: float) -> None:
        self._program = program
        self._seconds = seconds
        self.killed_pid = 0
        self.killed_at = 0.0

    async def run(self) -> None:
        """One thing after the other, at shares of the time."""
        began_at = time.monotonic()
        for share, act in (
            (0.1, self._signal(signal.SIGHUP)),
            (0.3, self._signal(signal.SIGTTIN)),
            (0.45, self._kill),
            (0.6, self._signal(signal.SIGTTOU)),
            (0.7, self._signal(signal.SIGHUP)),
        ):
            await asyncio.sleep(began_at + share * self._seconds - time.monotonic())
            await act()

    def _signal(self, signum: signal.Signals) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            self._program.signal(signum)

        return act

    async def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self.killed_pid = children_of(self._program.pid)[0]
            self.killed_at = time.monotonic()
            os.kill(self.killed_pid, signal.SIGKILL)

    def excuses(self, failure: Failure) -> bool:
        """Whether a failure is one of the killed worker's."""
        late_seconds = failure.at - self.killed_at
        if not self.killed_pid or late_seconds < -PATIENCE_SECONDS:
            return False
        if failure.pid == self.killed_pid:
            return late_seconds < AFTERMATH_SECONDS
        return failure.pid == 0 and late_seconds <= 0.0  # any worker may have had it, until then


async def load(
    address: tuple[str, int], ordeal: Ordeal, *, seconds: float, per_second: float
) -> Tally:
    """Ask for so long while the ordeal takes its course."""
    tally = Tally()
    until = time.monotonic() + seconds
    kept = [Client(address, tally, keeps=True) for _ in range(CLIENTS_COUNT)]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ordeal.run())
        tasks.create_task(crowd(per_second, until, kept, tasks))
        tasks.create_task(
            strangers(per_second, until, lambda: Client(address, tally, keeps=False), tasks)
        )
    for client in kept:
        client.close()
    return tally


def roll(
    *, seconds: float, per_second: float, workers: int, options: Sequence[str] = ()
) -> tuple[Tally, list[Failure], str]:
    """The whole of it; what came of the requests, failures without excuse, and the log."""
    command = ("serval", "process.quiet_app:app", "--port", "0", "--workers", str(workers))
    # A fifth of what each worker would get, that it is sure to happen between two reloads.
    limit = min(500, int(seconds * 2 * per_second / workers / 5))
    recycling = ("--limit-max-requests", str(limit), "--no-access-log")
    with running(*command, *recycling, *options) as program:
        address = program.address()
        program.expect(f"ready: {workers} worker")
        ordeal = Ordeal(program, seconds)
        tally = asyncio.run(load(address, ordeal, seconds=seconds, per_second=per_second))
        status = program.stop()
        text = program.text
    unexcused = [failure for failure in tally.failures if not ordeal.excuses(failure)]
    if status:
        unexcused.append(Failure(0.0, 0, f"the server ended with status {status}"))
    for line, count in EVENTS.items():
        if text.count(line) < count:
            unexcused.append(Failure(0.0, 0, f"it did not come to pass {count} times: {line!r}"))
    return tally, unexcused, text


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where a request failed without excuse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--per-second", type=float, default=200.0, help="of each of both crowds")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--verbose", action="store_true", help="print the server's log")
    parser.add_argument("options", nargs="*", help="for serval, after --")
    given = parser.parse_args(arguments)
    tally, unexcused, text = roll(
        seconds=given.seconds,
        per_second=given.per_second,
        workers=given.workers,
        options=given.options,
    )
    if given.verbose or unexcused:
        print(text)
    print(
        f"{len(tally.seconds)} answered by {len(tally.pids)} workers, "
        f"{len(tally.failures) - len(unexcused)} failed with the killed worker, "
        f"{len(unexcused)} without excuse; "
        f"median {tally.quantile(0.5) * 1e3:.1f} ms, p99 {tally.quantile(0.99) * 1e3:.1f} ms, "
        f"most {tally.quantile(1.0) * 1e3:.0f} ms"
    )
    for failure in unexcused[:20]:
        print(f"  {failure}")
    return 1 if unexcused else 0


if __name__ == "__main__":
    sys.exit(main())
