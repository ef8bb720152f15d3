"""Our own load generator for what wrk does not speak; a process of its own, pinned beside wrk's.

    python -m benchmarks.client HOST PORT CONVERSATION CONNECTIONS SECONDS

Blocking openings, then one epoll loop over non-blocking sockets: an exchange costs it a few
microseconds, so the server is the one that is busy. It prints "ready" once its connections are
open, begins when it is sent a line, and prints one line of JSON.
"""

import json
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

from benchmarks.conversations import CONVERSATIONS, EVENT, Conversation

OPENING_SECONDS = 20.0
SEND_BYTES = 262_144
RECEIVE_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class Load:
    """What a load generator saw.  Latencies are 0 where none was measured."""

    units: int
    seconds: float
    p50_us: float = 0.0
    p99_us: float = 0.0
    errors: int = 0


@dataclass(slots=True)
class Link:
    """One connection between two exchanges or within one."""

    sock: socket.socket
    left: memoryview  # of the request, still to be sent
    awaited: int  # bytes of the answer still to come
    began_at: float = 0.0
    last: bytearray = field(default_factory=bytearray)


def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """The head of an answer and what came with it."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if not (more := sock.recv(RECEIVE_BYTES)):
            raise ConnectionError(f"closed within a head: {data[:200]!r}")
        data += more
    return data[: end + 4], data[end + 4 :]


def open_link(address: tuple[str, int], talk: Conversation) -> tuple[socket.socket, int]:
    """Connect, exchange once and check the answer; how long an answer is, too."""
    sock = socket.create_connection(address, timeout=OPENING_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    if talk.opening:
        sock.sendall(talk.opening)
        head, received = read_head(sock)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"refused: {head[:200]!r}")
    sock.sendall(talk.request)
    length = 0
    if talk.headed:
        head, received = read_head(sock)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"refused: {head[:200]!r}")
        length = len(head)
    parts, size = [received], len(received)
    while size < len(talk.answer):
        if not (more := sock.recv(RECEIVE_BYTES)):
            raise ConnectionError("closed within an answer")
        parts.append(more)
        size += len(more)
    if talk.answer and b"".join(parts) != talk.answer:
        raise ConnectionError(f"a wrong answer: {b''.join(parts)[:200]!r}")
    return sock, length + len(talk.answer)


class ClosedLoop:
    """Every connection asks again as soon as it was answered."""

    def __init__(self, address: tuple[str, int], talk: Conversation, connections: int) -> None:
        self._request = memoryview(talk.request)
        self._tail = talk.answer[-64:]
        self._epoll = select.epoll()
        self._links: dict[int, Link] = {}
        self._latencies: list[float] = []
        for _ in range(connections):
            sock, self._length = open_link(address, talk)
            sock.setblocking(False)
            self._links[sock.fileno()] = Link(sock, self._request, self._length)
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def run(self, seconds: float) -> Load:
        """Load the server for so long."""
        began_at = now = time.perf_counter()
        for link in self._links.values():
            self._ask(link, now)
        while now - began_at < seconds:
            for descriptor, event in self._epoll.poll(seconds):
                link = self._links[descriptor]
                if event & select.EPOLLOUT:
                    self._send(link)
                if event & ~select.EPOLLOUT:
                    self._receive(link)
            now = time.perf_counter()
        for link in self._links.values():
            link.sock.close()
        self._epoll.close()
        return summed_up(self._latencies, now - began_at)

    def _ask(self, link: Link, now: float) -> None:
        link.left, link.awaited, link.began_at = self._request, self._length, now
        self._send(link)

    def _send(self, link: Link) -> None:
        blocked = bool(link.left)
        try:
            sent = link.sock.send(link.left[:SEND_BYTES])
            link.left = link.left[sent:]
        except BlockingIOError:
            pass  # the epoll says when
        if link.left or blocked:
            wanted = select.EPOLLIN | (select.EPOLLOUT if link.left else 0)
            self._epoll.modify(link.sock.fileno(), wanted)

    def _receive(self, link: Link) -> None:
        data = link.sock.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("closed by the server")
        link.awaited -= len(data)
        if link.awaited > 0:
            return
        if link.awaited < 0 or not data.endswith(self._tail[-len(data) :]):
            raise ConnectionError(f"a wrong answer: {data[:200]!r}")
        now = time.perf_counter()
        self._latencies.append(now - link.began_at)
        self._ask(link, now)


class Listeners:
    """Every connection listens to a stream; an event that is cut in two is not counted."""

    def __init__(self, address: tuple[str, int], talk: Conversation, connections: int) -> None:
        self._epoll = select.epoll()
        self._socks: dict[int, socket.socket] = {}
        for _ in range(connections):
            sock, _ = open_link(address, talk)
            sock.setblocking(False)
            self._socks[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._listen(0.0)  # what came while the others were opened is not of this run

    def run(self, seconds: float) -> Load:
        """Listen for so long and count the events."""
        began_at = time.perf_counter()
        events = self._listen(seconds)
        seconds = time.perf_counter() - began_at
        for sock in self._socks.values():
            sock.close()
        self._epoll.close()
        return Load(events, seconds)

    def _listen(self, seconds: float) -> int:
        events = 0
        end_at = time.perf_counter() + seconds
        while True:
            for descriptor, _ in self._epoll.poll(seconds, len(self._socks)):
                data = self._socks[descriptor].recv(RECEIVE_BYTES)
                if not data:
                    raise ConnectionError("closed by the server")
                events += data.count(EVENT)
            if time.perf_counter() >= end_at:
                return events


def summed_up(latencies: list[float], seconds: float) -> Load:
    """The counts and percentiles of one run."""
    ordered = sorted(latencies)
    if not ordered:
        return Load(0, seconds, errors=1)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return Load(len(ordered), seconds, p50 * 1e6, p99 * 1e6)


def main() -> None:
    """Parse the arguments, run, print."""
    host, port, name, connections, seconds = sys.argv[1:]
    kind = Listeners if name == "events" else ClosedLoop
    client = kind((host, int(port)), CONVERSATIONS[name](), int(connections))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(client.run(float(seconds)))))


if __name__ == "__main__":
    main()
