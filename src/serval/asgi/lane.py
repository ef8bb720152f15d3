"""What an exchange asks of the connection that it runs on, and what there is in place of one."""

from typing import Any, Final, NoReturn, Protocol

from serval.errors import ClientDisconnected


class OpenFile(Protocol):
    """A regular file that was opened to be sent.

    Attributes:
        fd: Its descriptor.
        size_bytes: Its size.
        position: Where it stood.
    """

    fd: int
    size_bytes: int
    position: int

    def is_at_hand(self, offset: int, count: int) -> bool:
        """Whether those bytes can be read without waiting for the disk."""

    async def fetch(self, offset: int, count: int) -> None:
        """Wait until they can."""

    async def read(self, offset: int, count: int) -> bytes:
        """Some of those bytes; none at the end of the file."""

    def leave_at(self, position: int) -> None:
        """Let the application find it there."""

    def close(self) -> None:
        """Close it, but not the application's own."""


class Lane(Protocol):
    """A connection, as an exchange sees it.

    Attributes:
        congested: The client reads too slowly: `writable` waits.
        corked: The lane runs the application itself and will see that the response is done.
        keep_alive: Another request will be taken after this one.
    """

    congested: bool
    corked: bool
    keep_alive: bool

    def write(self, data: bytes) -> None:
        """Send bytes of the response; they are on their way before the next wait."""

    def queue(self, data: bytes) -> None:
        """Keep bytes for the next `write`, `flush` or `response_done`."""

    def flush(self) -> None:
        """Give the queued bytes to the socket now."""

    async def writable(self) -> None:
        """Wait until the peer has read enough of what was written."""

    async def open_file(self, source: Any) -> OpenFile:
        """Open what an application names: a path, a descriptor, or an object with one."""

    async def send_from(self, file: OpenFile, offset: int, count: int) -> int:
        """Send some of those bytes, after what is queued; how many, or 0 at the end of the file."""

    async def input_changed(self) -> None:
        """Wait until body bytes, the end or the loss of the client were told to the exchange."""

    def body_wanted(self) -> None:
        """The application has taken what was there: read on."""

    def read_on(self) -> bool:
        """The application waits for body bytes: read what is known to lie there, if it may.

        Returns:
            Whether anything was read; it was told to the exchange.
        """

    def limit_body(self, limit_bytes: int) -> None:
        """Take so much of the request's body; 0 for all of it."""

    def response_done(self) -> None:
        """The last byte of the response has been written."""

    def break_off(self) -> None:
        """Close the connection so that the client sees the response is cut short."""

    def fault(self, text: str) -> None:
        """Log a mistake of the application that the response survived."""


class NoLane:
    """In place of the connection once that has gone on: what is still said reaches nobody."""

    __slots__ = ()

    congested = False
    corked = True
    keep_alive = False

    def write(self, data: bytes) -> None:
        """Nothing."""

    queue = write

    def fault(self, text: str) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    body_wanted = response_done = break_off = flush

    def read_on(self) -> bool:
        """The request is over."""
        return False

    def limit_body(self, limit_bytes: int) -> None:
        """The request is over."""

    async def writable(self) -> None:
        """There is nothing to wait for."""

    input_changed = writable

    async def open_file(self, source: Any) -> NoReturn:
        """Nobody would get it."""
        raise ClientDisconnected("the response is over")

    async def send_from(self, file: OpenFile, offset: int, count: int) -> int:
        """Nobody gets it."""
        return 0


NO_LANE: Final = NoLane()
