"""The exchange of a WSGI application: its response by calls, its request's body by waiting.

What a message of ASGI says, a call says here; how the response is framed is the same.  The thread
that has claimed the connection calls, as all that the application does happens on it.
"""

import os
import stat
from typing import Any, Final, Protocol

from serval.asgi.exchange import Exchange
from serval.asgi.http_messages import Phase
from serval.asgi.lane import Lane
from serval.asgi.request_side import Input
from serval.errors import AppError
from serval.protocols.response_framing import Framing
from serval.worker.threads.overdue import Overdue
from serval.wsgi import Given

# A file up to this size is sent together with its head.
SMALL_FILE_BYTES: Final = 65_536


class WsgiLane(Lane, Protocol):
    """A connection that may wait for its peer."""

    @property
    def can_send_files(self) -> bool:
        """Whether the kernel can send a file as it is."""

    def read_more(self, exchange: "WsgiExchange") -> None:
        """Wait for more of the request's body."""

    def push(self, exchange: "WsgiExchange") -> None:
        """Send what is queued, to the last byte."""

    def send_file(self, exchange: "WsgiExchange", fd: int, offset: int, size: int) -> int:
        """Send so much of a file, and return how much there was of it."""


class WsgiExchange(Exchange):
    """An exchange whose application answers by calls that return when the client has its bytes.

    Attributes:
        overdue: Who answers, where the time is limited.
    """

    _lane: WsgiLane
    _given: Given | None = None
    overdue: Overdue | None = None
    _is_parted = False

    @property
    def has_begun(self) -> bool:
        """Whether the client may have seen some of the response."""
        return self.phase is not Phase.WAITING

    # The request.

    def take_body(self) -> bytes:
        """The whole body, which has arrived."""
        self.input = Input.DELIVERED
        return self._take_body()

    def next_piece(self) -> bytes:
        """Wait for more of the body; b"" at its end."""
        while not self._chunks:
            if self.input is not Input.ARRIVING:
                return b""
            if self.overdue is None:
                self._ask_for_body()
            else:
                with self.overdue.lock:
                    self.overdue.check()
                    self._ask_for_body()
            self._lane.read_more(self)
        return self._take_body()

    # The response.

    def start(self, given: Given) -> None:
        """Hold a head; called again, hold another instead, or nothing where it is sent."""
        self._given = given

    def part(self) -> None:
        """Forget the connection, which goes on to another request; the response is complete."""
        super().part()
        self._is_parted = True
        self.input = Input.DELIVERED

    def write(self, data: bytes) -> None:
        """Send a part of the body; returns when it is on its way."""
        if self._is_parted:
            return
        first = self._begin_response()
        self._check_end(data)
        last = first and self._head.content_length == len(data)
        self._body({"body": data, "more_body": not last})
        if not last:
            self._lane.push(self)

    def finish(self, data: bytes = b"") -> None:
        """Send the last part of the body; what the socket does not take, leaves without us."""
        self._begin_response()
        if self.phase is Phase.DONE:
            self._check_end(data)
        else:
            self._body({"body": data, "more_body": False})

    def write_file(self, file: Any) -> bool:
        """Send all that is left of a file as the body; False, with nothing sent, if it can't be."""
        if not self._lane.can_send_files or self.has_begun:
            return False
        try:
            fd = file.fileno()
            status = os.fstat(fd)
            offset = file.tell()
        except (AttributeError, OSError):  # no file of the system's
            return False
        size = status.st_size - offset
        if not stat.S_ISREG(status.st_mode) or size <= SMALL_FILE_BYTES:
            return False
        self._begin_response()
        self._lane.queue(self._framed_head(self._head, size, False))
        self.phase = Phase.STREAMING
        if self.framing is not Framing.NONE:
            sent = self._lane.send_file(self, fd, offset, min(size, self._left_bytes))
            self.sent_bytes += sent
            self._left_bytes -= sent
        self._body_complete()
        return True

    def _check_end(self, data: bytes) -> None:
        """Refuse what comes after the whole of an announced body.

        Raises:
            AppError: There is something.
        """
        is_ours = self._given is not None and self._given.status == self.status  # and no 413, say
        if (
            data
            and is_ours
            and self.phase is Phase.DONE
            and self.framing is Framing.LENGTH
            and self.request.method != b"HEAD"
        ):
            raise AppError(f"body is longer than its content-length: {len(data)} bytes cut off")

    def _begin_response(self) -> bool:
        """Take what `start` was given for what the application says; whether that was now."""
        if self.phase is not Phase.WAITING or self._given is None:
            return False
        if self.overdue is not None:
            self.overdue.begin()
        self.status, _, self.response_headers, self._head = self._given
        self.phase = Phase.HEAD_HELD
        return True
