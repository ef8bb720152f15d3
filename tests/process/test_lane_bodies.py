"""Request bodies over real sockets: chunked, large, unread, refused, expected."""

import asyncio
import threading

import pytest

from process.lanes import (
    Kind,
    Notes,
    answer,
    echo,
    read_body,
    request,
    serving,
    waiting,
)
from serval.asgi.types import Receive, Scope, Send
from serval.worker.connections.wire import HIGH_WATER_BYTES

MEBIBYTE = 1 << 20


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    pieces = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    return b"".join(pieces) + b"0\r\n" + trailers + b"\r\n"


def test_a_chunked_request_is_decoded_and_its_trailers_kept_apart(kind: Kind) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    with serving(kind, app) as server:
        client = server.connect()
        body = chunked(b"one ", b"two ", b"three", trailers=b"X-Sum: 42\r\n")
        client.send(request("POST", "/", "Transfer-Encoding: chunked", "Trailer: x-sum") + body)

        assert client.read().body == b"POST / one two three"
        assert client.get("/next").body == b"GET /next "
        assert b"x-sum" not in dict(scopes[0]["headers"])


def test_a_large_upload_comes_whole_and_is_not_hoarded(kind: Kind) -> None:
    most = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal most
        size = 0
        while True:
            message = await receive()
            size += len(message["body"])
            most = max(most, len(message["body"]))
            if not message["more_body"]:
                break
            await asyncio.sleep(0)
        await answer(send, str(size).encode())

    body = b"x" * (8 * MEBIBYTE)
    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("PUT", "/", body=body))

        assert client.read().body == str(len(body)).encode()
        assert most <= 5 * HIGH_WATER_BYTES  # what one read may bring on top of what was held
        assert client.get("/").status == 200


def test_a_body_is_left_to_the_kernel_while_the_application_does_not_ask(kind: Kind) -> None:
    notes = Notes()
    go_on = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        notes.put("began")
        await asyncio.to_thread(go_on.wait)
        while (await receive())["more_body"]:
            pass
        await answer(send, b"done")

    size = 24 * MEBIBYTE  # more than the kernel holds
    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/", f"Content-Length: {size}"))
        client.send(b"x" * 1000)
        assert notes.next() == "began"
        sent = 1000
        while (count := client.send_at_once(b"x" * HIGH_WATER_BYTES)) > 0:
            sent += count
            server.ask(lambda: None)  # the loop has turned: what it wants to read, it has
        held = server.ask(lambda: server.connection.exchange.buffered_bytes)  # type: ignore[union-attr]
        go_on.set()
        client.send(b"x" * (size - sent))

        assert held < 6 * HIGH_WATER_BYTES
        assert client.read().body == b"done"


def test_an_unread_body_is_never_taken_for_a_request(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["path"].encode())

    body = request("GET", "/smuggled")
    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/first", body=body))
        client.send(request("POST", "/second", f"Content-Length: {len(body)}"))
        answers = [client.read(), client.read()]
        client.send(body)  # the rest of a request that has its answer

        assert [one.body for one in answers] == [b"/first", b"/second"]
        assert client.get("/third").body == b"/third"


def test_a_body_too_large_to_drop_closes_the_connection_and_the_answer_arrives(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no, thanks", 413)

    with serving(kind, app) as server:
        client = server.connect()
        size = 4 * MEBIBYTE
        client.send(request("POST", "/", f"Content-Length: {size}") + b"x" * 100_000)
        found = client.read()

        assert found.closes
        assert found[::2] == (413, b"no, thanks")
        assert client.at_end()


def test_a_chunked_body_too_large_to_drop_closes_after_the_answer(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"enough")

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/", "Transfer-Encoding: chunked"))
        found = client.read()
        for _ in range(3):
            client.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")

        assert found.body == b"enough"
        assert client.at_end()


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_refused(kind: Kind, announced: bool) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("called")
        notes.put(await waiting(receive))

    with serving(kind, app, max_body_size=1000) as server:
        client = server.connect()
        if announced:
            client.send(request("POST", "/", "Content-Length: 1001", "Expect: 100-continue"))
        else:
            client.send(request("POST", "/", "Transfer-Encoding: chunked"))
            assert notes.next() == "called"
            client.send(chunked(b"x" * 1000, b"y"))

        found = client.read()
        assert found.status == 413
        assert found.closes
        assert client.at_end()
    if announced:
        assert notes.empty
    else:
        assert notes.next() == {"type": "http.disconnect"}


# --- Expect: 100-continue ---------------------------------------------------------------------


EXPECT = ("Expect: 100-continue", "Content-Length: 5")


def test_continue_is_sent_when_the_application_asks_and_not_before(kind: Kind) -> None:
    ask = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(ask.wait)
        await answer(send, await read_body(receive))

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/", *EXPECT))
        server.until(lambda: server.service.tasks != set())
        client.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.sock.recv(1)
        client.sock.settimeout(20)
        ask.set()
        interim, _ = client.read_head()
        client.send(b"hello")

        assert interim == 100
        assert client.read().body == b"hello"
        assert client.get("/").status == 200


def test_an_answer_without_reading_sends_no_continue_and_closes(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no", 403)

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/", *EXPECT))
        found = client.read()

        assert found.status == 403
        assert found.closes
        assert client.at_end()


def test_a_client_that_does_not_wait_needs_no_continue(kind: Kind) -> None:
    with serving(kind, echo) as server:
        client = server.connect()
        client.send(request("POST", "/", *EXPECT) + b"hello")
        found = client.read()
        if found.status == 100:  # it was asked for before the body had come
            found = client.read()

        assert found.body == b"POST / hello"
        assert not found.closes


def test_what_came_before_the_clients_end_is_read_though_it_waits_its_turn(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        await asyncio.sleep(0.05)  # the end of the client's input is known by then
        await answer(send, b"%d" % len(body))

    chunked = request("POST", "/", "Transfer-Encoding: chunked")
    with serving(kind, app) as server:
        client = server.connect()
        sizes = [1000, 5, 5, 1000]
        client.send(b"".join(chunked + b"1\r\na\r\n" * size + b"0\r\n\r\n" for size in sizes))
        client.shut()

        assert [int(client.read().body) for _ in sizes] == sizes


def test_a_body_that_the_client_breaks_off_is_told_as_its_leaving(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            notes.put(message["body"])
        notes.put(message["type"])

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nwhole\r\n5\r\nhal")
        client.shut()

        told = []
        while (note := notes.next()) != "http.disconnect":
            told.append(note)
        assert b"".join(told) == b"wholehal"


# --- the application's own limit --------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("limit", "status"), [(1000, 413), (300_000, 200), (0, 200)], ids=["lower", "higher", "none"]
)
def test_an_application_sets_the_limit_of_a_body(
    kind: Kind, chunked: bool, limit: int, status: int
) -> None:
    size = 200_000
    usual = 100_000 if chunked else size

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "serval.body_limit" in scope["extensions"]
        await send({"type": "serval.body_limit", "bytes": limit})
        message = await receive()
        while message.get("more_body"):
            message = await receive()
        if message["type"] == "http.request":
            await answer(send, b"taken")

    with serving(kind, app, max_body_size=usual) as server:
        client = server.connect()
        if chunked:
            head = request("POST", "/", "Transfer-Encoding: chunked")
            client.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)))
        else:
            client.send(request("POST", "/", body=bytes(size)))

        assert client.read().status == status
