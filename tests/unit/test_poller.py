import select
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from serval.worker import poller as module
from serval.worker.poller import (
    BROKEN,
    KQ_EV_ADD,
    KQ_EV_DELETE,
    KQ_EV_ONESHOT,
    KQ_FILTER_READ,
    KQ_FILTER_WRITE,
    ONE_SHOT,
    PEER_SHUT,
    READ,
    WRITE,
    KqueuePoller,
    Poller,
    create_poller,
)


class Kevent(NamedTuple):
    """As `select.kevent` is made."""

    ident: int
    filter: int
    flags: int = KQ_EV_ADD


class Queue:
    """A kqueue that keeps its filters, with the kernel's manners."""

    def __init__(self) -> None:
        self.filters: dict[tuple[int, int], int] = {}
        self.ready: list[Kevent] = []
        self.refuses = False
        self.closed = False

    def fileno(self) -> int:
        return 7

    def control(self, changes: list[Kevent] | None, count: int, seconds: float = 0) -> list[Kevent]:
        for change in changes or ():
            key = (change.ident, change.filter)
            if self.refuses:
                raise FileNotFoundError
            if change.flags == KQ_EV_DELETE:
                if self.filters.pop(key, None) is None:
                    raise FileNotFoundError
            else:
                self.filters[key] = change.flags
        return self.ready[:count]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(module, "KEVENT", Kevent)
    return Queue()


# --- kqueue -----------------------------------------------------------------------------------


def test_kqueue_watches_for_what_is_asked(queue: Queue) -> None:
    poller = KqueuePoller(queue)
    poller.register(3, READ | PEER_SHUT)
    assert queue.filters == {(3, KQ_FILTER_READ): KQ_EV_ADD}
    poller.modify(3, READ | WRITE)
    assert queue.filters == {(3, KQ_FILTER_READ): KQ_EV_ADD, (3, KQ_FILTER_WRITE): KQ_EV_ADD}
    poller.modify(3, WRITE)
    assert queue.filters == {(3, KQ_FILTER_WRITE): KQ_EV_ADD}
    poller.unregister(3)

    assert queue.filters == {}
    assert poller.fileno() == 7


def test_kqueue_merges_the_filters_of_a_descriptor(queue: Queue) -> None:
    queue.ready = [
        Kevent(3, KQ_FILTER_READ),
        Kevent(4, KQ_FILTER_WRITE),
        Kevent(3, KQ_FILTER_WRITE),
    ]
    poller = KqueuePoller(queue)

    assert poller.poll(0, 64) == [(3, READ | WRITE), (4, WRITE)]
    assert poller.poll(0, 1) == [(3, READ)]


def test_kqueue_arms_what_tells_once_whenever_it_is_asked(queue: Queue) -> None:
    poller = KqueuePoller(queue)
    poller.register(3, READ | ONE_SHOT)
    assert queue.filters == {(3, KQ_FILTER_READ): KQ_EV_ADD | KQ_EV_ONESHOT}
    queue.filters.clear()  # it has told
    poller.modify(3, READ | ONE_SHOT)
    assert queue.filters == {(3, KQ_FILTER_READ): KQ_EV_ADD | KQ_EV_ONESHOT}
    queue.filters.clear()
    poller.unregister(3)

    assert queue.filters == {}


def test_kqueue_does_not_hide_that_a_filter_cannot_be_added(queue: Queue) -> None:
    queue.refuses = True

    with pytest.raises(FileNotFoundError):
        KqueuePoller(queue).register(3, READ)


def test_kqueue_is_closed(queue: Queue) -> None:
    KqueuePoller(queue).close()

    assert queue.closed


def test_the_platform_decides(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(select, "kqueue", lambda: queue, raising=False)

    assert isinstance(create_poller(), KqueuePoller)


# --- the poller of this platform --------------------------------------------------------------


@pytest.fixture
def real() -> Iterator[tuple[Poller, socket.socket, socket.socket]]:
    poller = create_poller()
    ours, theirs = socket.socketpair()
    poller.register(ours.fileno(), READ | PEER_SHUT)
    yield poller, ours, theirs
    poller.close()
    ours.close()
    theirs.close()


Real = tuple[Poller, socket.socket, socket.socket]


def bits_of(real: Real) -> int:
    ready = dict(real[0].poll(0, 64))
    assert set(ready) <= {real[1].fileno()}
    return ready.get(real[1].fileno(), 0)


def test_bytes_make_readable(real: Real) -> None:
    assert bits_of(real) == 0
    real[2].send(b"x")

    assert bits_of(real) == READ
    assert bits_of(real) == READ  # until they are read
    real[0].modify(real[1].fileno(), WRITE)
    assert bits_of(real) == WRITE
    real[0].unregister(real[1].fileno())
    assert bits_of(real) == 0


def test_the_poller_itself_is_readable_when_a_member_is(real: Real) -> None:
    assert select.select([real[0].fileno()], [], [], 0)[0] == []
    real[2].send(b"x")

    assert select.select([real[0].fileno()], [], [], 0)[0] == [real[0].fileno()]


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll tells more")
def test_an_end_is_told_without_reading(real: Real) -> None:
    real[2].shutdown(socket.SHUT_WR)

    assert bits_of(real) == READ | PEER_SHUT
    real[0].modify(real[1].fileno(), PEER_SHUT)
    assert bits_of(real) == PEER_SHUT
    real[0].modify(real[1].fileno(), 0)
    assert bits_of(real) == 0
    real[2].close()
    assert bits_of(real) & BROKEN


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="the bits are epoll's")
def test_the_bits_are_epolls_own() -> None:
    bits: Any = select

    assert (READ, WRITE, PEER_SHUT) == (bits.EPOLLIN, bits.EPOLLOUT, bits.EPOLLRDHUP)
    assert bits.EPOLLERR | bits.EPOLLHUP == BROKEN
    assert bits.EPOLLONESHOT == ONE_SHOT
