"""Accepted sockets of which a proxy first says whose they are: the PROXY protocol.

Used by `worker/sync_worker.py` before a connection is made of a socket, whatever is spoken on it
then.  Thread of the service's loop only.
"""

import socket
from typing import ClassVar, Final

from serval.asgi.types import Address
from serval.config import ServerConfig
from serval.errors import PeerError
from serval.net.trust import TrustList
from serval.protocols.proxy_preamble import PreambleReader, Version
from serval.worker.connections.early_socket import EarlySocket
from serval.worker.connections.socket_connection import Admit, Selector
from serval.worker.deadlines import Wait
from serval.worker.poller import READ

# Enough for any preamble with the request behind it.
_RECEIVE_BYTES: Final = 65_536


class PreambleDesk:
    """Sends each accepted socket its way: straight on, or after its preamble.

    Only peers in the list speak the protocol, and these must: a server that guessed would believe
    whoever can reach it.
    """

    __slots__ = ("_onward", "_peers", "_selector", "_version")

    def __init__(self, selector: Selector, config: ServerConfig, onward: Admit) -> None:
        self._selector = selector
        self._peers: TrustList = config.preamble_peers
        self._version = Version(config.proxy_protocol)
        self._onward = onward

    def admit(
        self,
        sock: socket.socket,
        client: Address | None,
        server: Address | None,
        *,
        scheme: str = "http",
    ) -> None:
        """Take a socket that was just accepted."""
        if self._peers.has_peer(client):
            reader = PreambleReader(self._version)
            PreambleSocket(self._selector, self._onward, reader, sock, (client, server))
        else:
            self._onward(sock, client, server)


class PreambleSocket(EarlySocket):
    """A socket that waits for its preamble."""

    __slots__ = ("_onward", "_reader")

    _awaited: ClassVar[Wait] = Wait.HEAD

    def __init__(
        self,
        selector: Selector,
        onward: Admit,
        reader: PreambleReader,
        sock: socket.socket,
        addresses: tuple[Address | None, Address | None],
    ) -> None:
        self._onward = onward
        self._reader = reader
        super().__init__(selector, sock, addresses)

    def ready(self, bits: int) -> None:
        """The socket can be read, or is broken."""
        try:
            # Looked at first: what follows the preamble is for who comes next, OpenSSL perhaps.
            data = self._sock.recv(_RECEIVE_BYTES, socket.MSG_PEEK)
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
            self._selector.service.journal.refused(self._addresses[0], error)
            self.abort()
            return
        rest = found[1] if found is not None else b""
        self._sock.recv(len(data) - len(rest))
        if found is not None:
            preamble = found[0]
            client, server = self._addresses
            self._leave()
            self._onward(
                self._sock,
                preamble.client or client,
                preamble.server or server,
                scheme="https" if preamble.over_tls else "http",
            )
            self._selector.service.closed(self)

    def expired(self, wait: Wait, *, late: bool) -> None:
        """The preamble did not come in time, or lies unread because the loop was held up."""
        if late:
            self._selector.service.sweeper.start(Wait.HEAD, self)
            self.ready(READ)
        else:
            self.abort()
