import asyncio
import logging
from collections.abc import Iterator

import pytest
from stub_connection import App, Peer, World, get, ok, world_of

from serval.asgi.http_messages import BROKEN
from serval.asgi.types import Receive, Scope, Send
from serval.errors import ClientDisconnected
from serval.lifecycle import LifecycleEvent, RequestFinished, RequestStarted
from serval.worker.connections.wire import State


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def world(app: App) -> Iterator[World]:
    with world_of(app) as made:
        yield made


@pytest.fixture
def connection(world: World) -> Peer:
    return world.connect()


class Collector:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[LifecycleEvent] = []

    def record(self, event: LifecycleEvent) -> None:
        self.events.append(event)

    @property
    def statuses(self) -> list[int]:
        return [one.status for one in self.events if isinstance(one, RequestFinished)]


def watched(world: World) -> Collector:
    world.service.journal.lifecycle = collector = Collector()
    world.service.observed = world.service.announces = True
    return collector


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_task_is_kept_until_it_ends(world: World, app: App, connection: Peer) -> None:
    app.waits = True
    connection.data_received(get())
    assert connection.task in world.service.tasks
    app.answer()
    world.turn()

    assert connection.task is None
    assert world.service.tasks == set()


def test_who_observes_is_told_of_the_beginning_and_the_end(world: World, connection: Peer) -> None:
    collector = watched(world)
    connection.data_received(get("/path"))

    started, finished = collector.events
    assert isinstance(started, RequestStarted)
    assert started.path == "/path"
    assert isinstance(finished, RequestFinished)
    assert (finished.status, finished.sent_bytes) == (200, 5)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_nothing_that_an_application_raises_gets_through(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    with world_of(app) as world:
        connection = world.connect()
        connection.data_received(get("/path"))

        assert connection.taken().startswith(b"HTTP/1.1 500 ")
    assert errors_of(caplog) == ["app raised without a response: GET '/path'"]
    info = caplog.records[0].exc_info
    assert info is not None
    assert info[2] is not None
    assert info[2].tb_frame.f_code is app.__code__


def test_an_error_that_is_excused_is_mentioned_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ValueError("left")

    caplog.set_level(logging.INFO)
    with world_of(app) as world:
        collector = watched(world)
        connection = world.connect()
        connection.data_received(get("/path"))
        connection.peer_left()
        world.turn()

        assert connection.ended == "closed"
        assert collector.statuses == [499]
    (record,) = caplog.records
    assert (
        record.getMessage() == "app raised once it was told to end: GET '/path': ValueError('left')"
    )
    assert record.exc_info is None


@pytest.mark.parametrize("draining", [True, False])
def test_a_cancellation_is_not_blamed_on_the_application_when_we_stop(
    world: World,
    app: App,
    connection: Peer,
    draining: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app.waits = True
    connection.data_received(get())
    world.service.draining = draining
    assert connection.task is not None
    connection.task.cancel()
    world.turn()

    assert connection.taken().startswith(b"HTTP/1.1 500 ")
    assert bool(errors_of(caplog)) is not draining


def test_who_loses_its_client_in_its_first_step_is_cancelled_as_others_are() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
            await asyncio.Event().wait()
        finally:
            ended.set()

    with world_of(app, cancel_after_disconnect=0.01) as world:
        connection = world.connect()
        connection.when_flushed = connection.connection.peer_lost
        connection.data_received(get("/"))
        assert connection.at(State.CLOSED)
        world.wait(ended)
        world.turn()

        assert world.service.tasks == set()


def test_a_response_that_is_cut_is_counted_and_told_of(
    world: World, connection: Peer, app: App
) -> None:
    collector = watched(world)
    app.waits = True
    connection.data_received(get())
    connection.exchange.phase = BROKEN  # as it does itself before it breaks off
    connection.break_off()

    assert connection.ended == "closed"
    assert collector.statuses == [0]
    assert world.service.stats.requests == 1
    connection.break_off()  # once more does no harm
    assert world.service.stats.requests == 1


def test_a_body_that_only_the_end_would_end_is_cut_by_a_reset() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    with world_of(app) as world:
        connection = world.connect()
        connection.data_received(get().replace(b"1.1", b"1.0"))

        assert connection.ended == "reset"


def test_a_mistake_that_is_survived_is_logged_once_for_each_route(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body", "body": b"x"})

    with world_of(app) as world:
        connection = world.connect()
        for path in ("/a", "/a", "/b"):
            connection.data_received(get(path))

    assert errors_of(caplog) == [
        f"a 204 response has no body: 1 bytes dropped: GET '{path}'" for path in ("/a", "/b")
    ]


def test_a_dismissed_application_is_woken(world: World, connection: Peer) -> None:
    connection.disconnect()  # nothing runs: nothing happens
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            told.append((await receive())["type"])
            if told[-1] == "http.disconnect":
                return

    world.service.app = app
    connection.data_received(get())
    connection.disconnect()
    world.turn()

    assert told == ["http.request", "http.disconnect"]
    assert connection.taken().startswith(b"HTTP/1.1 503 ")


def test_an_abort_of_nothing_drops_the_connection(connection: Peer) -> None:
    connection.abort()

    assert connection.ended == "closed"


def test_an_abort_answers_and_cancels(
    world: World, app: App, connection: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    app.waits = True
    connection.data_received(get())
    connection.abort()
    world.turn()

    assert connection.taken().startswith(b"HTTP/1.1 503 ")
    assert connection.ended == "closed"
    assert world.service.tasks == set()
    assert errors_of(caplog) == []


def test_an_abort_in_the_first_step_of_an_application_has_no_task_to_cancel() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        peer.abort()

    with world_of(app) as world:
        peer = world.connect()
        peer.data_received(get())
        world.turn()

        assert peer.taken().startswith(b"HTTP/1.1 503 ")


def test_a_loss_in_the_first_step_leaves_nothing_behind() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        peer.peer_lost()
        with pytest.raises(ClientDisconnected):
            await send({"type": "http.response.start", "status": 200})

    with world_of(app) as world:
        peer = world.connect()
        peer.data_received(get())
        world.turn()

        assert peer.exchange is None
        assert world.service.connections == set()
        assert world.service.stats.requests == 1


def test_several_tasks_are_woken_together(world: World, app: App) -> None:
    app.waits = True
    connection = world.connect()
    connection.data_received(get())
    waiting = [world.receiving(app.receives[0]) for _ in range(3)]
    world.turn()
    connection.peer_left()
    world.turn()

    types = sorted(task.result()["type"] for task in waiting)
    assert types == ["http.disconnect", "http.disconnect", "http.request"]


def test_an_application_may_work_on_after_its_answer(world: World) -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await App()(scope, receive, send)
        await gate.wait()

    world.service.app = app
    connection = world.connect()
    for path in (b"/a", b"/b"):
        connection.data_received(get(path.decode()))
        assert connection.taken() == ok(path)
    assert len(world.service.tasks) == 2
    gate.set()
    world.turn()

    assert world.service.tasks == set()


def test_a_receiver_that_is_told_nothing_new_waits_on(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.data_received(get())
    tasks = [world.receiving(app.receives[0]) for _ in range(2)]
    world.turn()
    connection._wake_receivers()
    world.turn()
    connection._wake_receivers()

    assert [task.done() for task in tasks] == [True, False]
    connection.peer_lost()
    world.turn()
    assert tasks[1].result() == {"type": "http.disconnect"}


@pytest.mark.parametrize("is_woken", [False, True])
def test_a_receiver_that_gives_up_leaves_nothing_behind(
    world: World, app: App, connection: Peer, is_woken: bool
) -> None:
    app.waits = True
    connection.data_received(get())
    tasks = [world.receiving(app.receives[0]) for _ in range(3)]
    world.turn()

    def give_up() -> None:
        if is_woken:
            connection.connection._wake_receivers()
        tasks[1].cancel()

    world.call(give_up)
    world.turn()

    assert [task.done() for task in tasks] == [True, True, False]
    assert tasks[1].cancelled()
    assert len(connection._receivers) == 1


def test_the_loss_of_an_idle_connection_is_no_request(world: World, connection: Peer) -> None:
    connection.peer_lost()

    assert connection.ended == "closed"
    assert world.service.stats.requests == 0
