import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from frameworks.harness import Served, serve
from process.harness import TESTS

APP = TESTS / "frameworks" / "apps" / "django_app.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    database = tmp_path_factory.mktemp("django") / "site.sqlite3"
    environment = {"TEST_DATABASE": str(database)}
    make_tables = [sys.executable, "-m", "frameworks.apps.django_app"]
    subprocess.run(make_tables, cwd=TESTS, env={**os.environ, **environment}, check=True)
    with serve("frameworks.apps.django_app:app", environment=environment) as served:
        yield served


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_visit_is_one_row_whichever_worker_serves_it(server: Served, kind: str) -> None:
    def visit(_: int) -> int:
        return httpx.get(f"{server.url}/{kind}/crowd-{kind}", timeout=30).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(visit, range(40)))
    last = httpx.get(f"{server.url}/{kind}/crowd-{kind}", timeout=30).json()

    assert statuses == [200] * 40
    assert last["count"] == 41


def test_a_session_lives_over_connections_and_workers(server: Served) -> None:
    cookies: dict[str, str] = {}
    counts = []
    for _ in range(5):
        answer = httpx.get(server.url + "/session", cookies=cookies)
        counts.append(answer.text)
        cookies.update(answer.cookies)

    assert counts == ["1", "2", "3", "4", "5"]


def test_an_upload_larger_than_memory_allows_arrives_whole(client: httpx.Client) -> None:
    content = bytes(range(256)) * 20_000

    answer = client.post("/upload", data={"name": "n"}, files={"file": ("f.bin", content)})

    assert answer.json() == {"sha256": hashlib.sha256(content).hexdigest(), "name": "n"}


def test_a_post_without_the_token_is_refused(client: httpx.Client) -> None:
    assert client.post("/guarded", data={"a": "b"}).status_code == 403


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stream_arrives_whole(client: httpx.Client, kind: str) -> None:
    answer = client.get(f"/stream/{kind}", params={"count": 300})

    assert answer.text == "".join(f"line {number}\n" for number in range(300))


def test_a_stream_ends_when_its_client_leaves(server: Served, client: httpx.Client) -> None:
    with client.stream("GET", "/stream/endless") as answer:
        first = next(answer.iter_raw())

    assert first.startswith(b"tick")
    server.ledger.wait_for("stopped endless")


def test_an_async_view_is_cancelled_when_its_client_leaves(server: Served) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(b"GET /wait?key=w HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        server.ledger.wait_for("waiting w")

    server.ledger.wait_for("cancelled w")
    assert server.ledger.count("cancelled w") == 1


def test_a_file_is_served_with_its_length(server: Served) -> None:
    assert server.curl("/file") == APP.read_bytes()


def test_several_cookies_are_several_fields(client: httpx.Client) -> None:
    assert len(client.get("/cookies").headers.get_list("set-cookie")) == 2


def test_an_unknown_host_is_refused(client: httpx.Client) -> None:
    assert client.get("/cookies", headers={"host": "elsewhere.example"}).status_code == 400
