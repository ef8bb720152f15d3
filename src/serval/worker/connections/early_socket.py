"""A socket that is not a connection yet: something has to come on it first.

The preamble of a proxy (`worker/connections/preamble.py`), a TLS handshake
(`worker/connections/tls.py`).  Thread of the service's loop only.
"""

import socket
from abc import ABC, abstractmethod
from typing import ClassVar

from serval.asgi.types import Address
from serval.worker.connections.socket_connection import Selector
from serval.worker.deadlines import Wait


class EarlySocket(ABC):
    """A socket that waits, counted and drained as a connection is."""

    __slots__ = ("_addresses", "_selector", "_sock")

    # What it waits for.
    _awaited: ClassVar[Wait]

    def __init__(
        self,
        selector: Selector,
        sock: socket.socket,
        addresses: tuple[Address | None, Address | None],
    ) -> None:
        self._selector = selector
        self._sock = sock
        self._addresses = addresses
        sock.setblocking(False)
        selector.watch(sock, self)
        selector.service.opened(self)
        selector.service.sweeper.start(self._awaited, self)

    @abstractmethod
    def ready(self, bits: int) -> None:
        """The socket is ready for what `bits` say."""

    @abstractmethod
    def expired(self, wait: Wait, *, late: bool) -> None:
        """It did not come in time."""

    def leave(self) -> None:  # noqa: B027 - there is nothing to do
        """The server stops soon: what is on its way may still come."""

    def drain(self) -> None:
        """The server stops: what is on its way gets a moment."""
        self._selector.service.sweeper.stop(self._awaited, self)
        self._selector.service.sweeper.start(Wait.LINGER, self)

    def disconnect(self) -> None:
        """The grace is over."""
        self.abort()

    def abort(self) -> None:
        """Close the socket."""
        self._leave()
        self._sock.close()
        self._selector.service.closed(self)

    def _leave(self) -> None:
        """Watch the socket and wait for it no more."""
        if self._sock.fileno() >= 0:
            self._selector.forget(self._sock)
        for wait in (self._awaited, Wait.LINGER):
            self._selector.service.sweeper.stop(wait, self)
