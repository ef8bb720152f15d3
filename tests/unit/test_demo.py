import asyncio
import json
import os
from collections.abc import Iterable
from typing import Any

import pytest

from serval import demo
from serval.asgi.farewell import Draining
from serval.demo import app


class Client:
    """Plays the server's part: hands out messages and keeps what the application sends."""

    def __init__(self, messages: Iterable[dict[str, Any]] = (), *, leaves_after: int = 0) -> None:
        self.leaves_after = leaves_after
        self.pending: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for message in messages:
            self.pending.put_nowait(message)
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return await self.pending.get()

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if len(self.sent) == self.leaves_after:
            self.pending.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


def http_scope(path: str = "/", method: str = "GET", **more: Any) -> dict[str, Any]:
    more.setdefault("extensions", {"serval": {"lane": "sync"}})
    return {"type": "http", "method": method, "path": path, **more}


def answer(path: str, method: str = "GET", **more: Any) -> Client:
    client = Client([{"type": "http.request", "body": b"", "more_body": False}])
    asyncio.run(app(http_scope(path, method, **more), client.receive, client.send))
    return client


def test_the_page_is_whole_in_itself() -> None:
    client = answer("/")

    assert client.status == 200
    assert client.headers[b"content-type"] == b"text/html; charset=utf-8"
    assert client.headers[b"content-length"] == str(len(client.body)).encode()
    assert b"src=" not in client.body
    assert b"https:" not in client.body


def test_a_plain_request_tells_worker_and_lane() -> None:
    client = answer("/plain")

    assert json.loads(client.body) == {"worker": os.getpid(), "lane": "sync"}
    assert client.headers[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("extensions", [None, {}])
def test_another_server_has_unknown_lanes(extensions: dict[str, Any] | None) -> None:
    client = answer("/plain", extensions=extensions)

    assert json.loads(client.body)["lane"] == "unknown"


def test_the_demo_may_be_mounted_below_a_path() -> None:
    assert answer("/demo/plain", root_path="/demo").status == 200
    assert answer("/demo", root_path="/demo").status == 200
    assert answer("/demo/other", root_path="/demo").status == 404


def test_what_is_not_there_is_not_found() -> None:
    assert answer("/nothing").status == 404


@pytest.mark.parametrize(
    ("path", "method", "allowed"), [("/", "POST", b"GET, HEAD"), ("/upload", "GET", b"POST")]
)
def test_another_method_is_refused_with_the_right_one(
    path: str, method: str, allowed: bytes
) -> None:
    client = answer(path, method)

    assert client.status == 405
    assert client.headers[b"allow"] == allowed


def test_an_upload_is_counted() -> None:
    client = Client(
        [
            {"type": "http.request", "body": b"a" * 70_000, "more_body": True},
            {"type": "http.request", "body": b"b", "more_body": False},
        ]
    )

    asyncio.run(app(http_scope("/upload", "POST"), client.receive, client.send))

    assert json.loads(client.body)["bytes"] == 70_001


def test_an_upload_that_breaks_off_has_no_answer() -> None:
    client = Client(
        [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}]
    )

    asyncio.run(app(http_scope("/upload", "POST"), client.receive, client.send))

    assert client.sent == []


def test_a_stream_sends_events_until_the_client_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EVENT_SECONDS", 0)
    client = Client([{"type": "http.request", "body": b"", "more_body": False}], leaves_after=4)

    asyncio.run(app(http_scope("/stream"), client.receive, client.send))

    assert client.headers[b"content-type"] == b"text/event-stream"
    first, second = client.sent[1]["body"], client.sent[2]["body"]
    assert json.loads(first.removeprefix(b"data: ")) == {
        "worker": os.getpid(),
        "lane": "sync",
        "number": 1,
    }
    assert b'"number": 2' in second
    assert second.endswith(b"\n\n")
    assert not client.sent[-1].get("more_body")


def test_a_stream_ends_once_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EVENT_SECONDS", 1000)

    async def main() -> Client:
        draining = Draining()
        client = Client([{"type": "http.request", "body": b"", "more_body": False}])
        scope = http_scope("/stream", extensions={"serval": {"draining": draining}})
        stream = asyncio.create_task(app(scope, client.receive, client.send))
        asyncio.get_running_loop().call_later(0.01, draining.announce)
        await asyncio.wait_for(stream, 20)
        return client

    client = asyncio.run(main())

    assert not client.sent[-1].get("more_body")


def test_a_stream_asked_for_by_head_is_a_head_alone() -> None:
    client = answer("/stream", "HEAD")

    assert client.status == 200
    assert client.body == b""


def test_a_websocket_is_told_who_answers_and_gets_back_what_it_sends() -> None:
    client = Client(
        [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "1.5", "bytes": None},
            {"type": "websocket.receive", "text": None, "bytes": b"\x00"},
            {"type": "websocket.disconnect", "code": 1000, "reason": ""},
        ]
    )
    scope = {"type": "websocket", "path": "/echo", "extensions": {"serval": {"lane": "async"}}}

    asyncio.run(app(scope, client.receive, client.send))

    accepted, whereabouts, text, data = client.sent
    assert accepted == {"type": "websocket.accept"}
    assert json.loads(whereabouts["text"]) == {"worker": os.getpid(), "lane": "async"}
    assert text == {"type": "websocket.send", "text": "1.5"}
    assert data == {"type": "websocket.send", "bytes": b"\x00"}


def test_a_websocket_elsewhere_is_refused() -> None:
    client = Client([{"type": "websocket.connect"}])

    asyncio.run(app({"type": "websocket", "path": "/other"}, client.receive, client.send))

    assert client.sent == [{"type": "websocket.close"}]


def test_the_lifespan_is_answered() -> None:
    client = Client([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    asyncio.run(app({"type": "lifespan"}, client.receive, client.send))

    assert [message["type"] for message in client.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_a_scope_of_another_type_is_refused() -> None:
    client = Client()

    with pytest.raises(NotImplementedError, match="scopes of type 'telnet'"):
        asyncio.run(app({"type": "telnet"}, client.receive, client.send))
