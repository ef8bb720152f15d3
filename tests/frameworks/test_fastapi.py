import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.sync.client import connect

from frameworks.harness import Served, serve

TARGET = "frameworks.apps.fastapi_app:app"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve(TARGET) as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def test_an_async_endpoint_answers_from_a_worker(server: Served, client: httpx.Client) -> None:
    answer = client.get("/async")

    assert answer.status_code == 200
    assert answer.json()["pid"] != server.program.pid


def test_a_sync_endpoint_runs_in_a_thread_beside_the_loop(client: httpx.Client) -> None:
    assert client.get("/sync").json()["on_main_thread"] is False


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_dependency_is_opened_and_closed_once(
    server: Served, client: httpx.Client, kind: str
) -> None:
    answer = client.get(f"/dependency/{kind}", params={"key": kind})

    assert answer.json() == f"session-{kind}"
    server.ledger.wait_for(f"closed {kind}")
    assert (server.ledger.count(f"opened {kind}"), server.ledger.count(f"closed {kind}")) == (1, 1)


def test_a_dependency_is_closed_when_the_handler_raises(
    server: Served, client: httpx.Client
) -> None:
    answer = client.get("/dependency/broken", params={"key": "broken"})

    assert (answer.status_code, answer.json()) == (409, {"detail": "session-broken"})
    server.ledger.wait_for("closed broken")


def test_a_background_task_runs_once_after_the_answer(server: Served, client: httpx.Client) -> None:
    body = {"name": "tea", "count": 3}

    answer = client.post("/orders", params={"key": "tea"}, json=body)

    assert (answer.status_code, answer.json()) == (201, body)
    server.ledger.wait_for("confirmed tea")
    assert server.ledger.count("confirmed tea") == 1


def test_a_body_that_does_not_validate_is_told_so(client: httpx.Client) -> None:
    answer = client.post("/orders", params={"key": "none"}, json={"name": "tea", "count": "many"})

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "count"]


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_a_multipart_upload_arrives_whole(client: httpx.Client, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    answer = client.post("/upload", files={"file": ("data.bin", content)})

    digest = hashlib.sha256(content).hexdigest()
    assert answer.json() == {"name": "data.bin", "size": size, "sha256": digest}


def test_a_chunked_upload_is_streamed_to_the_application(client: httpx.Client) -> None:
    chunks = [bytes([number % 256]) * 8_000 for number in range(200)]

    answer = client.post("/raw", content=iter(chunks))

    digest = hashlib.sha256(b"".join(chunks)).hexdigest()
    assert answer.json() == {"size": 1_600_000, "sha256": digest}


def test_curl_uploads_with_expect_100_continue(server: Served) -> None:
    content = b"0123456789" * 200_000

    printed = server.curl(
        "--header", "Expect: 100-continue", "--data-binary", "@-", "/raw", stdin=content
    )

    assert json.loads(printed)["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_streamed_response_arrives_whole_and_the_connection_lives_on(
    client: httpx.Client, kind: str
) -> None:
    first = client.get(f"/stream/{kind}", params={"count": 500})
    second = client.get("/async")

    assert first.text == "".join(f"line {number}\n" for number in range(500))
    assert first.headers["transfer-encoding"] == "chunked"
    assert second.status_code == 200


def test_state_made_in_lifespan_works_in_concurrent_requests(server: Served) -> None:
    def ask(_: int) -> bool:
        return bool(httpx.get(server.url + "/state").json()["on_the_loop_of_lifespan"])

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(24)))

    assert answers == [True] * 24


def test_the_schema_and_its_page_are_served(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()

    assert "/upload" in schema["paths"]
    assert "swagger" in client.get("/docs").text


def test_a_head_request_to_a_get_route_is_refused_without_a_body(client: httpx.Client) -> None:
    answer = client.head("/async")

    assert (answer.status_code, answer.content) == (405, b"")


def test_a_websocket_echoes_json_until_the_client_leaves(server: Served) -> None:
    with connect(server.ws_url + "/echo?key=json") as websocket:
        for number in range(20):
            websocket.send(json.dumps({"number": number}))
            assert json.loads(websocket.recv(timeout=10))["echo"] == {"number": number}

    server.ledger.wait_for("left json 1000")


def test_a_websocket_that_is_refused_gets_a_403(server: Served) -> None:
    with pytest.raises(InvalidStatus) as refusal, connect(server.ws_url + "/refused"):
        pass

    assert refusal.value.response.status_code == 403


def test_a_dependency_of_a_websocket_is_closed_too(server: Served) -> None:
    with connect(server.ws_url + "/dependency?key=socket") as websocket:
        assert websocket.recv(timeout=10) == "session-socket"
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=10)

    assert closed.value.rcvd == Close(4000, "that was all")

    server.ledger.wait_for("closed socket")


def test_lifespan_starts_and_ends_once_in_every_worker() -> None:
    with serve(TARGET) as served:
        served.ledger.wait_for("startup", count=2)
        served.stop()
        started = served.ledger.starting_with("startup")
        ended = served.ledger.starting_with("shutdown")

    assert len(started) == 2
    assert ended == started
