"""Files in an exchange, driven by hand: framing, order, and what is refused."""

from typing import Any

import pytest
from fake_lane import Call, FakeFile, Waits, World

from serval.asgi.http_messages import Phase
from serval.errors import AppError, ClientDisconnected

OK = b"HTTP/1.1 200 OK\r\n"
END = b"\r\n"  # as the world shows the end of a head
LENGTH_4 = [(b"content-length", b"4")]


def file_of(data: bytes, position: int = 0) -> FakeFile:
    return FakeFile(data, position)


def begin(world: World, file: FakeFile, **message: Any) -> Call:
    """A part of a file on its way, as far as its first wait."""
    kind = message.pop("type", "http.response.zerocopysend")
    return Call(world.exchange.send({"type": kind, "file": file, **message}))


def send(world: World, file: FakeFile, **message: Any) -> None:
    call = begin(world, file, **message)
    while call.waits():
        pass


@pytest.mark.parametrize(
    ("offset", "count", "sent"),
    [
        (None, None, b"cdefghij"),
        (0, None, b"abcdefghij"),
        (7, None, b"hij"),
        (1, 5, b"bcdef"),
        (7, 9, b"hij"),
        (10, None, b""),
        (99, 1, b""),
        (0, 0, b""),
    ],
)
def test_the_part_that_is_asked_for_is_sent_and_its_length_told(
    offset: int | None, count: int | None, sent: bytes
) -> None:
    world, file = World(), file_of(b"abcdefghij", 2)
    world.start()

    send(world, file, offset=offset, count=count)

    assert world.wire == OK + b"content-length: %d\r\n" % len(sent) + END + sent
    assert world.exchange.phase is Phase.DONE
    assert world.exchange.sent_bytes == len(sent)
    assert world.lane.done_count == 1
    assert file.is_closed
    assert file.position == (10 if offset is None else 2)


def test_parts_of_files_and_of_other_bodies_are_chunks_of_one() -> None:
    world = World()
    world.start()
    world.body(b"<", more=True)
    send(world, file_of(b"abcde"), more_body=True)
    send(world, file_of(b""), more_body=True)
    send(world, file_of(b"fg"))

    assert world.wire == (
        OK
        + b"transfer-encoding: chunked\r\n"
        + END
        + b"1\r\n<\r\n5\r\nabcde\r\n2\r\nfg\r\n0\r\n\r\n"
    )


def test_trailers_may_follow_a_file() -> None:
    world = World(accepts_trailers=True)
    world.start(trailers=True)
    send(world, file_of(b"ab"))
    world.trailers([(b"x-sum", b"1")])

    assert world.wire.endswith(b"\r\n\r\n2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n")


def test_a_file_is_the_whole_body_where_the_end_of_the_connection_ends_it() -> None:
    world = World(version="1.0", keep_alive=False)
    world.start()
    send(world, file_of(b"ab"), more_body=True)
    send(world, file_of(b"cd"))

    assert world.wire == OK + b"connection: close\r\n" + END + b"abcd"


@pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 304), (b"GET", 204)])
def test_where_there_is_no_body_no_file_is_opened(method: bytes, status: int, kind: str) -> None:
    world = World(method)
    world.start(status, [(b"content-length", b"10")] if status == 200 else [])

    send(world, file_of(b"abc"), type=f"http.response.{kind}", path="/x")

    assert world.wire.endswith(END)
    assert world.exchange.phase is Phase.DONE
    assert world.lane.opened == []
    assert bool(world.lane.faults) is (method == b"GET")


def test_no_more_is_sent_than_the_length_says() -> None:
    world = World()
    world.start(headers=LENGTH_4)

    send(world, file_of(b"abcdefghij"))

    assert world.wire == OK + b"content-length: 4\r\n" + END + b"abcd"
    assert world.exchange.phase is Phase.DONE


def test_a_file_that_is_shorter_than_the_length_is_refused_before_the_head_is_out() -> None:
    world, file = World(), file_of(b"abc")
    world.start(headers=LENGTH_4)

    with pytest.raises(AppError, match="shorter than its content-length, 4: 3"):
        send(world, file)

    assert world.wire == b""
    assert world.exchange.phase is Phase.HEAD_HELD
    assert file.is_closed


