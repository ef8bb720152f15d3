"""When a worker accepts connections."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from stub_connection import StubConnection

from serval.asgi.types import Receive, Scope, Send
from serval.config import ServerConfig
from serval.scoreboard import Scoreboard, WorkerState
from serval.worker.connections.wire import State
from serval.worker.door import ACCEPT_COUNT, BEHIND_SECONDS, Doorkeeper
from serval.worker.service import Service

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with nothing."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})


class Loop(asyncio.SelectorEventLoop):
    """Counts what is to be called."""

    called = 0

    def call_at(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]  # any
        self.called += 1
        return super().call_at(*args, **options)

    def call_soon(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]  # any
        self.called += 1
        return super().call_soon(*args, **options)


class Connection:
    """One that is open, and no more."""

    def leave(self) -> None: ...

    drain = disconnect = abort = leave


class World:
    """A worker among others.

    Attributes:
        watched: Whether its listening sockets are watched.
    """

    def __init__(self, *others: int, limit: int = 0) -> None:
        board = Scoreboard(8)
        for index, count in enumerate(others, 1):
            board.slot(index).state = WorkerState.READY
            board.slot(index).connections = count
        config = ServerConfig(limit_connections=limit)
        self.service = Service(app, config, asyncio.get_running_loop())
        self.service.tally.slot = board.slot(0)
        self.others = board.slots[1:]
        self.watched = True
        self.reopened = asyncio.Event()
        self.door = Doorkeeper(self.service, board.slots, self._watch)
        self.door.attend()

    def _watch(self, watched: bool) -> None:
        self.watched = watched
        if watched:
            self.reopened.set()
        else:
            self.reopened.clear()

    def open(self, count: int) -> list[Connection]:
        opened = [Connection() for _ in range(count)]
        for one in opened:
            self.service.opened(one)
        return opened


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20.0):
            await test()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())


def test_alone_a_worker_takes_whoever_comes() -> None:
    async def test() -> None:
        world = World()
        world.open(1000)
        assert world.door.room() == ACCEPT_COUNT

    run(test)


def test_a_worker_that_has_more_than_the_others_lets_them_go_first() -> None:
    async def test() -> None:
        world = World(0, 0)
        world.open(10)

        assert (world.door.room(), world.watched) == (0, False)
        await world.reopened.wait()
        assert world.door.room() == 1

    run(test)


def test_where_the_others_take_nothing_it_takes_more_and_more() -> None:
    async def test() -> None:
        world = World(0)
        world.open(100)
        offered = []
        for _ in range(6):
            assert world.door.room() == 0
            await world.reopened.wait()
            offered.append(world.door.room())

        assert offered == [1, 2, 4, 8, 16, 16]
        world.others[0].connections = 200
        assert world.door.room() == ACCEPT_COUNT
        world.others[0].connections = 0
        assert world.door.room() == 0
        await world.reopened.wait()
        assert world.door.room() == 1

    run(test)


def test_workers_that_do_not_accept_are_no_measure() -> None:
    async def test() -> None:
        world = World(0, 0)
        for slot in world.others[:2]:
            slot.state = WorkerState.DRAINING
        world.open(10)
        assert world.door.room() == ACCEPT_COUNT

    run(test)


def test_at_its_limit_it_accepts_nobody_until_somebody_leaves() -> None:
    async def test() -> None:
        world = World(limit=20)
        first, *_ = world.open(18)
        assert world.door.room() == 2
        world.open(2)
        assert (world.door.room(), world.watched) == (0, False)

        world.service.closed(first)

        assert world.watched
        assert world.door.room() == 1

    run(test)


def test_at_its_limit_it_sleeps_until_a_connection_ends() -> None:
    async def test() -> None:
        world = World(limit=1)
        (one,) = world.open(1)
        loop = world.service.loop
        assert isinstance(loop, Loop)
        called = loop.called

        assert world.door.room() == 0
        assert loop.called == called
        world.service.closed(one)

        assert world.watched

    run(test)


def test_at_its_limit_one_that_rests_makes_way() -> None:
    async def test() -> None:
        world = World(limit=2)
        first, second = StubConnection(world.service), StubConnection(world.service)
        assert (world.door.room(), world.watched) == (0, False)

        second.data_received(REQUEST)
        await world.reopened.wait()

        assert world.door.room() == 1
        assert (first.ended, second.ended) == ("", "closed")

    run(test)


def test_at_its_limit_one_that_is_busy_again_stays_until_it_rests() -> None:
    async def test() -> None:
        world = World(limit=1)
        one = StubConnection(world.service)
        assert world.door.room() == 0
        one.data_received(REQUEST + REQUEST[:5])
        assert world.door.room() == 0
        one.data_received(REQUEST[5:])
        await world.reopened.wait()
        one.data_received(REQUEST[:5])
        assert (world.door.room(), world.watched, one.ended) == (0, False, "")

        one.data_received(REQUEST[5:])
        await world.reopened.wait()

        assert world.door.room() == 1
        assert one.ended == "closed"

    run(test)


def test_at_its_limit_one_with_a_request_unread_is_served_first() -> None:
    async def test() -> None:
        world = World(limit=1)
        one = StubConnection(world.service)
        one.data_received(REQUEST)
        await asyncio.gather(*world.service.tasks)
        assert one.state is State.IDLE
        one.late = REQUEST[:5]
        assert (world.door.room(), one.ended) == (0, "")

        one.data_received(REQUEST[5:])
        await world.reopened.wait()

        assert world.door.room() == 1
        assert one.ended == "closed"

    run(test)


def test_any_thread_may_let_one_rest() -> None:
    async def test() -> None:
        world = World(limit=1)
        one = StubConnection(world.service)
        assert world.door.room() == 0

        await asyncio.to_thread(world.service.idle.start, one, 0.0)
        await world.reopened.wait()

        assert world.watched

    run(test)


def test_once_closed_it_opens_no_more() -> None:
    async def test() -> None:
        world = World(0, limit=1)
        (one,) = world.open(1)
        assert world.door.room() == 0
        world.door.close()

        world.service.closed(one)

        assert not world.watched

    run(test)


class Crew:
    """Threads that are behind until they have come further so often."""

    def __init__(self, far_count: int) -> None:
        self.far_count = far_count
        self.told: Callable[[], None] | None = None
        self.awaited = asyncio.Event()

    def is_behind(self) -> bool:
        return self.far_count > 0

    def await_progress(self, told: Callable[[], None]) -> None:
        self.told = told
        self.awaited.set()

    def come_further(self) -> None:
        self.far_count -= 1
        self.awaited.clear()
        told, self.told = self.told, None
        if told is not None:
            told()


def test_where_those_who_serve_are_behind_it_accepts_nobody_until_they_have_caught_up() -> None:
    async def test() -> None:
        world = World()
        crew = world.door.crew = Crew(3)
        assert (world.door.room(), world.watched) == (0, False)

        for _ in range(2):
            crew.come_further()
            await crew.awaited.wait()
            assert not world.watched
        crew.come_further()
        await world.reopened.wait()

        assert world.door.room() == ACCEPT_COUNT

    run(test)


def test_while_those_who_are_behind_come_no_further_nothing_wakes_it() -> None:
    async def test() -> None:
        world = World()
        world.door.crew = Crew(1)
        loop = world.service.loop
        assert isinstance(loop, Loop)
        called = loop.called

        assert world.door.room() == 0

        assert loop.called == called

    run(test)


def test_those_who_catch_up_just_before_the_door_waits_for_it_are_not_missed() -> None:
    async def test() -> None:
        world = World()
        crew = world.door.crew = Crew(1)
        crew.await_progress = lambda told: crew.come_further()  # type: ignore[method-assign]

        assert world.door.room() == 0

        assert world.watched

    run(test)


def test_once_closed_it_asks_no_more_who_is_behind() -> None:
    async def test() -> None:
        world = World()
        crew = world.door.crew = Crew(1)
        assert world.door.room() == 0
        world.door.close()

        crew.come_further()
        await asyncio.sleep(2 * BEHIND_SECONDS)

        assert not world.watched

    run(test)
