"""WSGI frameworks on threads, through the command: each does the same in its own way."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from frameworks.apps.meeting import COUNT
from frameworks.harness import Served, serve
from process.harness import TESTS

FRAMEWORKS = ("flask", "django_wsgi", "bottle", "falcon", "pyramid")


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def server(framework: str) -> Iterator[Served]:
    target = f"frameworks.apps.{framework}_app:app"
    with serve(target, "--threads", "4", workers=1, clean_log=False) as served:
        yield served
        assert "defect" not in served.program.text
        assert "died" not in served.program.text


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def test_arguments_of_path_and_query_arrive(client: httpx.Client) -> None:
    answer = client.get("/hello/J\u00fcrgen", params={"q": "\u00e4 & b"})

    assert answer.json() == {"name": "J\u00fcrgen", "q": "\u00e4 & b", "scheme": "http"}


@pytest.mark.parametrize("size", [0, 10, 60_000, 2_000_000])
def test_a_body_arrives_whole(client: httpx.Client, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    assert client.post("/echo", content=body).text == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size", [10, 500_000])
def test_an_upload_arrives_whole(client: httpx.Client, size: int) -> None:
    content = b"0123456789" * (size // 10)

    answer = client.post("/upload", data={"name": "n"}, files={"file": ("f.bin", content)})

    assert answer.json() == {"name": "n", "sha256": hashlib.sha256(content).hexdigest()}


def test_a_stream_arrives_whole(client: httpx.Client) -> None:
    answer = client.get("/stream/500")

    assert answer.text == "".join(f"line {number}\n" for number in range(500))
    assert "content-length" not in answer.headers


def test_a_file_arrives_whole(framework: str, client: httpx.Client) -> None:
    content = (TESTS / "frameworks" / "apps" / f"{framework}_app.py").read_bytes()

    answer = client.get("/file")

    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))


def test_a_redirect_leads_on(client: httpx.Client) -> None:
    answer = client.get("/redirect", follow_redirects=True)

    assert answer.json()["name"] == "there"


def test_two_cookies_are_two_fields(client: httpx.Client) -> None:
    assert len(client.get("/cookies").headers.get_list("set-cookie")) == 2


@pytest.mark.parametrize("path", ["/hello/x", "/file", "/stream/10"])
def test_the_head_alone_has_no_body(client: httpx.Client, path: str) -> None:
    answer = client.head(path)

    assert answer.status_code in {200, 404, 405}  # some serve HEAD only where told to
    assert answer.content == b""
    assert client.get("/hello/x").status_code == 200


def test_an_error_is_a_500_and_the_next_request_is_served(client: httpx.Client) -> None:
    assert client.get("/error").status_code == 500
    assert client.get("/hello/x").status_code == 200


def test_an_unknown_path_is_a_404(client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404


def test_requests_that_block_run_side_by_side(server: Served) -> None:
    with ThreadPoolExecutor(COUNT) as clients:
        answers = list(clients.map(lambda _: httpx.get(server.url + "/meeting"), range(COUNT)))

    assert [answer.text for answer in answers] == ["met"] * COUNT
