"""The two directions of a connection and its end: queues, back-pressure, waits; no HTTP.

`worker/connections/connection.py` speaks on it; the lanes supply the socket or the transport.  Only
the thread of the service's loop may call in.
"""

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from contextlib import suppress
from enum import Enum, auto
from itertools import count
from typing import Any, ClassVar, Final, Protocol

from serval.asgi.lane import OpenFile
from serval.asgi.types import Address
from serval.lifecycle import ConnectionClosed, ConnectionOpened, Lane
from serval.worker.connections.files import open_file
from serval.worker.deadlines import Wait
from serval.worker.service import Service

# Unsent bytes beyond which an application's `send` waits for the peer, and queued ones beyond
# which they are sent without waiting for the end of the turn.
HIGH_WATER_BYTES: Final = 65_536

# SO_LINGER switched on with zero seconds: `close` sends RST (socket(7)).
_NO_LINGER: Final = struct.pack("ii", 1, 0)

_ids = count(1)


class HasOptions(Protocol):
    """A socket, or what stands for the one of a transport."""

    def setsockopt(self, level: int, name: int, value: bytes, /) -> None:
        """Set an option."""


def abandon(sock: HasOptions) -> None:
    """Let the peer see an error (RST) once the socket is closed, not an end."""
    with suppress(OSError):  # EINVAL: the peer was quicker
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


class State(Enum):
    """How far a connection has come on its way to its end."""

    OPEN = auto()  # in the middle of a request, or serving it; as it begins
    IDLE = auto()  # between two requests, with nothing read of the next
    HELD = auto()  # a request was read and waits for a thread
    DISCARDING = auto()  # the response is out, the rest of the request is read and dropped
    LINGERING = auto()  # our side is closed; the peer gets time to read what we said
    CLOSING = auto()  # closed as soon as what is queued has been sent
    CLOSED = auto()


