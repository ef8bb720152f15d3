"""An HTTP connection on an asyncio transport: what the pool makes of a handed-over socket.

Thread of the service's loop only.
"""

import asyncio
import select
from collections.abc import Callable
from typing import ClassVar, Final, TypeAlias, cast

from serval.asgi.types import Address, Scope
from serval.lifecycle import Lane
from serval.net.addresses import local_address, peer_address
from serval.net.unread import unread_by_peer
from serval.protocols.events import RequestReceived
from serval.worker.connections.connection import HttpConnection
from serval.worker.connections.websocket import WebSocketConnection
from serval.worker.connections.wire import HIGH_WATER_BYTES, State, abandon
from serval.worker.deadlines import Wait
from serval.worker.service import Service

Opening: TypeAlias = Callable[["TransportConnection"], None]


def nothing_yet(connection: "TransportConnection") -> None:
    """The opening of a connection whose first request is still to come."""


class TransportConnection(HttpConnection, asyncio.Protocol):
    """An HTTP connection on an asyncio transport.

    Args:
        service: What the connection belongs to.
        client: The peer's address; None to ask the transport.
        server: Our address; None to ask the transport.
        scheme: "http" or "https".
        opening: Called as soon as there is a transport, before it reads.
    """

    __slots__ = ("_opening", "_transport")

    lane: ClassVar[Lane] = "async"

    def __init__(
        self,
        service: Service,
        client: Address | None = None,
        server: Address | None = None,
        *,
        scheme: str = "http",
        opening: Opening = nothing_yet,
    ) -> None:
        self._transport: asyncio.Transport = _UNCONNECTED
        self._opening = opening
        super().__init__(service, client, server, scheme=scheme)

    # What the transport tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ready."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is of no such class
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=0)
        if self.client is None:
            self.client = peer_address(transport.get_extra_info("peername"))
            self._amend = self.service.proxies.amend_for(self.client)
        if self.server is None:
            self.server = local_address(transport.get_extra_info("socket"))
            self._template = self.service.scope_template(self.server, self.scheme, self.lane)
        self._wait_for(Wait.HEAD)
        self._opening(self)

    def eof_received(self) -> bool:
        """The peer has shut its sending side; ours stays open, where the transport can do that."""
        self.peer_left()
        return self.state is not State.CLOSED and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self.peer_lost()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self.congested = True
        self._expect_progress()

    def resume_writing(self) -> None:
        """The peer has read what there was.

        What follows, in the next turn, may close the transport: asyncio's, closed in this call,
        would tell of its end twice and fail.
        """
        self.service.sweeper.stop(Wait.WRITE, self)
        self._uncongested()
        self.service.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self.congested:  # anew
            self._all_sent()

    # Output.

    def flush(self) -> None:
        """Give what is queued to the transport, which buffers what the socket does not take."""
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._out_bytes = 0
            self._transport.write(data)
            if self._transport.is_closing():  # it could not: nothing more need be served
                self.peer_lost()

    def close(self) -> None:
        """Close the connection after what is queued has been sent."""
        super().close()
        if self.state is State.CLOSING and not self.congested:
            # Wanted to be told of the end of what the transport holds, however little it is.
            self._transport.set_write_buffer_limits(high=0)

    def _has_unsent(self) -> bool:
        return self._transport.get_write_buffer_size() > 0

    def _unread(self) -> int:
        return unread_by_peer(self._transport)

    # Input.

    def _set_reading(self, reading: bool) -> None:
        if self._transport.is_closing():
            return
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _take_late_bytes(self) -> bool:
        """Whether bytes wait in the socket: then the transport reads them in the next turn."""
        sock = self._transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    # The end.

    def _shut_output(self) -> None:
        if not self._transport.can_write_eof():
            self.drop()
            return
        try:
            self._transport.write_eof()
        except OSError:  # ENOTCONN: the peer was quicker
            self.drop()

    def _close_wire(self, *, reset: bool) -> None:
        if reset:
            abandon(self._transport.get_extra_info("socket"))
        # A transport that is merely closed would hold what is unsent for as long as it takes.
        if reset or self._has_unsent():
            self._transport.abort()
        else:
            self._transport.close()

    def _hand_over(self, request: RequestReceived, scope: Scope) -> None:
        connection = WebSocketConnection(
            self.service,
            request,
            scope,
            data=self.parser.trailing_data,
            connection_id=self.connection_id,
        )
        self._transport.set_protocol(connection)
        if not self._reading:  # before it is told: it may have reasons of its own to pause
            self._transport.resume_reading()
        connection.connection_made(self._transport)


_UNCONNECTED: Final = asyncio.Transport()
