"""Applications that fail, over real sockets."""

import asyncio

import pytest

from process.lanes import (
    Kind,
    Notes,
    answer,
    errors_of,
    last,
    part,
    request,
    serving,
    start,
    waiting,
)
from serval.asgi.types import ASGIApp, Receive, Scope, Send
from serval.errors import AppError


class Bad(BaseException):
    """What no application should raise."""


@pytest.mark.parametrize("error", [ValueError, Bad, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("waits", [True, False])
def test_an_error_before_the_response_is_a_500(
    kind: Kind, error: type[BaseException], waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fine":
            await answer(send)
            return
        if waits:
            await asyncio.sleep(0)
        await start(send)  # held back, so that it can still be another
        raise error("no database")

    with serving(kind, app) as server:
        client = server.connect()
        found = client.get("/broken")

        assert found[::2] == (500, b"Internal Server Error")
        assert found.closes
        assert client.at_end()
        assert server.connect().get("/fine").status == 200
    (record,) = [one for one in caplog.records if one.name == "serval.error"]
    assert record.getMessage() == "app raised without a response: GET '/broken'"
    assert record.exc_info is not None


def test_an_error_in_mid_response_cuts_it_short(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        length = [(b"content-length", b"100")] if scope["path"] == "/counted" else []
        await start(send, 200, *length)
        await part(send, b"half of it")
        await asyncio.sleep(0)
        raise ValueError("no more")

    with serving(kind, app) as server:
        counted = server.connect()
        counted.send(request("GET", "/counted"))
        chunks = server.connect()
        chunks.send(request("GET", "/chunked"))
        closed = server.connect()
        closed.send(request("GET", "/1.0", version="1.0"))
        counted.read_head()
        assert counted.read_to_end() == b"half of it"
        chunks.read_head()
        assert chunks.read_chunk() == b"half of it"
        assert chunks.at_end()
        closed.read_head()
        with pytest.raises(ConnectionResetError):  # nothing else could tell it from the end
            closed.read_to_end()
        server.at_rest()
    assert len(errors_of(caplog.records)) == 3


@pytest.mark.parametrize("sent", [b"short", b"much too long"])
def test_a_wrong_length_is_the_applications_mistake(
    kind: Kind, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, 200, (b"content-length", b"8"))
        await last(send, sent)

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/route"))
        client.read_head()
        if sent == b"short":
            assert client.read_to_end() == sent
        else:
            assert client.read_exactly(8) == sent[:8]
            client.send(request("GET", "/again"))
            assert client.read_head()[0] == 200
        server.until(lambda: not server.service.tasks)
    assert "/route" in errors_of(caplog.records)[0]


def test_an_application_that_returns_without_an_answer_is_a_500(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    with serving(kind, app) as server:
        found = server.connect().get("/")

        assert found.status == 500
    assert errors_of(caplog.records) == ["app returned without a response: GET '/'"]


def test_a_message_out_of_turn_is_refused_where_it_is_sent(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await last(send, b"no head")
        except AppError as error:
            notes.put(str(error))
        await answer(send, b"fine")

    with serving(kind, app) as server:
        assert server.connect().get("/").body == b"fine"
        assert "legal: http.response.start" in notes.next()


def test_an_errors_traceback_does_not_keep_the_applications_things(kind: Kind) -> None:
    notes = Notes()

    class Thing:
        def __del__(self) -> None:
            notes.put("gone")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        thing = Thing()
        await waiting(receive)
        while True:
            await part(send, repr(thing).encode())
            await asyncio.sleep(0)

    with serving(kind, started(app)) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        client.read_head()
        client.reset()

        assert notes.next() == "gone"


def started(app: ASGIApp) -> ASGIApp:
    """The same application, after the head of its response."""

    async def with_head(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"")
        await app(scope, receive, send)

    return with_head
