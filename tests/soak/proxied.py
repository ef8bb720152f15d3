"""A server behind nginx, through a reload and a restart: `python -m soak.proxied`.

Both happen as under systemd: its socket stays open while the service is stopped and started anew,
and nginx keeps its connections to it.  No client may get anything but its answer.
"""

import argparse
import shutil
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from process.harness import Program
from process.nginx import nginx

PATIENCE_SECONDS = 30.0


def command(fd: int, workers: int, options: Sequence[str]) -> list[str]:
    """The server, on a socket that is passed to it."""
    target = [sys.executable, "-m", "serval", "process.quiet_app:app", "--bind", f"fd:{fd}"]
    return [*target, "--workers", str(workers), "--no-access-log", *options]


@contextmanager
def passed_socket() -> Iterator[socket.socket]:
    """What systemd would hold."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        yield listener


class Clients:
    """Ask through the proxy, each on a connection that it keeps.

    Attributes:
        may_end: Set when nothing more will happen to the server: nobody ends before.

    Args:
        url: The proxy's.
        each: How often each asks at least.
    """

    def __init__(self, url: str, each: int) -> None:
        self._address = url.removeprefix("http://")
        self._each = each
        self._begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    def ask(self) -> Counter[str]:
        """What one client got, by status or error."""
        found: Counter[str] = Counter()
        connection = HTTPConnection(self._address, timeout=PATIENCE_SECONDS)
        number = 0
        while number < self._each or not self.may_end.is_set():
            number += 1
            self._begun.release()
            try:
                # One in four may not be repeated by the proxy, whatever happens to it.
                connection.request(
                    "GET" if number % 4 else "POST", "/", b"" if number % 4 else b"x"
                )
                answer = connection.getresponse()
                answer.read()
                found[str(answer.status)] += 1
            except (OSError, HTTPException) as error:
                found[repr(error)] += 1
                connection.close()
        connection.close()
        return found

    def wait(self, count: int) -> None:
        """Until so many more requests have begun."""
        for _ in range(count):
            if not self._begun.acquire(timeout=PATIENCE_SECONDS):
                raise TimeoutError("the clients do not get on")


def roll(
    *, requests: int, clients: int, workers: int, options: Sequence[str] = ()
) -> tuple[Counter[str], str, str]:
    """The whole of it; what clients got, the proxy's log of errors, and the server's."""
    texts = []

    def start() -> Program:
        program = Program(command(listener.fileno(), workers, options), {}, [listener.fileno()])
        stack.callback(program.end)
        program.expect(f"ready: {workers} worker")
        return program

    with (
        TemporaryDirectory() as name,
        passed_socket() as listener,
        ExitStack() as stack,
        ThreadPoolExecutor(clients) as threads,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        program = start()
        url = stack.enter_context(nginx(folder, f"127.0.0.1:{listener.getsockname()[1]}"))
        crowd = Clients(url, requests // clients)
        asked = [threads.submit(crowd.ask) for _ in range(clients)]
        crowd.wait(requests // 4)
        program.signal(signal.SIGHUP)
        program.expect("reloaded: ")
        crowd.wait(requests // 4)
        program.stop()
        texts.append(program.text)
        program = start()
        crowd.may_end.set()
        found = sum((one.result() for one in asked), Counter[str]())
        program.stop()
        texts.append(program.text)
        errors = (folder / "error.log").read_text()
    return found, errors, "\n".join(texts)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where a client got anything else than its answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    # What kept-alive connections need over a restart: answers that say that they are the last.
    parser.add_argument("--drain-delay", default="1s")
    given = parser.parse_args(arguments)
    if shutil.which("nginx") is None:
        print("there is no nginx")
        return 2
    found, errors, text = roll(
        requests=given.requests,
        clients=given.clients,
        workers=given.workers,
        options=("--drain-delay", given.drain_delay),
    )
    print(dict(found))
    if set(found) != {"200"}:
        print(text, errors, sep="\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
