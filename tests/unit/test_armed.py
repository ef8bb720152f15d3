"""Who gets which connection, on a real poller and between real threads."""

import socket
import threading
from collections.abc import Iterator

import pytest

from serval.worker.poller import ONE_SHOT, PEER_SHUT, READ, Poller, create_poller
from serval.worker.threads.armed import Armed


class Connection:
    """One whose peer has said something."""

    interest = READ | PEER_SHUT

    def __init__(self, poller: Poller) -> None:
        self.sock, self.peer = socket.socketpair()
        self.fd = self.sock.fileno()
        poller.register(self.fd, 0)
        self.peer.send(b"x")

    def close(self) -> None:
        self.sock.close()
        self.peer.close()


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = create_poller()
    yield poller
    poller.close()


@pytest.fixture
def connection(poller: Poller) -> Iterator[Connection]:
    connection = Connection(poller)
    yield connection
    connection.close()


def test_what_waits_is_told_of_once_and_had_once(poller: Poller, connection: Connection) -> None:
    armed: Armed[Connection] = Armed(poller)
    armed.arm(connection)

    assert [fd for fd, _ in poller.poll(1, 1)] == [connection.fd]
    assert poller.poll(0, 1) == []
    assert len(armed) == 1
    assert armed.take(connection.fd) is connection
    assert armed.take(connection.fd) is None
    assert len(armed) == 0


def test_what_waits_can_be_had_without_an_event(poller: Poller, connection: Connection) -> None:
    armed: Armed[Connection] = Armed(poller)
    armed.arm(connection)

    assert armed.take_from(connection) is connection
    assert armed.take_from(connection) is None


def test_another_connection_with_the_same_descriptor_is_left_alone(
    poller: Poller, connection: Connection
) -> None:
    armed: Armed[Connection] = Armed(poller)
    armed.arm(connection)
    closed = Connection.__new__(Connection)
    closed.fd = connection.fd

    assert armed.take_from(closed) is None
    assert armed.take(connection.fd) is connection


class Quicker:
    """A poller that lets a thread act on an event before it is known here that there may be one."""

    def __init__(self, poller: Poller, seconds: float) -> None:
        self._poller = poller
        self._seconds = seconds
        self.armed: Armed[Connection] = Armed(self)  # type: ignore[arg-type]  # it calls no more
        self.taken: list[Connection | None] = []
        self.told = threading.Event()
        self.acted = threading.Event()
        self.thread = threading.Thread(target=self._take)

    def modify(self, fd: int, interest: int) -> None:
        assert interest & ONE_SHOT
        self._poller.modify(fd, interest)
        self.thread.start()
        assert self.told.wait(10)
        # It may act, if it does not wait for us.
        self.acted.wait(self._seconds)

    def _take(self) -> None:
        [(fd, _)] = self._poller.poll(10, 1)
        self.told.set()
        self.taken.append(self.armed.take(fd))
        self.acted.set()


def test_a_thread_that_is_told_before_the_connection_is_there_waits_for_it(
    poller: Poller, connection: Connection
) -> None:
    quicker = Quicker(poller, 0.1)

    quicker.armed.arm(connection)

    quicker.thread.join(10)
    assert quicker.taken == [connection]
