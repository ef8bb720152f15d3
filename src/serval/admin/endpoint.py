"""The admin endpoint's sockets, looked after by the supervisor's loop.

All of them hang on one selector, whose descriptor the loop watches like any other: the loop sleeps
as before, and nothing here ever waits.  What a client can cost is bounded: so many connections, so
many seconds, one small request each.  Supervisor process only.
"""

import logging
import os
import selectors
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Final

from serval.admin.figures import Constants, Figures, figures_of
from serval.admin.routes import Routes
from serval.admin.session import AdminSession
from serval.net.bind import UnixBind
from serval.net.listeners import Listener
from serval.outlook import Outlook, Overseer
from serval.scoreboard import Scoreboard

CONNECTION_SECONDS: Final = 5.0  # from the accept to the end of it; a probe takes milliseconds
CONNECTIONS_COUNT: Final = 32  # the oldest gives way to one more
PAUSE_SECONDS: Final = 1.0  # after an accept failed for want of descriptors
_READ_BYTES: Final = 16_384

_log = logging.getLogger("serval.error")


class _Connection:
    """A client: its request comes in, its response goes out, then we wait for it to close."""

    __slots__ = ("deadline", "outgoing", "session", "sock")

    def __init__(self, sock: socket.socket, session: AdminSession, deadline: float) -> None:
        self.sock = sock
        self.session = session
        self.deadline = deadline
        self.outgoing: memoryview | None = None  # what is left of the response, once there is one

    def advance(self) -> int:
        """Go as far as the socket lets us; return the events to wait for, or 0 at the end."""
        try:
            while self.outgoing is None:
                data = self.sock.recv(_READ_BYTES)
                if not data:
                    return 0
                if response := self.session.receive(data):
                    self.outgoing = memoryview(response)
            return self._send(self.outgoing)
        except BlockingIOError:
            return selectors.EVENT_READ
        except OSError:  # the client is gone
            return 0

    def _send(self, left: memoryview) -> int:
        if not left:  # a close with unread input would reset the connection, and lose the response
            return selectors.EVENT_READ if self.sock.recv(_READ_BYTES) else 0
        try:
            while left:
                left = left[self.sock.send(left) :]
        except BlockingIOError:
            return selectors.EVENT_WRITE
        finally:
            self.outgoing = left
        self.sock.shutdown(socket.SHUT_WR)
        return selectors.EVENT_READ


class AdminEndpoint:
    """A companion of the supervisor's loop that answers questions about the server.

    Args:
        listeners: Its own sockets; whoever opened them closes them.
        served: The application's sockets, to look at their queues.
        constants: What it tells of itself.
        scoreboard: What the workers tell.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        served: Sequence[Listener],
        constants: Constants,
        scoreboard: Scoreboard,
    ) -> None:
        self._listeners = listeners
        self._served = served
        self._constants = constants
        self._scoreboard = scoreboard
        self._selector = selectors.DefaultSelector()
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._paused_until = inf
        self._now = constants.started_at
        self._listen()

    def fileno(self) -> int:
        """Readable when any of its sockets has something for us."""
        return self._selector.fileno()

    @property
    def deadline(self) -> float:
        """When the oldest connection has had its time, or accepting goes on."""
        oldest = next((connection.deadline for connection in self._connections), inf)
        return min(oldest, self._paused_until)

    def turn(self, overseer: Overseer, now: float) -> None:
        """Serve whoever is ready."""
        self._now = now
        if now >= self._paused_until:
            self._paused_until = inf
            self._listen()
        for key, _ in self._selector.select(0):
            if isinstance(key.data, _Connection):
                # An accept in this very batch may have made it give way.
                if key.data in self._connections:
                    self._advance(key.data)
            else:
                self._accept(key.data, overseer)
        for connection in [one for one in self._connections if one.deadline <= now]:
            self._drop(connection)

    def close_in_child(self) -> None:
        """Close everything; in the parent it all goes on."""
        for connection in self._connections:
            connection.sock.close()
        for listener in self._listeners:
            listener.sock.close()
        self._selector.close()

    def close(self) -> None:
        """End what is left; the listeners are closed by whoever opened them."""
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()

    def _listen(self) -> None:
        for listener in self._listeners:
            self._selector.register(listener.sock, selectors.EVENT_READ, listener)

    def _accept(self, listener: Listener, overseer: Overseer) -> None:
        try:
            sock, _ = listener.sock.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it was quicker to leave
            return
        except OSError as exc:  # out of descriptors or memory; level-triggered, it would spin
            _log.warning("the admin endpoint cannot accept: %s", exc.strerror)
            for one in self._listeners:
                self._selector.unregister(one.sock)
            self._paused_until = self._now + PAUSE_SECONDS
            return
        sock.setblocking(False)
        if len(self._connections) >= CONNECTIONS_COUNT:
            self._drop(next(iter(self._connections)))
        routes = Routes(
            overseer,
            partial(self._gather, overseer.outlook),
            may_act=isinstance(listener.bind, UnixBind),
        )
        connection = _Connection(sock, AdminSession(routes.answer), self._now + CONNECTION_SECONDS)
        self._connections[connection] = None
        self._selector.register(sock, selectors.EVENT_READ, connection)
        self._advance(connection)

    def _advance(self, connection: _Connection) -> None:
        try:
            events = connection.advance()
        except Exception:  # a defect here must not end the supervisor
            _log.exception("the admin endpoint failed")
            events = 0
        if events:
            self._selector.modify(connection.sock, events, connection)
        else:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        del self._connections[connection]
        self._selector.unregister(connection.sock)
        connection.sock.close()

    def _gather(self, outlook: Callable[[], Outlook]) -> Figures:
        queues = [
            (listener.address, depth)
            for listener in self._served
            if (depth := queue_depth(listener.sock)) is not None
        ]
        return figures_of(self._constants, outlook(), self._scoreboard, queues, self._now)


def queue_depth(sock: socket.socket) -> int | None:
    """How many connections wait to be accepted; None where the kernel does not say."""
    if sys.platform != "linux" or sock.fileno() < 0 or sock.family == socket.AF_UNIX:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    # Of a listening socket, tcpi_unacked is the length of the queue (net/ipv4/tcp.c).
    return int.from_bytes(info[_UNACKED], sys.byteorder)


_TCP_INFO_BYTES: Final = 28
_UNACKED: Final = slice(24, 28)  # behind eight bytes and four words, linux/tcp.h


def own_constants(version: str, app: str, now: float, wall_seconds: float) -> Constants:
    """What this process tells of itself."""
    return Constants(
        version=version,
        app=app,
        pid=os.getpid(),
        started_at=now,
        started_unix_seconds=round(wall_seconds, 3),
    )
