"""Addresses of sockets as ASGI wants them: host and port, path and None, or nothing."""

import socket
import struct
from typing import Any

from serval.asgi.types import Address
from serval.net.trust import parse_address

_CREDENTIALS = struct.Struct("iII")  # unix(7), struct ucred
_WILDCARDS = frozenset(("0.0.0.0", "::", ""))  # noqa: S104 - compared with, not bound to


def peer_address(name: Any) -> Address | None:
    """The client's host and port; None for a Unix socket, whose peers have no address.

    Args:
        name: As `accept` or `getpeername` gave it.
    """
    if isinstance(name, tuple) and len(name) >= 2:
        return name[:2]
    return None


def peer_credentials(sock: socket.socket) -> dict[str, int] | None:
    """Which process has connected to a Unix socket, and whose; None where the system keeps it."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or sock.family != socket.AF_UNIX:
        return None
    found = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    return dict(zip(("pid", "uid", "gid"), _CREDENTIALS.unpack(found), strict=True))


def local_address(sock: socket.socket) -> Address | None:
    """The server's address, or None for a wildcard, where only each connection knows it."""
    address = bound_address(sock)
    return None if address[0] in _WILDCARDS else address


def bound_address(sock: socket.socket) -> Address:
    """What a socket is bound to; an abstract name begins with @, and none at all is empty."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return name[:2]
    path = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    return path.replace("\0", "@", 1), None


def is_local(sock: socket.socket) -> bool:
    """Whether a listening socket can be reached from this machine only."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return True
    address = parse_address(name[0])
    return address is not None and address.is_loopback


def address_text(address: Address | None) -> str:
    """An address for a log line."""
    if address is None:
        return "unix"
    host, port = address
    if port is None:
        return f"unix:{host}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