def test_a_file_that_becomes_shorter_breaks_the_response() -> None:
    world, file = World(), file_of(b"abcdefghij")
    world.start()
    call = begin(world, file)
    assert call.waits()  # it is being opened
    assert call.waits()  # the first of it is being sent
    file.data = b"abcd"

    assert call.waits()  # a second try, which finds the end

    with pytest.raises(AppError, match="became shorter while it was sent: 6 bytes missing"):
        call.go()

    assert world.exchange.phase is Phase.BROKEN
    assert world.lane.broken_count == 1
    assert file.is_closed


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_client_that_leaves_ends_the_file(steps: int) -> None:
    world, file = World(), file_of(b"abcdefghij")
    world.start()
    call = begin(world, file)
    for _ in range(steps):
        assert call.waits()

    world.exchange.peer_lost()

    with pytest.raises(ClientDisconnected):
        call.go()
    assert file.is_closed


def test_a_cancelled_application_leaves_no_file_open() -> None:
    world, file = World(), file_of(b"abcdefghij")
    world.start()
    call = begin(world, file)
    assert call.waits()
    assert call.waits()

    call.end()

    assert file.is_closed


def test_nothing_comes_in_the_midst_of_a_file() -> None:
    world = World()
    world.start()
    call = begin(world, file_of(b"abcdefghij"))
    assert call.waits()
    assert call.waits()

    with pytest.raises(AppError, match="in phase FILE"):
        world.body(b"x")
    with pytest.raises(AppError, match="in phase FILE"):
        begin(world, file_of(b"y")).go()
    with pytest.raises(Waits):
        call.go()
    call.end()


def test_a_response_that_was_answered_by_others_meanwhile_takes_no_file() -> None:
    world, file = World(), file_of(b"abc")
    world.start()
    call = begin(world, file)
    assert call.waits()
    world.exchange.refuse(504, "too late")

    call.go()

    assert world.wire.startswith(b"HTTP/1.1 504 ")
    assert file.is_closed


def test_an_application_that_ends_in_the_midst_of_a_file_breaks_the_response() -> None:
    world = World()
    world.start()
    call = begin(world, file_of(b"abcdefghij"))
    assert call.waits()
    assert call.waits()

    ending = world.exchange.app_ended(None)

    assert ending.fault == "app returned in mid-response"
    with pytest.raises(AppError, match="in phase BROKEN"):
        call.go()


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"type": "http.response.pathsend"}, "needs a path, a str, not None"),
        ({"type": "http.response.pathsend", "path": ""}, "needs a path"),
        ({"type": "http.response.pathsend", "path": b"/x"}, "needs a path"),
        ({"type": "http.response.zerocopysend"}, "needs a file with a descriptor"),
        ({"type": "http.response.zerocopysend", "file": 3, "offset": -1}, "offset must be"),
        ({"type": "http.response.zerocopysend", "file": 3, "count": "all"}, "count must be"),
        ({"type": "http.response.nothing"}, "http.response.zerocopysend"),
    ],
)
def test_a_malformed_message_is_refused(message: dict[str, Any], why: str) -> None:
    world = World()
    world.start()

    with pytest.raises(AppError, match=why):
        Call(world.exchange.send(message)).go()

    assert world.wire == b""


def test_a_file_before_the_start_is_out_of_turn() -> None:
    world = World()

    with pytest.raises(AppError, match="in phase WAITING"):
        begin(world, file_of(b"x")).go()


def test_a_path_is_not_mixed_with_other_bodies() -> None:
    world = World()
    world.start()
    world.body(b"x", more=True)

    with pytest.raises(AppError, match=r"pathsend.*in phase STREAMING"):
        begin(world, file_of(b"x"), type="http.response.pathsend", path="/x").go()


def test_after_the_response_a_file_is_nothing() -> None:
    world = World()
    world.start()
    world.body(b"x")

    begin(world, file_of(b"x")).go()

    assert world.lane.opened == []


# --- the other message of the server's own ----------------------------------------------------


@pytest.mark.parametrize("limit", [0, 5])
def test_the_limit_of_the_body_is_passed_on(limit: int) -> None:
    world = World()

    world.send(type="serval.body_limit", bytes=limit)

    assert world.lane.limits == [limit]


@pytest.mark.parametrize("limit", [None, -1, True, "5"])
def test_a_limit_of_the_body_that_is_none_is_refused(limit: Any) -> None:
    world = World()

    with pytest.raises(AppError, match=r"serval\.body_limit needs bytes"):
        world.send(type="serval.body_limit", bytes=limit)
