"""Behind a real nginx, which keeps its connections to us open."""

import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from process.harness import Program, running
from process.nginx import nginx

pytestmark = [
    pytest.mark.timeout(110),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]

# The client's address: one that is not trusted, while nginx itself is on 127.0.0.1.
CLIENT = "127.0.0.2"
CLIENTS_COUNT = 4
REQUESTS_COUNT = 500


@contextmanager
def proxied(folder: Path, *options: str, unix: bool = False) -> Iterator[tuple[Program, str]]:
    path = folder / "app.sock"
    where = ("--bind", f"unix:{path}") if unix else ("--port", "0")
    target = ("serval", "process.scope_app:app", "--no-access-log")
    with running(*target, *where, *options) as program:
        upstream = f"unix:{path}" if unix else "{}:{}".format(*program.address())
        program.expect("ready: ")
        with nginx(folder, upstream) as url:
            yield program, url


def client(address: str = CLIENT) -> httpx.Client:
    return httpx.Client(
        transport=httpx.HTTPTransport(local_address=address), timeout=20, trust_env=False
    )


@pytest.mark.parametrize("unix", [False, True])
def test_the_application_sees_the_client_and_not_the_proxy(tmp_path: Path, unix: bool) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Real-IP": "6.6.6.6"}
    others = {"X-Forwarded-Host": "evil", "X-Forwarded-Prefix": "/evil", "Forwarded": "for=6.6.6.6"}

    with proxied(tmp_path, unix=unix) as (_, url), client() as session:
        found = session.get(f"{url}/x", headers={**forged, **others}).json()

    assert found["client"] == [CLIENT, 0]
    assert (found["scheme"], found["host"]) == ("http", [url.removeprefix("http://")])
    assert (found["root_path"], found["path"]) == ("", "/x")


def test_bodies_pass_whole(tmp_path: Path) -> None:
    body = bytes(range(256)) * 4_000

    with proxied(tmp_path) as (_, url), client() as session:
        assert session.post(f"{url}/echo", content=body).content == body
        assert session.post(f"{url}/echo", content=iter([body, body])).content == body * 2


@pytest.mark.parametrize("unix", [False, True])
def test_no_request_fails_while_the_workers_are_replaced(tmp_path: Path, unix: bool) -> None:
    """Connections of nginx that idle are closed under it: none may have a request on its way."""
    begun = threading.Semaphore(0)

    def ask(url: str) -> Counter[int]:
        statuses: Counter[int] = Counter()
        with client() as session:
            for number in range(REQUESTS_COUNT):
                begun.release()
                if number % 2:
                    statuses[session.post(f"{url}/echo", content=b"x" * number).status_code] += 1
                else:
                    statuses[session.get(f"{url}/x").status_code] += 1
        return statuses

    with (
        proxied(tmp_path, "--workers", "2", unix=unix) as (program, url),
        ThreadPoolExecutor(CLIENTS_COUNT) as threads,
    ):
        asked = [threads.submit(ask, url) for _ in range(CLIENTS_COUNT)]
        for _ in range(CLIENTS_COUNT * REQUESTS_COUNT // 4):
            assert begun.acquire(timeout=20)
        program.signal(signal.SIGHUP)
        for _ in range(2):
            program.expect("shuts down")
        statuses = sum((one.result() for one in asked), Counter[int]())

    assert statuses == {200: CLIENTS_COUNT * REQUESTS_COUNT}
    assert "upstream prematurely closed" not in (tmp_path / "error.log").read_text()
