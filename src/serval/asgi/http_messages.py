"""The messages of an HTTP application: which may come when, and what is said of the others.  Pure.

`asgi/exchange.py` decides with it; a WebSocket's messages are in `asgi/websocket_messages.py`.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from serval.errors import AppError


class Phase(Enum):
    """How far the response has come."""

    WAITING = auto()
    HEAD_HELD = auto()  # status known, nothing on the wire before the first body message
    STREAMING = auto()
    FILE = auto()  # a file is on its way, of which nobody else may be in the middle
    TRAILERS = auto()  # the body is complete, the trailer section is not
    DONE = auto()
    BROKEN = auto()  # ended in a way that the client can see is not the end
    LOST = auto()  # the client was gone, or given up, before the end


# Read on every request: a global is cheaper than a member of an enum (CPython 3.11: by 40 ns).
WAITING: Final = Phase.WAITING
HEAD_HELD: Final = Phase.HEAD_HELD
STREAMING: Final = Phase.STREAMING
DONE: Final = Phase.DONE
BROKEN: Final = Phase.BROKEN
LOST: Final = Phase.LOST

# Phases in which nothing more goes to the client, and what is said of errors in them.
WHEN_OVER: Final = {
    Phase.DONE: "after its response",
    Phase.BROKEN: "after its response was cut short",
    Phase.LOST: "after its client had left",
}
NOT_BEGUN: Final = frozenset((Phase.WAITING, Phase.HEAD_HELD))

_LEGAL: Final[dict[Phase, Iterable[str]]] = {
    Phase.WAITING: ("http.response.start", "http.response.early_hint"),
    Phase.HEAD_HELD: ("http.response.body", "http.response.early_hint"),
    Phase.STREAMING: ("http.response.body",),
    Phase.FILE: ("whatever follows, once the file is sent",),
    Phase.TRAILERS: ("http.response.trailers",),
}


class Ending(NamedTuple):
    """How an application ended.

    Attributes:
        fault: What was wrong, for the log; empty where nothing was.
        excused: It ended because it was told that nobody waits for it any more.
    """

    fault: str
    excused: bool


def out_of_turn(message: object, phase: Phase) -> AppError:
    """What is said of a message that the phase does not allow."""
    legal = " or ".join(_LEGAL.get(phase, ())) or "nothing"
    return AppError(f"app sent {_type_of(message)} in phase {phase.name}; legal: {legal}")


def unknown(message: object, known: Iterable[str]) -> AppError:
    """What is said of a message of no type that an HTTP response has."""
    return AppError(f"app sent {_type_of(message)}; legal in an HTTP response: {', '.join(known)}")


def as_bytes(body: Any) -> bytes:
    """A body that is of no plain `bytes`, as such.

    Raises:
        AppError: It is of no type that holds bytes.
    """
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise AppError(f"body must be bytes, not {type(body).__name__}: {body!r:.60}")


def _type_of(message: object) -> str:
    if isinstance(message, dict):
        return repr(message.get("type", "a message without type"))
    return f"a {type(message).__name__} where a dict belongs"
