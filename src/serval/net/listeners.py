"""Listening sockets: TCP, Unix, inherited and socket-activated.

Opened by `server.py` once, before the first fork and before the application is imported; workers
inherit them.  Nothing here accepts a connection.
"""

import errno
import logging
import os
import re
import socket
import stat
import sys
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Final, assert_never

from serval.errors import BindError
from serval.net.bind import Bind, FdBind, TcpBind, UnixBind
from serval.net.port_owner import owner_of_port
from serval.net.unsent import LITTLE_BYTES, allow

UNIX_MODE: Final = 0o660
SAME_OWNER: Final = (-1, -1)  # what chown(2) leaves as it is
_FIRST_ACTIVATED_FD: Final = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_PROBE_SECONDS: Final = 1.0  # a live server's queue answers at once, whatever the server does
_PORT_TRIES: Final = 16  # for a port that is free in both families
_ADDRESS: Final = re.compile(r"[0-9.]+|[0-9A-Fa-f:.]*:[!-~]*", re.ASCII)
# What the kernel answers where IPv6 is compiled out, disabled, or has no such address.
_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

_log = logging.getLogger("serval.error")


class ListeningSocket(socket.socket):
    """A socket that knows its family and type.

    `accept` asks for both to make each new socket, and they would be looked up among the members of
    enumerations every time: a tenth of what the server itself does for a connection.
    """

    __slots__ = ("_family", "_type")

    def __init__(
        self,
        family: int = -1,
        type: int = -1,
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        super().__init__(family, type, proto, fileno)
        self._family = super().family
        self._type = super().type

    @property
    def family(self) -> socket.AddressFamily:
        """As in the base class."""
        return self._family

    @property
    def type(self) -> socket.SocketKind:
        """As in the base class."""
        return self._type


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket, non-blocking.

    Attributes:
        address: Where it really listens, as a person writes it: `127.0.0.1:8000`, `unix:/run/x`.
        identity: Device and inode of the socket file that we made, or None.
    """

    sock: socket.socket
    bind: Bind
    address: str
    identity: tuple[int, int] | None = None

    def url(self, scheme: str = "http") -> str:
        """The address for a browser, where it is one."""
        return self.address if self.address.startswith("unix:") else f"{scheme}://{self.address}"


def open_listeners(
    binds: Iterable[Bind],
    *,
    backlog: int,
    unix_mode: int = UNIX_MODE,
    unix_owner: tuple[int, int] = SAME_OWNER,
    origin: str = "",
) -> list[Listener]:
    """Open every bind; a name with several addresses opens several sockets.

    Changes the umask for a moment: no other thread may be creating files.

    Args:
        backlog: Connections that the kernel may queue for us; it may cap this lower.
        unix_mode: Permissions of Unix sockets, from their first moment on.
        unix_owner: User and group of Unix sockets, before anybody can connect.
        origin: Where the binds were given, for error messages.

    Raises:
        BindError: At least one cannot be opened; all were tried, and none is left open.
    """
    listeners: list[Listener] = []
    faults: list[str] = []
    given = f" (from {origin})" if origin else ""
    for bind in binds:
        try:
            listeners += _open(bind, backlog, unix_mode, unix_owner)
        except OSError as exc:
            faults.append(f"cannot listen on {bind}{given}: {_explain(bind, exc)}")
    if faults:
        close_listeners(listeners)
        raise BindError("; ".join(faults))
    return listeners


def close_listeners(listeners: Iterable[Listener]) -> None:
    """Close them and remove the socket files that are still ours.

    Only in the process that opened them; closing twice does no harm.
    """
    for listener in listeners:
        remove_socket_files((listener,))
        listener.sock.close()


def remove_socket_files(listeners: Iterable[Listener]) -> None:
    """Remove the socket files that are still ours; who has come in already stays.

    Only in the process that opened them, and before they are closed.
    """
    for listener in listeners:
        if isinstance(listener.bind, UnixBind) and listener.identity is not None:
            _remove_own(listener.sock, listener.bind.path, listener.identity)


def activated_binds(environ: MutableMapping[str, str], pid: int) -> list[FdBind]:
    """The sockets that a service manager has passed to this process, by sd_listen_fds(3).

    Their variables are removed, so that no subprocess takes them for its own.
    """
    count, owner = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
    if owner != str(pid) or not count.isdecimal():
        return []
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    return [FdBind(fd) for fd in range(_FIRST_ACTIVATED_FD, _FIRST_ACTIVATED_FD + int(count))]


def _open(bind: Bind, backlog: int, unix_mode: int, unix_owner: tuple[int, int]) -> list[Listener]:
    match bind:
        case TcpBind():
            return _open_tcp(bind, backlog)
        case UnixBind():
            return [_open_unix(bind, backlog, unix_mode, unix_owner)]
        case FdBind():
            return [_adopt(bind, backlog)]
        case _:
            assert_never(bind)


def _explain(bind: Bind, exc: OSError) -> str:
    """What went wrong, and where we know it, what helps."""
    text = exc.strerror or str(exc)
    if text[1:2].islower():
        text = text[0].lower() + text[1:]
    if isinstance(bind, TcpBind):
        if exc.errno == errno.EADDRINUSE:
            owner = owner_of_port(bind.port)
            return f"{text}, by {owner}" if owner else text
        if exc.errno == errno.EACCES and bind.port < 1024:
            return f"{text}; a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE"
    return text


# --- TCP --------------------------------------------------------------------------------------


def _open_tcp(bind: TcpBind, backlog: int) -> list[Listener]:
    if bind.host in ("", "::"):
        return [_tcp_listener(bind, _listen_everywhere(bind.port, backlog))]
    addresses = _resolve(bind)
    for _ in range(_PORT_TRIES if bind.port == 0 else 1):
        try:
            return [_tcp_listener(bind, s) for s in _listen_on_all(addresses, bind.port, backlog)]
        except OSError as exc:
            # The port that the kernel chose in one family may be taken in the other.
            if bind.port != 0 or exc.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, "no port is free in both IPv4 and IPv6")


def _resolve(bind: TcpBind) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses of a host name, each once, in the resolver's order."""
    if bind.host == "localhost":  # RFC 6761 section 6.3; some resolvers know only one of them
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    # An address as bytes: a text would have the codec of international names loaded (5 ms, 1 MiB).
    host = bind.host.encode() if _ADDRESS.fullmatch(bind.host) else bind.host
    try:
        found = socket.getaddrinfo(
            host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError as exc:  # of the IDNA codec, for a label that is empty or too long
        raise OSError(errno.EINVAL, "not a host name") from exc
    return list(dict.fromkeys((family, _host(where)) for family, _, _, _, where in found))


def _host(where: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    """The numeric host of a socket address, with its zone where it has one."""
    match where:
        case (str(host), _, _, int(zone)) if zone:
            return f"{host}%{zone}"
        case _:
            return str(where[0])


def _listen_on_all(
    addresses: list[tuple[socket.AddressFamily, str]], port: int, backlog: int
) -> list[socket.socket]:
    """One socket per address, all on one port; an IPv6 address that this host lacks is left out."""
    opened: list[socket.socket] = []
    try:
        for family, host in addresses:
            try:
                sock = _listen(family, host, port, backlog)
            except OSError as exc:
                if not (opened and family == socket.AF_INET6 and exc.errno in _NO_IPV6):
                    raise
                _log.info("not listening on [%s]: this host has no such IPv6 address", host)
                continue
            opened.append(sock)
            port = sock.getsockname()[1]
    except OSError:
        for sock in opened:
            sock.close()
        raise
    return opened


def _listen_everywhere(port: int, backlog: int) -> socket.socket:
    """A socket on every interface: one for both families, or IPv4 where there is no other."""
    try:
        return _listen(socket.AF_INET6, "::", port, backlog)
    except OSError as exc:
        if exc.errno not in _NO_IPV6:
            raise
        _log.warning("this host has no IPv6: listening on 0.0.0.0 instead of [::]")
        return _listen(socket.AF_INET, "0.0.0.0", port, backlog)  # noqa: S104 -- it was asked for


def _listen(family: socket.AddressFamily, host: str, port: int, backlog: int) -> socket.socket:
    sock = ListeningSocket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _set_for_accepted(sock)
        if family == socket.AF_INET6:
            # Set either way: the default is the system's (/proc/sys/net/ipv6/bindv6only).
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        sock.bind((host, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _set_for_accepted(sock: socket.socket) -> None:
    """Set what every accepted socket inherits, on Linux and macOS: system calls saved for each."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    allow(sock, LITTLE_BYTES)


def _tcp_listener(bind: Bind, sock: socket.socket) -> Listener:
    host, port = sock.getsockname()[:2]
    return Listener(sock, bind, str(TcpBind(host, port)))


# --- Unix sockets -----------------------------------------------------------------------------


def _open_unix(bind: UnixBind, backlog: int, mode: int, owner: tuple[int, int]) -> Listener:
    sock = ListeningSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if bind.is_abstract:
            _bind_abstract(sock, bind)
        else:
            _bind_file(sock, bind.path, mode, owner)
        identity = None if bind.is_abstract else _identity(bind.path)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return Listener(sock, bind, str(bind), identity)


def _bind_abstract(sock: socket.socket, bind: UnixBind) -> None:
    if sys.platform == "linux":
        sock.bind("\0" + bind.path.removeprefix("@"))
    else:
        raise OSError(errno.EOPNOTSUPP, "abstract socket names exist on Linux only")


def _bind_file(sock: socket.socket, path: str, mode: int, owner: tuple[int, int]) -> None:
    _clear_stale(path)
    # A chmod after the bind would leave the socket open to others for a moment.
    umask = os.umask(0o777 & ~mode)
    try:
        sock.bind(path)
    finally:
        os.umask(umask)
    if owner != SAME_OWNER:
        try:
            os.chown(path, *owner, follow_symlinks=False)
        except OSError:
            os.unlink(path)
            raise


def _clear_stale(path: str) -> None:
    """Remove a socket file that a dead server has left.

    Raises:
        OSError: The path is something else (a symbolic link, too), or a server answers there.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except (BlockingIOError, TimeoutError):
            pass  # its queue is full: somebody owns it
    raise OSError(errno.EADDRINUSE, "another server answers on this socket")


def _remove_own(sock: socket.socket, path: str, identity: tuple[int, int]) -> None:
    """Remove a socket file unless another has taken its place.

    The socket must be open still: it pins its inode, so that no other file can have the number.
    """
    if sock.fileno() != -1 and _identity(path) == identity:
        os.unlink(path)


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a socket file, or None where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


# --- inherited sockets ------------------------------------------------------------------------


def _adopt(bind: FdBind, backlog: int) -> Listener:
    """Take over a descriptor as it is: its family is asked of the kernel, its queue kept."""
    sock = ListeningSocket(fileno=bind.fd)
    try:
        sock.set_inheritable(False)
        if not _is_listening(sock):
            sock.listen(backlog)  # refused for a datagram socket
        sock.setblocking(False)
    except OSError:
        sock.detach()  # it is not ours to close
        raise
    if sock.family == socket.AF_UNIX:
        return Listener(sock, bind, f"unix:{_printable(sock.getsockname())}")
    _set_for_accepted(sock)
    return _tcp_listener(bind, sock)


def _is_listening(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # macOS before 10.15 cannot be asked; listening twice does no harm
        return False


def _printable(name: str | bytes) -> str:
    """A Unix socket's name as its bind is written."""
    if isinstance(name, bytes):
        return "@" + name.removeprefix(b"\0").decode("utf-8", "backslashreplace")
    return name