class Wire(ABC):
    """A connection as bytes.

    Attributes:
        client: The peer's address, None where it has none.
        server: Our address.
        scheme: "http" or "https".
        congested: The peer reads too slowly; `writable` waits.
        corked: Whoever set it will flush.
        connection_id: Its number in this process.
        opened_at: When it came, in the time of the loop.
    """

    __slots__ = (
        "_eof",
        "_flush_scheduled",
        "_out",
        "_out_bytes",
        "_reading",
        "_unread_bytes",
        "_wait",
        "_writable",
        "client",
        "congested",
        "connection_id",
        "corked",
        "opened_at",
        "scheme",
        "server",
        "service",
        "state",
    )

    lane: ClassVar[Lane]

    def __init__(
        self,
        service: Service,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
    ) -> None:
        self.service = service
        self.client = client
        self.server = server
        self.scheme = scheme
        self.state = State.OPEN
        self.congested = False
        self.connection_id = next(_ids)
        self.opened_at = service.loop.time()
        self.corked = False
        self._flush_scheduled = False
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._reading = True
        self._eof = False  # the end of the peer's input has been read
        self._unread_bytes = 0  # by the peer, when the wait for it to read began
        self._wait: Wait | None = None
        self._writable: asyncio.Event | None = None
        service.opened(self)
        if service.journal.lifecycle is not None:
            service.journal.tell(
                ConnectionOpened(self.connection_id, self.lane, service.loop.time())
            )

    # What a lane supplies.

    @abstractmethod
    def flush(self) -> None:
        """Give what is queued in `_out` to the socket, as far as it takes it."""

    @abstractmethod
    def _set_reading(self, reading: bool) -> None:
        """Let bytes of the peer come in, or stay where they are."""

    @abstractmethod
    def _shut_output(self) -> None:
        """Tell the peer that nothing more will come, and go on reading."""

    @abstractmethod
    def _close_wire(self, *, reset: bool) -> None:
        """Close the socket for good; with `reset`, so that the peer sees an error."""

    @abstractmethod
    def _unread(self) -> int:
        """How many bytes of what was sent the peer has not taken yet."""

    @abstractmethod
    def _take_late_bytes(self) -> bool:
        """Read once without waiting; whether there was anything to read."""

    # What the protocol supplies.

    @abstractmethod
    def expired(self, wait: Wait, *, late: bool) -> None:
        """A wait of this connection has lasted as long as it may.

        Args:
            late: The loop was held up, so that the peer's bytes may lie unread.
        """

    @abstractmethod
    def leave(self) -> None:
        """The server stops soon: let the next response be the last."""

    @abstractmethod
    def drain(self) -> None:
        """The server stops: take nothing new."""

    @abstractmethod
    def disconnect(self) -> None:
        """The server stops: tell the application that its client is gone."""

    @abstractmethod
    def abort(self) -> None:
        """The server stops: cancel the application."""

    @abstractmethod
    def _closed(self) -> None:
        """The connection is closed; wake who waits for it."""

    # Output.

    def write(self, data: bytes) -> None:
        """Send bytes: at the end of the turn, or at once when they are many."""
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= HIGH_WATER_BYTES and not self._gathers():
            self.flush()
        elif not self.corked and not self._flush_scheduled:
            self._flush_scheduled = True
            self.service.turn.ends_for(self)

    def _gathers(self) -> bool:
        """Whether what is queued, many bytes, may wait for the end of the turn all the same."""
        return False

    def turn_over(self) -> None:
        """The end of a turn in which something was written."""
        self._flush_scheduled = False
        if self.service.date_is_stale:
            self.service.renew_date()
        self.flush()

    def queue(self, data: bytes) -> None:
        """Keep bytes for the next flush."""
        self._out.append(data)
        self._out_bytes += len(data)

    async def open_file(self, source: Any) -> OpenFile:
        """Open what an application names: a path, a descriptor, or an object with one.

        Raises:
            AppError: It cannot be opened.
        """
        return await open_file(source)

    async def send_from(self, file: OpenFile, offset: int, count: int) -> int:
        """Send some of those bytes, after what is queued; how many, or 0 at the end of the file.

        Raises:
            AppError: They cannot be read.
        """
        data = await file.read(offset, count)
        if self.state is State.CLOSED:  # while it came from the disk
            return 0
        if data:
            self.write(data)
            if self.congested:
                await self.writable()
            elif len(data) < count:
                await asyncio.sleep(0)  # others have their turn
        return len(data)

    async def writable(self) -> None:
        """Wait until the peer has read what was written, or is gone."""
        while self.congested:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()

    def _expect_progress(self) -> None:
        """Wait for the peer to read, from now on."""
        self._unread_bytes = self._unread()
        self.service.sweeper.start(Wait.WRITE, self)

    def _all_sent(self) -> None:
        """What had to wait for the peer to read has left."""
        self.service.sweeper.stop(Wait.WRITE, self)
        self._uncongested()
        if self.state is State.CLOSING:
            self.drop()
        elif self.state is State.LINGERING:
            self._shut_output()

    def _uncongested(self) -> None:
        self.congested = False
        event, self._writable = self._writable, None
        if event is not None:
            event.set()

    # Input.

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._set_reading(False)

    def _resume_reading(self) -> None:
        if not self._reading and not self._eof and self.state is not State.CLOSED:
            self._reading = True
            self._set_reading(True)

    def _wait_for(self, wait: Wait | None) -> None:
        """Wait for that from the peer, and for nothing else, from now on."""
        sweeper = self.service.sweeper
        if self._wait is not wait:
            if self._wait is not None:
                sweeper.stop(self._wait, self)
            self._wait = wait
        if wait is not None:
            sweeper.start(wait, self)

    # The end.

    def _linger(self) -> None:
        """Close our side and let the peer read: an answer must not be lost to a reset."""
        if self._eof:  # nothing can come that would be answered by one
            self.close()
            return
        self.state = State.LINGERING
        self._wait_for(Wait.LINGER)
        self.flush()
        if self.state is State.LINGERING:
            if not self._out:
                self._shut_output()
            self._resume_reading()

    def close(self) -> None:
        """Close the connection after what is queued has been sent."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSING
        self.flush()
        if not self._has_unsent():
            self.drop()

    def _has_unsent(self) -> bool:
        """Whether the socket has not taken everything yet."""
        return bool(self._out)

    def drop(self, *, reset: bool = False) -> None:
        """Close the connection now; what is not yet sent is lost.

        Args:
            reset: Let the peer see an error (RST), not an end.
        """
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._unread_bytes = 0  # no progress is expected of it: a sweep may be on its way here
        self._out.clear()
        self._wait_for(None)
        self.service.sweeper.stop(Wait.WRITE, self)
        self._uncongested()
        self._closed()
        self._close_wire(reset=reset)
        self.service.closed(self)
        if self.service.journal.lifecycle is not None:
            at = self.service.loop.time()
            self.service.journal.tell(ConnectionClosed(self.connection_id, self.lane, at))

    def _detach(self) -> bool:
        """Leave the socket, open, to another owner; False where it is closed already."""
        if self.state is State.CLOSED:
            return False
        self._wait_for(None)
        self.state = State.CLOSED
        self.service.closed(self)
        return True
