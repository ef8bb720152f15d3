"""The servers: how each is installed and started, one worker, on uvloop where it offers it."""

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
APPLICATIONS: Final = ROOT / "benchmarks" / "applications"
HOST: Final = "127.0.0.1"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
# Variables that would make the measured servers others than those of a user.
_MEDDLING: Final = ("PYTHONDONTWRITEBYTECODE", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files for the work over TLS."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Server:
    """One server.

    Attributes:
        requirement: What pip installs for it; empty: this tree.
        arguments: What follows `python -m`, from the application and the port.
        tls: The further arguments for TLS; None where the server cannot.
        wsgi: What follows `python -m` for a WSGI application, from the application, the port and
            the number of threads; None where the server cannot.
    """

    name: str
    requirement: str
    arguments: Callable[[str, int], list[str]]
    tls: Callable[[Certificate], list[str]] | None
    wsgi: Callable[[str, int, int], list[str]] | None = None


def _serval(app: str, port: int) -> list[str]:
    options = ["--workers", "1", "--loop", "uvloop", "--no-access-log", "--log-level", "warning"]
    return ["serval", app, "--host", HOST, "--port", str(port), *options]


def _uvicorn(app: str, port: int) -> list[str]:
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    return ["uvicorn", app, "--port", str(port), "--log-level", "warning", *options]


def _granian(app: str, port: int) -> list[str]:
    options = ["--workers", "1", "--loop", "uvloop", "--log-level", "warning"]
    return ["granian", app, "--interface", "asgi", "--port", str(port), *options]


def _hypercorn(app: str, port: int) -> list[str]:
    return ["hypercorn", app, "--bind", f"{HOST}:{port}", "--workers", "1", "-k", "uvloop"]


def _gunicorn(app: str, port: int) -> list[str]:
    options = ["--workers", "1", "-k", "asgi", "--asgi-loop", "uvloop", "--log-level", "warning"]
    return ["gunicorn", app, "--bind", f"{HOST}:{port}", *options]


def _daphne(app: str, port: int) -> list[str]:
    return ["daphne", "-v", "0", "-b", HOST, "-p", str(port), app]


def _serval_wsgi(app: str, port: int, threads: int) -> list[str]:
    return [*_serval(app, port), "--interface", "wsgi", "--threads", str(threads)]


def _granian_wsgi(app: str, port: int, threads: int) -> list[str]:
    options = ["--workers", "1", "--blocking-threads", str(threads), "--log-level", "warning"]
    return ["granian", app, "--interface", "wsgi", "--port", str(port), *options]


def _gunicorn_wsgi(app: str, port: int, threads: int) -> list[str]:
    options = ["--workers", "1", "-k", "gthread", "--threads", str(threads)]
    return ["gunicorn", app, "--bind", f"{HOST}:{port}", *options, "--keep-alive", "60"]


def _ssl_files(certificate: Certificate) -> list[str]:
    return ["--ssl-certfile", str(certificate.chain), "--ssl-keyfile", str(certificate.key)]


SERVERS: Final = (
    Server("serval", "", _serval, _ssl_files, _serval_wsgi),
    Server("uvicorn", "uvicorn[standard]", _uvicorn, _ssl_files),
    Server(
        "granian",
        "granian",
        _granian,
        lambda c: ["--ssl-certificate", str(c.chain), "--ssl-keyfile", str(c.key)],
        _granian_wsgi,
    ),
    Server(
        "hypercorn",
        "hypercorn[uvloop]",
        _hypercorn,
        lambda c: ["--certfile", str(c.chain), "--keyfile", str(c.key)],
    ),
    Server(
        "gunicorn",
        "gunicorn",
        _gunicorn,
        lambda c: ["--certfile", str(c.chain), "--keyfile", str(c.key)],
        _gunicorn_wsgi,
    ),
    Server("daphne", "daphne", _daphne, None),
)
QUICK: Final = ("serval", "uvicorn", "granian")


def cache_folder() -> Path:
    """Where environments and bytecode are kept: removing it costs a new installation, no more."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "serval-benchmarks"


def environment() -> dict[str, str]:
    """The environment of a server: this tree's source is on its path, its bytecode is kept.

    The peers have theirs from their installation; ours would otherwise be compiled at each start.
    """
    given = {name: value for name, value in os.environ.items() if name not in _MEDDLING}
    bytecode = str(cache_folder() / "bytecode")
    return {**given, "PYTHONPATH": str(ROOT / "src"), "PYTHONPYCACHEPREFIX": bytecode}


def free_port() -> int:
    """A port that nobody listens on; not every peer can say which it took for port 0."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    pid: int
    address: tuple[str, int]
    start_seconds: float


def wait_until_it_answers(
    process: subprocess.Popen[bytes], port: int, log: Path, *, tls: bool
) -> float:
    """Seconds from the call until a first request is answered, be it by 404."""
    began_at = time.perf_counter()
    while (waited := time.perf_counter() - began_at) < START_SECONDS:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection((HOST, port), timeout=START_SECONDS) as sock:
                if _answers(sock, tls=tls):
                    return time.perf_counter() - began_at
        except OSError:
            time.sleep(0.005)
    raise ConnectionError(f"did not start in {waited:.1f} s:\n{log.read_text()[-2000:]}")


def _answers(sock: socket.socket, *, tls: bool) -> bool:
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(sock)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return sock.recv(5) == b"HTTP/"


@contextmanager
def running(
    server: Server,
    application: str,
    python: Path,
    log: Path,
    certificate: Certificate | None,
    *,
    threads: int = 0,
) -> Iterator[Running]:
    """Start a server on the core that the caller is pinned to, and stop it afterwards."""
    port = free_port()
    arguments = server.arguments(application, port)
    if threads and server.wsgi:
        arguments = server.wsgi(application, port, threads)
    command = [str(python), "-m", *arguments]
    if certificate and server.tls:
        command += server.tls(certificate)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=APPLICATIONS,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        tls = bool(certificate and server.tls)
        seconds = wait_until_it_answers(process, port, log, tls=tls)
        yield Running(process.pid, (HOST, port), seconds)
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):  # nothing is left of the group, as it should be
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
