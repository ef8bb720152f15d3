import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from stub_connection import App, Peer, World, world_of

from serval.lifecycle import LifecycleEvent
from serval.worker.connections.wire import HIGH_WATER_BYTES, State, abandon
from serval.worker.deadlines import Wait


@pytest.fixture
def world() -> Iterator[World]:
    with world_of(App()) as made:
        yield made


@pytest.fixture
def wire(world: World) -> Peer:
    return world.connect()


class SlowFile:
    """A file that has to be read from a disk."""

    def __init__(self) -> None:
        self.is_here = asyncio.Event()

    async def read(self, offset: int, count: int) -> bytes:
        await self.is_here.wait()
        return bytes(count)


# --- output -----------------------------------------------------------------------------------


def test_what_is_written_leaves_with_the_end_of_the_turn(world: World, wire: Peer) -> None:
    def in_one_turn() -> bytes:
        wire.write(b"one ")
        wire.queue(b"two ")
        wire.write(b"three")
        return wire.connection.sent

    assert world.call(in_one_turn) == b""

    assert wire.taken() == b"one two three"
    wire.write(b"four")
    assert wire.taken() == b"four"


def test_much_leaves_at_once(wire: Peer) -> None:
    wire.write(b"x" * HIGH_WATER_BYTES)

    assert len(wire.sent) == HIGH_WATER_BYTES


def test_whoever_corked_it_flushes(world: World, wire: Peer) -> None:
    wire.corked = True
    wire.write(b"x")
    world.turn()

    assert wire.sent == b""
    wire.flush()
    assert wire.sent == b"x"


def test_who_waits_for_the_peer_goes_on_when_it_has_read(world: World, wire: Peer) -> None:
    wire.room = 3
    wire.write(b"x" * HIGH_WATER_BYTES)
    waiting = [world.loop.create_task(wire.writable()) for _ in range(2)]
    world.turn()
    assert wire.congested
    assert Wait.WRITE in wire.waits_for()
    wire.take(5)
    world.turn()
    assert not any(task.done() for task in waiting)
    wire.take()
    world.turn()

    assert all(task.done() for task in waiting)
    assert Wait.WRITE not in wire.waits_for()
    assert not wire.congested


def test_who_does_not_have_to_wait_does_not(world: World, wire: Peer) -> None:
    task = world.loop.create_task(wire.writable())
    world.turn()

    assert task.done()


@pytest.mark.parametrize(("gone", "sent"), [(True, 0), (False, HIGH_WATER_BYTES)])
def test_what_comes_from_a_disk_for_a_peer_that_has_left_meanwhile_is_not_sent(
    world: World, wire: Peer, gone: bool, sent: int
) -> None:
    file: Any = SlowFile()
    sending = world.loop.create_task(wire.connection.send_from(file, 0, HIGH_WATER_BYTES))
    world.turn()
    if gone:
        wire.drop()
    file.is_here.set()
    world.turn()

    assert sending.result() == len(wire.sent) == sent


# --- input ------------------------------------------------------------------------------------


def test_reading_is_paused_and_resumed_once(wire: Peer) -> None:
    calls: list[bool] = []
    for action in (
        wire._pause_reading,
        wire._pause_reading,
        wire._resume_reading,
        wire._resume_reading,
    ):
        action()
        calls.append(wire.reading)

    assert calls == [False, False, True, True]


@pytest.mark.parametrize("why", ["eof", "closed"])
def test_nothing_is_read_after_the_end(wire: Peer, why: str) -> None:
    wire._pause_reading()
    if why == "eof":
        wire._eof = True
    else:
        wire.drop()
    wire._resume_reading()

    assert not wire.reading


def test_a_wait_takes_the_place_of_another(wire: Peer) -> None:
    assert wire.waits_for() == {Wait.HEAD}
    wire._wait_for(Wait.BODY)
    wire._wait_for(Wait.BODY)
    assert wire.waits_for() == {Wait.BODY}
    wire._wait_for(None)
    wire._wait_for(None)

    assert wire.waits_for() == set()


# --- the end ----------------------------------------------------------------------------------


def test_closing_waits_for_what_is_queued(wire: Peer) -> None:
    wire.room = 2
    wire.queue(b"hello")
    wire.close()
    assert (wire.state, wire.ended) == (State.CLOSING, "")
    wire.take()

    assert wire.sent == b"hello"
    assert (wire.state, wire.ended) == (State.CLOSED, "closed")
    wire.close()  # once more does no harm
    assert wire.at(State.CLOSED)


def test_lingering_lets_the_peer_read_and_hears_on(wire: Peer) -> None:
    wire._pause_reading()
    wire.room = 2
    wire.queue(b"hello")
    wire._linger()
    assert (wire.state, wire.is_shut, wire.reading) == (State.LINGERING, False, True)
    wire.take()

    assert wire.is_shut
    assert wire.waits_for() == {Wait.LINGER}


def test_lingering_shuts_at_once_what_has_nothing_to_say(wire: Peer) -> None:
    wire._linger()

    assert wire.is_shut
    assert wire.ended == ""


def test_nobody_lingers_for_a_peer_that_sends_no_more(wire: Peer) -> None:
    wire._eof = True
    wire._linger()

    assert wire.ended == "closed"


def test_a_loss_in_lingering_ends_it(wire: Peer) -> None:
    wire.queue(b"x")
    wire.when_flushed = wire.drop
    wire._linger()

    assert wire.ended == "closed"
    assert not wire.is_shut


@pytest.mark.parametrize("reset", [True, False])
def test_dropping_forgets_everything_once(world: World, wire: Peer, reset: bool) -> None:
    wire.room = 0
    wire.queue(b"x")
    wire.flush()
    waiting = world.loop.create_task(wire.writable())
    world.turn()
    wire.drop(reset=reset)
    wire.drop()
    world.turn()

    assert wire.ended == ("reset" if reset else "closed")
    assert wire.waits_for() == set()
    assert waiting.done()
    assert world.service.connections == set()


def test_a_wait_whose_end_comes_after_that_of_the_connection_is_over(wire: Peer) -> None:
    """A sweep takes all that are due, and the first may end the connection."""
    wire.room = 3
    wire.write(b"x" * HIGH_WATER_BYTES)
    wire.drop()
    wire.expired(Wait.WRITE, late=False)

    assert wire.waits_for() == set()


def test_a_detached_socket_stays_open(world: World, wire: Peer) -> None:
    wire._detach()
    wire.drop()

    assert wire.ended == ""
    assert world.service.connections == set()
    assert wire.waits_for() == set()


def test_connections_are_numbered_and_told_of() -> None:
    events: list[LifecycleEvent] = []

    class Collector:
        def record(self, event: LifecycleEvent) -> None:
            events.append(event)

    with world_of(App()) as world:
        world.service.journal.lifecycle = Collector()
        connections = [world.connect() for _ in range(2)]
        connections[0].drop()

        assert connections[1].connection_id > connections[0].connection_id
        assert [type(one).__name__ for one in events] == [
            "ConnectionOpened",
            "ConnectionOpened",
            "ConnectionClosed",
        ]


def test_a_socket_that_is_gone_already_can_be_abandoned() -> None:
    class Gone:
        def setsockopt(self, level: int, name: int, value: bytes, /) -> None:
            raise OSError

    abandon(Gone())


def test_a_world_can_be_left_with_a_task_in_it(world: World) -> None:
    service = world.service
    world.call(lambda: service.start(_for_ever(), service.context.copy()))

    assert len(world.service.tasks) == 1


async def _for_ever() -> None:
    await asyncio.Event().wait()
