"""How much of an answer the kernel takes ahead of its client: little, or more for a few quick ones.

What is taken beyond what is on its way (TCP_NOTSENT_LOWAT) lies in the kernel's memory for as long
as the client likes.  Any thread of a worker may call.
"""

import socket
from contextlib import suppress
from typing import Final

from serval.net.unread import unread_bytes

# By default the kernel takes 4 MiB, all of which a client that does not read holds: 200 of them
# cost 700 MiB of kernel memory, and 3 s in which nobody else was served (Linux 6.18, 2026-11-22).
LITTLE_BYTES: Final = 262_144
# Half of it free is when the kernel says that there is room, and each time costs wake-ups: with so
# much, a download of 10 MiB over loopback costs a quarter less (Linux 6.18, 2026-11-22).
MUCH_BYTES: Final = 2_097_152
# Connections of a worker that may have much at a time: what hostile ones can hold is 32 MiB.
PLACES_COUNT: Final = 16
QUICK_BYTES_PER_SECOND: Final = 4_000_000


class Allowances:
    """Which connections may have much.

    A client that turns slow keeps its place until the kernel holds little for it again.
    """

    __slots__ = ("_much",)

    def __init__(self) -> None:
        self._much: dict[socket.socket, bool] = {}  # those with a place; whether still so

    def room_came(self, sock: socket.socket, seconds: float) -> None:
        """A socket that was full has room again, after so long."""
        much = self._much.get(sock)
        freed_bytes = (MUCH_BYTES if much else LITTLE_BYTES) / 2
        if freed_bytes >= seconds * QUICK_BYTES_PER_SECOND:
            if not much and (much is not None or self._has_place()):
                self._allow(sock, MUCH_BYTES)
        elif much:
            self._allow(sock, LITTLE_BYTES)
        elif much is not None:
            self._much.pop(sock, None)  # another thread may have taken the place from it

    def has_much(self, sock: socket.socket) -> bool:
        """Whether that connection may have much."""
        return self._much.get(sock, False)

    def leave(self, sock: socket.socket) -> None:
        """A socket is closed now, or used for something else."""
        if self._much.pop(sock, False):
            with suppress(OSError):  # it is closed already
                allow(sock, LITTLE_BYTES)

    def _allow(self, sock: socket.socket, most_bytes: int) -> None:
        with suppress(OSError):  # no TCP
            allow(sock, most_bytes)
            self._much[sock] = most_bytes == MUCH_BYTES

    def _has_place(self) -> bool:
        """Whether another may have much; those whose client has read everything make way."""
        much = self._much
        if len(much) >= PLACES_COUNT:
            for other in list(much):
                fd = other.fileno()
                if fd < 0 or not unread_bytes(fd):  # below 0: another thread has just closed it
                    self.leave(other)
        return len(much) < PLACES_COUNT


def allow(sock: socket.socket, most_bytes: int) -> None:
    """Let a TCP socket, and all that it will accept, have so much taken ahead of its client."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most_bytes)
