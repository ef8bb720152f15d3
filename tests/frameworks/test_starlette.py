import gzip
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from frameworks.harness import Served, serve

LARGE = bytes(range(256)) * 40_000  # 10 MB: far more than any socket buffer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "page.html").write_text("<p>page</p>")
    environment = {"TEST_FILES": str(folder)}
    with serve("frameworks.apps.starlette_app:app", environment=environment) as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def test_the_methods_of_an_endpoint_share_a_connection(client: httpx.Client) -> None:
    got = client.get("/methods")
    put = client.put("/methods", json={"a": [1, 2]})
    deleted = client.delete("/methods")
    head = client.head("/methods")

    assert got.text == "hello"
    assert put.json() == {"a": [1, 2]}
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert "content-length" not in deleted.headers
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "5")


def test_the_scope_says_where_a_request_went(server: Served, client: httpx.Client) -> None:
    headers = [("x-many", "1"), ("x-many", "2"), ("cookie", "a=b; c=d")]

    seen = client.get("/where/caf%C3%A9/x%2Fy?q=1%202&r=%26", headers=headers).json()

    assert seen == {
        "part": "café/x/y",
        "raw_path": "/where/caf%C3%A9/x%2Fy",
        "link": f"{server.url}/where/here",
        "client": "127.0.0.1",
        "query": {"q": "1 2", "r": "&"},
        "headers": ["1", "2"],
        "cookies": {"a": "b", "c": "d"},
    }


def test_state_is_a_copy_for_each_request(client: httpx.Client) -> None:
    answers = [client.get("/state").text for _ in range(5)]

    assert answers == ["hello"] * 5


def test_a_redirect_is_followed(client: httpx.Client) -> None:
    assert client.get("/elsewhere", follow_redirects=True).text == "hello"


def test_a_background_task_runs_once(server: Served, client: httpx.Client) -> None:
    answer = client.get("/after", params={"key": "one"})

    assert answer.text == "done"
    server.ledger.wait_for("after one")
    assert server.ledger.count("after one") == 1


@pytest.mark.parametrize("path", ["/form", "/through/form"])
def test_a_form_with_a_file_is_parsed(client: httpx.Client, path: str) -> None:
    answer = client.post(path, data={"name": "x"}, files={"file": ("f", b"y" * 100_000)})

    assert answer.json() == {"name": "x", "file": 100_000}


def test_a_compressed_response_is_what_it_was(client: httpx.Client) -> None:
    with client.stream("GET", "/through/large", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())

    assert answer.headers["x-stamped"] == "GET"
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == b"compressible " * 10_000


def test_a_large_file_is_downloaded_whole(client: httpx.Client) -> None:
    answer = client.get("/download")

    assert answer.content == LARGE
    assert answer.headers["content-length"] == str(len(LARGE))


def test_a_range_of_a_file_is_served(client: httpx.Client) -> None:
    answer = client.get("/download", headers={"range": "bytes=1000-2999"})

    assert answer.status_code == 206
    assert answer.content == LARGE[1000:3000]


def test_a_static_file_is_served_and_revalidated(client: httpx.Client) -> None:
    first = client.get("/files/page.html")
    again = client.get("/files/page.html", headers={"if-none-match": first.headers["etag"]})
    head = client.head("/files/large.bin")

    assert (first.text, again.status_code, again.content) == ("<p>page</p>", 304, b"")
    assert (head.headers["content-length"], head.content) == (str(len(LARGE)), b"")


def test_curl_resumes_a_download(server: Served, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(LARGE[:5_000_000])

    server.curl("--continue-at", "-", "--output", str(part), "/download")

    assert part.read_bytes() == LARGE


@pytest.mark.parametrize("path", ["/ticks", "/through/ticks"])
def test_a_stream_ends_when_its_client_leaves(
    server: Served, client: httpx.Client, path: str
) -> None:
    headers = {"accept-encoding": "identity"}
    with client.stream("GET", path, params={"key": path}, headers=headers) as answer:
        first = next(answer.iter_raw())

    assert first.startswith(b"tick")
    server.ledger.wait_for(f"stopped {path}")
    assert server.ledger.count(f"stopped {path}") == 1


def test_a_waiting_handler_learns_that_its_client_left(server: Served) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(b"GET /wait?key=w HTTP/1.1\r\nHost: x\r\n\r\n")
        server.ledger.wait_for("waiting w")

    server.ledger.wait_for("noticed w")


def test_an_answer_before_the_body_was_read_reaches_the_client(client: httpx.Client) -> None:
    answers = [client.post("/early", content=b"z" * 300_000) for _ in range(5)]

    assert [(a.status_code, a.text) for a in answers] == [(403, "no thanks")] * 5


def test_a_websocket_speaks_text_and_binary_under_a_subprotocol(server: Served) -> None:
    wanted = [Subprotocol("other"), Subprotocol("shout")]

    with connect(server.ws_url + "/shout", subprotocols=wanted) as websocket:
        websocket.send("quiet")
        websocket.send(b"\x00\x01\x02")
        heard = [websocket.recv(timeout=10), websocket.recv(timeout=10)]

        assert (heard, websocket.subprotocol) == (["QUIET", b"\x02\x01\x00"], "shout")


def test_a_websocket_carries_large_and_fragmented_messages(server: Served) -> None:
    large = os.urandom(800_000)

    with connect(server.ws_url + "/shout", max_size=None) as websocket:
        websocket.send(large)
        assert websocket.recv(timeout=10) == large[::-1]
        websocket.send(["in ", "several ", "parts"])
        assert websocket.recv(timeout=10) == "IN SEVERAL PARTS"


def test_a_denied_websocket_gets_the_response_of_the_application(server: Served) -> None:
    with pytest.raises(InvalidStatus) as denial, connect(server.ws_url + "/denied"):
        pass

    response = denial.value.response
    assert (response.status_code, response.body) == (451, b'{"why":"closed"}')
