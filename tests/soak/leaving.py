"""A server that is stopped under steady load, with time to leave: `python -m soak.leaving`.

Its clients are sent elsewhere half-way through the delay, as a load balancer does once it has
noticed.  No request may fail.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence

from process.harness import Program, running
from soak.rolling import CLIENTS_COUNT, Client, Failure, Tally, crowd, strangers


async def load(
    address: tuple[str, int], program: Program, *, before: float, delay: float, per_second: float
) -> Tally:
    """Ask until half of the delay is over; the signal comes after `before` seconds."""
    tally = Tally()
    until = time.monotonic() + before + delay / 2
    kept = [Client(address, tally, keeps=True) for _ in range(CLIENTS_COUNT)]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd(per_second, until, kept, tasks))
        tasks.create_task(
            strangers(per_second, until, lambda: Client(address, tally, keeps=False), tasks)
        )
        await asyncio.sleep(before)
        program.signal(signal.SIGTERM)
    for client in kept:
        client.close()
    return tally


def leave(
    *,
    before: float,
    delay: float,
    per_second: float,
    workers: int,
    options: Sequence[str] = (),
) -> tuple[Tally, list[Failure], str]:
    """The whole of it; what came of the requests, what failed, and the log."""
    command = ("serval", "process.quiet_app:app", "--port", "0", "--workers", str(workers))
    leaving = ("--drain-delay", str(delay), "--no-access-log")
    with running(*command, *leaving, *options) as program:
        address = program.address()
        program.expect(f"ready: {workers} worker")
        tally = asyncio.run(
            load(address, program, before=before, delay=delay, per_second=per_second)
        )
        status = program.wait()
        text = program.text
    failures = list(tally.failures)
    if status:
        failures.append(Failure(0.0, 0, f"the server ended with status {status}"))
    return tally, failures, text


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=float, default=5.0, help="seconds up to the signal")
    parser.add_argument("--delay", type=float, default=4.0, help="seconds of --drain-delay")
    parser.add_argument("--per-second", type=float, default=200.0, help="of each of both crowds")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    tally, failures, text = leave(**vars(given))
    if failures:
        print(text, *failures[:20], sep="\n")
    print(f"{len(tally.seconds)} answered, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
