"""The admin endpoint's sockets, turned by hand as the supervisor's loop turns them."""

import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path

import pytest
from admin_world import CONSTANTS, FakeOverseer, two_workers

from serval.admin.endpoint import (
    CONNECTION_SECONDS,
    CONNECTIONS_COUNT,
    PAUSE_SECONDS,
    AdminEndpoint,
    own_constants,
    queue_depth,
)
from serval.net.bind import Bind, TcpBind, UnixBind
from serval.net.listeners import Listener, close_listeners, open_listeners
from serval.scoreboard import Scoreboard

START = CONSTANTS.started_at
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /reload HTTP/1.1\r\nHost: x\r\n\r\n"


class World:
    """An endpoint, and a loop that turns it for as long as it wants to be turned."""

    def __init__(self, listener: Listener, board: Scoreboard) -> None:
        self.listener = listener
        self.overseer = FakeOverseer()
        self.endpoint = AdminEndpoint([listener], [listener], CONSTANTS, board)
        self.now = START

    def turn(self) -> None:
        while select.select([self.endpoint.fileno()], [], [], 0)[0]:
            self.endpoint.turn(self.overseer, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.endpoint.turn(self.overseer, self.now)

    def client(self, data: bytes = b"") -> socket.socket:
        sock = socket.socket(self.listener.sock.family)
        sock.settimeout(5)
        sock.connect(self.listener.sock.getsockname())
        sock.sendall(data)
        self.turn()
        return sock


def received(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


@contextmanager
def opened(bind: Bind, board: Scoreboard | None = None) -> Iterator[World]:
    listeners = open_listeners([bind], backlog=64)
    world = World(listeners[0], board or two_workers())
    try:
        yield world
    finally:
        world.endpoint.close()
        close_listeners(listeners)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(UnixBind(str(tmp_path / "admin.sock"))) as made:
        yield made


def test_a_question_is_answered_in_one_turn(world: World) -> None:
    with world.client(GET) as client:
        assert received(client).endswith(b"\r\n\r\nalive\n")


def test_an_idle_endpoint_wants_no_turn(world: World) -> None:
    assert world.endpoint.deadline == inf
    assert select.select([world.endpoint.fileno()], [], [], 0)[0] == []


def test_a_question_may_come_in_pieces(world: World) -> None:
    with world.client(GET[:7]) as client:
        client.sendall(GET[7:])
        world.turn()

        assert received(client).endswith(b"alive\n")


def test_after_the_answer_the_connection_is_forgotten_once_the_client_has_closed(
    world: World,
) -> None:
    client = world.client(GET)
    assert world.endpoint.deadline == START + CONNECTION_SECONDS

    client.close()
    world.turn()

    assert world.endpoint.deadline == inf


def test_a_client_that_leaves_without_a_word_is_forgotten(world: World) -> None:
    world.client().close()
    world.turn()

    assert world.endpoint.deadline == inf


def test_a_client_that_resets_harms_nobody() -> None:
    with opened(TcpBind("127.0.0.1", 0)) as world:
        client = world.client(GET[:5])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        world.turn()

        with world.client(GET) as other:
            assert received(other).endswith(b"alive\n")


def test_a_client_that_says_nothing_is_dropped_in_time(world: World) -> None:
    with world.client() as client:
        world.pass_time(CONNECTION_SECONDS)

        assert client.recv(1) == b""
        assert world.endpoint.deadline == inf


def test_a_client_that_takes_nothing_holds_up_nobody(tmp_path: Path) -> None:
    board = Scoreboard(4096)  # its metrics fill every buffer
    for slot in board:
        slot.pid = 1
    with opened(UnixBind(str(tmp_path / "x")), board) as world:
        slow = world.client(GET.replace(b"livez", b"metrics"))
        with world.client(GET) as other:
            assert received(other).endswith(b"alive\n")

        answer = b""
        while data := slow.recv(65536):
            answer += data
            world.turn()
        slow.close()

        assert b'serval_worker_age_seconds{worker="4096"}' in answer
        assert len(answer) > 1_000_000


def test_of_too_many_clients_the_oldest_gives_way(world: World) -> None:
    clients = [world.client() for _ in range(CONNECTIONS_COUNT + 1)]

    assert clients[0].recv(1) == b""
    for client in clients[1:]:
        client.sendall(GET)
    world.turn()
    for client in clients[1:]:
        assert received(client).endswith(b"alive\n")
        client.close()
    clients[0].close()


def test_the_owner_of_the_socket_may_act(world: World) -> None:
    with world.client(POST) as client:
        assert received(client).startswith(b"HTTP/1.1 202 ")

    assert world.overseer.asked == ["reload"]


def test_over_a_port_nobody_may_act() -> None:
    with opened(TcpBind("127.0.0.1", 0)) as world, world.client(POST) as client:
        assert received(client).startswith(b"HTTP/1.1 403 ")
        assert world.overseer.asked == []


def test_an_answer_that_fails_ends_its_connection_and_no_more(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    board = world.endpoint._scoreboard
    board.slot(0).counters[1] = 99  # no state that there is

    with world.client(GET.replace(b"livez", b"status")) as client:
        assert received(client) == b""
    with world.client(GET) as client:
        assert received(client).endswith(b"alive\n")

    assert "the admin endpoint failed" in caplog.text


class Exhausted(socket.socket):
    """A listening socket in a process that has no descriptors left."""

    def accept(self) -> tuple[socket.socket, object]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_without_descriptors_it_waits_and_does_not_spin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bind = UnixBind(str(tmp_path / "x"))
    with (
        closing(Exhausted(socket.AF_UNIX)) as sock,
        closing(socket.socket(socket.AF_UNIX)) as client,
    ):
        sock.setblocking(False)
        sock.bind(bind.path)
        sock.listen()
        world = World(Listener(sock, bind, str(bind)), two_workers())
        client.connect(bind.path)

        world.turn()

        assert world.endpoint.deadline == START + PAUSE_SECONDS
        assert "cannot accept: Too many open files" in caplog.text
        world.pass_time(PAUSE_SECONDS)
        assert world.endpoint.deadline == START + 2 * PAUSE_SECONDS
        world.endpoint.close()


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_forked_worker_closes_its_copies_and_the_parent_goes_on(world: World) -> None:
    client = world.client(GET[:7])

    pid = os.fork()
    if pid == 0:
        before = len(os.listdir("/proc/self/fd"))
        world.endpoint.close_in_child()
        os._exit(before - len(os.listdir("/proc/self/fd")))
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 3  # the selector, the listener, the connection
    client.sendall(GET[7:])
    world.turn()
    assert received(client).endswith(b"alive\n")
    client.close()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux")
def test_the_queue_of_a_port_is_counted_by_the_kernel() -> None:
    (listener,) = open_listeners([TcpBind("127.0.0.1", 0)], backlog=8)
    with listener.sock, socket.create_connection(listener.sock.getsockname()):
        assert queue_depth(listener.sock) == 1

        listener.sock.accept()[0].close()
        assert queue_depth(listener.sock) == 0


def test_of_other_sockets_the_kernel_tells_no_queue() -> None:
    closed = socket.socket()
    closed.close()
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(type=socket.SOCK_DGRAM) as udp:
        assert queue_depth(closed) is None
        assert queue_depth(unix) is None
        assert queue_depth(udp) is None


def test_a_server_knows_its_own_process() -> None:
    assert own_constants("1", "a:b", 5.0, 1e9).pid == os.getpid()
