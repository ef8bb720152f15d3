"""A request runs in a real task, on the loop and thread of lifespan; what was made there works."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import create_connection

import aiohttp
import httpx
import pytest
from websockets.sync.client import connect

from frameworks.harness import Served, serve


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    database = tmp_path_factory.mktemp("tasks") / "visits.sqlite3"
    environment = {"TEST_DATABASE": str(database)}
    loop = str(request.param)
    with serve(
        "frameworks.apps.tasks_app:app", "--loop", loop, environment=environment, clean_log=False
    ) as served:
        yield served


EXPECTED = {
    "/place": {"task": True, "loop": True, "thread": True},
    "/timeout": {"timed_out": True, "soon": True},
    "/unneeded_timeout": 2,
    "/group": list(range(10)),
    "/failing_group": ["sibling cancelled", "fault seen"],
    "/self_cancelled": 0,
    "/context": ["set in lifespan", "unset", "set in a request"],
    "/queued?number=12": 144,
    "/subprocess": ["from a child\n", 0],
}


@pytest.mark.parametrize("path", EXPECTED)
def test_asyncio_is_what_it_is_elsewhere_on_one_connection(server: Served, path: str) -> None:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        answers = [client.get(path).json() for _ in range(3)]

    assert answers == [EXPECTED[path]] * 3


def test_everything_works_at_once(server: Served) -> None:
    async def get_all() -> dict[str, list[object]]:
        async with aiohttp.ClientSession(server.url) as session:

            async def get(path: str) -> object:
                async with session.get(path) as answer:
                    return await answer.json()

            paths = list(EXPECTED)
            answers = await asyncio.gather(*(get(path) for path in paths * 5))
            return {path: answers[index :: len(paths)] for index, path in enumerate(paths)}

    found = asyncio.run(get_all())

    assert found == {path: [expected] * 5 for path, expected in EXPECTED.items()}


def test_a_database_connection_made_in_lifespan_serves_concurrent_requests(server: Served) -> None:
    async def visit_all() -> list[int]:
        async with aiohttp.ClientSession(server.url) as session:

            async def visit(_: int) -> int:
                async with session.get("/visit?name=crowd") as answer:
                    return int(await answer.text())

            return await asyncio.gather(*(visit(number) for number in range(60)))

    counts = asyncio.run(visit_all())

    assert max(counts) == 60


def test_context_does_not_leak_between_pipelined_requests(server: Served) -> None:
    request = b"GET /context HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /context HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    with closing(create_connection((server.host, server.port), timeout=20)) as connection:
        connection.sendall(request * 4 + last)
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert received.count(b'["set in lifespan","unset","set in a request"]') == 5


def test_a_websocket_has_a_task_and_the_context_of_lifespan(server: Served) -> None:
    for _ in range(3):
        with connect(server.ws_url + "/socket") as websocket:
            said = json.loads(websocket.recv(timeout=10))

        assert said == ["set in lifespan", "unset", True, True]


def test_a_request_whose_task_was_cancelled_leaves_the_worker_sound(server: Served) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        cancelled = client.get("/cancelled")
        sound = client.get("/place")

    assert (cancelled.status_code, sound.status_code) == (500, 200)


def test_the_resource_is_closed_once_in_every_worker(tmp_path: Path) -> None:
    environment = {"TEST_DATABASE": str(tmp_path / "visits.sqlite3")}
    with serve("frameworks.apps.tasks_app:app", environment=environment) as served:
        httpx.get(served.url + "/visit?name=one")
        served.stop()
        closed = served.ledger.starting_with("closed")

    assert sorted(closed.values()) == [1, 1]
