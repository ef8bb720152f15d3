"""The application is called exactly once for each request, whatever way the request takes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO

import aiohttp
import httpx
import pytest
from websockets.asyncio.client import connect

from frameworks.harness import Served, serve

COUNT = 40


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve("frameworks.apps.plain_app:app", clean_log=False) as served:
        yield served


def called(server: Served, group: str) -> dict[str, int]:
    """How often the application was called, by the key of the request."""
    return {
        key: count
        for key, count in server.ledger.starting_with("called").items()
        if key.startswith(group + "-")
    }


def once_each(group: str, count: int = COUNT) -> dict[str, int]:
    return {f"{group}-{number}": 1 for number in range(count)}


GETS = ["/plain", "/yielded", "/suspended", "/streamed", "/slowly-streamed", "/events"]


@pytest.mark.parametrize("path", GETS)
@pytest.mark.parametrize("kept", [True, False], ids=["kept alive", "new connections"])
def test_concurrent_requests(server: Served, path: str, kept: bool) -> None:
    group = f"get{path}-{kept}"

    async def get_all() -> list[int]:
        connector = aiohttp.TCPConnector(limit=10, force_close=not kept)
        async with aiohttp.ClientSession(server.url, connector=connector) as session:

            async def get(number: int) -> int:
                async with session.get(f"{path}?{group}-{number}") as answer:
                    await answer.read()
                    return answer.status

            return await asyncio.gather(*(get(number) for number in range(COUNT)))

    statuses = asyncio.run(get_all())

    assert statuses == [200] * COUNT
    assert called(server, group) == once_each(group)


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_a_request_for_events(server: Served, accept: str) -> None:
    group = f"events-{accept}"

    with httpx.Client(base_url=server.url, headers={"accept": accept}) as client:
        texts = {client.get(f"/events?{group}-{number}").text for number in range(5)}

    assert texts == {"".join(f"data: {number}\n\n" for number in range(10))}
    assert called(server, group) == once_each(group, 5)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND"])
@pytest.mark.parametrize("path", ["/plain", "/streamed"])
def test_every_method(server: Served, method: str, path: str) -> None:
    group = f"method-{method}-{path}"

    with httpx.Client(base_url=server.url) as client:
        answers = [client.request(method, f"{path}?{group}-{n}") for n in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert {bool(answer.content) for answer in answers} == {method != "HEAD"}
    assert called(server, group) == once_each(group, 5)


def chunks(size: int) -> Callable[[], AsyncIterator[bytes]]:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"c" * (size // 10)
            await asyncio.sleep(0)

    return parts


@pytest.mark.parametrize("size", [10, 1_000, 100_000, 1_500_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "expect"])
def test_uploads(server: Served, size: int, framing: str) -> None:
    group = f"upload-{framing}-{size}"

    async def post_all() -> list[str]:
        connector = aiohttp.TCPConnector(limit=4)
        async with aiohttp.ClientSession(server.url, connector=connector) as session:

            async def post(number: int) -> str:
                body = chunks(size)() if framing == "chunked" else BytesIO(b"b" * size)
                url = f"/upload?{group}-{number}"
                async with session.post(url, data=body, expect100=framing == "expect") as answer:
                    return await answer.text()

            return await asyncio.gather(*(post(number) for number in range(8)))

    sizes = asyncio.run(post_all())

    assert sizes == [str(size)] * 8
    assert called(server, group) == once_each(group, 8)


def test_an_upload_that_the_application_does_not_read(server: Served) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        answers = [client.post(f"/plain?unread-{n}", content=b"u" * 50_000) for n in range(10)]

    assert [answer.text for answer in answers] == ["plain"] * 10
    assert called(server, "unread") == once_each("unread", 10)


@pytest.mark.parametrize("path", ["/plain", "/suspended", "/streamed"])
def test_pipelined_requests_are_answered_in_order(server: Served, path: str) -> None:
    group = f"pipelined-{path}"
    head = "GET {}?{}-{} HTTP/1.1\r\nHost: x\r\n{}\r\n"
    last = COUNT - 1
    requests = "".join(
        head.format(path, group, n, "Connection: close\r\n" if n == last else "")
        for n in range(COUNT)
    )

    with closing(socket.create_connection((server.host, server.port), timeout=20)) as connection:
        connection.sendall(requests.encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert received.count(b"HTTP/1.1 200 ") == COUNT
    assert called(server, group) == once_each(group)


def test_requests_that_arrive_byte_by_byte(server: Served) -> None:
    request = (
        b"POST /upload?bytewise-0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )

    with closing(socket.create_connection((server.host, server.port), timeout=20)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(request)):
            connection.sendall(request[position : position + 1])
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert received.startswith(b"HTTP/1.1 200 ")
    assert called(server, "bytewise") == {"bytewise-0": 1}


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_curl_in_both_versions(server: Served, version: str) -> None:
    group = f"curl{version}"

    printed = [server.curl(version, f"{path}?{group}-{n}") for n, path in enumerate(GETS)]

    assert printed[3] == b"".join(b"part %d\n" % number for number in range(50))
    assert called(server, group) == once_each(group, len(GETS))


@pytest.mark.parametrize("path", ["/broken", "/broken-later"])
def test_an_application_that_fails_is_not_tried_again(server: Served, path: str) -> None:
    group = f"failed-{path}"

    with httpx.Client(base_url=server.url) as client:
        statuses = [client.get(f"{path}?{group}-{n}").status_code for n in range(10)]

    assert statuses == [500] * 10
    assert called(server, group) == once_each(group, 10)


def leave(server: Served, request: str, *, wait_for: str) -> None:
    """Send a request and close the connection once the ledger has the line."""
    with closing(socket.create_connection((server.host, server.port), timeout=20)) as connection:
        connection.sendall(request.encode())
        server.ledger.wait_for(wait_for)


@pytest.mark.parametrize(("path", "begun"), [("/aborted", "called"), ("/silent", "waiting")])
def test_clients_that_leave(server: Served, path: str, begun: str) -> None:
    group = f"left-{path}"

    def visit(number: int) -> None:
        key = f"{group}-{number}"
        request = f"GET {path}?{key} HTTP/1.1\r\nHost: x\r\n\r\n"
        leave(server, request, wait_for=f"{begun} {key}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(visit, range(20)))

    server.ledger.wait_for(f"ended {group}-", count=20)
    assert called(server, group) == once_each(group, 20)


def test_an_upload_that_breaks_off(server: Served) -> None:
    request = "POST /silent?broke-off-0 HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nonly this"

    leave(server, request, wait_for="waiting broke-off-0")

    server.ledger.wait_for("ended broke-off-0")
    assert called(server, "broke-off") == {"broke-off-0": 1}


def test_websockets(server: Served) -> None:
    async def converse(number: int) -> list[str | bytes]:
        async with connect(f"{server.ws_url}/talk?ws-{number}") as websocket:
            heard = []
            for message in ("text", b"bytes", "x" * 70_000):
                await websocket.send(message)
                heard.append(await websocket.recv())
            return heard

    async def converse_all() -> list[list[str | bytes]]:
        return await asyncio.gather(*(converse(number) for number in range(20)))

    conversations = asyncio.run(converse_all())

    assert conversations == [["text", b"bytes", "x" * 70_000]] * 20
    server.ledger.wait_for("ended ws-", count=20)
    assert called(server, "ws") == once_each("ws", 20)


def test_requests_that_no_application_should_see(server: Served) -> None:
    with closing(socket.create_connection((server.host, server.port), timeout=20)) as connection:
        connection.sendall(b"GET /plain?unseen-0 HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert received.startswith(b"HTTP/1.1 400 ")
    assert called(server, "unseen") == {}


def test_lifespan_runs_once_in_each_worker(server: Served) -> None:
    server.ledger.wait_for("started", count=2)

    assert set(server.ledger.starting_with("started").values()) == {1}
    assert len(server.ledger.starting_with("started")) == 2
