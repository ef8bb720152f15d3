from collections.abc import Iterator

import pytest
from stub_connection import CLOSE, UNBOUNDED, App, Peer, World, get, ok, post, world_of

from serval.asgi.response_side import DISCARD_BYTES
from serval.asgi.types import Receive, Scope, Send
from serval.worker.connections.connection import (
    BODY_BUFFER_BYTES,
    BODY_PROGRESS_BYTES,
    PIPELINE_COUNT,
)
from serval.worker.connections.wire import HIGH_WATER_BYTES, State
from serval.worker.deadlines import Wait

WEBSOCKET = (
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


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


def idle(connection: Peer) -> Peer:
    """The same, after its first request."""
    connection.data_received(get())
    assert connection.taken() == ok(b"/")
    assert connection.at(State.IDLE)
    return connection


# --- plain requests ---------------------------------------------------------------------------


def test_a_request_is_answered_before_the_bytes_are_given_back(
    connection: Peer,
) -> None:
    assert connection.waits_for() == {Wait.HEAD}
    for path in (b"/a", b"/b"):
        connection.data_received(get(path.decode()))

        assert connection.taken() == ok(path)
        assert connection.at(State.IDLE)
        assert connection.waits_for() == {Wait.KEEP_ALIVE}


def test_a_request_that_waits_is_answered_when_it_can_be(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    for _ in range(2):
        connection.data_received(get("/slow"))
        assert connection.sent == b""
        assert connection.at(State.OPEN)
        assert not connection.waits_for() - {Wait.KEEP_ALIVE}
        app.answer()
        world.turn()

        assert connection.taken() == ok(b"/slow")
        assert connection.at(State.IDLE)


def test_a_head_in_pieces_is_waited_for(connection: Peer) -> None:
    idle(connection)
    data = get("/pieces")
    connection.data_received(data[:7])
    assert connection.waits_for() == {Wait.HEAD}
    connection.data_received(data[7:9])
    connection.data_received(data[9:])

    assert connection.taken() == ok(b"/pieces")
    assert connection.waits_for() == {Wait.KEEP_ALIVE}


def test_a_trusted_proxy_is_believed() -> None:
    with world_of(app := App(), forwarded_allow_ips=("*",)) as world:
        connection = world.connect()
        for _ in range(2):  # on either way
            connection.data_received(get("/", "x-forwarded-proto: https"))

    assert [scope["scheme"] for scope in app.scopes] == ["https"] * 2


# --- pipelining -------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_one_buffer(connection: Peer) -> None:
    connection.data_received(get("/a") + get("/b") + get("/c")[:5])

    assert connection.taken() == ok(b"/a") + ok(b"/b")
    assert connection.waits_for() == {Wait.HEAD}


def test_pipelined_requests_wait_their_turn(world: World, app: App, connection: Peer) -> None:
    app.waits = True
    connection.data_received(get("/a"))
    connection.data_received(get("/b"))
    assert not connection.reading
    assert len(app.scopes) == 1
    app.answer()
    world.turn()
    assert connection.taken() == ok(b"/a")
    assert len(app.scopes) == 2
    app.answer()
    world.turn()

    assert connection.taken() == ok(b"/b")
    assert connection.reading
    assert connection.at(State.IDLE)


def test_others_have_a_turn_between_many_requests(world: World, app: App, connection: Peer) -> None:
    counts: list[int] = []

    def note() -> None:
        counts.append(len(app.scopes))
        if len(counts) < 3:
            world.loop.call_soon(note)

    def in_one_turn() -> None:
        connection.data_received(get() * (2 * PIPELINE_COUNT + 1))
        note()

    world.call(in_one_turn)
    world.turn()

    assert counts == [PIPELINE_COUNT, 2 * PIPELINE_COUNT, 2 * PIPELINE_COUNT + 1]
    assert connection.at(State.IDLE)


def test_an_end_between_many_requests_loses_none(world: World, app: App, connection: Peer) -> None:
    connection.data_received(get() * (PIPELINE_COUNT + 2))
    connection.peer_left()
    world.turn()

    assert len(app.scopes) == PIPELINE_COUNT + 2
    assert connection.ended == "closed"


def test_the_last_request_before_an_end_is_told_so(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.data_received(get("/a"))
    connection.data_received(get("/b"))
    connection.peer_left()
    app.answer()
    world.turn()
    app.answer()
    world.turn()

    assert connection.taken() == ok(b"/a") + ok(b"/b", CLOSE)
    assert connection.ended == "closed"


def test_half_a_head_before_an_end_is_not_waited_for(connection: Peer) -> None:
    connection.data_received(get("/a") + b"GET /b")
    connection.peer_left()

    assert connection.taken() == ok(b"/a")
    assert connection.ended == "closed"


# --- a peer that does not read ----------------------------------------------------------------


@pytest.mark.parametrize("pipelined", [True, False])
def test_who_does_not_read_is_not_answered_on(
    world: World, app: App, connection: Peer, pipelined: bool
) -> None:
    idle(connection)
    connection.room = 10
    if pipelined:
        connection.data_received(get("/a") + get("/b"))
        assert len(app.scopes) == 3  # what was in one buffer is answered into one
    else:
        connection.data_received(get("/a"))
    assert connection.at(State.OPEN)
    assert not connection.reading
    assert connection.waits_for() == {Wait.WRITE}
    connection.take()
    world.turn()

    assert connection.taken() == ok(b"/a") + (ok(b"/b") if pipelined else b"")
    assert connection.at(State.IDLE)
    assert connection.reading


def test_much_that_is_unread_stops_the_next_answer() -> None:
    calls = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * HIGH_WATER_BYTES})

    with world_of(app) as world:
        connection = world.connect()
        connection.room = 10
        connection.data_received(get() * 5)
        assert calls == 1
        connection.take(HIGH_WATER_BYTES + 200)
        world.turn()
        assert calls == 2
        connection.take()
        world.turn()

        assert calls == 5
        assert connection.at(State.IDLE)


def test_an_answer_that_is_still_being_sent_holds_nothing_else_up(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.room = 5
    connection.write(b"0123456789" * HIGH_WATER_BYTES)
    connection.data_received(get("/a"))
    connection.take()

    assert connection.exchange is not None
    app.answer()
    world.turn()
    assert connection.taken().endswith(ok(b"/a"))


def test_a_peer_that_never_reads_is_given_up(app: App, connection: Peer) -> None:
    app.waits = True
    connection.data_received(get())
    connection.expired(Wait.WRITE, late=False)

    assert connection.ended == "closed"
    assert connection.exchange is None


# --- bodies -----------------------------------------------------------------------------------


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with how much came."""
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    body = b"%d" % size
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


def test_a_body_is_waited_for_as_long_as_it_makes_progress() -> None:
    with world_of(read_all) as world:
        connection = world.connect()
        size = 3 * BODY_PROGRESS_BYTES
        connection.data_received(post("/", size) + b"x")
        world.turn()
        assert connection.waits_for() == {Wait.BODY}
        before = connection._progress_bytes
        connection.data_received(b"x")
        assert connection._progress_bytes == before + 1
        connection.data_received(b"x" * BODY_PROGRESS_BYTES)
        assert connection._progress_bytes == 0  # the wait began anew
        connection.data_received(b"x" * (size - 2 - BODY_PROGRESS_BYTES))
        world.turn()

        assert connection.taken() == ok(b"%d" % size)
        assert connection.waits_for() == {Wait.KEEP_ALIVE}


def test_a_body_is_not_waited_for_before_its_client_is_told_to_send_it(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.data_received(post("/", 10, "expect: 100-continue"))
    assert connection.waits_for() == set()
    receiving = world.receiving(app.receives[0])
    world.turn()
    assert connection.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.waits_for() == {Wait.BODY}
    connection.data_received(bytes(10))
    world.turn()

    assert receiving.done()
    assert connection.waits_for() == set()


@pytest.mark.parametrize("size", [5, 10])
def test_a_body_that_comes_untold_is_waited_for(app: App, connection: Peer, size: int) -> None:
    app.waits = True
    connection.data_received(post("/", 10, "expect: 100-continue"))
    connection.data_received(bytes(size))

    assert connection.waits_for() == ({Wait.BODY} if size < 10 else set())


def test_reading_pauses_while_the_application_does_not_take_the_body(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.data_received(post("/", 2 * BODY_BUFFER_BYTES))
    connection.data_received(b"x" * BODY_BUFFER_BYTES)
    assert connection.reading
    connection.data_received(b"x")
    assert not connection.reading
    assert connection.waits_for() == set()
    world.receiving(app.receives[0])
    world.turn()

    assert connection.reading
    assert connection.waits_for() == {Wait.BODY}


def test_a_body_that_nobody_wants_is_read_and_dropped(app: App, connection: Peer) -> None:
    connection.data_received(post("/", 100) + b"x" * 10)
    assert connection.taken() == ok(b"/")
    assert connection.at(State.DISCARDING)
    assert connection.waits_for() == {Wait.LINGER}
    connection.data_received(b"x" * 50)
    assert connection.at(State.DISCARDING)
    connection.data_received(b"x" * 40 + get("/next"))

    assert connection.taken() == ok(b"/next")
    assert connection.at(State.IDLE)


def test_a_request_behind_a_dropped_body_is_served_once_the_answer_is_read(
    app: App, connection: Peer
) -> None:
    connection.room = 10
    connection.data_received(post("/a", 10))
    assert connection.at(State.DISCARDING)
    connection.data_received(b"0123456789" + get("/b"))
    assert connection.at(State.OPEN)
    assert connection.waits_for() == {Wait.WRITE}
    connection.take()

    assert connection.taken() == ok(b"/a") + ok(b"/b")
    assert connection.waits_for() == {Wait.KEEP_ALIVE}


def test_a_body_that_is_too_large_to_drop_ends_the_connection(connection: Peer) -> None:
    connection.data_received(post("/", DISCARD_BYTES + 1))

    assert connection.taken() == ok(b"/", CLOSE)
    assert connection.at(State.LINGERING)
    assert connection.is_shut
    connection.data_received(b"x" * 1000)
    assert connection.at(State.LINGERING)
    connection.peer_left()
    assert connection.ended == "closed"


def test_a_chunked_body_that_turns_out_too_large_ends_the_connection(
    connection: Peer,
) -> None:
    connection.data_received(get("/", "transfer-encoding: chunked").replace(b"GET", b"POST"))
    assert connection.at(State.DISCARDING)
    connection.data_received(b"%x\r\n" % (2 * DISCARD_BYTES) + b"x" * (DISCARD_BYTES + 1))

    assert connection.at(State.LINGERING)


def test_a_wrong_body_that_nobody_wants_ends_the_connection(connection: Peer) -> None:
    connection.data_received(get("/", "transfer-encoding: chunked").replace(b"GET", b"POST"))
    connection.taken()
    connection.data_received(b"no chunk\r\n")

    assert connection.taken() == b""
    assert connection.at(State.LINGERING)


def test_a_discarded_body_that_does_not_come_is_not_waited_for(
    connection: Peer,
) -> None:
    connection.data_received(post("/", 100))
    connection.expired(Wait.LINGER, late=False)

    assert connection.ended == "closed"


def test_an_end_in_a_discarded_body_ends_the_connection(connection: Peer) -> None:
    connection.data_received(post("/", 100))
    connection.peer_left()

    assert connection.ended == "closed"


def test_more_is_wanted_of_nothing(connection: Peer) -> None:
    connection._pause_reading()
    connection.body_wanted()

    assert not connection.reading


# --- the peer leaves --------------------------------------------------------------------------


def test_an_end_before_any_request_ends_the_connection(connection: Peer) -> None:
    connection.peer_left()

    assert connection.ended == "closed"
    assert connection.taken() == b""


def test_an_end_behind_unread_requests_is_told_but_they_are_kept(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.data_received(get("/a"))
    connection.data_received(get("/b"))
    task = world.receiving(app.receives[0])
    world.turn()
    connection.peer_shut()
    second = world.receiving(app.receives[0])
    world.turn()
    assert task.result()["type"] == "http.request"
    assert second.result() == {"type": "http.disconnect"}
    app.answer()
    world.turn()

    assert connection.taken() == ok(b"/a")
    assert len(app.scopes) == 2


def test_an_end_behind_an_unread_body_is_told_after_it(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.data_received(post("/", 10) + b"12345")
    connection.peer_shut()
    messages = []
    for _ in range(2):
        task = world.receiving(app.receives[0])
        world.turn()
        messages.append(task.result() if task.done() else None)
    task.cancel()

    assert messages == [{"type": "http.request", "body": b"12345", "more_body": True}, None]


def test_an_end_is_heard_of_in_a_request_that_waited_behind_another(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.data_received(get("/a"))
    connection.data_received(get("/b"))
    assert not connection.reading
    app.answer()
    world.turn()
    assert connection.reading
    told = [world.receiving(app.receives[1]) for _ in range(2)]
    world.turn()
    assert not told[1].done()
    connection.peer_left()
    world.turn()

    assert [one.result()["type"] for one in told] == ["http.request", "http.disconnect"]


def test_an_end_is_heard_of_behind_a_body_that_came_faster_than_it_was_taken(
    app: App, connection: Peer
) -> None:
    app.waits = True
    size = BODY_BUFFER_BYTES + 1
    connection.data_received(post("/", size + 1))
    connection.data_received(bytes(size))
    assert not connection.reading
    connection.data_received(bytes(1))

    assert connection.reading


def test_an_end_that_nobody_waits_for_is_noted_later(connection: Peer) -> None:
    connection.peer_shut()

    assert connection.ended == ""


def test_a_loss_is_told_once(world: World, app: App, connection: Peer) -> None:
    app.waits = True
    connection.data_received(get())
    connection.peer_lost()
    connection.peer_lost()

    assert connection.ended == "closed"
    assert world.service.stats.requests == 1


# --- mistakes of the peer ---------------------------------------------------------------------


def test_a_mistake_is_answered_and_nothing_after_it_is_parsed(
    world: World, app: App, connection: Peer
) -> None:
    connection.data_received(get("/fine") + b"GARBAGE\r\n\r\n" + get("/never"))
    answer = connection.taken()

    assert answer.startswith(ok(b"/fine"))
    assert b"HTTP/1.1 400 Bad Request\r\n" in answer
    assert answer.endswith(b"400 Bad Request: bad-request-line\n")
    assert connection.at(State.LINGERING)
    assert len(app.scopes) == 1
    assert world.service.stats.rejected == 1
    connection.data_received(get("/never"))
    assert connection.taken() == b""


def test_a_mistake_in_a_body_is_answered_in_the_applications_stead(
    world: World, app: App, connection: Peer
) -> None:
    app.waits = True
    connection.data_received(get("/", "transfer-encoding: chunked").replace(b"GET", b"POST"))
    connection.data_received(b"no chunk\r\n")

    assert connection.taken().startswith(b"HTTP/1.1 400 ")
    assert connection.exchange is None
    app.answer()
    world.turn()
    assert connection.taken() == b""


def test_a_mistake_in_a_body_cuts_a_response_that_has_begun() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await receive()

    with world_of(app) as world:
        connection = world.connect()
        connection.data_received(get("/", "transfer-encoding: chunked").replace(b"GET", b"POST"))
        connection.taken()
        connection.data_received(b"no chunk\r\n")

        assert connection.ended == "closed"
        assert connection.taken() == b""


# --- deadlines --------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"GET / HT"])
def test_a_head_that_does_not_come_is_answered_if_it_has_begun(
    connection: Peer, data: bytes
) -> None:
    if data:
        connection.data_received(data)
    connection.expired(Wait.HEAD, late=False)

    assert connection.taken()[:12] == (b"HTTP/1.1 408" if data else b"")
    assert connection.state is (State.LINGERING if data else State.CLOSED)


def test_a_body_that_does_not_come_is_a_408(app: App, connection: Peer) -> None:
    app.waits = True
    connection.data_received(post("/", 10))
    connection.expired(Wait.BODY, late=False)

    assert connection.taken()[:12] == b"HTTP/1.1 408"
    assert connection.at(State.LINGERING)


def test_bytes_that_lie_unread_are_served_before_an_idle_connection_is_closed(
    connection: Peer,
) -> None:
    idle(connection)
    connection.late = get("/just")
    _expire(connection, Wait.KEEP_ALIVE)

    assert connection.taken() == ok(b"/just")
    assert connection.waits_for() == {Wait.KEEP_ALIVE}
    _expire(connection, Wait.KEEP_ALIVE)
    assert connection.ended == "closed"


def _expire(connection: Peer, wait: Wait, *, late: bool = False) -> None:
    """As the sweeper does it: what has expired waits no more."""
    connection.service.sweeper.stop(wait, connection)
    connection.expired(wait, late=late)


def test_an_idle_wait_that_ends_in_the_midst_of_a_request_is_nothing(
    world: World, app: App, connection: Peer
) -> None:
    idle(connection)
    app.waits = True
    connection.data_received(get("/slow"))
    _expire(connection, Wait.KEEP_ALIVE)
    app.answer()
    world.turn()

    assert connection.taken() == ok(b"/slow")
    assert connection.waits_for() == {Wait.KEEP_ALIVE}


@pytest.mark.parametrize("late", [True, False])
def test_nobody_is_blamed_for_what_the_loop_left_unread(connection: Peer, late: bool) -> None:
    data = get("/unread")
    connection.data_received(data[:5])
    connection.late = data[5:]
    _expire(connection, Wait.HEAD, late=late)

    assert connection.taken().startswith(ok(b"/unread") if late else b"HTTP/1.1 408")


# --- upgrades ---------------------------------------------------------------------------------


def test_a_websocket_is_handed_over_after_what_was_before_it(
    world: World, connection: Peer
) -> None:
    connection.data_received(get("/a") + get("/ws", *WEBSOCKET) + b"frame")

    assert connection.taken() == ok(b"/a")
    assert connection.handed is not None
    request, scope = connection.handed
    assert request.upgrade == b"websocket"
    assert scope["type"] == "websocket"
    assert connection.parser.trailing_data == b"frame"
    assert world.service.connections == set()
    connection.drop()
    assert connection.ended == "handed over"


def test_nothing_is_handed_over_of_a_client_that_left_before_its_answer(
    connection: Peer,
) -> None:
    connection.when_flushed = connection.connection.peer_lost
    connection.data_received(get("/a") + get("/ws", *WEBSOCKET) + b"frame")

    assert connection.handed is None
    assert connection.ended == "closed"


def test_an_upgrade_is_ignored_behind_an_answer_that_is_not_read(
    world: World, app: App, connection: Peer
) -> None:
    connection.room = 5
    connection.data_received(get("/a") + get("/ws", *WEBSOCKET))
    connection.take()
    world.turn()

    assert connection.taken() == ok(b"/a") + ok(b"/ws")
    assert [scope["type"] for scope in app.scopes] == ["http", "http"]


def test_a_service_may_not_speak_websocket(world: World, connection: Peer) -> None:
    world.service.speaks_websocket = False
    connection.data_received(get("/ws", *WEBSOCKET))

    assert connection.taken() == ok(b"/ws")


# --- requests from elsewhere ------------------------------------------------------------------


@pytest.mark.parametrize("waits", [True, False])
def test_a_request_that_was_parsed_elsewhere_is_served_first(
    world: World, app: App, connection: Peer, waits: bool
) -> None:
    app.waits = waits
    other = world.connect()
    other.parser.receive_data(get("/first"))
    request = other.parser.next_event()
    other.drop()
    connection.take_up(request, {"type": "http", "method": "GET", "path": "/first"})
    assert Wait.HEAD not in connection.waits_for()
    connection.data_received(get("/second"))
    for _ in range(2 * waits):
        app.answer()
        world.turn()

    assert connection.taken() == ok(b"/first") + ok(b"/second")
    assert connection.at(State.IDLE)


# --- the stop ---------------------------------------------------------------------------------


def test_whoever_leaves_says_so_in_its_next_answer(connection: Peer) -> None:
    idle(connection)
    connection.leave()
    assert connection.at(State.IDLE)
    connection.data_received(get("/last"))

    assert connection.taken() == ok(b"/last", CLOSE)
    assert connection.ended == "closed"


def test_a_drain_closes_what_is_idle_unless_a_request_lies_unread(world: World) -> None:
    quiet, asking = idle(world.connect()), idle(world.connect())
    asking.late = get("/last")
    for connection in (quiet, asking):
        connection.drain()

    assert quiet.taken() == b""
    assert asking.taken() == ok(b"/last", CLOSE)
    assert quiet.ended == asking.ended == "closed"


def test_a_drain_waits_for_a_request_that_is_on_its_way(
    connection: Peer, world: World, app: App
) -> None:
    begun = world.connect()
    begun.data_received(b"GET /begun")
    for one in (connection, begun):
        one.drain()
    assert connection.waits_for() == {Wait.LINGER}
    assert begun.waits_for() == {Wait.HEAD}
    connection.data_received(get("/new"))
    begun.data_received(b" HTTP/1.1\r\nhost: x\r\n\r\n")

    assert connection.taken() == ok(b"/new", CLOSE)
    assert begun.taken() == ok(b"/begun", CLOSE)


def test_a_drain_serves_all_that_was_read(world: World, app: App, connection: Peer) -> None:
    app.waits = True
    connection.data_received(get("/a"))
    connection.data_received(get("/b"))
    connection.drain()
    app.answer()
    world.turn()
    app.answer()
    world.turn()

    assert connection.taken() == ok(b"/a") + ok(b"/b", CLOSE)
    assert connection.ended == "closed"


def test_a_connection_that_comes_in_a_drain_is_served_once(world: World) -> None:
    world.service.keeps_alive = False
    world.service.draining = True
    connection = world.connect()
    connection.data_received(get("/only") + get("/never"))

    assert connection.taken() == ok(b"/only", CLOSE)
    assert connection.at(State.LINGERING)
    assert connection.room < UNBOUNDED


def test_nothing_goes_on_while_it_goes_on_already(app: App, connection: Peer) -> None:
    connection.corked = True
    connection.advance(get())

    assert app.scopes == []
