"""A connection of the sync lane: HTTP on a non-blocking socket in a selector.

Made and watched by `worker/sync_worker.py`.  Thread of the service's loop only.
"""

import asyncio
import errno
import logging
import os
import socket
import time
from typing import Any, ClassVar, Final, Protocol

from serval.asgi.lane import OpenFile
from serval.asgi.scope import with_peer
from serval.asgi.types import Address, Scope
from serval.lifecycle import Lane
from serval.net.addresses import peer_credentials
from serval.net.unread import unread_bytes
from serval.protocols.events import RequestReceived
from serval.worker.connections.connection import HttpConnection
from serval.worker.connections.files import READ_BYTES, WINDOW_BYTES
from serval.worker.connections.wire import State, abandon
from serval.worker.deadlines import Wait
from serval.worker.handoffs import Taker, WebSocketHandoff
from serval.worker.poller import BROKEN, PEER_SHUT, READ, WRITE, Poller
from serval.worker.service import Service

logger = logging.getLogger("serval.error")

# How much one `recv` takes.  Twice as much would pass malloc's threshold for memory of its own from
# the kernel and cost 10 us in each call (CPython 3.13, glibc 2.36).
RECEIVE_BYTES: Final = 65_536
# How often an application that waits for a body may read by itself, once a read was full, before
# others have their turn: each time saves a poll, a future and a turn of the loop.
READS_COUNT: Final = 4
# What is gathered for a client that reads quickly before it is sent, in so few buffers: each `send`
# wakes the client, and a download of 10 MiB over loopback costs a third less than by 64 KiB.
GATHERED_BYTES: Final = 262_144
GATHERED_COUNT: Final = 32
# Buffers above this are given to the kernel as they are, not joined first.
JOIN_BYTES: Final = 131_072
# The kernel's limit for one `sendmsg` (IOV_MAX).
BUFFERS_COUNT: Final = 1024

# What `sendfile` says where it is the file that it cannot send; the rest is said of the socket.
_NOT_BY_KERNEL: Final = frozenset(
    (errno.EINVAL, errno.EIO, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EOVERFLOW)
)

# What a connection is watched for as it begins.
INPUT: Final = READ | PEER_SHUT


class Admit(Protocol):
    """What takes the sockets that were accepted."""

    def __call__(
        self,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
    ) -> object:
        """Serve a connection between these addresses."""


class Adopt(Protocol):
    """What makes connections of sockets that are ready for HTTP."""

    def __call__(
        self,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
        tls: dict[str, Any] | None = None,
    ) -> object:
        """Serve it; `tls` is what scopes say of its handshake, if there was one."""


class Ready(Protocol):
    """What a descriptor in the selector stands for."""

    def ready(self, bits: int) -> None:
        """The descriptor is ready for what `bits` say."""


class Selector(Protocol):
    """What the sockets of a loop wait in: a SyncWorker, as they see it."""

    @property
    def service(self) -> Service:
        """What is served."""

    @property
    def pool(self) -> Taker:
        """Takes the connections that become WebSockets."""

    @property
    def poller(self) -> Poller:
        """Where to watch for something else."""

    def watch(self, sock: socket.socket, member: Ready) -> None:
        """Tell `member` when there is something to read, or the peer has gone."""

    def forget(self, sock: socket.socket) -> None:
        """Watch a socket no more; to be called before it is closed."""


