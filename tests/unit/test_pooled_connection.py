"""The time that a connection has which waits for a thread."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from serval.asgi.types import Receive, Scope, Send
from serval.config import ServerConfig
from serval.worker.async_pool import AsyncPool
from serval.worker.connections.socket_connection import INPUT
from serval.worker.deadlines import Wait
from serval.worker.poller import READ
from serval.worker.service import Service
from serval.worker.sync_worker import SyncWorker
from serval.worker.threads.pooled_connection import PooledConnection, Seat


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Connection(PooledConnection):
    """One whose requests are served by whoever reads them."""

    def serve(self, seat: Seat, bits: int) -> None:
        self.sit(seat)
        self.ready(bits)


class Desk(SyncWorker):
    """A seat that is told nothing, since every connection can be claimed."""

    def expired(self, connection: PooledConnection, wait: Wait, *, late: bool) -> None:
        raise AssertionError

    def disconnect(self, connection: PooledConnection) -> None:
        raise AssertionError

    def abort(self, connection: PooledConnection) -> None:
        raise AssertionError


class Pool:
    """The owner of one connection that nobody else has claimed.

    Attributes:
        looks: The waits that are to be looked at again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        config = ServerConfig()
        self.front = Service(app, config, loop)
        self.desk: Seat = Desk(self.front, (), AsyncPool(config, app))
        self.is_awaited = False
        self.looks: list[Wait] = []

    def claim(self, connection: PooledConnection) -> bool:
        return True

    def release(self, connection: PooledConnection) -> None: ...

    def forget(self, sock: socket.socket) -> None: ...

    def came_further(self) -> None: ...

    def retry(self, connection: PooledConnection, wait: Wait) -> None:
        self.looks.append(wait)


class Client:
    """A client and what the server knows of it."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.pool = pool = Pool(runner.get_loop())
        sock, self.peer = socket.socketpair()
        sock.setblocking(False)
        self.peer.settimeout(10)
        self.connection = Connection(pool, sock, ("client", 1), ("server", 2))

    def send(self, data: bytes) -> None:
        self.peer.sendall(data)

    def serve(self) -> None:
        """Let a thread come."""

        async def serve() -> None:
            self.connection.serve(self.pool.desk, READ)
            for _ in range(5):
                await asyncio.sleep(0)

        self._runner.run(serve())

    def expire(self, wait: Wait = Wait.HEAD) -> None:
        """Let the time of a wait be over, as a sweep does."""
        self.pool.front.sweeper.deadlines[wait].stop(self.connection)
        self.connection.expired(wait, late=False)

    def close(self) -> None:
        self.connection.drop()
        self.peer.close()


@pytest.fixture
def client() -> Iterator[Client]:
    with asyncio.Runner() as runner:
        client = Client(runner)
        yield client
        client.close()


def test_a_head_that_lies_unread_is_waited_for_until_a_thread_comes(client: Client) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    client.expire()
    client.expire()

    assert client.pool.looks == [Wait.HEAD, Wait.HEAD]
    client.serve()
    assert client.peer.recv(100).startswith(b"HTTP/1.1 204")


def test_who_sends_a_byte_now_and_then_has_no_more_time_for_it(client: Client) -> None:
    client.send(b"G")
    client.serve()
    client.send(b"E")  # which a thread has not come to

    client.expire()

    assert client.pool.looks == [Wait.HEAD]
    client.serve()
    client.send(b"T")
    client.expire()
    assert client.pool.looks == [Wait.HEAD]
    assert client.peer.recv(100).startswith(b"HTTP/1.1 408")


def test_a_body_that_comes_a_byte_now_and_then_has_no_more_time_for_it(client: Client) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
    client.serve()
    client.send(b"2")
    client.expire(Wait.BODY)
    assert client.pool.looks == [Wait.BODY]

    client.serve()
    client.send(b"3")
    client.expire(Wait.BODY)

    assert client.pool.looks == [Wait.BODY]
    assert client.peer.recv(100).startswith(b"HTTP/1.1 408")


def test_a_wait_that_has_begun_anew_meanwhile_is_left_alone(client: Client) -> None:
    client.connection.expired(Wait.HEAD, late=False)

    assert client.connection in client.pool.front.sweeper.deadlines[Wait.HEAD]
    assert client.pool.looks == []
    assert client.connection.interest == INPUT


def test_who_says_nothing_is_left_at_the_end_of_its_time(client: Client) -> None:
    client.expire()

    assert client.peer.recv(100) == b""


def test_a_late_request_leaves_the_next_one_all_its_time(client: Client) -> None:
    client.send(b"GET / HTTP/1.1\r\n")
    client.expire()
    client.send(b"Host: x\r\n\r\n")
    client.serve()
    assert client.peer.recv(100).startswith(b"HTTP/1.1 204")
    queue = client.pool.front.sweeper.deadlines[Wait.HEAD]
    client.send(b"GET")
    client.serve()
    assert client.connection in queue  # for as long as any other

    client.connection._overtime = client.connection._overtime._replace(
        began_at=client.connection._overtime.began_at - queue.seconds
    )
    client.send(b" ")
    client.expire()

    assert client.pool.looks == [Wait.HEAD, Wait.HEAD]
