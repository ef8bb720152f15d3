"""What an application is given: scope, state, context variables; and upgrades."""

import contextvars

import pytest

from process.lanes import (
    Kind,
    Notes,
    answer,
    echo,
    errors_of,
    read_body,
    request,
    serving,
)
from serval.asgi.types import Receive, Scope, Send

# --- context and state ------------------------------------------------------------------------


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@pytest.mark.parametrize("how", ["sequential", "pipelined", "body"])
def test_a_context_variable_is_seen_by_no_other_request(kind: Kind, how: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before = VARIABLE.get()
        VARIABLE.set(scope["path"])
        await read_body(receive)
        assert VARIABLE.get() == scope["path"]
        await answer(send, before.encode())

    def prepare() -> None:
        VARIABLE.set("lifespan's")
        server.service.context = contextvars.copy_context()

    with serving(kind, app) as server:
        server.ask(prepare)
        client = server.connect()
        if how == "sequential":
            found = [client.get(f"/{number}").body for number in range(3)]
        elif how == "pipelined":
            client.send(b"".join(request("GET", f"/{number}") for number in range(3)))
            found = [client.read().body for _ in range(3)]
        else:
            found = []
            for number in range(3):
                client.send(request("POST", f"/{number}", "Content-Length: 2") + b"a")
                server.until(lambda: server.service.tasks != set())
                client.send(b"b")
                found.append(client.read().body)

        assert found == [b"lifespan's"] * 3


def test_the_state_is_copied_for_each_request_and_not_deeply(kind: Kind) -> None:
    shared: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "own" not in scope["state"]
        scope["state"]["own"] = True
        scope["anything"] = True
        scope["state"]["shared"].append(scope["path"])
        await answer(send)

    with serving(kind, app, state={"shared": shared}) as server:
        client = server.connect()
        for path in ("/a", "/b"):
            assert client.get(path).status == 200

        assert shared == ["/a", "/b"]


# --- scope ------------------------------------------------------------------------------------


def test_the_scope_says_what_came(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put(scope)
        await answer(send)

    with serving(kind, app, root_path="/mount") as server:
        client = server.connect()
        client.get("//a%2Fb%FF/%C3%A9?x=%20&y", "X-Two: 1", "x-two: 2")
        scope = notes.next()

        assert scope["type"] == "http"
        assert scope["http_version"] == "1.1"
        assert scope["method"] == "GET"
        assert scope["root_path"] == "/mount"
        assert scope["path"] == "/mount//a/b\ufffd/\u00e9"
        assert scope["raw_path"] == b"//a%2Fb%FF/%C3%A9"
        assert scope["query_string"] == b"x=%20&y"
        assert scope["headers"] == [(b"host", b"test"), (b"x-two", b"1"), (b"x-two", b"2")]
        assert tuple(scope["client"]) == client.sock.getsockname()
        assert tuple(scope["server"]) == server.address
        assert scope["scheme"] == "http"
        assert scope["asgi"]["version"] == "3.0"
        assert all(isinstance(one, dict) for one in scope["extensions"].values())
        assert "tls" not in scope["extensions"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: upgrade", "Upgrade: something-else"],
        [
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        ],
    ],
    ids=["unknown", "h2c"],
)
def test_an_upgrade_that_we_do_not_speak_is_ignored(
    kind: Kind, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        client.send(request("POST", "/", *lines, body=b"body"))

        assert client.read()[::2] == (200, b"POST / body")
        assert client.get("/").status == 200
    assert errors_of(caplog.records) == []


WEBSOCKET = [
    "Connection: upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


@pytest.mark.parametrize("pipelined", [False, True])
def test_an_upgrade_becomes_a_websocket_with_what_followed_it(kind: Kind, pipelined: bool) -> None:
    calls: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append(scope["type"])
        if scope["type"] == "http":
            await answer(send, b"http")
            return
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await send({"type": "websocket.close"})

    with serving(kind, app) as server:
        client = server.connect()
        upgrade = request("GET", "/ws", *WEBSOCKET) + b"\x81\x82\0\0\0\0hi"
        if pipelined:
            client.send(request("GET", "/") + upgrade)
            assert client.read().body == b"http"
        else:
            assert client.get("/").body == b"http"
            client.send(upgrade)

        assert client.read_head()[0] == 101
        assert client.read_exactly(4) == b"\x81\x02hi"
        assert client.read_exactly(2) == b"\x88\x02"
        client.send(b"\x88\x82\0\0\0\0\x03\xe8")
        client.read_to_end()
        server.at_rest()
        assert calls == ["http", "websocket"]
        # A collector knows it as one connection, whoever serves it.
        assert len({one.connection_id for one in server.collector.events}) == 1
