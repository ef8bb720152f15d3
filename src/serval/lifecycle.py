"""The typed events that a `LifecycleCollector` receives.  Types only.

An embedder passes a collector to watch connections and requests; without one nothing is built
and nothing is called.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Lane: TypeAlias = Literal["sync", "async", "thread"]


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A connection was accepted, or handed to this lane.  `at`: monotonic seconds."""

    connection_id: int
    lane: Lane
    at: float


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A connection has ended, for whatever reason."""

    connection_id: int
    lane: Lane
    at: float


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """The application is about to be called for a request or a WebSocket."""

    connection_id: int
    lane: Lane
    method: str
    path: str
    at: float


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """The response is complete, or has been given up.

    Attributes:
        status: The response status; 499 where the client left before a response began.
        sent_bytes: Bytes of the response body, framing not counted.
        seconds: From the head of the request to the last byte of the response given to the socket.
    """

    connection_id: int
    lane: Lane
    status: int
    sent_bytes: int
    seconds: float
    at: float


LifecycleEvent: TypeAlias = ConnectionOpened | ConnectionClosed | RequestStarted | RequestFinished


class LifecycleCollector(Protocol):
    """Receives events on the thread of the loop that serves the connection; it must not block."""

    def record(self, event: LifecycleEvent) -> None:
        """Take one event; what it raises is logged and dropped."""
