"""When a worker accepts connections."""

import asyncio
from collections.abc import Awaitable, Callable

from serval.asgi.types import Receive, Scope, Send
from serval.config import ServerConfig
from serval.scoreboard import Scoreboard, WorkerState
from serval.worker.door import ACCEPT_COUNT, BEHIND_SECONDS, Doorkeeper
from serval.worker.service import Service


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do nothing."""


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

    asyncio.run(main())


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


def test_where_those_who_serve_are_behind_it_accepts_nobody_until_they_have_caught_up() -> None:
    async def test() -> None:
        world = World()
        looks = iter([True, True, True, False, False])
        world.door.is_behind = lambda: next(looks)
        assert (world.door.room(), world.watched) == (0, False)

        await world.reopened.wait()

        assert world.door.room() == ACCEPT_COUNT
        assert next(looks, None) is None

    run(test)


def test_once_closed_it_asks_no_more_who_is_behind() -> None:
    async def test() -> None:
        world = World()
        looks = iter([True])
        world.door.is_behind = lambda: next(looks)
        assert world.door.room() == 0
        world.door.close()

        await asyncio.sleep(2 * BEHIND_SECONDS)

        assert not world.watched

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
