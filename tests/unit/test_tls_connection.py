"""A connection over TLS whose socket says what the test wants."""

from collections.abc import Iterator
from typing import Any

import pytest
from stub_connection import App, World, world_of

from serval.worker.connections.tls import TlsConnection
from serval.worker.connections.wire import State


class GoneSocket:
    """The socket of a peer that has left; notes what is tried on it."""

    def __init__(self) -> None:
        self.tried: list[bytes] = []

    def send(self, data: bytes) -> int:
        assert len(self.tried) < 2, "it is tried again and again"
        self.tried.append(data)
        raise BrokenPipeError

    def unwrap(self) -> None:
        raise BrokenPipeError

    def close(self) -> None:
        pass


class Nobody:
    """A selector that watches nothing."""

    def __init__(self, world: World) -> None:
        self.service = world.service

    def forget(self, sock: Any) -> None:
        pass


@pytest.fixture
def world() -> Iterator[World]:
    with world_of(App()) as made:
        yield made


def test_what_is_said_to_a_peer_that_has_left_is_tried_once(world: World) -> None:
    """Also after the connection is closed: each attempt would fail as the one before."""
    selector: Any = Nobody(world)
    sock: Any = GoneSocket()
    connection = TlsConnection(selector, sock, ("client", 1), ("server", 2))
    for data in (b"one", b"two"):
        connection.queue(data)
        connection.flush()

        assert sock.tried[-1] == data
        assert connection.state is State.CLOSED
