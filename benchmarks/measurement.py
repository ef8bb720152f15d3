"""One measurement: start a server, check an answer, load it, and say what that cost."""

import http.client
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import h2load, wrk
from benchmarks.client import Load
from benchmarks.processes import cost, pinned
from benchmarks.servers import ROOT, Certificate, Running, Server, running
from benchmarks.works import Work

CHECK_SECONDS = 10.0
SLACK_SECONDS = 30.0
WARM_UP_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one server did with one work in one round; `fault` says why there are no figures."""

    work: str
    server: str
    round: int
    units: int = 0
    seconds: float = 0.0
    cpu_us: float = 0.0  # per unit, of all processes of the server
    p50_us: float = 0.0
    p99_us: float = 0.0
    rss_bytes: int = 0
    start_seconds: float = 0.0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements of a run share."""

    interpreter: Path
    seconds: float
    folder: Path
    certificate: Certificate | None
    server_core: int | None
    load_core: int | None


def measure(bench: Bench, server: Server, work: Work, number: int) -> Measurement:
    """Measure once; a server that fails yields its fault, never a figure."""
    if work.tls and (server.tls is None or bench.certificate is None):
        return Measurement(work.name, server.name, number, fault="no TLS")
    if work.threads and server.wsgi is None:
        return Measurement(work.name, server.name, number, fault="no WSGI")
    certificate = bench.certificate if work.tls else None
    log = bench.folder / f"{server.name}.log"
    try:
        with (
            pinned(bench.server_core),
            running(
                server,
                work.application,
                bench.interpreter,
                log,
                certificate,
                threads=work.threads,
            ) as served,
            pinned(bench.load_core),
        ):
            return under_load(bench, server, work, number, served)
    except (OSError, subprocess.SubprocessError, http.client.HTTPException) as exc:
        return Measurement(work.name, server.name, number, fault=f"{exc!r:.300}")


def under_load(
    bench: Bench, server: Server, work: Work, number: int, served: Running
) -> Measurement:
    """Check, load and read the cost of a server that runs."""
    check(work, served.address)
    with loading(bench, work, served.address) as load_for:
        before = cost(served.pid)
        load = load_for()
        after = cost(served.pid)
    if load.errors or not load.units:
        fault = f"{load.errors} errors, {load.units} answers"
        return Measurement(work.name, server.name, number, fault=fault)
    if after.cpu_seconds <= before.cpu_seconds:
        fault = "it used no time: something else has taken its port"
        return Measurement(work.name, server.name, number, fault=fault)
    return Measurement(
        work.name,
        server.name,
        number,
        load.units,
        load.seconds,
        (after.cpu_seconds - before.cpu_seconds) / load.units * 1e6,
        load.p50_us,
        load.p99_us,
        after.rss_bytes,
        served.start_seconds,
    )


@contextmanager
def loading(bench: Bench, work: Work, address: tuple[str, int]) -> Iterator[Callable[[], Load]]:
    """Get ready to load the server; what is yielded does it."""
    if not work.conversation:
        load_by = h2load.run if work.rate else wrk.run
        yield lambda: load_by(work, address, bench.seconds, bench.folder)
        return
    host, port = address
    command = [sys.executable, "-m", "benchmarks.client", host, str(port), work.conversation]
    command += [str(work.connections), str(bench.seconds)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as client:
        try:
            assert client.stdout is not None
            client.stdout.readline()  # "ready", or nothing where it failed: seen below

            def load() -> Load:
                said, fault = client.communicate("go\n", bench.seconds + SLACK_SECONDS)
                if client.returncode:
                    raise ConnectionError(fault.strip().rpartition("\n")[2])
                return Load(**json.loads(said))

            yield load
        finally:
            client.kill()


def check(work: Work, address: tuple[str, int]) -> None:
    """Ask as the load will ask and compare the answers; our own client checks by itself."""
    if work.conversation:
        return
    for _ in range(WARM_UP_REQUESTS):
        with connected(work, address) as sock:
            request = work.request(f"{address[0]}:{address[1]}")
            sock.sendall(request)
            answer = http.client.HTTPResponse(sock, method=work.method)
            answer.begin()
            body = answer.read()
            answer.close()
    if answer.status != 200 or body != work.answer:
        raise ConnectionError(f"a wrong answer: {answer.status} {body[:200]!r}")
    if work.pipelined_count > 1:
        check_pipelined(work, address)


def check_pipelined(work: Work, address: tuple[str, int]) -> None:
    """Send a whole batch and count the answers."""
    with connected(work, address) as sock:
        sock.sendall(work.request("localhost") * work.pipelined_count)
        received = b""
        while received.count(work.answer) < work.pipelined_count:
            if not (more := sock.recv(65536)):
                raise ConnectionError("closed within a batch of answers")
            received += more
    if received.count(b"HTTP/1.1 200 ") != work.pipelined_count:
        raise ConnectionError(f"not {work.pipelined_count} answers: {received[:200]!r}")


def connected(work: Work, address: tuple[str, int]) -> socket.socket:
    """A connection to the server, over TLS where the work says so."""
    sock = socket.create_connection(address, timeout=CHECK_SECONDS)
    if not work.tls:
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)
