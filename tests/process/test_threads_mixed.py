"""A thousand requests of all kinds in random order on eight threads: each counts exactly once."""

import hashlib
import json
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection

import pytest
from websockets.sync.client import connect

from process.harness import PATIENCE_SECONDS, children_of, needs_procfs, running
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(120)]

Address = tuple[str, int]
REQUESTS = 1000
CLIENTS = 16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class Client:
    """One client with one kept-alive connection, and others for what does not fit on it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection = HTTPConnection(*address, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self.connection.request(method, path, body=body)
        response = self.connection.getresponse()
        assert response.status == 200
        return response.read()

    def plain(self, name: str) -> None:
        assert self.ask("GET", f"/counted/hello/{name}") == b"hello"

    def upload(self, name: str) -> None:
        data = name.encode() * random.choice((10, 5_000, 50_000))  # noqa: S311
        body = self.ask("POST", f"/counted/digest/{name}", data).decode()
        assert body.startswith(f"{len(data)} {hashlib.sha256(data).hexdigest()}")

    def stream(self, name: str) -> None:
        assert self.ask("GET", f"/counted/stream/{name}").startswith(b"0\n1\n2\n")

    def wait(self, name: str) -> None:
        assert self.ask("GET", f"/counted/pause/{name}") == b"hello"

    def websocket(self, name: str) -> None:
        host, port = self.address
        with connect(f"ws://{host}:{port}/ws/{name}", open_timeout=30) as session:
            session.recv()
            session.send(name)
            assert session.recv() == name

    def abort(self, name: str) -> None:
        """Leave while something is on its way, one direction or the other."""
        with socket.create_connection(self.address, timeout=30) as client:
            if random.random() < 0.5:  # noqa: S311
                head = f"POST /counted/digest/abort-{name} HTTP/1.1\r\nHost: x\r\n"
                client.sendall(head.encode() + b"Content-Length: 100000\r\n\r\n" + b"x" * 500)
            else:
                request = f"GET /counted/endless/abort-{name} HTTP/1.1\r\nHost: x\r\n\r\n"
                client.sendall(request.encode())
                client.recv(100)
            if random.random() < 0.5:  # noqa: S311
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def close(self) -> None:
        self.connection.close()


def descriptors(pid: int) -> Counter[str]:
    """The open descriptors of a process by what they are: sockets, pipes, epolls ..."""
    links = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    # libuv opens /dev/null once, for later.
    return Counter(link.partition(":[")[0] for link in links if link != "/dev/null")


def surplus(pid: int, before: Counter[str]) -> Counter[str]:
    """The descriptors that a process has beyond those, as soon as there are none."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while (more := descriptors(pid) - before) and time.monotonic() < give_up_at:
        time.sleep(0.05)  # connections of clients that have left take their time
    return more


def work(address: Address, kinds: list[str], numbers: list[int]) -> list[str]:
    """Be one client; the names of what must have been counted once."""
    client = Client(address)
    names = []
    for number in numbers:
        kind = random.choice(kinds)  # noqa: S311
        name = f"{kind}-{number}"
        act: Callable[[str], None] = getattr(client, kind)
        act(name)
        if kind != "abort":
            names.append(name)
    client.close()
    return names


ASGI = ("process.threaded_app:app", ["plain", "upload", "stream", "wait", "websocket", "abort"])
WSGI = ("process.wsgi_app:app", ["plain", "upload", "stream", "wait", "abort"])


@pytest.mark.parametrize(
    ("target", "kinds", "loop", "mode"),
    [
        (*ASGI, "uvloop", ""),
        (*ASGI, "asyncio", "1"),
        (*ASGI, "uvloop", "1"),
        (*WSGI, "uvloop", ""),
        (*WSGI, "asyncio", "1"),
    ],
)
def test_each_of_a_thousand_requests_counts_once(
    target: str, kinds: list[str], loop: str, mode: str
) -> None:
    options = ("--port", "0", "--threads", "8", "--loop", loop, "--no-access-log")
    with running("serval", target, *options, environ={"PYTHONDEVMODE": mode}) as program:
        address = program.address()
        program.expect("ready: ")
        worker = children_of(program.pid)[0]
        one = HTTPConnection(*address, timeout=30)
        one.request("GET", "/counts")
        one.getresponse().read()
        before = descriptors(worker)
        numbers = list(range(REQUESTS))

        shares = [numbers[start::CLIENTS] for start in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as clients:
            names = sum(clients.map(partial(work, address, kinds), shares), list[str]())

        one.request("GET", "/counts")
        counts = json.loads(one.getresponse().read())
        assert {name: counts.get(name) for name in names} == dict.fromkeys(names, 1)
        assert all(count == 1 for count in counts.values())
        assert surplus(worker, before) == {}
        one.close()
        assert program.stop() == ExitStatus.OK, program.text
        for word in ("Traceback", "Warning:", "never awaited", "never retrieved", "defect"):
            assert word not in program.text, program.text[-5000:]
