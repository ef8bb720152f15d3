from collections.abc import Callable
from typing import Any

import pytest
from fake_lane import Call, World, upload

from serval.asgi.http_messages import Phase
from serval.asgi.response_side import DISCARD_BYTES
from serval.errors import AppError, ClientDisconnected
from serval.protocols.response_framing import Framing

LENGTH_3 = [(b"content-length", b"3")]
OK = b"HTTP/1.1 200 OK\r\n"


# --- framing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_a_plain_response_is_one_buffer(plain: bool) -> None:
    world = World(plain=plain)
    world.start(headers=LENGTH_3)
    assert world.wire == b""  # held back
    world.body(b"abc")

    assert world.wire == OK + b"content-length: 3\r\n\r\nabc"
    assert world.exchange.keep_alive
    assert world.exchange.sent_bytes == 3
    assert world.exchange.phase is Phase.DONE
    assert world.lane.done_count == 1


def test_a_corked_lane_sees_for_itself_that_the_response_is_done() -> None:
    for headers in (LENGTH_3, []):
        world = World(plain=True)
        world.lane.corked = True
        world.start(headers=headers)
        world.body(b"abc")

        assert world.exchange.phase is Phase.DONE
        assert world.lane.done_count == 0


def test_the_length_of_a_body_that_is_all_there_is_announced() -> None:
    world = World()
    world.start()
    world.body(b"abc")

    assert world.wire == OK + b"content-length: 3\r\n\r\nabc"


def test_a_body_in_parts_is_chunked() -> None:
    world = World()
    world.start()
    for part in (b"", b"a" * 16, b"", b"bc"):
        world.body(part, more=True)
    world.body()

    assert world.wire == (
        OK
        + b"transfer-encoding: chunked\r\n\r\n"
        + (b"10\r\n" + b"a" * 16 + b"\r\n")
        + b"2\r\nbc\r\n0\r\n\r\n"
    )
    assert world.exchange.sent_bytes == 18
    assert world.exchange.keep_alive


def test_the_head_of_a_stream_leaves_with_an_empty_first_part() -> None:
    world = World()
    world.start()
    world.body(b"", more=True)

    assert world.wire.endswith(b"chunked\r\n\r\n")
    assert world.lane.flush_count == 1


def test_a_body_in_parts_of_announced_length_is_not_chunked() -> None:
    world = World()
    world.start(headers=LENGTH_3)
    for part in (b"a", b"bc"):
        world.body(part, more=True)
    world.body()

    assert world.wire == OK + b"content-length: 3\r\n\r\nabc"
    assert world.lane.done_count == 1


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_stream_to_http_1_0_ends_with_the_connection(keep_alive: bool) -> None:
    world = World(version="1.0", keep_alive=keep_alive)
    world.start()
    world.body(b"abc", more=True)
    world.body()

    assert world.wire == OK + b"connection: close\r\n\r\nabc"
    assert not world.exchange.keep_alive


@pytest.mark.parametrize(
    ("version", "keep_alive", "line"),
    [
        ("1.0", True, b"connection: keep-alive\r\n"),
        ("1.0", False, b"connection: close\r\n"),
        ("1.1", True, b""),
        ("1.1", False, b"connection: close\r\n"),
    ],
)
def test_a_response_says_whether_the_connection_lives_on(
    version: str, keep_alive: bool, line: bytes
) -> None:
    world = World(version=version, keep_alive=keep_alive)
    world.start(headers=LENGTH_3)
    world.body(b"abc")

    assert world.wire == OK + b"content-length: 3\r\n" + line + b"\r\nabc"
    assert world.exchange.keep_alive is keep_alive


def test_a_lane_or_an_application_may_close() -> None:
    by_lane = World(plain=True)
    by_lane.lane.keep_alive = False
    by_lane.start(headers=LENGTH_3)
    by_lane.body(b"abc")
    by_application = World(plain=True)
    by_application.start(headers=[*LENGTH_3, (b"connection", b"close")])
    by_application.body(b"abc")

    for world in (by_lane, by_application):
        assert b"connection: close\r\n" in world.wire
        assert not world.exchange.keep_alive


def test_transfer_encoding_of_the_application_is_ignored() -> None:
    world = World()
    world.start(headers=[(b"transfer-encoding", b"chunked")])
    world.body(b"abc")

    assert world.wire == OK + b"content-length: 3\r\n\r\nabc"


