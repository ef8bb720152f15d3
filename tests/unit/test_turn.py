import asyncio
import logging

import pytest

from serval.worker.turn import Turn


class Connection:
    def __init__(self, log: list[str], name: str, *, broken: bool = False) -> None:
        self._log = log
        self._name = name
        self._broken = broken

    def turn_over(self) -> None:
        if self._broken:
            raise ZeroDivisionError(self._name)
        self._log.append(self._name)

    def drop(self, *, reset: bool = False) -> None:
        self._log.append(f"{self._name} dropped, reset={reset}")


def test_all_who_wrote_in_a_turn_are_told_of_its_end_in_order() -> None:
    log: list[str] = []

    async def write() -> list[str]:
        turn = Turn(asyncio.get_running_loop())
        turn.ends_for(Connection(log, "a"))
        turn.ends_for(Connection(log, "b"))
        told_at_once = list(log)
        await asyncio.sleep(0)
        return told_at_once

    told_at_once = asyncio.run(write())

    assert told_at_once == []
    assert log == ["a", "b"]


def test_who_writes_while_a_turn_ends_is_told_of_the_next() -> None:
    log: list[str] = []

    async def write() -> list[str]:
        turn = Turn(asyncio.get_running_loop())

        class Writing(Connection):
            def turn_over(self) -> None:
                super().turn_over()
                turn.ends_for(Connection(log, "b"))

        turn.ends_for(Writing(log, "a"))
        await asyncio.sleep(0)
        in_the_first = list(log)
        await asyncio.sleep(0)
        return in_the_first

    in_the_first = asyncio.run(write())

    assert in_the_first == ["a"]
    assert log == ["a", "b"]


def test_a_defect_costs_one_connection_and_not_the_others_their_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []

    async def write() -> None:
        turn = Turn(asyncio.get_running_loop())
        turn.ends_for(Connection(log, "a", broken=True))
        turn.ends_for(Connection(log, "b"))
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        asyncio.run(write())

    assert log == ["a dropped, reset=True", "b"]
    assert "ZeroDivisionError" in caplog.text
