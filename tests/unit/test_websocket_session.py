import zlib
from typing import Any

import pytest
from client_frames import client_frame, close, text

from serval.asgi.websocket import WebSocketSession
from serval.asgi.websocket_limits import EARLY_BYTES, TURN_COUNT, SessionLimits
from serval.asgi.websocket_messages import Line, Phase
from serval.errors import AppError, ClientDisconnected, PeerError
from serval.protocols.frames import MessageLimits
from serval.protocols.handshake import ExtensionOffer, Offer
from serval.protocols.response_defaults import ResponseDefaults

DEFAULTS = ResponseDefaults(lambda: 0.0, date=False, server=False)
OFFER = Offer(
    accept=b"token",
    subprotocols=["chat"],
    extensions=[ExtensionOffer(b"permessage-deflate", [])],
)
CONNECT = {"type": "websocket.connect"}


def received(data: str | bytes) -> dict[str, Any]:
    if isinstance(data, str):
        return {"type": "websocket.receive", "bytes": None, "text": data}
    return {"type": "websocket.receive", "bytes": data, "text": None}


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def connecting(**limits: Any) -> WebSocketSession:
    session = WebSocketSession(OFFER, SessionLimits(**limits), DEFAULTS)
    assert session.next_message() == CONNECT
    return session


def opened(**limits: Any) -> WebSocketSession:
    session = connecting(**{"deflate": False, **limits})
    session.send({"type": "websocket.accept"})
    assert session.next_message() is None
    return session


# The handshake.


def test_the_application_is_first_told_of_the_connection() -> None:
    session = WebSocketSession(OFFER, SessionLimits(), DEFAULTS)

    assert session.next_message() == CONNECT
    assert session.next_message() is None


def test_accepting_answers_the_handshake_and_opens() -> None:
    session = connecting()

    out = session.send(
        {"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"x", b"y")]}
    )

    assert out == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: token\r\nsec-websocket-protocol: chat\r\n"
        b"sec-websocket-extensions: permessage-deflate; server_max_window_bits=12\r\n"
        b"x: y\r\n\r\n"
    )
    assert (session.phase, session.line, session.status) == (Phase.OPEN, Line.UP, 101)
    assert session.response_headers == [(b"x", b"y")]


def test_deflate_is_spoken_once_agreed() -> None:
    session = connecting()
    session.send({"type": "websocket.accept"})

    out = session.send({"type": "websocket.send", "text": "x" * 500})

    assert out[0] == 0xC1
    assert zlib.decompressobj(-12).decompress(out[2:] + b"\0\0\xff\xff") == b"x" * 500


def test_a_refused_acceptance_leaves_the_handshake_open() -> None:
    session = connecting()

    with pytest.raises(AppError):
        session.send({"type": "websocket.accept", "headers": [(b"x", b"a\r\nb")]})

    assert session.phase is Phase.CONNECTING
    assert session.send({"type": "websocket.accept"}).startswith(b"HTTP/1.1 101 ")


def test_bytes_that_come_before_the_answer_are_held_and_then_delivered() -> None:
    session = connecting(deflate=False)

    session.receive_data(text("early") + client_frame(0x89, b"p")[:3])
    session.receive_data(client_frame(0x89, b"p")[3:])
    waiting = session.next_message()
    out = session.send({"type": "websocket.accept"})

    assert waiting is None
    assert out.endswith(b"\r\n\r\n\x8a\x01p")
    assert session.next_message() == received("early")


def test_bytes_that_come_before_the_answer_are_bounded() -> None:
    session = connecting()

    session.receive_data(b"x" * (EARLY_BYTES - 1))
    before = session.full
    session.receive_data(b"x")

    assert (before, session.full) == (False, True)


def test_closing_before_accepting_is_a_403() -> None:
    session = connecting()

    out = session.send({"type": "websocket.close", "code": 1000})

    assert out.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert (session.line, session.status) == (Line.ENDING, 403)
    assert session.next_message() == disconnect(1006)


def test_an_upgrade_that_is_no_handshake_is_refused() -> None:
    session = connecting()

    out = session.refuse(PeerError(426, "websocket-version"))

    assert out.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert (session.line, session.status) == (Line.ENDING, 426)


def test_a_denial_is_sent_with_its_first_body() -> None:
    session = connecting()

    head = session.send(
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]}
    )
    first = session.send(
        {"type": "websocket.http.response.body", "body": b"one", "more_body": True}
    )
    phase = session.phase
    last = session.send({"type": "websocket.http.response.body", "body": b"two"})

    assert head == b""
    assert first.startswith(b"HTTP/1.1 401 Unauthorized\r\nx: y\r\n")
    assert last == b"3\r\ntwo\r\n0\r\n\r\n"
    assert phase is Phase.DENYING
    assert (session.phase, session.line, session.status) == (Phase.CLOSED, Line.ENDING, 401)


