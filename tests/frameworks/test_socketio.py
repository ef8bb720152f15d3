"""Socket.IO on every transport.

A session lives in one worker, and long polling sends each request on its own: a deployment with
several workers pins sessions in the proxy, so this server has one worker.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]  # ships no types

from frameworks.harness import Served, serve

TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve("frameworks.apps.socketio_app:app", workers=1) as served:
        yield served


async def connected(server: Served, name: str, transports: list[str]) -> Any:
    client = socketio.AsyncClient()
    await client.connect(server.url, auth={"name": name}, transports=transports)
    return client


async def leave(client: Any) -> None:
    await client.disconnect()


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
def test_events_are_acknowledged(server: Served, transports: list[str]) -> None:
    name = "+".join(transports)

    async def converse() -> list[object]:
        client = await connected(server, name, transports)
        sums = [await client.call("add", (n, n), timeout=10) for n in range(10)]
        data = await client.call("reverse", bytes(range(256)) * 100, timeout=10)
        await leave(client)
        return [*sums, data]

    heard = asyncio.run(converse())

    assert heard == [*range(0, 20, 2), (bytes(range(256)) * 100)[::-1]]
    server.ledger.wait_for(f"disconnected {name}")
    assert server.ledger.count(f"disconnected {name}") == 1


def test_a_room_hears_what_a_member_says_on_whichever_transport(server: Served) -> None:
    async def converse() -> list[dict[str, str]]:
        clients = [await connected(server, f"m{n}", t) for n, t in enumerate(TRANSPORTS)]
        heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        for client in clients:
            client.on("said", heard.put)
            await client.emit("join", "room")
            await client.call("add", (0, 0), timeout=10)
        await clients[0].emit("say", ("room", "hello"))
        async with asyncio.timeout(10):
            all_heard = [await heard.get() for _ in clients]
        for client in clients:
            await leave(client)
        return all_heard

    heard = asyncio.run(converse())

    assert heard == [{"by": "m0", "words": "hello"}] * len(TRANSPORTS)


def test_a_stranger_is_turned_away(server: Served) -> None:
    async def knock() -> None:
        client = socketio.AsyncClient()
        try:
            await client.connect(server.url, auth={"name": "stranger"}, transports=["websocket"])
        finally:
            await leave(client)

    with pytest.raises(socketio.exceptions.ConnectionError):
        asyncio.run(knock())
