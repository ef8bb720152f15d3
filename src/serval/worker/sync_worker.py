"""The sync lane: ready sockets in, one `recv`, the application, one `send`.

A SyncWorker's selector is nested in the event loop: its own descriptor is one reader there, and one
callback serves the whole batch of ready connections.  An idle connection costs no task, no thread
and no timer.  Runs on the thread of the service's loop.
"""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Sequence
from typing import ClassVar, Final, Protocol

from serval.asgi.types import Address, Scope
from serval.lifecycle import Lane
from serval.net.addresses import local_address, peer_address
from serval.net.listeners import Listener
from serval.protocols.events import RequestReceived
from serval.worker.async_pool import AsyncPool, WebSocketHandoff
from serval.worker.connection import HttpConnection
from serval.worker.deadlines import Wait
from serval.worker.poller import BROKEN, PEER_SHUT, READ, WRITE, create_poller
from serval.worker.preamble import PreambleDesk
from serval.worker.service import Service
from serval.worker.wire import State

logger = logging.getLogger("serval.error")

# Ready descriptors served, and connections accepted, before the loop's other callbacks run.
BATCH_COUNT: Final = 64
ACCEPT_COUNT: Final = 16
# How much one `recv` takes.  Twice as much would pass malloc's threshold for memory of its own from
# the kernel and cost 10 us in each call (CPython 3.13, glibc 2.36).
RECEIVE_BYTES: Final = 65_536
# Buffers above this are given to the kernel as they are, not joined first.
JOIN_BYTES: Final = 131_072
# The kernel's limit for one `sendmsg` (IOV_MAX).
BUFFERS_COUNT: Final = 1024
# How long accepting rests when descriptors or memory have run out.
ACCEPT_PAUSE_SECONDS: Final = 0.5

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_INPUT: Final = READ | PEER_SHUT
# SO_LINGER switched on with zero seconds: `close` sends RST (socket(7)).
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Admit(Protocol):
    """What takes the sockets that were accepted."""

    def __call__(
        self, sock: socket.socket, client: Address | None, server: Address | None
    ) -> object:
        """Serve a connection between these addresses."""


class Ready(Protocol):
    """What a descriptor in the selector stands for."""

    def ready(self, bits: int) -> None:
        """The descriptor is ready for what `bits` say."""