def test_a_denial_that_breaks_off_cuts_the_connection() -> None:
    session = connecting()
    session.send({"type": "websocket.http.response.start", "status": 401})
    session.send({"type": "websocket.http.response.body", "body": b"one", "more_body": True})

    out = session.app_ended(raised=True)
    session.receive_eof()

    assert out == b""
    assert session.line is Line.CUT


@pytest.mark.parametrize("raised", [True, False])
def test_an_application_that_ends_before_its_answer_is_a_500(raised: bool) -> None:
    session = connecting()

    out = session.app_ended(raised=raised)

    assert out.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert session.status == 500


def test_what_an_application_leaves_undone_has_a_name() -> None:
    session = connecting()

    unanswered = session.unfinished
    session.send({"type": "websocket.http.response.start", "status": 401})
    half_denied = session.unfinished
    session.send({"type": "websocket.http.response.body"})

    assert unanswered == "app returned without an answer to the handshake"
    assert half_denied == "app returned in the middle of its denial"
    assert session.unfinished == ""
    assert opened().unfinished == ""


def test_a_client_that_leaves_before_the_answer_is_told_as_lost() -> None:
    session = connecting()

    session.receive_eof()

    assert session.next_message() == disconnect(1006)
    assert session.cause == "client left"
    with pytest.raises(ClientDisconnected):
        session.send({"type": "websocket.accept"})
    assert session.send({"type": "websocket.close"}) == b""
    assert session.app_ended(raised=False) == b""
    assert session.status == 0


# Messages.


def test_messages_go_both_ways() -> None:
    session = opened()

    session.receive_data(text("a") + client_frame(0x82, b"b"))
    out = [
        session.send({"type": "websocket.send", "text": "c"}),
        session.send({"type": "websocket.send", "bytes": b"d"}),
    ]

    assert [session.next_message(), session.next_message()] == [received("a"), received(b"b")]
    assert session.next_message() is None
    assert out == [b"\x81\x01c", b"\x82\x01d"]


def test_text_of_a_type_derived_from_str_is_text() -> None:
    class Text(str):
        __slots__ = ()

    assert opened().send({"type": "websocket.send", "text": Text("a")}) == b"\x81\x01a"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": "\ud800"},
        {"type": "websocket.accept"},
        {"type": "nonsense"},
        {},
    ],
)
def test_a_wrong_message_is_refused_and_the_session_goes_on(message: dict[str, Any]) -> None:
    session = opened()

    with pytest.raises(AppError):
        session.send(message)

    assert session.send({"type": "websocket.send", "text": "on"}) == b"\x81\x02on"


def test_the_queue_is_bounded_by_count_and_parsing_goes_on_when_there_is_room() -> None:
    session = opened(queue_count=2)

    session.receive_data(b"".join(text(str(number)) for number in range(4)))
    session.receive_data(text("4"))
    full = session.full
    taken = []
    for _ in range(5):
        taken.append(session.next_message())
        session.parse()

    assert full
    assert taken == [received(str(number)) for number in range(5)]
    assert not session.full


def test_the_queue_is_bounded_by_bytes() -> None:
    session = opened(queue_bytes=10)

    session.receive_data(text("12345") + client_frame(0x82, b"67890"))
    full = session.full
    session.next_message()
    session.next_message()
    session.parse()

    assert full
    assert not session.full


def test_pings_are_answered_at_once() -> None:
    session = opened()

    assert session.receive_data(client_frame(0x89, b"a") + client_frame(0x8A)) == b"\x8a\x01a"


def test_pings_of_a_peer_that_does_not_read_are_answered_once() -> None:
    session = opened()
    session.congested = True

    held = session.receive_data(b"".join(client_frame(0x89, b"%d" % n) for n in range(9)))

    assert held == b""
    assert session.writable() == b"\x8a\x018"
    assert session.writable() == b""


def test_a_pong_that_is_due_when_the_line_goes_down_is_dropped() -> None:
    session = opened()
    session.congested = True
    session.receive_data(client_frame(0x89) + close(1000))

    assert session.writable() == b""


def test_we_ping_only_an_open_session() -> None:
    assert connecting().ping(b"x") == b""
    session = opened()
    assert session.ping(b"x") == b"\x89\x01x"
    session.receive_eof()
    assert session.ping(b"x") == b""


