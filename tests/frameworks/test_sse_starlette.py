import asyncio
from collections.abc import Iterator

import aiohttp
import httpx
import pytest

from frameworks.harness import Served, serve

TARGET = "frameworks.apps.sse_app:app"
HEADERS = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve(TARGET) as served:
        yield served


@pytest.mark.parametrize("headers", [HEADERS, {}], ids=["asked as events", "asked as anything"])
def test_events_arrive_in_order_and_end(server: Served, headers: dict[str, str]) -> None:
    answer = httpx.get(server.url + "/bounded", params={"count": 50}, headers=headers)

    numbers = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert numbers == [f"data: {number}" for number in range(50)]


def test_an_event_arrives_when_it_is_sent_and_not_later(server: Served) -> None:
    with httpx.stream("GET", server.url + "/endless?key=live", headers=HEADERS) as answer:
        ticks = [line for line, _ in zip(answer.iter_lines(), range(30), strict=False)]

    assert ticks.count("data: tick") == 15
    server.ledger.wait_for("stopped live")


def test_many_streams_run_beside_each_other(server: Served) -> None:
    async def listen(session: aiohttp.ClientSession, key: str) -> int:
        ticks = 0
        async with session.get(server.url + f"/endless?key={key}", headers=HEADERS) as answer:
            async for line in answer.content:
                ticks += line.startswith(b"data: tick")
                if ticks == 10:
                    break
        return ticks

    async def listen_all() -> list[int]:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            return await asyncio.gather(*(listen(session, f"many-{n}") for n in range(40)))

    heard = asyncio.run(listen_all())

    assert heard == [10] * 40
    server.ledger.wait_for("stopped many-", count=40)
    assert set(server.ledger.starting_with("called").values()) == {1}


def test_a_loop_that_asks_for_the_client_ends_when_it_left(server: Served) -> None:
    with httpx.stream("GET", server.url + "/polled?key=p", headers=HEADERS) as answer:
        next(answer.iter_lines())

    server.ledger.wait_for("stopped p")


def test_an_endless_stream_does_not_hold_up_the_stop_beyond_its_time() -> None:
    with (
        serve(TARGET, "--timeout-graceful-shutdown", "3") as served,
        httpx.stream("GET", served.url + "/endless?key=held", headers=HEADERS) as answer,
    ):
        next(answer.iter_lines())
        served.stop()
        ledger = served.ledger.lines()

    assert "stopped held" in ledger
