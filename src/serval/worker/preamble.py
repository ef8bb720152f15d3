"""Accepted sockets of which a proxy first says whose they are: the PROXY protocol.

Used by `worker/sync_worker.py` before a connection is made of a socket, whatever is spoken on it
then.  Thread of the service's loop only.
"""

import socket
from typing import Any, Final, Protocol

from serval.asgi.types import Address
from serval.config import ServerConfig
from serval.errors import PeerError
from serval.net.trust import TrustList
from serval.protocols.proxy_preamble import PreambleReader, Version
from serval.worker.deadlines import Wait
from serval.worker.poller import READ
from serval.worker.service import Service

# Enough for any preamble with the request behind it.
_RECEIVE_BYTES: Final = 65_536


class Onward(Protocol):
    """What makes a connection of a socket."""

    def __call__(
        self,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        data: bytes = b"",
        scheme: str = "http",
    ) -> object:
        """Serve it; `data` has been read of it already."""


class Watcher(Protocol):
    """The selector that the sockets wait in."""

    service: Service

    def watch(self, sock: socket.socket, member: Any) -> None:
        """Call `ready` of the member when the socket can be read."""

    def forget(self, sock: socket.socket) -> None:
        """Watch the socket no more."""


class PreambleDesk:
    """Sends each accepted socket its way: straight on, or after its preamble.

    Only peers in the list speak the protocol, and these must: a server that guessed would believe
    whoever can reach it.
    """

    __slots__ = ("_onward", "_peers", "_version", "_watcher")

    def __init__(self, watcher: Watcher, config: ServerConfig, onward: Onward) -> None:
        self._watcher = watcher
        self._peers: TrustList = config.preamble_peers
        self._version = Version(config.proxy_protocol)
        self._onward = onward

    def admit(self, sock: socket.socket, client: Address | None, server: Address | None) -> None:
        """Take a socket that was just accepted."""
        if self._peers.has_peer(client):
            reader = PreambleReader(self._version)
            PreambleSocket(self._watcher, self._onward, reader, sock, (client, server))
        else:
            self._onward(sock, client, server)


class PreambleSocket:
    """A socket that waits for its preamble."""

    __slots__ = ("_addresses", "_onward", "_reader", "_sock", "_watcher")

    def __init__(
        self,
        watcher: Watcher,
        onward: Onward,
        reader: PreambleReader,
        sock: socket.socket,
        addresses: tuple[Address | None, Address | None],
    ) -> None:
        self._watcher = watcher
        self._onward = onward
        self._reader = reader
        self._sock = sock
        self._addresses = addresses
        sock.setblocking(False)
        watcher.watch(sock, self)
        watcher.service.opened(self)
        watcher.service.sweeper.start(Wait.HEAD, self)

    def ready(self, bits: int) -> None:
        """The socket can be read, or is broken."""
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:  # a health check, perhaps
            self.abort()
            return
        try:
            found = self._reader.feed(data)
        except PeerError as error:
            self._watcher.service.refused(self._addresses[0], error)
            self.abort()
            return
        if found is not None:
            preamble, rest = found
            client, server = self._addresses
            self._leave()
            self._onward(
                self._sock,
                preamble.client or client,
                preamble.server or server,
                data=rest,
                scheme="https" if preamble.over_tls else "http",
            )
            self._watcher.service.closed(self)

    def expired(self, wait: Wait, *, late: bool) -> None:
        """The preamble did not come in time, or lies unread because the loop was held up."""
        if late:
            self._watcher.service.sweeper.start(Wait.HEAD, self)
            self.ready(READ)
        else:
            self.abort()

    def drain(self) -> None:
        """The server stops: what is on its way gets a moment."""
        self._watcher.service.sweeper.stop(Wait.HEAD, self)
        self._watcher.service.sweeper.start(Wait.LINGER, self)

    def disconnect(self) -> None:
        """The grace is over."""
        self.abort()

    def abort(self) -> None:
        """Close the socket."""
        if self._sock.fileno() >= 0:
            self._leave()
            self._sock.close()
            self._watcher.service.closed(self)

    def _leave(self) -> None:
        self._watcher.forget(self._sock)
        for wait in (Wait.HEAD, Wait.LINGER):
            self._watcher.service.sweeper.stop(wait, self)
