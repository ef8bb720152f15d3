"""What signals mean to a worker."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from serval.asgi.types import Receive, Scope, Send
from serval.config import ServerConfig
from serval.scoreboard import Asked, Scoreboard, Slot
from serval.worker.service import Service
from serval.worker.stops import Stops


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do nothing."""


class World:
    """A worker that is asked to stop, with a supervisor's slot or without."""

    def __init__(self, *, supervised: bool, delay_seconds: float = 0.0) -> None:
        self.slot: Slot | None = Scoreboard(1).slot(0) if supervised else None
        self.service = Service(app, ServerConfig(), asyncio.get_running_loop())
        self.hurried = self.ended = 0
        self.stops = Stops(
            self.service,
            self.slot,
            delay_seconds=delay_seconds,
            hurry=self._hurry,
            end=self._end,
        )

    def _hurry(self) -> None:
        self.hurried += 1

    def _end(self) -> None:
        self.ended += 1

    def ask(self, asked: Asked) -> None:
        """What the supervisor does."""
        assert self.slot is not None
        self.slot.asked = asked
        self.take(signal.SIGTERM)

    def take(self, number: signal.Signals) -> None:
        self.stops.take(number)

    @property
    def state(self) -> tuple[bool, bool, bool]:
        """Whether it leaves, stops, and yields."""
        return (
            not self.service.keeps_alive,
            self.stops.stopping.is_set(),
            self.stops.yields,
        )


def in_loop(test: Callable[[], None]) -> None:
    async def main() -> None:
        test()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("asked", "state"),
    [
        (Asked.LEAVE, (True, False, False)),
        (Asked.YIELD, (False, True, True)),
        (Asked.STOP, (False, True, False)),
        (Asked.NOTHING, (False, True, False)),
    ],
)
def test_a_supervisor_says_what_its_signal_means(
    asked: Asked, state: tuple[bool, bool, bool]
) -> None:
    def test() -> None:
        world = World(supervised=True)
        world.ask(asked)
        assert world.state == state
        assert (world.hurried, world.ended) == (0, 0)

    in_loop(test)


def test_a_signal_to_the_whole_group_hurries_nobody() -> None:
    def test() -> None:
        world = World(supervised=True)
        for _ in range(5):
            world.take(signal.SIGTERM)
        assert world.state == (False, True, False)
        assert (world.hurried, world.ended) == (0, 0)

    in_loop(test)


def test_a_signal_to_the_whole_group_that_comes_before_the_supervisors_is_delayed_too() -> None:
    def test() -> None:
        world = World(supervised=True, delay_seconds=60.0)
        world.take(signal.SIGTERM)
        assert world.state == (True, False, False)
        world.ask(Asked.LEAVE)
        assert world.state == (True, False, False)
        world.ask(Asked.STOP)
        assert world.state == (True, True, False)

    in_loop(test)


@pytest.mark.parametrize("supervised", [True, False])
def test_quit_stops_and_hurries(supervised: bool) -> None:
    def test() -> None:
        world = World(supervised=supervised, delay_seconds=60.0)
        world.take(signal.SIGQUIT)
        assert world.state == (False, True, False)
        assert (world.hurried, world.ended) == (1, 0)

    in_loop(test)


def test_alone_the_first_signal_stops_the_second_hurries_the_third_ends() -> None:
    def test() -> None:
        world = World(supervised=False)
        seen: list[Any] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            world.take(number)
            seen.append((world.stops.stopping.is_set(), world.hurried, world.ended))
        assert seen == [(True, 0, 0), (True, 1, 0), (True, 1, 1)]

    in_loop(test)


def test_alone_only_sigterm_is_delayed_and_a_second_one_is_not() -> None:
    def test() -> None:
        world = World(supervised=False, delay_seconds=60.0)
        world.take(signal.SIGTERM)
        assert world.state == (True, False, False)
        world.take(signal.SIGTERM)
        assert (world.state, world.hurried) == ((True, True, False), 0)
        other = World(supervised=False, delay_seconds=60.0)
        other.take(signal.SIGINT)
        assert other.state == (False, True, False)

    in_loop(test)


def test_the_delay_ends_by_itself() -> None:
    async def main() -> None:
        world = World(supervised=False, delay_seconds=0.01)
        world.take(signal.SIGTERM)
        async with asyncio.timeout(10.0):
            await world.stops.stopping.wait()

    asyncio.run(main())
