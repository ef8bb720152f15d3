"""How much the kernel takes of an answer, and for how many."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from serval.net.unsent import (
    LITTLE_BYTES,
    MUCH_BYTES,
    PLACES_COUNT,
    QUICK_BYTES_PER_SECOND,
    Allowances,
    allow,
)

QUICK_SECONDS = LITTLE_BYTES / 2 / QUICK_BYTES_PER_SECOND
SLOW_SECONDS = 1.01 * MUCH_BYTES / 2 / QUICK_BYTES_PER_SECOND


def allowed(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def sockets(stack: ExitStack, count: int) -> list[socket.socket]:
    """So many that were allowed little."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=count))
    made = []
    for _ in range(count):
        sock = stack.enter_context(socket.create_connection(listener.getsockname()))
        allow(sock, LITTLE_BYTES)
        made.append(sock)
    return made


def test_a_client_that_reads_quickly_has_more_until_it_turns_slow(stack: ExitStack) -> None:
    (sock,) = sockets(stack, 1)
    allowances = Allowances()

    allowances.room_came(sock, 1.01 * QUICK_SECONDS)
    assert allowed(sock) == LITTLE_BYTES
    allowances.room_came(sock, QUICK_SECONDS)
    assert allowed(sock) == MUCH_BYTES
    allowances.room_came(sock, 0.99 * SLOW_SECONDS)  # there is more to read
    assert allowed(sock) == MUCH_BYTES
    allowances.room_came(sock, SLOW_SECONDS)
    assert allowed(sock) == LITTLE_BYTES
    allowances.room_came(sock, QUICK_SECONDS)
    assert allowed(sock) == MUCH_BYTES


def test_a_place_that_another_thread_has_just_taken_away_is_missed_by_nobody(
    stack: ExitStack,
) -> None:
    (sock,) = sockets(stack, 1)
    allowances = Allowances()

    class Seconds(float):
        def __mul__(self, other: float) -> float:
            allowances.leave(sock)
            return super().__mul__(other)

    allowances.room_came(sock, QUICK_SECONDS)
    allowances.room_came(sock, SLOW_SECONDS)  # it keeps its place, though little is allowed
    allowances.room_came(sock, Seconds(SLOW_SECONDS))

    assert allowed(sock) == LITTLE_BYTES


def test_a_socket_that_is_used_for_something_else_has_little_again(stack: ExitStack) -> None:
    (sock,) = sockets(stack, 1)
    allowances = Allowances()
    allowances.room_came(sock, 0.0)

    allowances.leave(sock)
    allowances.leave(sock)

    assert allowed(sock) == LITTLE_BYTES


def fill(sock: socket.socket) -> None:
    """Send until the peer's system takes no more."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        while sock.send(bytes(65_536)):
            pass


def test_a_few_have_more_and_hold_their_places_while_they_do_not_read(stack: ExitStack) -> None:
    *quick, late = sockets(stack, PLACES_COUNT + 1)
    allowances = Allowances()
    for sock in quick:
        fill(sock)
        allowances.room_came(sock, 0.0)

    allowances.room_came(late, 0.0)
    assert allowed(late) == LITTLE_BYTES
    assert all(allowed(sock) == MUCH_BYTES for sock in quick)
    # One that turned slow has still to read what was taken for it.
    allowances.room_came(quick[0], SLOW_SECONDS)
    allowances.room_came(late, 0.0)
    assert allowed(late) == LITTLE_BYTES
    allowances.room_came(quick[0], SLOW_SECONDS)
    allowances.room_came(late, 0.0)
    assert allowed(late) == MUCH_BYTES


@pytest.mark.parametrize("closed", [False, True])
def test_who_has_read_everything_makes_way(stack: ExitStack, closed: bool) -> None:
    *quick, late = sockets(stack, PLACES_COUNT + 1)
    allowances = Allowances()
    for sock in quick:
        allowances.room_came(sock, 0.0)
    if closed:  # by another thread, which is about to say so
        quick[0].close()

    allowances.room_came(late, 0.0)

    assert allowed(late) == MUCH_BYTES
    assert closed or allowed(quick[0]) == LITTLE_BYTES


def test_what_is_no_tcp_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        allowances = Allowances()

        allowances.room_came(ours, 0.0)
        allowances.leave(ours)
