"""What a thousand idle connections cost 64 busy ones: their p99 and the CPU of each request.

    PYTHONPATH=src:tests python -m soak.idle [COUNT]

The last line says how many checks passed and failed; the status is 0 only if none failed.
"""

import os
import resource
import select
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from process.harness import children_of, cpu_ticks, running

COUNT = 1_000
BUSY_COUNT = 64
ROUNDS = 8
ROUND_SECONDS = 1.5
BOUND = 1.5
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")

Address = tuple[str, int]


@dataclass
class Phase:
    """What was seen of the busy connections in all rounds of one kind.

    Attributes:
        count: Their requests.
        cpu_seconds: What the worker has used meanwhile.
        p99s: Of each round, in seconds.
    """

    count: int = 0
    cpu_seconds: float = 0.0
    p99s: list[float] = field(default_factory=list)

    @property
    def cpu_each(self) -> float:
        """The worker's seconds for one request."""
        return self.cpu_seconds / self.count

    @property
    def p99(self) -> float:
        """Of the median round: a busy machine spoils some of them."""
        return statistics.median(self.p99s)


def connected(address: Address, count: int) -> list[socket.socket]:
    return [socket.create_connection(address, timeout=20) for _ in range(count)]


def idle(stack: ExitStack, address: Address, count: int) -> None:
    """Hold connections that have been served once, and are kept alive."""
    clients = connected(address, count)
    for client in clients:
        stack.callback(client.close)
        client.sendall(REQUEST)
    for client in clients:
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def busy(clients: list[socket.socket], seconds: float) -> list[float]:
    """Ask on all of them at once, again as soon as the answer has come; how long each took."""
    poll = select.epoll()
    by_fd = {client.fileno(): client for client in clients}
    began_at = {}
    took = []
    for fd, client in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        began_at[fd] = time.perf_counter()
        client.sendall(REQUEST)
    end_at = time.monotonic() + seconds
    waiting = set(by_fd)
    while waiting:
        asks = time.monotonic() < end_at
        for fd, _ in poll.poll(20):
            assert by_fd[fd].recv(65536).startswith(b"HTTP/1.1 200 ")
            now = time.perf_counter()
            took.append(now - began_at[fd])
            began_at[fd] = now
            if asks:
                by_fd[fd].sendall(REQUEST)
            else:
                waiting.discard(fd)
    poll.close()
    return took


def measure(count: int, rounds: int, seconds: float) -> tuple[Phase, Phase]:
    """The busy connections alone, and beside idle ones; in turns, for no machine is ever alike."""
    alone, beside = Phase(), Phase()
    options = ("--port", "0", "--no-access-log", "--lifespan", "off")
    with running("serval", "process.hostile_app:app", *options) as program, ExitStack() as stack:
        address = program.address()
        program.expect("ready: 1 worker")
        (worker,) = children_of(program.pid)
        clients = connected(address, BUSY_COUNT)
        for client in clients:
            stack.callback(client.close)
        busy(clients, seconds)  # to warm up
        for _ in range(rounds):
            note(alone, clients, worker, seconds)
            with ExitStack() as others:
                idle(others, address, count)
                note(beside, clients, worker, seconds)
            busy(clients, 0.1)  # while the others' ends are seen
    return alone, beside


def note(phase: Phase, clients: list[socket.socket], worker: int, seconds: float) -> None:
    before = cpu_ticks(worker)
    took = sorted(busy(clients, seconds))
    phase.cpu_seconds += (cpu_ticks(worker) - before) * TICK_SECONDS
    phase.count += len(took)
    phase.p99s.append(took[len(took) * 99 // 100])


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    alone, beside = measure(count, ROUNDS, ROUND_SECONDS)
    checks = {
        "p99": (alone.p99, beside.p99),
        "CPU time of the worker per request": (alone.cpu_each, beside.cpu_each),
    }
    failed = 0
    for what, (before, after) in checks.items():
        failed += after > BOUND * before
        print(f"{what}: {before * 1e6:.1f} us alone, {after * 1e6:.1f} us beside {count} idle ones")
        print(f"  that is {after / before:.2f} times as much, at most {BOUND}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
