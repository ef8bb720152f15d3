"""One HTTP request and its response: the application's two callables, and how they end.

Pure but for two waits, which the lane supplies: the exchange turns the application's messages into
bytes (`asgi/response_side.py`) and its connection's events into messages (`asgi/request_side.py`).
Made by `worker/connections/connection.py`, one per request.
"""

from collections.abc import Callable
from typing import Final

from serval.asgi.disconnects import only_disconnects
from serval.asgi.extensions import EXTENSIONS, is_extension, take_extension
from serval.asgi.http_messages import (
    BROKEN,
    DONE,
    HEAD_HELD,
    LOST,
    NOT_BEGUN,
    WHEN_OVER,
    Ending,
    unknown,
)
from serval.asgi.lane import NO_LANE, Lane
from serval.asgi.request_side import Peer
from serval.asgi.response_side import ResponseSide
from serval.asgi.types import Message
from serval.protocols.events import RequestReceived
from serval.protocols.response import response_head
from serval.protocols.response_defaults import HeadEnds

_FAILED: Final = (500, "Internal Server Error")
_STOPPING: Final = (503, "Service Unavailable")


class Exchange(ResponseSide):
    """One request and its response.

    `receive` and `send` are the application's; the other public methods are the lane's.

    Attributes:
        cause: Why somebody else than the application or its client has ended the response.
    """

    # Defaults on the class: an exchange is made for every request, and most of these never change.
    cause = ""
    _refused = False  # somebody else has ended the response

    def __init__(
        self,
        request: RequestReceived,
        lane: Lane,
        defaults: HeadEnds,
        *,
        plain: bool = False,
    ) -> None:
        self.request = request
        self._lane = lane
        self.defaults = defaults
        if plain:
            if request.content_length:
                self.received_bytes = request.content_length
        else:
            self._read(request)
            self.keep_alive = request.keep_alive
            self._plain = (
                request.complete
                and request.method != b"HEAD"
                and (request.http_version == "1.1" or not request.keep_alive)
            )

    async def send(self, message: Message) -> None:
        """Take a message of the application; waits while the client reads too slowly.

        Raises:
            AppError: The message is malformed or out of turn.
            ClientDisconnected: The client is gone (ASGI HTTP 2.4).
        """
        take: Callable[[Exchange, Message], None] | None
        try:
            take = _TAKE[message["type"]]
        except (KeyError, TypeError):
            if not is_extension(message):
                raise unknown(message, (*_TAKE, *EXTENSIONS)) from None
            take = None
        if take is None:
            await take_extension(self, self._lane, message)
        else:
            take(self, message)
        if self._lane.congested:
            await self._lane.writable()

    # The end of the application, told by the lane.

    def app_ended(self, error: BaseException | None) -> Ending:
        """The application has returned, or raised `error`: end the response if it did not."""
        excused = self._refused or (self._told and self.phase is not DONE)
        if error is not None and self._told and only_disconnects(error):
            error = None
        if self._is_over:
            when = WHEN_OVER[self.phase]
            return Ending("" if error is None else f"app raised {when}", excused)
        if excused and self._peer is Peer.LEFT:
            # It ended because its client did; whether that still reads, nobody can tell.
            self._give_up()
        elif self.phase in NOT_BEGUN:
            # What was held back is dropped: a response that was never begun can still be another.
            self._answer(*(_STOPPING if excused else _FAILED))
        else:
            self._break()
        if excused:
            return Ending("" if error is None else "app raised once it was told to end", True)
        verb = "returned" if error is None else "raised"
        where = "in mid-response" if self.phase is BROKEN else "without a response"
        return Ending(f"app {verb} {where}", False)

    def part(self) -> None:
        """Forget the lane, which goes on to another request; the response is complete."""
        self._lane = NO_LANE

    def refuse(self, status: int, text: str, cause: str = "") -> None:
        """Answer in the application's stead, if it has not begun to; else cut it short."""
        self.cause = cause
        if self.phase in NOT_BEGUN:
            self._answer(status, text)
        elif not self._is_over:
            self._give_up()
        self._told = self._refused = True

    def _give_up(self) -> None:
        self.phase = LOST
        self.keep_alive = False
        self._lane.break_off()

    def _answer(self, status: int, text: str) -> None:
        self._plain = self.keep_alive = False
        self._trailers = None
        self.status = status
        self.response_headers = ()
        self._head = response_head(status, ((b"content-type", b"text/plain; charset=utf-8"),))
        self.phase = HEAD_HELD
        self._body({"body": text.encode()})


_TAKE: Final[dict[str, Callable[[Exchange, Message], None]]] = {
    "http.response.start": Exchange._start,
    "http.response.body": Exchange._body,
    "http.response.trailers": Exchange._trailer,
    "http.response.early_hint": Exchange._hint,
}
