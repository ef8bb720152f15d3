"""Waits of connections that threads serve: a sweep and a thread may cross."""

import asyncio

import pytest

from process.lanes import Kind, Notes, Server, answer, request, serving
from serval.asgi.types import Receive, Scope, Send
from serval.worker.connections.wire import State
from serval.worker.deadlines import Wait
from serval.worker.threads.pooled_connection import PooledConnection

KINDS = [Kind("thread", "asyncio"), Kind("thread", "uvloop")]


def connection_of(server: Server) -> PooledConnection:
    (connection,) = server.service.threads.connections
    assert isinstance(connection, PooledConnection)
    return connection


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_request_goes_on_though_the_wait_for_its_head_is_told_late(kind: Kind) -> None:
    notes = Notes()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        go_on = asyncio.Event()
        notes.put((asyncio.get_running_loop(), go_on))
        await go_on.wait()
        await answer(send, b"whole")

    with serving(kind, app) as server:
        client = server.connect()
        client.send(request("GET", "/"))
        loop, go_on = notes.next()
        connection = connection_of(server)
        server.ask(lambda: connection.expired(Wait.HEAD, late=False))
        loop.call_soon_threadsafe(go_on.set)  # behind what the sweep has told the thread

        assert client.read().body == b"whole"


@pytest.mark.parametrize("wait", [Wait.HEAD, Wait.KEEP_ALIVE, Wait.WRITE])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_connection_that_was_used_since_is_not_closed(kind: Kind, wait: Wait) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"right")

    with serving(kind, app) as server:
        client = server.connect()
        client.get()
        connection = connection_of(server)
        server.until(lambda: len(server.service.threads.armed) == 1)
        server.ask(lambda: connection.expired(wait, late=False))

        assert connection.state is State.IDLE
        assert client.get().body == b"right"