@pytest.mark.parametrize("headers", [None, iter(LENGTH_3), ((b"content-length", b"3"),)])
def test_headers_may_be_any_iterable_or_absent(headers: Any) -> None:
    world = World()
    if headers is None:
        world.send(type="http.response.start", status=200)
    else:
        world.start(headers=headers)
    world.body(b"abc")

    assert world.wire == OK + b"content-length: 3\r\n\r\nabc"
    assert list(world.exchange.response_headers) in ([], LENGTH_3)


def test_an_iterators_headers_are_there_for_the_log() -> None:
    world = World()
    world.start(headers=iter(LENGTH_3))

    assert list(world.exchange.response_headers) == LENGTH_3


@pytest.mark.parametrize("body", [bytearray(b"abc"), memoryview(b"abc")])
def test_a_body_may_be_of_any_type_of_bytes(body: Any) -> None:
    world = World()
    world.start()
    world.body(body)

    assert world.wire.endswith(b"\r\n\r\nabc")


def test_body_and_more_body_may_be_absent() -> None:
    world = World()
    world.start()
    world.send(type="http.response.body")

    assert world.wire == OK + b"content-length: 0\r\n\r\n"


# --- no body ----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [True, False])
def test_head_has_the_fields_and_no_body(more: bool) -> None:
    world = World(b"HEAD")
    world.start(headers=LENGTH_3)
    world.body(b"abc", more=more)
    world.body(b"abc")

    assert world.wire == OK + b"content-length: 3\r\n\r\n"
    assert world.exchange.sent_bytes == 0
    assert world.lane.faults == []
    assert world.exchange.keep_alive


@pytest.mark.parametrize(("status", "kept"), [(204, False), (304, True)])
def test_a_body_where_none_may_be_is_dropped_with_a_word(status: int, kept: bool) -> None:
    world = World()
    world.start(status, LENGTH_3)
    world.body(b"abc")

    assert (b"content-length" in world.wire) is kept
    assert world.wire.endswith(b"\r\n\r\n")
    assert world.lane.faults == [f"a {status} response has no body: 3 bytes dropped"]
    assert world.exchange.keep_alive


def test_an_interim_status_as_the_final_one_ends_the_connection() -> None:
    world = World()
    world.start(150, LENGTH_3)
    world.body(b"")

    assert world.wire == b"HTTP/1.1 150 \r\nconnection: close\r\n\r\n"


# --- wrong lengths ----------------------------------------------------------------------------


@pytest.mark.parametrize("more", [True, False])
def test_a_body_longer_than_announced_is_cut_and_the_application_told(more: bool) -> None:
    world = World()
    world.start(headers=LENGTH_3)
    world.body(b"ab", more=True)
    with pytest.raises(AppError, match="longer than its content-length: 2 bytes"):
        world.body(b"cde", more=more)
    world.body(b"f")  # after the end, nothing

    assert world.wire == OK + b"content-length: 3\r\n\r\nabc"
    assert world.exchange.phase is Phase.DONE
    assert world.exchange.sent_bytes == 3


def test_no_trailers_are_waited_for_after_a_body_that_was_cut() -> None:
    world = World()
    world.start(headers=LENGTH_3, trailers=True)
    with pytest.raises(AppError, match="longer"):
        world.body(b"abcde", more=True)

    assert world.exchange.phase is Phase.DONE


def test_a_body_shorter_than_announced_cuts_the_connection() -> None:
    world = World()
    world.start(headers=LENGTH_3)
    with pytest.raises(AppError, match="shorter than its content-length: 1 bytes"):
        world.body(b"ab")

    assert world.exchange.phase is Phase.BROKEN
    assert not world.exchange.keep_alive
    assert world.lane.broken_count == 1
    assert world.lane.done_count == 0
    with pytest.raises(AppError, match="BROKEN; legal: nothing"):
        world.body(b"c")


# --- trailers, hints --------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
def test_trailers_end_a_chunked_body(wanted: bool) -> None:
    world = World(accepts_trailers=wanted)
    world.start(trailers=True)
    world.body(b"abc")
    assert world.lane.done_count == 0
    world.trailers([(b"a", b"1")], more=True)
    world.trailers([(b"b", b"2")])

    section = b"a: 1\r\nb: 2\r\n" if wanted else b""
    assert world.wire.endswith(b"chunked\r\n\r\n3\r\nabc\r\n0\r\n" + section + b"\r\n")
    assert world.lane.done_count == 1