@pytest.mark.parametrize(
    "flood",
    [
        client_frame(0x89) * TURN_COUNT * 3,
        client_frame(0x8A) * TURN_COUNT * 3,
        client_frame(0x01) + client_frame(0x00) * TURN_COUNT * 3 + client_frame(0x80),
    ],
)
def test_a_flood_of_frames_is_taken_in_several_turns(flood: bytes) -> None:
    session = opened()

    session.receive_data(flood + text("behind"))
    turns = 1
    while session.behind:
        assert session.full
        session.receive_data(client_frame(0x8A))
        session.parse()
        turns += 1

    assert turns >= 3
    assert not session.full
    (last,) = (message for message in iter(session.next_message, None) if message["text"])
    assert last == received("behind")


def test_a_flood_does_not_hide_the_peers_close() -> None:
    session = opened()
    session.send({"type": "websocket.close"})

    session.receive_data(text("dropped") * TURN_COUNT * 2 + close(1000))
    while session.behind:
        session.parse()

    assert session.line is Line.DOWN


def test_a_queue_that_fills_ends_the_turn() -> None:
    session = opened(queue_count=TURN_COUNT * 2)

    session.receive_data(text("a") * TURN_COUNT * 2)
    behind = session.behind
    session.parse()

    assert (behind, session.behind, session.full) == (True, False, True)


# The end.


@pytest.mark.parametrize(
    ("frame", "told", "answer"),
    [
        (close(4000, b"bye"), disconnect(4000, "bye"), b"\x88\x02\x0f\xa0"),
        (client_frame(0x88), disconnect(1005), b"\x88\x00"),
    ],
)
def test_the_peers_close_is_answered_and_told(
    frame: bytes, told: dict[str, Any], answer: bytes
) -> None:
    session = opened()

    out = session.receive_data(text("last") + frame)

    assert out == answer
    assert session.line is Line.DOWN
    assert [session.next_message() for _ in range(3)] == [received("last"), told, told]
    with pytest.raises(ClientDisconnected):
        session.send({"type": "websocket.send", "text": "x"})
    assert session.send({"type": "websocket.close"}) == b""
    with pytest.raises(ClientDisconnected):
        session.send({"type": "websocket.close"})
    assert session.app_ended(raised=False) == b""
    assert session.cause == ""


def test_the_applications_close_waits_for_the_peers() -> None:
    session = opened()

    out = session.send({"type": "websocket.close", "code": 4001, "reason": "enough"})
    line = session.line
    waiting = session.next_message()
    answers = session.receive_data(text("ignored") + client_frame(0x89) + close(4001, b"ok"))

    assert out == b"\x88\x08\x0f\xa1enough"
    assert (line, session.line) == (Line.CLOSING, Line.DOWN)
    assert waiting is None
    assert answers == b""
    assert session.next_message() == disconnect(4001, "ok")
    with pytest.raises(ClientDisconnected):
        session.send({"type": "websocket.send", "text": "x"})


def test_a_close_from_both_sides_at_once_ends_the_session() -> None:
    session = opened()
    session.send({"type": "websocket.close"})

    out = session.receive_data(close(1001))

    assert (out, session.line) == (b"", Line.DOWN)


def test_a_close_that_waits_behind_a_full_queue_is_told_although_the_connection_is_gone() -> None:
    session = opened(queue_count=1)
    session.receive_data(text("one") + text("two") + close(4001))
    for _ in range(2):  # its input ends, then the connection
        session.receive_eof()

    told: list[object] = []
    while session.line is Line.DOWN and len(told) < 3:
        told.append(session.next_message())
        session.parse()
    assert told == [received("one"), received("two"), disconnect(4001)]


def test_a_peer_that_never_answers_our_close_is_lost() -> None:
    session = opened()
    session.send({"type": "websocket.close"})

    session.receive_eof()

    assert session.next_message() == disconnect(1006)


@pytest.mark.parametrize(("raised", "code"), [(True, b"\x03\xf3"), (False, b"\x03\xe8")])
def test_an_application_that_ends_closes_the_session(raised: bool, code: bytes) -> None:
    session = opened()

    assert session.app_ended(raised=raised) == b"\x88\x02" + code
    assert session.line is Line.CLOSING
    assert session.app_ended(raised=raised) == b""


def test_an_application_that_closed_and_ends_says_no_more() -> None:
    session = connecting()
    session.send({"type": "websocket.close"})

    assert session.app_ended(raised=False) == b""


def test_a_lost_connection_is_told_after_the_messages_that_came() -> None:
    session = opened(queue_count=1)
    session.receive_data(text("a") + text("b"))

    session.receive_eof()
    told = [session.next_message(), session.parse(), session.next_message(), session.parse()]

    assert told == [received("a"), b"", received("b"), b""]
    assert session.next_message() == disconnect(1006)


