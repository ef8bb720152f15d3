"""Short connections to busy workers, and who gets how many: `python -m soak.shares`."""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence

from process.harness import running

REQUEST = b"GET / HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n"


async def ask(address: tuple[str, int]) -> bytes:
    """One request on a connection of its own; which worker has answered."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(REQUEST)
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n")[2]


async def load(address: tuple[str, int], *, connections: int, clients: int) -> Counter[bytes]:
    """How many connections each worker has served."""
    counts: Counter[bytes] = Counter()

    async def client() -> None:
        for _ in range(connections // clients):
            counts[await ask(address)] += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(client())
    return counts


def share(*, connections: int, clients: int, workers: int) -> list[int]:
    """The whole of it; what each worker got, the least first."""
    command = ("serval", "soak.busy_app:app", "--port", "0", "--workers", str(workers))
    with running(*command, "--no-access-log") as program:
        address = program.address()
        program.expect(f"ready: {workers} worker")
        counts = asyncio.run(load(address, connections=connections, clients=clients))
        program.stop()
    return sorted([0] * (workers - len(counts)) + [*counts.values()])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where one worker got much more than another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--ratio", type=float, default=1.5, help="of the most to the least")
    given = parser.parse_args(arguments)
    found = share(connections=given.connections, clients=given.clients, workers=given.workers)
    print(f"each worker's connections: {found}")
    return 1 if found[-1] > given.ratio * found[0] else 0


if __name__ == "__main__":
    sys.exit(main())