class SocketConnection(HttpConnection):
    """An HTTP connection on a non-blocking socket in a SyncWorker's selector."""

    __slots__ = ("_full_at", "_interest", "_reads_left", "_sock", "_worker")

    lane: ClassVar[Lane] = "sync"
    # Whether the kernel may send a file by itself.
    _kernel_sends: ClassVar[bool] = True
    # What says that the socket is not ready.
    _not_ready: ClassVar[tuple[type[BaseException], ...]] = (BlockingIOError, InterruptedError)

    def __init__(
        self,
        worker: Selector,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
        tls: dict[str, Any] | None = None,
    ) -> None:
        self._worker = worker
        self._sock = sock
        self._interest = INPUT
        self._reads_left = 0
        self._full_at = 0.0  # when the socket last took no more; 0: it never did
        super().__init__(worker.service, client, server, scheme=scheme)
        if server is not None and server[1] is None and (peer := peer_credentials(sock)):
            self._template = with_peer(self._template, peer)
        if tls is not None:
            extensions = {**self._template["extensions"], "tls": tls}
            self._template = {**self._template, "extensions": extensions}
        self._wait_for(Wait.HEAD)

    def ready(self, bits: int) -> None:
        """The socket can be read or written, or its peer has gone."""
        try:
            if bits == READ:
                self._receive()
            else:
                self._ready_for(bits)
        except Exception:
            self._give_up()

    def _give_up(self) -> None:
        """Tell of a defect of ours; without an end it might come again with every turn."""
        logger.exception("serving a connection failed, which is dropped")
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.peer_lost()
        self.drop(reset=True)

    def _ready_for(self, bits: int) -> None:
        if bits & WRITE:
            self._send_rest()
        if bits & READ:
            self._receive()
        elif bits & BROKEN:
            self.peer_lost()
        elif bits & PEER_SHUT:
            self._watch(self._interest & ~PEER_SHUT)
            self.peer_shut()

    def _receive(self) -> bool:
        """Read once; whether there was anything, an end or an error included."""
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except self._not_ready:
            return False
        except OSError:
            self.peer_lost()
            return True
        if data:
            if len(data) == RECEIVE_BYTES:
                self._reads_left = READS_COUNT
            self.data_received(data)
        else:
            self._input_ended()
        return True

    _take_late_bytes = _receive

    def read_on(self) -> bool:
        """Read again where the last read was full, and others have not waited for long."""
        left = self._reads_left
        if not left or self.corked or not self._reading or self.exchange is None:
            return False
        self._reads_left = 0  # unless that read is full as well
        self.ready(READ)
        if self._reads_left:
            self._reads_left = left - 1
        return True

    def _input_ended(self) -> None:
        self._watch(self._interest & ~INPUT)
        self.peer_left()

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
        except self._not_ready:
            sent = 0
        except OSError:
            self.peer_lost()
            return
        if sent == self._out_bytes:
            out.clear()
            self._out_bytes = 0
        else:
            self._keep_rest(sent)

    def _gathers(self) -> bool:
        return (
            self._out_bytes < GATHERED_BYTES
            and len(self._out) < GATHERED_COUNT
            and self.service.allowances.has_much(self._sock)
        )

    async def send_from(self, file: OpenFile, offset: int, count: int) -> int:
        """Send some of those bytes; the kernel does, from its cache, unless they are few."""
        if count <= READ_BYTES or not self._kernel_sends:
            return await super().send_from(file, offset, count)
        self.flush()
        count = min(count, WINDOW_BYTES)
        while True:
            if self.congested:
                await self.writable()
            if not file.is_at_hand(offset, count):
                await file.fetch(offset, count)
            if self.state is State.CLOSED:
                return 0
            try:
                sent = os.sendfile(self._sock.fileno(), file.fd, offset, count)
            except self._not_ready:
                self._expect_room()
                continue
            except OSError as error:
                if error.errno in _NOT_BY_KERNEL:
                    return await super().send_from(file, offset, count)
                self.peer_lost()
                return 0
            if sent < count:
                self._expect_room()
            else:
                await asyncio.sleep(0)  # others have their turn
            return sent

    def _expect_room(self) -> None:
        """The socket is full: go on when it is not."""
        self.congested = True
        self._note_full()
        self._watch(self._interest | WRITE)
        self._expect_progress()

    def _note_full(self) -> None:
        self._full_at = time.monotonic()

    def _note_room(self) -> None:
        self.service.allowances.room_came(self._sock, time.monotonic() - self._full_at)

    def _unread(self) -> int:
        return unread_bytes(self._sock.fileno())

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
        self._expect_room()

    def _send_rest(self) -> None:
        self._watch(self._interest & ~WRITE)
        self._note_room()
        self.flush()  # watches for WRITE again if that was not all
        if self.state is not State.CLOSED and not self._out:
            self._all_sent()

    def _set_reading(self, reading: bool) -> None:
        self._watch(self._interest | READ if reading else self._interest & ~READ)

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
        self._leave_sock()
        if reset:
            abandon(self._sock)
        self._sock.close()

    def _leave_sock(self) -> None:
        self._worker.forget(self._sock)
        if self._full_at:
            self.service.allowances.leave(self._sock)

    def _hand_over(self, request: RequestReceived, scope: Scope) -> None:
        self._leave_sock()
        self._worker.pool.accept_handoff(
            WebSocketHandoff(
                self._sock,
                request,
                self.client or ("", 0),
                self.server or ("", 0),
                scope,
                self.parser.trailing_data,
                self.connection_id,
            )
        )
