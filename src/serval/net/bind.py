"""Where to listen, as a person writes it: `host:port`, `unix:path`, `fd:N`.

Pure; the configuration parses with it and the listeners open what it says.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from serval.errors import ConfigError

LEGAL: Final = "host:port, [v6]:port, :port, port, unix:path, unix:@name or fd:N"
DEFAULT_HOST: Final = "127.0.0.1"
_FD_DIGITS: Final = 9  # of an int; a larger number would be cut down to one that means another


@dataclass(frozen=True, slots=True)
class TcpBind:
    """A TCP address.

    Attributes:
        host: A name or an address, an IPv6 one without brackets; empty for every interface.
        port: 0 lets the kernel choose.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixBind:
    """A Unix socket; a path that begins with `@` is a name in Linux's abstract namespace."""

    path: str

    @property
    def is_abstract(self) -> bool:
        """Whether it is a name without a file."""
        return self.path.startswith("@")

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class FdBind:
    """A listening socket that was open before we started."""

    fd: int

    def __str__(self) -> str:
        return f"fd:{self.fd}"


Bind: TypeAlias = TcpBind | UnixBind | FdBind


def parse_bind(spec: str) -> Bind:
    """The bind that a text means.

    Raises:
        ConfigError: It means none; the text says what would be legal.
    """
    if spec.startswith("unix:"):
        return _parse_unix(spec)
    if spec.startswith("fd:"):
        return _parse_fd(spec)
    if spec.isdecimal():
        return TcpBind(DEFAULT_HOST, _parse_port(spec, spec))
    return _parse_tcp(spec)


def _parse_unix(spec: str) -> UnixBind:
    path = spec.removeprefix("unix:")
    if path.startswith("///"):  # the URL spelling: unix:///run/x.sock
        path = path[2:]
    if not path.removeprefix("@"):
        raise ConfigError(f"bind {spec!r} names no socket; legal: unix:path or unix:@name")
    if "\0" in path:
        raise ConfigError(f"bind {spec!r} holds a NUL byte")
    return UnixBind(path)


def _parse_fd(spec: str) -> FdBind:
    number = spec.removeprefix("fd:").removeprefix("//")
    if not (number.isascii() and number.isdecimal() and len(number) <= _FD_DIGITS):
        raise ConfigError(f"bind {spec!r} names no file descriptor; legal: fd:N")
    return FdBind(int(number))


def _parse_tcp(spec: str) -> TcpBind:
    host, colon, port = spec.rpartition(":")
    if not colon:
        raise ConfigError(f"bind {spec!r} has no port; legal: {LEGAL}")
    if host.startswith("["):
        if not host.endswith("]") or ":" not in host:
            raise ConfigError(f"bind {spec!r} has no IPv6 address in its brackets; legal: {LEGAL}")
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(
            f"bind {spec!r} is ambiguous; an IPv6 address is written in brackets: "
            f"[{host}]:{port} or [{spec}]:8000"
        )
    if any(char.isspace() or char in "/[]\0" for char in host):
        raise ConfigError(f"bind {spec!r} has no host that a name could be; legal: {LEGAL}")
    return TcpBind(host, _parse_port(port, spec))


def _parse_port(port: str, spec: str) -> int:
    if not (port.isascii() and port.isdecimal()):
        raise ConfigError(f"bind {spec!r} has {port!r} for its port; legal: {LEGAL}")
    if int(port) > 65535:
        raise ConfigError(f"bind {spec!r} has port {port}; the highest is 65535")
    return int(port)
