"""The sync lane: ready sockets in, one `recv`, the application, one `send`.

A SyncWorker's selector is nested in the event loop: its own descriptor is one reader there, and one
callback serves the whole batch of ready connections.  An idle connection costs no task, no thread
and no timer.  Runs on the thread of the service's loop.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Sequence
from typing import Any, Final

from serval.asgi.types import Address
from serval.net.addresses import local_address, peer_address
from serval.net.listeners import Listener
from serval.net.tls import Certificates
from serval.scoreboard import ACCEPTED
from serval.worker.async_pool import AsyncPool
from serval.worker.connections.preamble import PreambleDesk
from serval.worker.connections.socket_connection import INPUT, Admit, Adopt, Ready, SocketConnection
from serval.worker.connections.tls import TlsConnection, TlsDesk
from serval.worker.door import Doorkeeper
from serval.worker.poller import READ, create_poller
from serval.worker.service import Service

logger = logging.getLogger("serval.error")

# Ready descriptors served before the loop's other callbacks run.
BATCH_COUNT: Final = 64
# How long accepting rests when descriptors or memory have run out.
ACCEPT_PAUSE_SECONDS: Final = 0.5

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class AcceptingSocket:
    """A listening socket in a SyncWorker's selector."""

    __slots__ = ("_server", "_worker", "sock")

    def __init__(self, worker: "SyncWorker", listener: Listener) -> None:
        self._worker = worker
        self.sock = listener.sock
        self._server = local_address(self.sock)

    def ready(self, bits: int) -> None:
        """Connections wait to be accepted."""
        for _ in range(self._worker.door.room()):
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
        if (slot := self._worker.service.tally.slot) is not None:
            slot.counters[ACCEPTED] += 1
        self._worker.admit(sock, peer_address(peer), self._server or local_address(sock))
        return True


class SyncWorker:
    """Serves plain connections of one service from one selector.

    Args:
        service: What is served; its loop is the one that the selector nests in.
        listeners: Sockets to accept from; shared with other workers.
        pool: Takes the connections that become WebSockets.
        certificates: What to speak TLS with; None for plain connections.
        adopt: Serves the connections in our stead.
    """

    __slots__ = (
        "_listeners",
        "_members",
        "_resting",
        "accepted",
        "admit",
        "door",
        "poller",
        "pool",
        "service",
    )

    def __init__(
        self,
        service: Service,
        listeners: Sequence[Listener],
        pool: AsyncPool,
        *,
        certificates: Certificates | None = None,
        adopt: Adopt | None = None,
    ) -> None:
        self.service = service
        self.pool = pool
        self.poller = create_poller()
        self.accepted = 0
        # What each accepted socket goes through, the last first.
        onward: Adopt = adopt or self.adopt
        self.admit: Admit = onward
        if certificates is not None:
            self.admit = TlsDesk(self, certificates, onward).admit
        if service.config.proxy_protocol != "off":
            self.admit = PreambleDesk(self, service.config, self.admit).admit
        self._members: dict[int, Ready] = {}
        self._listeners = [AcceptingSocket(self, listener) for listener in listeners]
        self._resting: asyncio.TimerHandle | None = None
        self.door = Doorkeeper(service, service.tally.slots, self._watch_listeners)

    def start(self) -> None:
        """Begin to accept and to serve."""
        if self._listeners:  # a thread of a pool has none: the door is the main thread's
            self.door.attend()
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
        self.service.tally.publish()

    def adopt(
        self,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
        tls: dict[str, Any] | None = None,
    ) -> SocketConnection:
        """Serve a connection; the worker owns the socket from now on."""
        sock.setblocking(False)
        self.accepted += 1
        kind = SocketConnection if tls is None else TlsConnection
        connection = kind(self, sock, client, server, scheme=scheme, tls=tls)
        self.watch(sock, connection)
        if self.service.draining:
            connection.drain()
        return connection

    def watch(self, sock: socket.socket, member: Ready, interest: int = INPUT) -> None:
        """Tell `member` when the socket is ready; as a rule, to be read, or its peer gone."""
        fd = sock.fileno()
        self._members[fd] = member
        self.poller.register(fd, interest)

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
                self.service.tally.open_count,
            )
            self._ignore_listeners()
            self._resting = self.service.loop.call_later(ACCEPT_PAUSE_SECONDS, self._listen)

    def stop_accepting(self) -> None:
        """Take what the kernel has queued, then accept no more and close our listening sockets."""
        for listener in self._listeners:
            for _ in range(self.service.config.backlog):  # no longer than the queue can be
                if not listener.accept():
                    break
        self.door.close()
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
            fd = listener.sock.fileno()
            if fd not in self._members:
                self._members[fd] = listener
                self.poller.register(fd, READ)

    def _watch_listeners(self, watched: bool) -> None:
        if not watched:
            self._ignore_listeners()
        elif self._resting is None:
            self._listen()

    def _ignore_listeners(self) -> None:
        for listener in self._listeners:
            self.forget(listener.sock)
