"""A connection on a real socket, in a selector that is turned by hand."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from serval.asgi.types import ASGIApp, Receive, Scope, Send
from serval.config import ServerConfig
from serval.net.unsent import LITTLE_BYTES, allow
from serval.worker.async_pool import AsyncPool
from serval.worker.connections.socket_connection import (
    GATHERED_BYTES,
    GATHERED_COUNT,
    READS_COUNT,
    RECEIVE_BYTES,
    SocketConnection,
)
from serval.worker.connections.wire import HIGH_WATER_BYTES
from serval.worker.service import Service
from serval.worker.sync_worker import SyncWorker

PEER = ("127.0.0.1", 1)
HEAD = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n"


class Receiver:
    """An application that receives until it is told of the end.

    Attributes:
        sizes: Of the pieces that it got.
        has_ended: It was told of the end.
    """

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.sizes: list[int] = []
        self.has_ended = False
        self._before = before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._before()
        while (message := await receive())["type"] == "http.request":
            self.sizes.append(len(message["body"]))
            self._before()
        self.has_ended = True


class World:
    """A worker that looks at its sockets when it is told to."""

    def __init__(self, runner: asyncio.Runner, app: ASGIApp) -> None:
        self._runner = runner
        config = ServerConfig()
        self.service = Service(app, config, runner.get_loop())
        self.worker = SyncWorker(self.service, (), AsyncPool(config, app))

    def connect(self, sock: socket.socket) -> SocketConnection:
        return self.worker.adopt(sock, PEER, PEER)

    def run(self, coro: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(coro)

    def look(self) -> None:
        """Serve what is ready, once, and let everything run that can."""

        async def look() -> None:
            asyncio.get_running_loop().call_soon(self.worker.turn)
            for _ in range(20):
                await asyncio.sleep(0)

        self.run(look())


@contextmanager
def world_of(app: ASGIApp) -> Iterator[World]:
    with asyncio.Runner() as runner:
        world = World(runner, app)
        yield world
        for connection in list(world.service.connections):
            assert isinstance(connection, SocketConnection)
            connection.drop()
        world.service.sweeper.close()
        for task in list(world.service.tasks):
            task.cancel()
        world.run(asyncio.sleep(0))
        world.worker.poller.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end and the client's."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * RECEIVE_BYTES)
    theirs.setblocking(False)
    with theirs:
        yield ours, theirs


# --- reading on -------------------------------------------------------------------------------


def test_who_waits_for_a_body_reads_on_and_others_have_their_turn(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair

    def send_more() -> None:
        with suppress(BlockingIOError):
            while theirs.send(bytes(RECEIVE_BYTES)):
                pass

    app = Receiver(send_more)
    with world_of(app) as world:
        world.connect(ours)
        theirs.send(HEAD)
        send_more()

        world.look()
        assert len(app.sizes) == 1 + READS_COUNT
        assert sum(app.sizes) == len(app.sizes) * RECEIVE_BYTES - len(HEAD)

        world.look()
        assert len(app.sizes) == 2 * (1 + READS_COUNT)


def test_nothing_is_read_where_a_read_was_not_full(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    app = Receiver()
    with world_of(app) as world:
        connection = world.connect(ours)
        theirs.send(HEAD + b"one")
        world.look()
        theirs.send(b"two")

        assert not connection.read_on()
        assert app.sizes == [3]
        world.look()
        assert app.sizes == [3, 3]


def test_what_does_not_lie_there_is_waited_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    app = Receiver()
    with world_of(app) as world:
        connection = world.connect(ours)
        theirs.send(HEAD + bytes(RECEIVE_BYTES - len(HEAD)))
        world.look()

        assert app.sizes == [RECEIVE_BYTES - len(HEAD)]
        assert not connection.read_on()  # it has tried
        theirs.send(b"more")
        world.look()
        assert app.sizes[1:] == [4]


def test_an_end_that_is_read_on_the_way_is_told(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    app = Receiver()
    with world_of(app) as world:
        world.connect(ours)
        theirs.send(HEAD + bytes(RECEIVE_BYTES - len(HEAD)))
        theirs.shutdown(socket.SHUT_WR)
        world.look()

        assert app.sizes == [RECEIVE_BYTES - len(HEAD)]
        assert app.has_ended


# --- gathering --------------------------------------------------------------------------------


@pytest.fixture
def quick() -> Iterator[tuple[World, SocketConnection]]:
    """A connection to a client that has read quickly."""
    with (
        world_of(Receiver()) as world,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        ours = listener.accept()[0]
        allow(ours, LITTLE_BYTES)
        connection = world.connect(ours)
        world.service.allowances.room_came(ours, 0.0)
        yield world, connection


def written(world: World, connection: SocketConnection, *pieces: bytes) -> int:
    """Write those in one turn; how much waits for its end."""

    async def write() -> int:
        for piece in pieces:
            connection.write(piece)
        return connection._out_bytes

    waiting: int = world.run(write())
    return waiting


def test_large_pieces_for_a_quick_client_are_gathered_up_to_a_bound(
    quick: tuple[World, SocketConnection],
) -> None:
    world, connection = quick
    piece = bytes(HIGH_WATER_BYTES)
    count = GATHERED_BYTES // HIGH_WATER_BYTES

    assert written(world, connection, *[piece] * (count - 1)) == GATHERED_BYTES - HIGH_WATER_BYTES
    world.run(asyncio.sleep(0))
    assert connection._out_bytes == 0
    assert written(world, connection, *[piece] * count) == 0


def test_many_small_pieces_are_not_gathered_for_long(
    quick: tuple[World, SocketConnection],
) -> None:
    world, connection = quick
    pieces = [bytes(HIGH_WATER_BYTES // GATHERED_COUNT)] * GATHERED_COUNT

    assert written(world, connection, *pieces) == 0


def test_nothing_is_gathered_for_who_has_not_read_quickly(
    quick: tuple[World, SocketConnection],
) -> None:
    world, connection = quick
    world.service.allowances.leave(connection._sock)

    assert written(world, connection, bytes(HIGH_WATER_BYTES)) == 0
