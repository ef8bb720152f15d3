from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from websockets.sync.client import connect

from frameworks.harness import Served, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve("frameworks.apps.quart_app:app", clean_log=False) as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def test_a_view_runs_on_the_loop_of_lifespan(client: httpx.Client) -> None:
    assert client.get("/async").json() == {"on_the_loop_of_lifespan": True}


def test_a_sync_view_answers_from_a_worker(server: Served, client: httpx.Client) -> None:
    assert int(client.get("/sync").text) != server.program.pid


def test_json_is_echoed(client: httpx.Client) -> None:
    body = {"text": "ünïcode", "numbers": list(range(1000))}

    assert client.post("/json", json=body).json() == body


def test_a_multipart_upload_arrives_whole(client: httpx.Client) -> None:
    files = {"file": ("f.bin", b"q" * 3_000_000)}

    answer = client.post("/upload", data={"name": "f"}, files=files)

    assert answer.json() == {"size": 3_000_000, "name": "f"}


def test_a_chunked_body_is_iterated(client: httpx.Client) -> None:
    answer = client.post("/chunks", content=(b"p" * 10_000 for _ in range(100)))

    assert answer.json() == {"size": 1_000_000}


def test_a_stream_arrives_whole(client: httpx.Client) -> None:
    answer = client.get("/stream", params={"count": 300})

    assert answer.text == "".join(f"line {number}\n" for number in range(300))


def test_a_background_task_outlives_its_request(server: Served, client: httpx.Client) -> None:
    assert client.get("/background", params={"key": "b"}).text == "begun"

    server.ledger.wait_for("later b")
    assert server.ledger.count("later b") == 1


def test_a_fault_is_a_500_and_the_next_request_is_served(client: httpx.Client) -> None:
    broken = client.get("/broken")
    sound = client.get("/async")

    assert (broken.status_code, sound.status_code) == (500, 200)


def test_a_websocket_echoes_both_kinds(server: Served) -> None:
    with connect(server.ws_url + "/echo") as websocket:
        for message in ("text", b"bytes", "more"):
            websocket.send(message)
            assert websocket.recv(timeout=10) == message


def test_several_websockets_are_served_at_once(server: Served) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(server.ws_url + "/echo")) for _ in range(10)]
        for number, websocket in enumerate(sockets):
            websocket.send(str(number))
        heard = [websocket.recv(timeout=10) for websocket in sockets]

    assert heard == [str(number) for number in range(10)]