def test_a_violation_fails_the_connection_at_once_where_the_application_waits() -> None:
    session = opened()

    out = session.receive_data(b"\x81\x02hi")

    assert out == b"\x88\x11\x03\xeaframe-malformed"
    assert session.line is Line.ENDING
    assert session.receive_data(text("more")) == b""
    session.receive_eof()
    assert session.next_message() == disconnect(1002, "frame-malformed")
    assert session.cause == "frame-malformed"


def test_a_violation_waits_until_what_came_before_it_is_answered() -> None:
    session = opened()

    out = session.receive_data(text("a") + b"\x81\x02hi")
    due = session.fault_due
    message = session.next_message()
    answer = session.send({"type": "websocket.send", "text": "A"})
    waiting = session.next_message()
    failed = session.fail_for_fault()

    assert (out, due, waiting) == (b"", True, None)
    assert message == received("a")
    assert answer == b"\x81\x01A"
    assert failed.startswith(b"\x88\x11\x03\xea")
    assert not session.fault_due


def test_a_violation_while_the_application_is_busy_waits_too() -> None:
    session = opened()
    session.receive_data(text("a"))
    session.next_message()

    assert session.receive_data(b"\x81\x02hi") == b""
    assert session.fault_due
    assert session.full


def test_a_violation_is_told_though_the_peer_has_left_since() -> None:
    due = opened(queue_count=1)
    due.receive_data(text("a") + b"\x81\x02hi")
    unseen = opened(queue_count=1)
    unseen.receive_data(text("a") + text("b") + b"\x81\x02hi")

    told = []
    for session in (due, unseen):
        session.parse()
        session.receive_eof()
        while session.next_message() != disconnect(1002, "frame-malformed"):
            session.parse()
            told.append(session.line)

    assert told == [Line.DOWN] * 3


def test_a_violation_after_our_close_takes_the_line_down() -> None:
    session = opened()
    session.send({"type": "websocket.close"})
    session.next_message()

    assert session.receive_data(b"\x81\x02hi") == b""
    assert session.line is Line.DOWN


def test_a_fault_can_be_told_to_the_application_in_another_way() -> None:
    session = opened()

    out = session.fail(1011, "ping timeout", told_as=1006)

    assert out == b"\x88\x0e\x03\xf3ping timeout"
    assert session.next_message() == disconnect(1006, "ping timeout")
    assert session.cause == "ping timeout"


def test_a_message_over_the_limit_closes_with_1009() -> None:
    session = opened(messages=MessageLimits(message_bytes=3))

    out = session.receive_data(text("four"))

    assert out[:4] == b"\x88\x11\x03\xf1"


def test_a_shutdown_closes_an_open_session_and_hears_the_peers_code() -> None:
    session = opened()

    out = session.shut_down(1012)
    session.receive_data(text("still") + close(4000, b"raced"))

    assert out == b"\x88\x02\x03\xf4"
    assert [session.next_message(), session.next_message()] == [
        received("still"),
        disconnect(4000, "raced"),
    ]
    assert session.shut_down(1012) == b""


def test_a_shutdown_does_not_wait_for_a_full_queue() -> None:
    session = opened(queue_count=1)
    session.receive_data(text("a") + text("b"))

    session.shut_down(1012)
    session.receive_data(close(1012))

    assert session.line is Line.DOWN
    assert [session.next_message(), session.next_message()] == [received("a"), disconnect(1012)]


@pytest.mark.parametrize("held", [True, False])
def test_a_shutdown_before_the_answer_is_a_503(held: bool) -> None:
    session = connecting()
    if held:
        session.send({"type": "websocket.http.response.start", "status": 401})

    out = session.shut_down(1012)

    assert out.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert session.next_message() == disconnect(1012)


def test_a_shutdown_lets_a_denial_finish() -> None:
    session = connecting()
    session.send({"type": "websocket.http.response.start", "status": 401})
    session.send({"type": "websocket.http.response.body", "body": b"one", "more_body": True})

    assert session.shut_down(1012) == b""
    assert session.phase is Phase.DENYING


def test_an_application_can_be_told_of_the_end_before_the_peer_has_answered() -> None:
    session = opened()
    session.shut_down(1012)

    session.disconnect(1012)
    told = session.next_message()
    session.receive_data(close(4000))

    assert told == disconnect(1012)
    assert session.next_message() == disconnect(1012)


def test_the_first_end_is_the_one_that_is_told() -> None:
    session = opened()
    session.receive_data(close(4000))

    session.disconnect(1012)

    assert session.next_message() == disconnect(4000)
    assert session.cause == ""


def test_an_open_session_has_no_cause_of_its_end() -> None:
    assert opened().cause == ""
