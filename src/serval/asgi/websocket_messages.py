"""The states and messages of a WebSocket session: which is legal when, what is in it.  Pure.

`asgi/websocket.py` asks; every refusal is an `AppError` that comes out of the application's `send`.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Final

from serval.asgi.types import Message
from serval.errors import AppError
from serval.protocols.frames import CloseCode, sendable_code


class Phase(Enum):
    """How far the application has come."""

    CONNECTING = auto()  # the handshake is not answered
    DENIAL_HELD = auto()  # status of a denial known, nothing on the wire before the first body
    DENYING = auto()
    OPEN = auto()
    CLOSED = auto()  # by the application: it may send no more


class Line(Enum):
    """How far the connection has come."""

    UP = auto()
    CLOSING = auto()  # our close frame is out, the peer's is awaited
    ENDING = auto()  # all is said; what the peer still sends is dropped, until it closes
    DOWN = auto()  # both sides have said all: the transport may close
    CUT = auto()  # a response ended early: the transport must break off, not end


# A global costs a third of a member of an enum; these are looked at for each message.
OPEN: Final = Phase.OPEN
UP: Final = Line.UP


class Sent(Enum):
    """A message of the application."""

    ACCEPT = "websocket.accept"
    SEND = "websocket.send"
    CLOSE = "websocket.close"
    DENY = "websocket.http.response.start"
    PART = "websocket.http.response.body (more_body=True)"
    LAST = "websocket.http.response.body"


NEXT: Final = {
    (Phase.CONNECTING, Sent.ACCEPT): Phase.OPEN,
    (Phase.CONNECTING, Sent.CLOSE): Phase.CLOSED,
    (Phase.CONNECTING, Sent.DENY): Phase.DENIAL_HELD,
    (Phase.DENIAL_HELD, Sent.PART): Phase.DENYING,
    (Phase.DENIAL_HELD, Sent.LAST): Phase.CLOSED,
    (Phase.DENYING, Sent.PART): Phase.DENYING,
    (Phase.DENYING, Sent.LAST): Phase.CLOSED,
    (Phase.OPEN, Sent.SEND): Phase.OPEN,
    (Phase.OPEN, Sent.CLOSE): Phase.CLOSED,
}


# What an application leaves undone that ends in a phase, for the log.
UNFINISHED: Final = {
    Phase.CONNECTING: "app returned without an answer to the handshake",
    Phase.DENIAL_HELD: "app returned in the middle of its denial",
    Phase.DENYING: "app returned in the middle of its denial",
}


def after(phase: Phase, sent: Sent) -> Phase:
    """The phase that follows.

    Raises:
        AppError: The message is out of turn; names what would have been legal.
    """
    found = NEXT.get((phase, sent))
    if found is None:
        legal = " or ".join(s.value for p, s in NEXT if p is phase) or "nothing"
        raise AppError(f"app sent {sent.value} in phase {phase.name}; legal: {legal}")
    return found


def sent_of(message: Message) -> Sent:
    """What the application says.

    Raises:
        AppError: It is no message of a WebSocket session.
    """
    try:
        kind = message["type"]
        if kind == "websocket.http.response.body":
            return Sent.PART if message.get("more_body", False) else Sent.LAST
        return _BY_TYPE[kind]
    except (KeyError, TypeError):
        legal = ", ".join(_BY_TYPE)
        raise AppError(
            f"app sent {_type_of(message)}; legal in a WebSocket session: {legal}"
        ) from None


_BY_TYPE: Final = {sent.value: sent for sent in Sent if sent is not Sent.PART}


def _type_of(message: object) -> str:
    if isinstance(message, dict):
        return repr(message["type"]) if "type" in message else "a message without type"
    return f"a {type(message).__name__} where a dict belongs"


def data_of(message: Message) -> str | bytes:
    """What a `websocket.send` carries.

    Raises:
        AppError: Not exactly one of `text` and `bytes` is there, or it has the wrong type.
    """
    text = message.get("text")
    data = message.get("bytes")
    if text is None and data is None:
        raise AppError("websocket.send has neither bytes nor text")
    if text is not None and data is not None:
        raise AppError("websocket.send has both bytes and text; one of them must be None")
    if isinstance(text, str):
        return text
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    key, value = ("text", text) if data is None else ("bytes", data)
    raise AppError(f"{key} of websocket.send is of type {type(value).__name__}: {value!r:.60}")


def header_pairs(message: Message) -> list[tuple[bytes, bytes]]:
    """The headers of a message; what is in the pairs is not checked.

    Raises:
        AppError: They are not pairs.
    """
    headers: Iterable[Any] = message.get("headers") or ()
    try:
        return [(name, value) for name, value in headers]
    except (TypeError, ValueError):
        raise AppError(f"headers must be pairs of bytes, not {headers!r:.60}") from None


def subprotocol_of(message: Message) -> str | None:
    """The subprotocol that a `websocket.accept` chooses.

    Raises:
        AppError: It is not text.
    """
    subprotocol = message.get("subprotocol")
    if isinstance(subprotocol, str | None):
        return subprotocol
    raise AppError(f"subprotocol of websocket.accept must be a str, not {subprotocol!r:.60}")


def close_of(message: Message) -> tuple[int, str]:
    """Code and reason of a `websocket.close`.

    Raises:
        AppError: The code may not be sent, or the reason is not text.
    """
    code = message.get("code")
    reason = message.get("reason")
    if not isinstance(reason, str | None):
        raise AppError(f"reason of websocket.close must be a str, not {reason!r:.60}")
    return sendable_code(CloseCode.NORMAL if code is None else code), reason or ""
