"""What no work shows: idle connections, a second worker, the access log.

Each is one sentence about one server, measured like a work: on pinned cores, answers checked.
"""

import resource
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from benchmarks.measurement import Bench, measure
from benchmarks.processes import cost, pinned
from benchmarks.servers import Server, running
from benchmarks.works import WORKS

IDLE_COUNT = 10_000
IDLE_SECONDS = 3.0
SPARE_DESCRIPTORS = 100
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HELLO = next(work for work in WORKS if work.name == "hello")


@dataclass(frozen=True, slots=True)
class Trait:
    """One finding about one server."""

    name: str
    server: str
    value: float
    text: str


def idle_connections(bench: Bench, server: Server) -> Trait:
    """What kept-alive connections cost that have been answered once and then say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the server inherits it
    count = min(IDLE_COUNT, hard - SPARE_DESCRIPTORS)
    log = bench.folder / f"{server.name}-idle.log"
    try:
        with (
            pinned(bench.server_core),
            running(server, HELLO.application, bench.interpreter, log, None) as served,
            pinned(bench.load_core),
            ExitStack() as socks,
        ):
            for _ in range(SPARE_DESCRIPTORS):  # what the first requests load is not theirs
                asked(served.address).close()
            before = cost(served.pid)
            for _ in range(count):
                socks.callback(asked(served.address).close)
            opened = cost(served.pid)
            time.sleep(IDLE_SECONDS)
            after = cost(served.pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    kibibytes = (after.rss_bytes - before.rss_bytes) / count / 1024
    share = (after.cpu_seconds - opened.cpu_seconds) / IDLE_SECONDS * 100
    text = f"{kibibytes:.1f} KiB of RSS each and {share:.1f} % of a core for {count:,} of them"
    return Trait("idle connections", server.name, kibibytes, text)


def asked(address: tuple[str, int]) -> socket.socket:
    """A connection that was answered once and is kept."""
    sock = socket.create_connection(address, timeout=10)
    sock.sendall(REQUEST)
    received = b""
    while not received.endswith(HELLO.answer):
        if not (more := sock.recv(65_536)):
            raise ConnectionError("closed without an answer")
        received += more
    return sock


def second_worker(bench: Bench, server: Server) -> Trait:
    """How many times the requests of one worker two can serve.

    The load shares the cores with them, so its part is taken out: the figure is what the CPU time
    per request allows.
    """
    single = cost_of(bench, server)
    double = cost_of(replace(bench, server_core=None, load_core=None), with_arguments(server, "2"))
    times = 2 * single / double
    text = (
        f"two workers serve {times:.2f} times the requests of one ({single:.1f}, {double:.1f} us)"
    )
    return Trait("second worker", server.name, times, text)


def access_log(bench: Bench, server: Server) -> Trait:
    """What a request costs with an access log in a file, by what it costs without."""
    silent = cost_of(bench, server)
    logged = cost_of(bench, with_access_log(server))
    text = f"with an access log {logged / silent:.2f} times ({silent:.1f}, {logged:.1f} us)"
    return Trait("access log", server.name, logged / silent, text)


def with_arguments(server: Server, workers: str) -> Server:
    """The server with so many workers; all of ours and the peers' flags are alike."""

    def arguments(app: str, port: int) -> list[str]:
        found = server.arguments(app, port)
        if "--workers" in found:
            found[found.index("--workers") + 1] = workers
            return found
        return [*found, "--workers", workers]

    return replace(server, arguments=arguments)


def with_access_log(server: Server) -> Server:
    """Our server, its access log going where all its output goes: to a file."""

    def arguments(app: str, port: int) -> list[str]:
        silent = ("--no-access-log", "--log-level", "warning")
        return [one for one in server.arguments(app, port) if one not in silent]

    return replace(server, arguments=arguments)


def cost_of(bench: Bench, server: Server, rounds: int = 3) -> float:
    """The least CPU time of a plain request over some rounds, in microseconds."""
    found = [measure(bench, server, HELLO, number) for number in range(rounds)]
    sound = [one.cpu_us for one in found if not one.fault]
    if not sound:
        raise ConnectionError(found[-1].fault)
    return min(sound)


TRAITS: dict[str, Callable[[Bench, Server], Trait]] = {
    "idle": idle_connections,
    "second-worker": second_worker,
    "access-log": access_log,
}
# Only ours is asked for these: the peers' logs and workers are not what the figures are about.
OURS_ALONE = ("second-worker", "access-log")
