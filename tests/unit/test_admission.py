"""An application that is given few requests at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serval.asgi.types import Message, Receive, Scope, Send
from serval.config import ServerConfig
from serval.worker.admission import Admission
from serval.worker.service import Service

HTTP: Scope = {"type": "http", "client": ("192.0.2.1", 5)}
WEBSOCKET: Scope = {"type": "websocket", "client": ("192.0.2.1", 5)}


class Application:
    """Runs until it is let go on.

    Attributes:
        running: How many calls there are now.
        most: How many there were at once, ever.
    """

    def __init__(self) -> None:
        self.running = self.most = 0
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go_on.wait()
        finally:
            self.running -= 1
        await send({"type": "http.response.start", "status": 200})


class World:
    """Clients of an application with limits."""

    def __init__(self, **settings: Any) -> None:
        self.app = Application()
        config = ServerConfig(**settings)
        self.service = Service(self.app, config, asyncio.get_running_loop())
        self.admission = Admission(self.app, self.service)
        self.sent: list[Message] = []

    async def ask(self, scope: Scope = HTTP) -> asyncio.Task[None]:
        """A request, as far as it gets by itself."""
        task = asyncio.ensure_future(self.admission(scope, _receive, self._send))
        for _ in range(4):
            await asyncio.sleep(0)
        return task

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def statuses(self) -> list[int]:
        return [message["status"] for message in self.sent if "status" in message]


async def _receive() -> Message:
    raise AssertionError("nobody asks")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_as_many_as_allowed_run_and_the_rest_waits_its_turn() -> None:
    async def test() -> None:
        world = World(limit_concurrency=2)
        tasks = [await world.ask() for _ in range(5)]
        assert (world.app.running, world.statuses) == (2, [])

        world.app.go_on.set()
        await asyncio.gather(*tasks)

        assert (world.app.most, world.statuses) == (2, [200] * 5)

    run(test)


def test_where_the_queue_is_full_too_there_is_a_503_that_says_when_to_come_again() -> None:
    async def test() -> None:
        world = World(limit_concurrency=5, limit_queue=1, timeout_queue=7.5)
        tasks = [await world.ask() for _ in range(6)]

        await (await world.ask())

        assert world.statuses == [503]
        assert (b"retry-after", b"8") in world.sent[0]["headers"]
        assert world.service.stats.rejected == 1
        world.app.go_on.set()
        await asyncio.gather(*tasks)
        assert world.statuses == [503] + [200] * 6

    run(test)


def test_nobody_waits_in_the_queue_for_ever() -> None:
    async def test() -> None:
        world = World(limit_concurrency=1, timeout_queue=0.01)
        first = await world.ask()

        await (await world.ask())

        assert world.statuses == [503]
        world.app.go_on.set()
        await first
        await (await world.ask())
        assert world.statuses == [503, 200, 200]

    run(test)


def test_whoever_leaves_the_queue_takes_no_place() -> None:
    async def test() -> None:
        world = World(limit_concurrency=1)
        first, second, third = [await world.ask() for _ in range(3)]
        second.cancel()
        await asyncio.wait([second])

        world.app.go_on.set()
        await asyncio.gather(first, third)

        assert (world.app.most, world.statuses) == (1, [200, 200])
        await (await world.ask())
        assert world.statuses == [200] * 3

    run(test)


def test_a_place_given_to_one_who_leaves_goes_to_the_next() -> None:
    async def test() -> None:
        world = World(limit_concurrency=1)
        first, second, third = [await world.ask() for _ in range(3)]
        world.app.go_on.set()
        first.add_done_callback(lambda _: second.cancel())

        await asyncio.wait([first, second, third])

        assert (third.exception(), world.app.running) == (None, 0)
        await (await world.ask())
        assert world.app.most == 1

    run(test)


def test_whoever_is_passed_over_while_it_leaves_the_queue_just_leaves() -> None:
    async def test() -> None:
        world = World(limit_concurrency=1)
        first, second, third = [await world.ask() for _ in range(3)]
        world.app.go_on.set()  # the first goes on before the second does
        second.cancel()
        await asyncio.wait([first, second, third])

        assert second.cancelled()
        assert (world.app.most, world.statuses) == (1, [200, 200])
        await (await world.ask())
        assert world.app.most == 1

    run(test)


def test_websockets_are_counted_apart() -> None:
    async def test() -> None:
        world = World(limit_concurrency=1, limit_websockets=2)
        tasks = [await world.ask(WEBSOCKET) for _ in range(2)]
        tasks.append(await world.ask())
        assert world.app.running == 3

        await (await world.ask(WEBSOCKET))

        assert world.sent[0]["type"] == "websocket.http.response.start"
        assert world.statuses == [503]
        world.app.go_on.set()
        await asyncio.gather(*tasks)
        await (await world.ask(WEBSOCKET))
        assert world.statuses == [503] + [200] * 4

    run(test)


@pytest.mark.parametrize("scope", [HTTP, WEBSOCKET])
def test_what_has_no_limit_is_let_through(scope: Scope) -> None:
    async def test() -> None:
        world = World()
        tasks = [await world.ask(scope) for _ in range(3)]
        assert world.app.running == 3
        world.app.go_on.set()
        await asyncio.gather(*tasks)

    run(test)
