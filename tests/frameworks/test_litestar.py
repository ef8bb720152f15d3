import json
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import connect

from frameworks.harness import Served, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve("frameworks.apps.litestar_app:app") as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def test_a_handler_runs_on_the_loop_of_lifespan(client: httpx.Client) -> None:
    assert client.get("/async").json() == {"on_the_loop_of_lifespan": True}


def test_a_sync_handler_answers_from_a_thread(server: Served, client: httpx.Client) -> None:
    assert client.get("/sync").json() != server.program.pid


def test_a_dependency_is_opened_and_closed_once(server: Served, client: httpx.Client) -> None:
    answer = client.get("/dependency", params={"key": "k"})

    assert answer.text == "session-k"
    server.ledger.wait_for("closed k")
    assert server.ledger.lines().count("opened k") == 1


def test_a_typed_body_and_a_background_task(server: Served, client: httpx.Client) -> None:
    order = {"name": "tea", "count": 2}

    answer = client.post("/orders", params={"key": "t"}, json=order)
    wrong = client.post("/orders", params={"key": "t"}, json={"name": "tea"})

    assert (answer.status_code, answer.json(), wrong.status_code) == (201, order, 400)
    server.ledger.wait_for("confirmed t")


def test_a_multipart_upload_arrives_whole(client: httpx.Client) -> None:
    answer = client.post("/upload", files={"data": ("big.bin", b"\x00" * 2_000_000)})

    assert answer.json() == {"big.bin": 2_000_000}


def test_a_stream_arrives_whole(client: httpx.Client) -> None:
    answer = client.get("/stream", params={"count": 300})

    assert answer.text == "".join(f"line {number}\n" for number in range(300))


def test_server_sent_events_arrive_in_order(client: httpx.Client) -> None:
    answer = client.get("/events", params={"count": 50}, headers={"accept": "text/event-stream"})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [line for line in answer.text.split("\r\n") if line] == [
        f"data: {number}" for number in range(50)
    ]


def test_a_websocket_listener_answers_every_message(server: Served) -> None:
    with connect(server.ws_url + "/listen") as websocket:
        for number in range(10):
            websocket.send(json.dumps({"number": number}))
            assert json.loads(websocket.recv(timeout=10)) == {"heard": {"number": number}}


def test_a_websocket_is_closed_with_the_code_of_the_application(server: Served) -> None:
    with connect(server.ws_url + "/raw") as websocket:
        assert websocket.recv(timeout=10) == b"first"
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=10)

    assert closed.value.rcvd == Close(4001, "enough")