def test_trailers_that_cannot_be_sent_are_dropped() -> None:
    world = World(accepts_trailers=True)
    world.start(headers=LENGTH_3, trailers=True)
    world.body(b"abc")
    assert world.exchange.phase is Phase.TRAILERS
    world.trailers([(b"a", b"1")])

    assert world.wire == OK + b"content-length: 3\r\n\r\nabc"
    assert world.lane.done_count == 1


def test_a_trailer_that_may_not_be_one_is_refused() -> None:
    world = World()
    world.start(trailers=True)
    world.body(b"abc")

    with pytest.raises(AppError, match="may not be sent as a trailer"):
        world.trailers([(b"content-length", b"1")])


@pytest.mark.parametrize("started", [True, False])
def test_hints_go_before_the_head(started: bool) -> None:
    world = World()
    if started:
        world.start()
    world.send(type="http.response.early_hint", links=[b"<a>"])

    assert world.lane.wire == b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n"
    assert world.lane.flush_count > 0


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_hints_that_cannot_be_sent_are_dropped(version: str) -> None:
    world = World(version=version)
    if version == "1.1":
        world.start()
        world.body(b"abc", more=True)
    before = world.lane.wire
    world.send(type="http.response.early_hint", links=[b"<a>"])

    assert world.lane.wire == before


def test_hints_without_links_are_a_mistake() -> None:
    with pytest.raises(AppError, match="early_hint has no links"):
        World().send(type="http.response.early_hint")


# --- messages that are wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "http.response.push"}, "sent 'http.response.push'; legal in an HTTP response"),
        ({"type": "websocket.send"}, "sent 'websocket.send'"),
        ({"status": 200}, "sent 'a message without type'"),
        ({"type": []}, "legal in an HTTP response"),
        (None, "sent a NoneType where a dict belongs"),
        ("http.response.start", "sent a str where a dict belongs"),
    ],
)
def test_a_message_of_no_known_type_is_refused(message: Any, said: str) -> None:
    with pytest.raises(AppError) as refusal:
        Call(World().exchange.send(message)).go()

    assert said in str(refusal.value)


def test_a_start_without_status_is_refused() -> None:
    with pytest.raises(AppError, match="has no status"):
        World().send(type="http.response.start")


@pytest.mark.parametrize("body", ["text", None, 3, [b"x"]])
@pytest.mark.parametrize("done", [True, False])
def test_a_body_that_is_not_bytes_is_refused(body: Any, done: bool) -> None:
    world = World()
    world.start()
    if done:
        world.body()

    with pytest.raises(AppError, match="body must be bytes, not"):
        world.body(body)


def test_extra_keys_are_ignored() -> None:
    world = World()
    world.start(extra=1)
    world.send(type="http.response.body", body=b"abc", extra=1)

    assert world.exchange.phase is Phase.DONE


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (["body"], "WAITING; legal: http.response.start or http.response.early_hint"),
        (["trailers"], "WAITING; legal: http.response.start"),
        (["start", "start"], "HEAD_HELD; legal: http.response.body"),
        (["start", "trailers"], "HEAD_HELD; legal: http.response.body"),
        (["start", "part", "start"], "STREAMING; legal: http.response.body"),
        (["start", "part", "trailers"], "STREAMING; legal: http.response.body"),
        (["start_with_trailers", "body", "body"], "TRAILERS; legal: http.response.trailers"),
        (["start_with_trailers", "body", "start"], "TRAILERS; legal: http.response.trailers"),
    ],
)
def test_a_message_out_of_turn_is_refused_by_name(steps: list[str], said: str) -> None:
    world = World()
    do: dict[str, Callable[[], None]] = {
        "start": world.start,
        "start_with_trailers": lambda: world.start(trailers=True),
        "part": lambda: world.body(b"x", more=True),
        "body": lambda: world.body(b"x"),
        "trailers": world.trailers,
    }
    for step in steps[:-1]:
        do[step]()

    with pytest.raises(AppError) as refusal:
        do[steps[-1]]()

    assert said in str(refusal.value)


def test_after_the_end_every_message_is_nothing() -> None:
    world = World()
    world.start()
    world.body(b"abc")
    before = world.lane.wire
    world.start(500)
    world.body(b"more")
    world.trailers()
    world.send(type="http.response.early_hint", links=[])
    world.send(type="serval.body_limit", bytes=1)

    assert world.lane.wire == before
    assert world.lane.done_count == 1
    assert world.lane.limits == []
    assert world.exchange.status == 200


# --- back-pressure and loss -------------------------------------------------------------------


