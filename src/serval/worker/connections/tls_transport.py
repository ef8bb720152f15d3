"""TLS on an asyncio transport, for what speaks on transports: WebSockets.

Works on the socket itself, so that it is the same on every event loop, counts what is really
unsent, and can shut one direction.  Thread of the loop only.
"""

import asyncio
import socket
import ssl
from collections import deque
from typing import Final

RECEIVE_BYTES: Final = 65_536
HIGH_WATER_BYTES: Final = 65_536

# What says that a socket is not ready; in TLS, either direction may wait for the other.
NOT_READY: Final = (
    BlockingIOError,
    InterruptedError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
)


def say_goodbye(sock: ssl.SSLSocket) -> bool:
    """Send close_notify; the peer's is not waited for.  False where the socket is full."""
    try:
        sock.unwrap()
    except ssl.SSLWantWriteError:
        return False
    except (OSError, ValueError):
        pass  # it is sent and no answer has come, or there is nobody to send it to
    return True


class TlsTransport(asyncio.Transport):
    """A transport on a socket whose handshake is done.

    Args:
        sock: Non-blocking; the transport owns it from now on.
        protocol: Told of everything; `connection_made` is called at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: ssl.SSLSocket,
        protocol: asyncio.Protocol,
    ) -> None:
        super().__init__({"socket": sock, "ssl_object": sock})
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._protocol = protocol
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._high = HIGH_WATER_BYTES
        self._low = HIGH_WATER_BYTES // 4
        self._congested = False
        self._reading = True
        self._closing = False
        self._shut = False  # our sending side
        self._ended = False  # the peer's
        self._loop.add_reader(self._fd, self._receive)
        protocol.connection_made(self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell another protocol from now on."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.Protocol:
        """Who is told."""
        return self._protocol

    # Input.

    def pause_reading(self) -> None:
        """Leave the peer's bytes where they are."""
        if self._reading and not self._closing:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Take the peer's bytes again."""
        if not self._reading and not self._closing and not self._ended:
            self._reading = True
            self._loop.add_reader(self._fd, self._receive)

    def is_reading(self) -> bool:
        """Whether the peer's bytes are taken."""
        return self._reading and not self._closing

    def _receive(self) -> None:
        try:
            # A whole record at least (16 KiB): nothing decrypted may stay behind unseen.
            data = self._sock.recv(RECEIVE_BYTES)
        except NOT_READY:
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self.pause_reading()
            self._ended = True
            if not self._protocol.eof_received():
                self.close()
        elif not self._shut:  # then nothing is decrypted any more, and nobody waits for it
            self._protocol.data_received(data)

    # Output.

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say from how many unsent bytes on the protocol waits, and until how few."""
        self._high = HIGH_WATER_BYTES if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """How many bytes are unsent."""
        return self._unsent_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """From how many unsent bytes on the protocol waits, the lower limit first."""
        return self._low, self._high

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, now or when the socket takes them."""
        if not data or self._closing or self._shut:
            return
        self._unsent.append(memoryview(bytes(data)))
        self._unsent_bytes += len(data)
        if len(self._unsent) == 1:
            self._send()
        if self._unsent_bytes > self._high and not self._congested:
            self._congested = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """TLS has half-closed connections since 1.3, and older peers bear them."""
        return True

    def write_eof(self) -> None:
        """Send nothing more after what is unsent, and read on."""
        self._shut = True
        if not self._unsent:
            self._part()

    def _part(self) -> None:
        """Everything is sent: end our direction, or all."""
        if not say_goodbye(self._sock):
            self._loop.add_writer(self._fd, self._send_rest)
        elif self._closing:
            self._end_soon(None)
        else:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:  # ENOTCONN: the peer was quicker
                self._lose(error)

    def _send(self) -> None:
        """Send until the socket is full; OpenSSL takes a record's worth at a time."""
        try:
            while self._unsent:
                sent = self._sock.send(self._unsent[0])
                self._unsent_bytes -= sent
                if sent == len(self._unsent[0]):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = self._unsent[0][sent:]
        except NOT_READY:
            self._loop.add_writer(self._fd, self._send_rest)
        except OSError as error:
            self._lose(error)

    def _send_rest(self) -> None:
        self._loop.remove_writer(self._fd)
        self._send()
        if self._congested and self._unsent_bytes <= self._low:
            self._congested = False
            self._protocol.resume_writing()
        if not self._unsent and not self._is_over and (self._closing or self._shut):
            self._part()

    # The end.

    @property
    def _is_over(self) -> bool:
        return self._fd < 0

    def is_closing(self) -> bool:
        """Whether the end has begun."""
        return self._closing

    def close(self) -> None:
        """Close the connection once everything has been sent."""
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if not self._unsent:
                self._part()

    def abort(self) -> None:
        """Close the connection; what is unsent is lost."""
        self._lose(None)

    def _lose(self, error: OSError | None) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0
        if not self._closing:
            self.pause_reading()
            self._closing = True
        self._end_soon(error)

    def _end_soon(self, error: OSError | None) -> None:
        """End in the next turn: a protocol is not told of the end in the midst of its own call."""
        if not self._is_over:
            self._loop.remove_writer(self._fd)
            self._fd = -1
            self._loop.call_soon(self._finish, error)

    def _finish(self, error: OSError | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()