class SocketConnection(HttpConnection):
    """An HTTP connection on a non-blocking socket in a SyncWorker's selector."""

    __slots__ = ("_interest", "_sock", "_worker")

    lane: ClassVar[Lane] = "sync"

    def __init__(
        self,
        worker: "SyncWorker",
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
    ) -> None:
        self._worker = worker
        self._sock = sock
        self._interest = _INPUT
        super().__init__(worker.service, client, server, scheme=scheme)
        self._wait_for(Wait.HEAD)

    def ready(self, bits: int) -> None:
        """The socket can be read or written, or its peer has gone."""
        if bits == READ:
            self._receive()
            return
        if bits & WRITE:
            self._send_rest()
        if bits & READ:
            self._receive()
        elif bits & BROKEN:
            self.peer_lost()
        elif bits & PEER_SHUT:
            self._watch(self._interest & ~PEER_SHUT)
            self.peer_left()

    def _receive(self) -> bool:
        """Read once; whether there was anything, an end or an error included."""
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self.peer_lost()
            return True
        if data:
            self.data_received(data)
        else:
            self._watch(self._interest & ~_INPUT)
            self.peer_left()
        return True

    _take_late_bytes = _receive

    def flush(self) -> None:
        """Send what is queued, unless the socket is still full from before."""
        out = self._out
        if not out or self._interest & WRITE:
            return
        try:
            if len(out) == 1:
                sent = self._sock.send(out[0])
            elif self._out_bytes <= JOIN_BYTES:
                sent = self._sock.send(b"".join(out))
            else:
                sent = self._sock.sendmsg(out[:BUFFERS_COUNT])
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.peer_lost()
            return
        if sent == self._out_bytes:
            out.clear()
            self._out_bytes = 0
        else:
            self._keep_rest(sent)

    def _keep_rest(self, sent: int) -> None:
        """Keep what the socket did not take until it is writable again."""
        self._out_bytes -= sent
        out = self._out
        whole = 0
        while sent >= len(out[whole]):
            sent -= len(out[whole])
            whole += 1
        del out[:whole]
        out[0] = memoryview(out[0])[sent:]
        self.congested = True
        self._watch(self._interest | WRITE)
        self.service.sweeper.start(Wait.WRITE, self)

    def _send_rest(self) -> None:
        self._watch(self._interest & ~WRITE)
        self.flush()  # watches for WRITE again if that was not all
        if self.state is not State.CLOSED and not self._out:
            self._all_sent()

    def _set_reading(self, reading: bool) -> None:
        # Without PEER_SHUT the peer's end has been read: there is nothing to wait for.
        if reading and self._interest & PEER_SHUT:
            self._watch(self._interest | READ)
        else:
            self._watch(self._interest & ~READ)

    def _watch(self, interest: int) -> None:
        if interest != self._interest and self.state is not State.CLOSED:
            self._interest = interest
            self._worker.poller.modify(self._sock.fileno(), interest)

    def _shut_output(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # ENOTCONN: the peer was quicker
            self.drop()

    def _close_wire(self, *, reset: bool) -> None:
        self._worker.forget(self._sock)
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._sock.close()

    def _hand_over(self, request: RequestReceived, scope: Scope) -> None:
        self._worker.forget(self._sock)
        self._worker.pool.accept_handoff(
            WebSocketHandoff(
                self._sock,
                request,
                self.client or ("", 0),
                self.server or ("", 0),
                scope,
                self.parser.trailing_data,
            )
        )


class AcceptingSocket:
    """A listening socket in a SyncWorker's selector."""

    __slots__ = ("_server", "_worker", "sock")

    def __init__(self, worker: "SyncWorker", listener: Listener) -> None:
        self._worker = worker
        self.sock = listener.sock
        self._server = local_address(self.sock)

    def ready(self, bits: int) -> None:
        """Connections wait to be accepted."""
        for _ in range(ACCEPT_COUNT):
            if not self.accept():
                break

    def accept(self) -> bool:
        """Take one connection; whether there was one."""
        try:
            sock, peer = self.sock.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:  # the client left while it was queued
            return True
        except OSError as error:
            self._worker.accept_failed(error)
            return False
        self._worker.admit(sock, peer_address(peer), self._server or local_address(sock))
        return True


class SyncWorker:
    """Serves plain connections of one service from one selector.

    Args:
        service: What is served; its loop is the one that the selector nests in.
        listeners: Sockets to accept from; shared with other workers.
        pool: Takes the connections that become WebSockets.
    """

    __slots__ = (
        "_listeners",
        "_members",
        "_resting",
        "accepted",
        "admit",
        "poller",
        "pool",
        "service",
    )

    def __init__(self, service: Service, listeners: Sequence[Listener], pool: AsyncPool) -> None:
        self.service = service
        self.pool = pool
        self.poller = create_poller()
        self.accepted = 0
        self.admit: Admit = self.adopt
        if service.config.proxy_protocol != "off":
            self.admit = PreambleDesk(self, service.config, self.adopt).admit
        self._members: dict[int, Ready] = {}
        self._listeners = [AcceptingSocket(self, listener) for listener in listeners]
        self._resting: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to accept and to serve."""
        self._listen()
        self.service.loop.add_reader(self.poller.fileno(), self.turn)

    def turn(self) -> None:
        """Serve one batch of what is ready."""
        members = self._members
        for fd, bits in self.poller.poll(0, BATCH_COUNT):
            # Looked up afresh: an earlier event of this batch may have closed the descriptor, and
            # an accept may have reused its number.
            member = members.get(fd)
            if member is not None:
                member.ready(bits)
        self.service.publish()

    def adopt(
        self,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        data: bytes = b"",
        scheme: str = "http",
    ) -> SocketConnection:
        """Serve a connection; the worker owns the socket from now on.

        Args:
            data: What has been read of it already.
        """
        sock.setblocking(False)
        self.accepted += 1
        connection = SocketConnection(self, sock, client, server, scheme=scheme)
        self.watch(sock, connection)
        if data:
            connection.data_received(data)
        if self.service.draining:
            connection.drain()
        return connection

    def watch(self, sock: socket.socket, member: Ready) -> None:
        """Tell `member` when there is something to read, or the peer has gone."""
        fd = sock.fileno()
        self._members[fd] = member
        self.poller.register(fd, _INPUT)

    def forget(self, sock: socket.socket) -> None:
        """Watch a socket no more; to be called before it is closed.

        Where a subprocess has inherited the descriptor, closing it would leave it registered.
        """
        fd = sock.fileno()
        if self._members.pop(fd, None) is not None:
            self.poller.unregister(fd)

    def accept_failed(self, error: OSError) -> None:
        """Nothing can be accepted for the moment: rest, rather than be woken in vain."""
        if error.errno not in _EXHAUSTED:
            logger.error("accepting a connection failed: %s", error)
        elif self._resting is None:
            logger.error(
                "out of descriptors or memory (%s), accepting rests for %s s; open connections: %d",
                error.strerror,
                ACCEPT_PAUSE_SECONDS,
                len(self.service.connections),
            )
            self._ignore_listeners()
            self._resting = self.service.loop.call_later(ACCEPT_PAUSE_SECONDS, self._listen)

    def stop_accepting(self) -> None:
        """Take what the kernel has queued, then accept no more and close our listening sockets."""
        for listener in self._listeners:
            for _ in range(self.service.config.backlog):  # no longer than the queue can be
                if not listener.accept():
                    break
        self._ignore_listeners()
        for listener in self._listeners:
            listener.sock.close()
        if self._resting is not None:
            self._resting.cancel()
        self._listeners.clear()

    def close(self) -> None:
        """Give the selector back; every connection must be gone."""
        self.service.loop.remove_reader(self.poller.fileno())
        self.poller.close()

    def _listen(self) -> None:
        self._resting = None
        for listener in self._listeners:
            self._members[listener.sock.fileno()] = listener
            self.poller.register(listener.sock.fileno(), READ)

    def _ignore_listeners(self) -> None:
        for listener in self._listeners:
            self.forget(listener.sock)