def test_send_waits_while_the_client_reads_too_slowly() -> None:
    world = World()
    world.start()
    world.lane.congested = True
    call = Call(world.exchange.send({"type": "http.response.body", "body": b"x"}))

    assert call.waits()
    assert call.go() is None


@pytest.mark.parametrize("begun", [True, False])
def test_sending_to_a_lost_client_raises_an_oserror(begun: bool) -> None:
    world = World()
    if begun:
        world.start()
        world.body(b"x", more=True)
    world.exchange.peer_lost()

    for attempt in (world.start, world.body, world.trailers):
        with pytest.raises(ClientDisconnected):
            attempt()
    assert isinstance(ClientDisconnected(), OSError)


@pytest.mark.parametrize("headers", [[], LENGTH_3])
@pytest.mark.parametrize("trailers", [True, False])
def test_a_loss_that_shows_in_the_last_write_is_no_end(headers: Any, trailers: bool) -> None:
    world = World()
    world.start(headers=headers, trailers=trailers)
    world.body(b"a", more=True)
    world.lane.when_flushed = world.exchange.peer_lost
    world.body(b"bc")

    assert world.exchange.phase is Phase.LOST
    assert world.lane.done_count == 0
    assert world.lane.broken_count == 0


def test_a_loss_that_shows_in_a_body_that_is_cut_is_no_end() -> None:
    world = World()
    world.start(headers=LENGTH_3)
    world.lane.when_flushed = world.exchange.peer_lost
    with pytest.raises(AppError, match="longer"):
        world.body(b"abcd", more=True)

    assert world.exchange.phase is Phase.LOST


# --- bodies that nobody read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_bytes", "expecting", "keep_alive"),
    [
        (DISCARD_BYTES, False, True),
        (DISCARD_BYTES + 1, False, False),
        (None, False, True),
        (10, True, False),
    ],
)
def test_a_connection_is_kept_if_little_is_left_of_the_request(
    left_bytes: int | None, expecting: bool, keep_alive: bool
) -> None:
    length = None if left_bytes is None else left_bytes + 5
    world = upload(content_length=length, expect_continue=expecting)
    if not expecting:
        world.exchange.body_received(b"12345")
    world.start(headers=LENGTH_3)
    world.body(b"abc")

    assert world.exchange.keep_alive is keep_alive
    assert (b"connection: close" in world.wire) is not keep_alive


# --- the application ends ---------------------------------------------------------------------


class Base(BaseException):
    """What no application should raise."""


ERRORS = [None, ValueError("x"), Base(), ExceptionGroup("g", [ValueError("x")])]
LEAVINGS = [
    ClientDisconnected(),
    ExceptionGroup("g", [ClientDisconnected(), ExceptionGroup("h", [ClientDisconnected()])]),
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("held", [True, False])
def test_an_end_without_response_is_a_500(error: BaseException | None, held: bool) -> None:
    world = World()
    if held:
        world.start(headers=LENGTH_3, trailers=True)
    ending = world.exchange.app_ended(error)

    verb = "returned" if error is None else "raised"
    assert ending == (f"app {verb} without a response", False)
    assert world.wire.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert world.wire.endswith(b"connection: close\r\n\r\nInternal Server Error")
    assert world.exchange.status == 500
    assert world.exchange.response_headers == ()
    assert world.exchange.phase is Phase.DONE


def test_a_500_for_head_has_no_body() -> None:
    world = World(b"HEAD")
    world.exchange.app_ended(None)

    assert world.wire.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("phase", [Phase.STREAMING, Phase.TRAILERS])
def test_an_end_in_mid_response_cuts_it(error: BaseException | None, phase: Phase) -> None:
    world = World()
    world.start(trailers=True)
    world.body(b"x", more=phase is Phase.STREAMING)
    ending = world.exchange.app_ended(error)

    verb = "returned" if error is None else "raised"
    assert ending == (f"app {verb} in mid-response", False)
    assert world.exchange.phase is Phase.BROKEN
    assert world.lane.broken_count == 1
    assert not world.wire.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("error", "said"), [(None, ""), (ValueError(), "app raised after its")])
def test_an_end_after_the_response_is_the_applications_own(
    error: BaseException | None, said: str
) -> None:
    world = World()
    world.start()
    world.body()
    ending = world.exchange.app_ended(error)

    assert ending.fault.startswith(said)
    assert not ending.excused
    assert world.lane.broken_count == 0


