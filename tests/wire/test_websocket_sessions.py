"""Sessions under random peers and random applications: what goes out is always a WebSocket."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from serval.asgi.websocket import WebSocketSession
from serval.asgi.websocket_limits import SessionLimits
from serval.errors import AppError, ClientDisconnected
from serval.protocols.frames import MessageLimits
from serval.protocols.handshake import Offer
from serval.protocols.response_defaults import ResponseDefaults

OFFER = Offer(accept=b"token", subprotocols=["chat"], extensions=[])
LIMITS = SessionLimits(
    messages=MessageLimits(message_bytes=100, fragment_count=3), queue_count=2, queue_bytes=50
)
DEFAULTS = ResponseDefaults(lambda: 0.0)


def frame(first_byte: int, payload: bytes) -> bytes:
    return bytes((first_byte, 0x80 | len(payload), 0, 0, 0, 0)) + payload


first_bytes = st.sampled_from([0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0x83])
wire = st.one_of(
    st.builds(frame, first_bytes, st.binary(max_size=125)),
    st.builds(frame, st.just(0x81), st.text(max_size=20).map(str.encode)),
    st.builds(frame, st.just(0x88), st.sampled_from([b"", b"\x03\xe8bye", b"\x03\xee"])),
    st.binary(max_size=10),
)
# 1014 is registered, but younger than the client that reads it here.
close_codes = st.integers(900, 5100).filter(lambda code: code != 1014)
messages: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("websocket.accept")},
        optional={
            "subprotocol": st.sampled_from([None, "chat", "other", 5]),
            "headers": st.sampled_from([[], [(b"a", b"b")], [(b"a\r\n", b"b")], [(b"a", "b")], 5]),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("websocket.send")},
        optional={"text": st.text() | st.none(), "bytes": st.binary() | st.none() | st.text()},
    ),
    st.fixed_dictionaries(
        {"type": st.just("websocket.close")},
        optional={"code": close_codes | st.none(), "reason": st.text() | st.none()},
    ),
    st.fixed_dictionaries(
        {"type": st.just("websocket.http.response.start"), "status": st.integers(90, 1000)}
    ),
    st.fixed_dictionaries(
        {"type": st.just("websocket.http.response.body")},
        optional={"body": st.binary(max_size=9), "more_body": st.booleans()},
    ),
    st.sampled_from([None, {}, {"type": "http.response.start", "status": 200}]),
)
steps = st.one_of(
    wire.map(lambda data: ("receive_data", data)),
    wire.map(lambda data: ("receive_data", data)),
    messages.map(lambda message: ("send", message)),
    messages.map(lambda message: ("send", message)),
    st.just(("next_message", None)),
    st.just(("parse", None)),
    st.sampled_from(
        ["congest", "writable", "ping", "shut_down", "fail", "eof", "return", "raise"]
    ).map(lambda name: (name, None)),
)


def congest(session: WebSocketSession) -> None:
    session.congested = True


STEPS: dict[str, Callable[[WebSocketSession, Any], Any]] = {
    "receive_data": lambda session, data: session.receive_data(data),
    "send": lambda session, message: session.send(message),
    "next_message": lambda session, _: session.next_message(),
    "parse": lambda session, _: session.parse(),
    "congest": lambda session, _: congest(session),
    "writable": lambda session, _: session.writable(),
    "ping": lambda session, _: session.ping(b"x"),
    "shut_down": lambda session, _: session.shut_down(1012),
    "fail": lambda session, _: session.fail_for_fault() if session.fault_due else b"",
    "eof": lambda session, _: session.receive_eof(),
    "return": lambda session, _: session.app_ended(raised=False),
    "raise": lambda session, _: session.app_ended(raised=True),
}


def take(session: WebSocketSession, step: str, given: Any) -> bytes:
    """What must be sent because of a step."""
    out = STEPS[step](session, given)
    return out if isinstance(out, bytes) else b""


def check_frames(data: bytes) -> None:
    """What a client reads: valid frames, the close frame last."""
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(data)
    frames = list(client.received_frames())
    closes = [at for at, one in enumerate(frames) if one.opcode is Opcode.CLOSE]
    assert closes in ([], [len(frames) - 1])
    assert sum(2 + length(one.payload) for one in frames) <= len(data)


def length(payload: bytes | str | tuple[int, str]) -> int:
    if isinstance(payload, tuple):
        return 0
    return len(payload.encode()) if isinstance(payload, str) else len(payload)


@given(st.booleans(), st.lists(steps, max_size=25))
@settings(max_examples=600, deadline=None)
def test_whatever_happens_a_client_can_read_what_is_sent(
    accepting: bool, taken: list[tuple[str, Any]]
) -> None:
    session = WebSocketSession(OFFER, LIMITS, DEFAULTS)
    out = session.send({"type": "websocket.accept"}) if accepting else b""

    for step, value in taken:
        with suppress(AppError, ClientDisconnected):
            out += take(session, step, value)

    head, separator, frames = out.partition(b"\r\n\r\n")
    assert bool(out) is bool(separator)
    if head.startswith(b"HTTP/1.1 101 "):
        check_frames(frames)
    else:
        assert session.status == (int(head[9:12]) if out else session.status)


@given(st.lists(st.tuples(wire, st.booleans()), max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_message_is_lost_or_changed_between_the_peer_and_the_application(
    sent: list[tuple[bytes, bool]],
) -> None:
    fast, slow = (WebSocketSession(OFFER, LIMITS, DEFAULTS) for _ in range(2))
    patient: list[Any] = []
    eager: list[Any] = []
    for session in (fast, slow):
        session.next_message()
        session.send({"type": "websocket.accept"})

    for data, also_slow in sent:
        fast.receive_data(data)
        slow.receive_data(data)
        drain(fast, eager)
        if also_slow:
            take_one(slow, patient)
    for session, told in ((fast, eager), (slow, patient)):
        session.receive_eof()
        drain(session, told)

    assert patient == eager


def take_one(session: WebSocketSession, told: list[Any]) -> bool:
    """Whether there was a message, and none was the last."""
    if told and told[-1]["type"] == "websocket.disconnect":
        return False
    message = session.next_message()
    if message is None:
        return False
    told.append(message)
    session.parse()
    return True


def drain(session: WebSocketSession, told: list[Any]) -> None:
    while take_one(session, told):
        pass
