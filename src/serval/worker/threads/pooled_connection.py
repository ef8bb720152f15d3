"""An HTTP connection that any thread of a pool may serve, one at a time.

Whoever has claimed it from the pool owns it, and nobody else touches it, until it is
released or closed.  Only `expired`, `leave`, `drain`, `disconnect` and `abort` are called by the
main thread without a claim; they find out who has it.
"""

import math
import select
import socket
import time
from abc import abstractmethod
from contextlib import suppress
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from serval.asgi.types import Address, Scope
from serval.lifecycle import Lane
from serval.protocols.events import RequestReceived
from serval.worker.connections.socket_connection import Selector, SocketConnection
from serval.worker.connections.wire import State
from serval.worker.deadlines import Wait
from serval.worker.poller import BROKEN, READ
from serval.worker.service import Service


class Seat(Selector, Protocol):
    """A thread, as the connections that it serves see it.

    The main thread calls these for a connection that it cannot claim, since the thread has.
    """

    def expired(self, connection: "PooledConnection", wait: Wait, *, late: bool) -> None:
        """A wait of the connection is over."""

    def disconnect(self, connection: "PooledConnection") -> None:
        """Tell the application that its client is gone."""

    def abort(self, connection: "PooledConnection") -> None:
        """Cancel what runs, as far as it can be."""


class Owner(Protocol):
    """The pool, as its connections see it."""

    @property
    def front(self) -> Service:
        """The service of the main thread."""

    @property
    def desk(self) -> Seat:
        """The seat of those that wait."""

    def claim(self, connection: "PooledConnection") -> bool:
        """Own a connection that waits; False where somebody else owns it."""

    def release(self, connection: "PooledConnection") -> None:
        """Own it no more."""

    def forget(self, sock: socket.socket) -> None:
        """Watch its socket no more."""

    def retry(self, connection: "PooledConnection", wait: Wait) -> None:
        """Look again soon at a wait that is over.  Main thread."""

    @property
    def is_awaited(self) -> bool:
        """Whether a connection that ends should be told of, by `came_further`."""

    def came_further(self) -> None:
        """It has ended."""


class Overtime(NamedTuple):
    """A wait that is over, but for bytes that lie unread.

    Attributes:
        began_at: When that was seen, and every time that it was seen anew.
        received_bytes: How much of the connection's input had been read by then.
    """

    began_at: float
    received_bytes: int


_NONE: Final = Overtime(-math.inf, 0)
# What can be waited for by sending a little now and then.
_OF_BYTES: Final = (Wait.HEAD, Wait.BODY)


