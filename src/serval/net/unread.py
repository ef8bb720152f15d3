"""How much of what a socket was given its peer has not taken yet.

A socket becomes writable only once a third of its buffer is free, which a slow peer may need
minutes for: whether it reads at all is to be seen here.
"""

import asyncio
import socket
import sys
from typing import Final, cast

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ  # SIOCOUTQ is the same number (tcp(7), unix(7))

    def unread_bytes(fd: int) -> int:
        """Bytes that the peer's system has not acknowledged, in 0.3 us; 0 for no socket."""
        try:
            return int.from_bytes(ioctl(fd, TIOCOUTQ, _INT), sys.byteorder)
        except (OSError, ValueError):  # it is closed; below 0, so is what it was asked of
            return 0

    _INT: Final = bytes(4)
else:
    # SO_NWRITE of macOS (sys/socket.h).
    _SO_NWRITE: Final = 0x1024

    def unread_bytes(fd: int) -> int:
        """Bytes that the peer's system has not acknowledged; 0 where nobody tells."""
        try:
            with socket.socket(fileno=fd) as sock:
                try:
                    return sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
                finally:
                    sock.detach()
        except OSError:
            return 0


def unread_by_peer(transport: asyncio.BaseTransport) -> int:
    """The same for a transport, with what it holds itself."""
    sock = transport.get_extra_info("socket")
    held: int = cast("asyncio.WriteTransport", transport).get_write_buffer_size()
    return held + (unread_bytes(sock.fileno()) if sock is not None else 0)