def test_an_end_after_a_broken_response_breaks_nothing_more() -> None:
    world = World()
    world.start(headers=LENGTH_3)
    with pytest.raises(AppError) as refusal:
        world.body(b"a")
    ending = world.exchange.app_ended(refusal.value)

    assert ending == ("app raised after its response was cut short", False)
    assert world.lane.broken_count == 1


@pytest.mark.parametrize("error", [None, *LEAVINGS])
def test_an_application_that_ends_with_its_lost_client_did_nothing_wrong(
    error: BaseException | None,
) -> None:
    world = World()
    world.exchange.peer_lost()
    with pytest.raises(ClientDisconnected):
        world.start()
    ending = world.exchange.app_ended(error)

    assert ending.fault == ""
    assert world.lane.wire == b""


def test_an_error_after_the_loss_is_mentioned_and_excused() -> None:
    world = World()
    world.exchange.peer_lost()
    world.receive()

    assert world.exchange.app_ended(ValueError()) == ("app raised after its client had left", True)


def test_an_error_of_one_that_did_not_know_of_the_loss_is_not_excused() -> None:
    world = World()
    world.exchange.peer_lost()

    ending = world.exchange.app_ended(ExceptionGroup("g", [ClientDisconnected(), ValueError()]))

    assert ending == ("app raised after its client had left", False)


@pytest.mark.parametrize("error", [None, ValueError(), *LEAVINGS])
@pytest.mark.parametrize("begun", [True, False])
def test_an_application_that_ends_because_its_client_left_gives_it_up(
    error: BaseException | None, begun: bool
) -> None:
    world = World()
    if begun:
        world.start()
        world.body(b"x", more=True)
    before = world.lane.wire
    world.exchange.peer_left()
    assert world.receive()["type"] == "http.request"
    assert world.receive()["type"] == "http.disconnect"
    ending = world.exchange.app_ended(error)

    assert ending.excused
    assert bool(ending.fault) is isinstance(error, ValueError)
    assert world.lane.wire == before
    assert world.exchange.lost
    assert world.lane.broken_count == 1


def test_a_client_that_left_still_gets_an_answer_from_one_that_was_not_told() -> None:
    world = World()
    world.exchange.peer_left()
    ending = world.exchange.app_ended(ValueError())

    assert ending == ("app raised without a response", False)
    assert world.exchange.status == 500


@pytest.mark.parametrize("error", [None, ValueError(), *LEAVINGS])
def test_a_dismissed_application_that_ends_answers_503(error: BaseException | None) -> None:
    world = World()
    world.exchange.dismiss()
    world.receive()
    world.receive()
    ending = world.exchange.app_ended(error)

    assert ending.excused
    assert world.exchange.status == 503
    assert world.wire.endswith(b"Service Unavailable")


def test_a_dismissed_stream_that_ends_is_cut() -> None:
    world = World()
    world.start()
    world.body(b"x", more=True)
    world.exchange.dismiss()
    world.receive()
    world.receive()

    assert world.exchange.app_ended(None) == ("", True)
    assert world.exchange.phase is Phase.BROKEN
    assert world.lane.broken_count == 1


# --- an answer in the application's stead -----------------------------------------------------


def test_a_refusal_answers_where_nothing_was_sent() -> None:
    world = upload()
    world.start()  # held back, and dropped
    world.exchange.refuse(413, "too large")

    assert world.wire.startswith(b"HTTP/1.1 413 ")
    assert world.wire.endswith(b"connection: close\r\n\r\ntoo large")
    assert world.receive() == {"type": "http.disconnect"}
    world.body(b"ignored")
    assert world.exchange.app_ended(ValueError()).excused


def test_a_refusal_cuts_what_was_begun_and_nobody_is_blamed() -> None:
    world = upload()
    world.start()
    world.body(b"x", more=True)
    world.exchange.refuse(413, "too large")

    assert world.lane.broken_count == 1
    with pytest.raises(ClientDisconnected):
        world.body(b"y")
    assert world.exchange.app_ended(ClientDisconnected()) == ("", True)


def test_a_refusal_after_the_end_changes_nothing() -> None:
    world = World()
    world.start()
    world.body()
    before = world.lane.wire
    world.exchange.refuse(408, "too late")

    assert world.lane.wire == before
    assert world.lane.broken_count == 0


def test_framing_is_known_to_the_lane() -> None:
    world = World(version="1.0")
    world.start()
    world.body(b"x", more=True)

    assert world.exchange.framing is Framing.CLOSE
