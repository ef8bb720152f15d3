import json
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from frameworks.harness import Served, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve("frameworks.apps.blacksheep_app:app") as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def test_a_handler_runs_on_the_loop_of_lifespan(client: httpx.Client) -> None:
    assert client.get("/async").json() == {"on_the_loop_of_lifespan": True}


def test_a_sync_handler_answers_from_a_worker(server: Served, client: httpx.Client) -> None:
    assert int(client.get("/sync").text) != server.program.pid


def test_a_body_is_bound_or_refused(client: httpx.Client) -> None:
    bound = client.post("/orders", json={"name": "tea", "count": 2})
    refused = client.post("/orders", json={"name": "tea"})

    assert bound.json() == {"name": "tea", "count": 3}
    assert refused.status_code == 400


def test_a_multipart_upload_arrives_whole(client: httpx.Client) -> None:
    files = [("files", ("one", b"1" * 500_000)), ("files", ("two", b"2" * 100))]

    assert client.post("/upload", files=files).json() == [500_000, 100]


def test_a_chunked_body_is_streamed(client: httpx.Client) -> None:
    answer = client.post("/chunks", content=(b"p" * 10_000 for _ in range(100)))

    assert answer.json() == {"size": 1_000_000}


def test_a_stream_arrives_whole(client: httpx.Client) -> None:
    answer = client.get("/stream", params={"count": 300})

    assert answer.text == "".join(f"line {number}\n" for number in range(300))


def test_server_sent_events_arrive_in_order(client: httpx.Client) -> None:
    with client.stream("GET", "/events") as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]

    numbers = [json.loads(line.removeprefix("data: "))["number"] for line in lines]
    assert numbers == list(range(20))


def test_a_websocket_echoes_until_the_client_leaves(server: Served) -> None:
    with connect(server.ws_url + "/echo") as websocket:
        for number in range(20):
            websocket.send(str(number))
            assert websocket.recv(timeout=10) == str(number)

    server.ledger.wait_for("left 1000")