class PooledConnection(SocketConnection):
    """A connection whose socket waits in the pool's poller while nobody serves it.

    Attributes:
        fd: The socket's descriptor, also once it is closed.
        threads: The pool.
        seat: Who serves it, or did last.
        is_housed: Its socket is watched by its seat alone, for as long as the application runs.
    """

    __slots__ = ("_lives_on", "_overtime", "fd", "is_housed", "seat", "threads")

    lane: ClassVar[Lane] = "thread"

    def __init__(
        self,
        threads: Owner,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
        tls: dict[str, Any] | None = None,
    ) -> None:
        self.threads = threads
        self.fd = sock.fileno()
        self.seat = threads.desk
        self.is_housed = False
        self._lives_on = True
        self._overtime = _NONE
        super().__init__(threads.desk, sock, client, server, scheme=scheme, tls=tls)

    @property
    def keep_alive(self) -> bool:
        """Whether another request will be taken after the running one."""
        return self._lives_on and self.service.keeps_alive

    @keep_alive.setter
    def keep_alive(self, lives_on: bool) -> None:
        self._lives_on = lives_on

    @abstractmethod
    def serve(self, seat: Seat, bits: int) -> None:
        """The socket is ready for what `bits` say; the seat's thread has claimed it."""

    @property
    def sock(self) -> socket.socket:
        """The socket."""
        return self._sock

    @property
    def is_ending(self) -> bool:
        """Whether it was told that the server stops."""
        return self._ending

    @property
    def is_passed_over(self) -> bool:
        """Whether no thread has come to it yet, though there is something to read.  Any thread."""
        return (
            self.seat is self.threads.desk
            and self.state is not State.CLOSED
            and self._polled(select.POLLIN)
        )

    @property
    def interest(self) -> int:
        """What the socket is to be watched for."""
        return self._interest

    def sit(self, seat: Seat) -> None:
        """Be served by that thread from now on."""
        self.seat = self._worker = seat
        self.service = seat.service

    # By the main thread, without a claim.

    def expired(self, wait: Wait, *, late: bool) -> None:
        """A wait of this connection has lasted as long as it may."""
        if self.threads.claim(self):
            self.sit(self.threads.desk)
            self._end_wait_unserved(wait)
            self.threads.release(self)
        elif self.state is not State.CLOSED:
            self.seat.expired(self, wait, late=late)

    def _end_wait_unserved(self, wait: Wait) -> None:
        """The same, for one that waits for a thread.

        Where every thread is busy, what the peer has sent lies unread.  It is looked at again once
        a thread has read that.  Then its time is over, though more may lie there: who sends a byte
        now and then would be waited for again and again.
        """
        queue = self.service.sweeper.deadlines[wait]
        if wait not in _OF_BYTES or self._wait is not wait or self in queue:
            self.end_wait(wait, late=True)
            return
        now, received_bytes = time.monotonic(), self.parser.received_bytes
        before = self._overtime
        is_over = (
            now - before.began_at < queue.seconds  # else that was another wait
            and received_bytes > before.received_bytes
        )
        self.end_wait(wait, late=not is_over)
        if self in queue:
            queue.stop(self)
            self._overtime = Overtime(now, received_bytes)
            self.threads.retry(self, wait)

    def leave(self) -> None:
        """Nothing to do: the pool tells the services."""

    def drain(self) -> None:
        """Take no request after those already read; close if there is none."""
        if self.threads.claim(self):
            self.sit(self.threads.desk)
            self.threads.release(self)  # which looks at its service

    def disconnect(self) -> None:
        """Tell the running application that its client is gone, though it may not be."""
        self.seat.disconnect(self)

    def abort(self) -> None:
        """Cancel the running application and end the connection."""
        if self.threads.claim(self):
            self.sit(self.threads.desk)
            self.drop()
        else:
            self.seat.abort(self)

    def unblock(self) -> None:
        """Let whoever waits for the peer wait no more: reading and writing end."""
        with suppress(OSError):  # it is closed already, or the peer has
            # Not SSLSocket's: that ends the encryption first, while a thread may be sending.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    # By whoever has claimed it.

    def end_wait(self, wait: Wait, *, late: bool) -> None:
        """Do what follows from the end of a wait, unless it is not waited for any more.

        The sweep and the thread that serves the connection may cross: what was waited for has come
        by the time at which we are asked, and may even be waited for anew.
        """
        awaited = self.congested if wait is Wait.WRITE else self._wait is wait
        if awaited and self not in self.service.sweeper.deadlines[wait]:
            super().expired(wait, late=late)
        if self._wait is None and self.state is State.IDLE:
            self._wait_for(Wait.KEEP_ALIVE)  # its bytes are in the socket; a thread will come

    def drain_here(self) -> None:
        """The same as `drain`, by its owner."""
        super().drain()

    def disconnect_here(self) -> None:
        """The same as `disconnect`, by its owner."""
        super().disconnect()

    def abort_here(self) -> None:
        """The same as `abort`, by its owner."""
        super().abort()

    def _ready_for(self, bits: int) -> None:
        # An end that is told without bytes may be that of another connection, which had the same
        # descriptor when the poller spoke and was closed by the main thread since.
        if bits & BROKEN and not bits & READ and not self._is_broken():
            bits &= ~BROKEN
        super()._ready_for(bits)

    def _is_broken(self) -> bool:
        return self._polled(0)

    def _polled(self, interest: int) -> bool:
        """Whether that is so by now, or the peer is gone; nothing is read."""
        poll = select.poll()
        poll.register(self.fd, interest)
        return bool(poll.poll(0))

    def _take_late_bytes(self) -> bool:
        """Whether there is something to read; whoever is woken by it will."""
        try:
            return bool(socket.socket.recv(self._sock, 1, socket.MSG_PEEK))  # TLS or not
        except self._not_ready:
            return False
        except OSError:
            return False

    def _watch(self, interest: int) -> None:
        if self.is_housed:
            super()._watch(interest)
        elif self.state is not State.CLOSED:
            self._interest = interest  # until it is released

    def _close_wire(self, *, reset: bool) -> None:
        threads = self.threads
        threads.forget(self._sock)
        super()._close_wire(reset=reset)
        if threads.is_awaited:
            threads.came_further()

    def _hand_over(self, request: RequestReceived, scope: Scope) -> None:
        self.threads.forget(self._sock)
        super()._hand_over(request, scope)
