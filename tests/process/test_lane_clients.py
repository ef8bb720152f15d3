"""Clients that leave, and what the application is told, from any task or thread."""

import asyncio
import inspect
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from process.lanes import (
    PATIENCE_SECONDS,
    Kind,
    Notes,
    answer,
    errors_of,
    last,
    part,
    read_body,
    request,
    serving,
    start,
    waiting,
)
from serval.asgi.types import Message, Receive, Scope, Send
from serval.errors import ClientDisconnected
from serval.lifecycle import RequestFinished

# The disconnect must reach the application this soon (its median; a shared machine may stumble).
PROMPT_SECONDS = 0.1


# --- the client leaves ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_disconnect_is_told_promptly(kind: Kind, how: str, method: str) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        notes.put((await waiting(receive), time.monotonic()))

    with serving(kind, app) as server:
        lines = ["Content-Length: 10"] if method == "POST" else []
        seconds = []
        for _ in range(5):
            client = server.connect()
            client.send(request(method, "/", *lines) + b"12345" * len(lines))
            assert notes.next() == "began"
            left_at = time.monotonic()
            if how == "end":
                client.close()
            else:
                client.reset()
            message, told_at = notes.next()
            assert message == {"type": "http.disconnect"}
            seconds.append(told_at - left_at)
        server.at_rest()

        assert sorted(seconds)[2] < PROMPT_SECONDS


def test_a_disconnect_is_told_with_a_further_request_unread(kind: Kind) -> None:
    if kind.lane == "async":
        pytest.skip("a transport that does not read does not see the end")
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put(scope["path"])
        notes.put(await waiting(receive))

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/first"))
        assert notes.next() == "/first"
        client.send(request("GET", "/second"))
        client.close()

        assert notes.next() == {"type": "http.disconnect"}


def test_nobody_is_blamed_when_a_client_leaves(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        message = await waiting(receive)
        notes.put(message)
        if scope["path"] == "/raise":
            raise ValueError("my client has left")

    with serving(kind, app) as server:
        for path in ("/return", "/raise"):
            client = server.connect()
            client.send(request("GET", path))
            assert notes.next() == "began"
            client.close()
            assert notes.next() == {"type": "http.disconnect"}
        server.at_rest()

        finished = [one for one in server.collector.events if isinstance(one, RequestFinished)]
        assert [one.status for one in finished] == [499, 499]
    assert errors_of(caplog.records) == []


def test_sending_to_a_client_that_is_gone_raises_an_oserror(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        try:
            await start(send)
            while True:
                await part(send, b"x" * 1000)
                await asyncio.sleep(0)
        except OSError as error:
            notes.put(error)
            raise

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        assert notes.next() == "began"
        client.reset()

        assert isinstance(notes.next(), ClientDisconnected)
        server.at_rest()
    assert errors_of(caplog.records) == []


def test_a_half_closed_client_gets_its_answer(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        notes.put(await receive())
        await answer(send, b"here you are")

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/", body=b"question"))
        client.shut()
        found = client.read()

        assert notes.next() == {"type": "http.disconnect"}
        assert found.body == b"here you are"
        assert found.closes
        assert client.at_end()


def test_an_application_that_never_answers_is_let_go_when_the_client_leaves(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        await waiting(receive)

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        assert notes.next() == "began"
        client.shut()

        assert client.at_end()
        server.at_rest()
    assert errors_of(caplog.records) == []


# --- receive and send, from anywhere ----------------------------------------------------------


def test_a_cancelled_receive_loses_nothing(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiter = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        notes.put("cancelled")
        await answer(send, await read_body(receive))

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/", "Content-Length: 5"))
        assert notes.next() == "cancelled"
        client.send(b"hello")

        assert client.read().body == b"hello"


def test_several_tasks_may_receive_and_send_at_once(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert inspect.iscoroutinefunction(receive)
        assert inspect.iscoroutinefunction(send)
        await receive()
        listeners = [asyncio.ensure_future(receive()) for _ in range(3)]
        await start(send)
        await asyncio.gather(*(part(send, b"x" * 1000) for _ in range(100)))
        await last(send)
        messages = await asyncio.gather(*listeners)
        assert [one["type"] for one in messages] == ["http.disconnect"] * 3

    with serving(kind, app) as server:
        client = server.connect()

        assert client.get("/").body == b"x" * 100_000
        server.until(lambda: not server.service.tasks)


def test_a_thread_may_receive_through_the_loop(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()

        def read() -> bytes:
            coroutine: Coroutine[Any, Any, Message] = receive()  # type: ignore[assignment]  # it is
            message = asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)
            body: bytes = message["body"]
            return body

        await answer(send, await asyncio.to_thread(read))

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("POST", "/", body=b"hello"))

        assert client.read().body == b"hello"


def test_work_goes_on_after_the_answer_while_the_next_request_is_served(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["path"].encode())
        if scope["path"] == "/work":
            gate = asyncio.Event()
            notes.put(gate.set)
            await gate.wait()
            await send({"type": "http.response.body", "body": b"too late"})
            notes.put(await receive())

    with serving(kind, app) as server:
        client = server.connect()
        assert client.get("/work").body == b"/work"
        finish = notes.next()
        assert client.get("/next").body == b"/next"
        server.ask(finish)

        assert notes.next() == {"type": "http.disconnect"}
        assert client.get("/third").body == b"/third"


# --- what it means that a client sends no more, and what follows from its leaving -------------


def test_a_half_closed_client_may_count_as_one_that_waits(kind: Kind) -> None:
    go_on = threading.Event()
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        leaving = asyncio.ensure_future(receive())
        notes.put("began")
        await asyncio.to_thread(go_on.wait, PATIENCE_SECONDS)
        notes.put(leaving.done())
        await answer(send, b"all of it")
        await leaving

    with serving(kind, app, half_close="serve") as server:
        client = server.connect()
        client.send(request("GET", "/"))
        assert notes.next() == "began"
        client.shut()
        server.until(lambda: all(getattr(one, "_eof", True) for one in server.service.connections))
        go_on.set()

        assert notes.next() is False
        assert client.read().body == b"all of it"


def test_a_half_closed_client_may_count_as_gone(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        notes.put(await waiting(receive))

    with serving(kind, app, half_close="close") as server:
        client = server.connect()
        client.send(request("GET", "/"))
        assert notes.next() == "began"
        client.shut()

        assert notes.next() == {"type": "http.disconnect"}
        assert client.at_end()


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_request_is_cancelled_some_time_after_its_client_has_left(
    kind: Kind, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        notes.put("began")
        left_at = time.monotonic()
        try:
            await waiting(receive)
            left_at = time.monotonic()
            notes.put("left")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            notes.put(time.monotonic() - left_at)
            raise

    with serving(kind, app, cancel_after_disconnect=0.2) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        assert notes.next() == "began"
        if how == "end":
            client.close()
        else:
            client.reset()

        assert notes.next() == "left"
        assert notes.next() > 0.1
        server.at_rest()

    assert errors_of(caplog.records) == []


def test_a_request_whose_client_waits_is_not_cancelled(kind: Kind) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.3)
        await answer(send, b"done")

    with serving(kind, app, cancel_after_disconnect=0.1) as server:
        assert server.connect().get().body == b"done"
