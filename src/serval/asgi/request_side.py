"""The request's side of an exchange: its body, its client, and what `receive` makes of them.  Pure.

The half of `asgi/exchange.py` that hears; the other half speaks.
"""

from enum import Enum, auto
from typing import Final

from serval.asgi.http_messages import BROKEN, DONE, LOST, NOT_BEGUN, Phase
from serval.asgi.lane import Lane
from serval.asgi.types import Message
from serval.errors import AppError
from serval.protocols.events import RequestReceived
from serval.protocols.response import CONTINUE


class Input(Enum):
    """How far the request body has come."""

    ARRIVING = auto()
    COMPLETE = auto()  # all here, the end of it not yet told to the application
    DELIVERED = auto()


class Peer(Enum):
    """What is known of the client's sending side."""

    PRESENT = auto()
    DISMISSED = auto()  # is there, but the server stops: the application is told that it left
    LEFT = auto()  # sends no more; it may still read


# Read on every request: a global is cheaper than a member of an enum (CPython 3.11: by 40 ns).
ARRIVING: Final = Input.ARRIVING
COMPLETE: Final = Input.COMPLETE
DELIVERED: Final = Input.DELIVERED
PRESENT: Final = Peer.PRESENT

# How often an application may ask for more after it was told that there is none: far above what
# several tasks of it, each of which wants to know, will ever need.
FAREWELL_COUNT: Final = 1000


class RequestSide:
    """What comes from the client.

    Attributes:
        request: The request's head.
        input: How far its body has come.
        phase: How far the response has come.
        received_bytes: Body bytes so far.
    """

    # Defaults on the class: an exchange is made for every request, and most of these never change.
    request: RequestReceived
    _lane: Lane
    phase = Phase.WAITING
    input = Input.COMPLETE
    received_bytes = 0
    _peer = Peer.PRESENT
    _chunks: list[bytes] | None = None
    _continue_due = False
    _farewell_count = 0
    _told = False  # the application knows that it need not go on

    # The application's.

    async def receive(self) -> Message:
        """The next message for the application; waits where there is none."""
        while True:
            phase = self.phase
            if phase is DONE or phase is LOST or phase is BROKEN or self._told:
                self._told = self._told or phase is LOST
                return self._farewell()
            if self.input is COMPLETE:
                self.input = DELIVERED
                return {"type": "http.request", "body": self._take_body(), "more_body": False}
            if self._chunks:
                body = self._take_body()
                self._lane.body_wanted()
                return {"type": "http.request", "body": body, "more_body": True}
            if self.input is ARRIVING and self._peer is PRESENT:
                self._ask_for_body()
                if self._lane.read_on():
                    continue
            if self._peer is not PRESENT:  # writing 100 Continue may have shown it
                self._told = True
            else:
                await self._lane.input_changed()

    # The lane's.

    def body_received(self, data: bytes) -> None:
        """More of the request body has come."""
        self.received_bytes += len(data)
        self._continue_due = False  # it sends without being told to
        if self._chunks is not None and self.phase is not DONE and not self._told:
            self._chunks.append(data)

    def body_ended(self) -> None:
        """The request body is complete."""
        self.input = COMPLETE

    def peer_left(self) -> None:
        """The client sends no more: tell the application that it is gone."""
        self._peer = Peer.LEFT

    def dismiss(self) -> None:
        """The server stops: tell the application that its client is gone."""
        if self._peer is PRESENT:
            self._peer = Peer.DISMISSED

    def peer_lost(self) -> None:
        """The connection is gone: the client neither sends nor reads."""
        self._peer = Peer.LEFT
        if not self._is_over:
            self.phase = LOST

    @property
    def lost(self) -> bool:
        """Whether the client can read no more."""
        return self.phase is LOST

    @property
    def awaits_continue(self) -> bool:
        """Whether the client may keep its body back until it is told to send it."""
        return self._continue_due

    @property
    def buffered_bytes(self) -> int:
        """Body bytes that the application has not taken."""
        return sum(map(len, self._chunks)) if self._chunks else 0

    # Inside.

    def _read(self, request: RequestReceived) -> None:
        self.received_bytes = len(request.body)
        if not request.complete:
            self.input = ARRIVING
            self._chunks = []
            self._continue_due = request.expect_continue

    @property
    def _is_over(self) -> bool:
        phase = self.phase
        return phase is DONE or phase is LOST or phase is BROKEN

    def _farewell(self) -> Message:
        """Say that nothing more comes; an application that asks for ever would not let others run.

        Raises:
            AppError: It has been told often enough.
        """
        self._farewell_count += 1
        if self._farewell_count > FAREWELL_COUNT:
            raise AppError(
                f"app was told http.disconnect {FAREWELL_COUNT} times and still calls receive"
            )
        return {"type": "http.disconnect"}

    def _take_body(self) -> bytes:
        chunks = self._chunks
        if chunks is None:
            return self.request.body
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return body

    def _ask_for_body(self) -> None:
        if self._continue_due:
            self._continue_due = False
            if self.phase in NOT_BEGUN:
                self._lane.write(CONTINUE)
                self._lane.flush()
        self._lane.body_wanted()
