"""The PROXY protocol, versions 1 and 2: what a proxy says before the client's first byte.  Pure.

The specification is HAProxy's proxy-protocol.txt (2020/03/05).  Whether a peer must speak it is
decided by who accepts the connection, never by a look at the bytes.
"""

from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from serval.asgi.types import Address
from serval.errors import PeerError

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
LINE_START: Final = b"PROXY "
# The longest line there can be, its line end included (section 2.1).
LINE_BYTES: Final = 107
# Version 2 could announce 64 KiB; certificates in extensions take a few.
BLOCK_BYTES: Final = 16_384
REASON: Final = "bad-proxy-preamble"

_HEAD_BYTES: Final = 16
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_IPV4: Final = 0x11
_IPV6: Final = 0x21
# Unspecified, and both kinds of Unix socket: addresses of which the application could do nothing.
_NAMELESS: Final = {0x00: 0, 0x31: 216, 0x32: 216}
_TLV_HEAD_BYTES: Final = 3
_TLV_SSL: Final = 0x20
_CLIENT_SSL: Final = 0x01


class Version(Enum):
    """Which versions are understood."""

    V1 = "v1"
    V2 = "v2"
    AUTO = "auto"


class Preamble(NamedTuple):
    """What the proxy said; the addresses are None where the connection's own are the true ones.

    Attributes:
        client: Where the proxy accepted the connection from.
        server: Where it accepted it.
        over_tls: The client spoke TLS to it.
    """

    client: Address | None = None
    server: Address | None = None
    over_tls: bool = False


class PreambleReader:
    """Reads one preamble, in whatever pieces it comes."""

    __slots__ = ("_data", "_version")

    def __init__(self, version: Version) -> None:
        self._version = version
        self._data = b""

    def feed(self, data: bytes) -> tuple[Preamble, bytes] | None:
        """The preamble and what came behind it, or None where more bytes are needed.

        Raises:
            PeerError: It is malformed, or of a version that is not understood.
        """
        data = self._data = self._data + data
        if self._version is not Version.V2 and LINE_START.startswith(data[: len(LINE_START)]):
            return _read_line(data)
        if self._version is not Version.V1 and SIGNATURE.startswith(data[: len(SIGNATURE)]):
            return _read_block(data)
        raise _refusal("no preamble of the version that is expected", data)


def _refusal(detail: str, data: bytes) -> PeerError:
    return PeerError(400, REASON, detail, excerpt=data, offset=0)


def _read_line(data: bytes) -> tuple[Preamble, bytes] | None:
    line, end, _ = data[:LINE_BYTES].partition(b"\r\n")
    if not end:
        if len(data) >= LINE_BYTES:
            raise _refusal("the line does not end", data)
        return None
    words = line.split(b" ")
    try:
        preamble = _preamble_of(words)
    except ValueError:
        raise _refusal("the line is malformed", data) from None
    return preamble, data[len(line) + 2 :]


def _preamble_of(words: list[bytes]) -> Preamble:
    if words[1] == b"UNKNOWN":
        return Preamble()
    parse: dict[bytes, Callable[[str], IPv4Address | IPv6Address]] = {
        b"TCP4": IPv4Address,
        b"TCP6": IPv6Address,
    }
    if words[1] not in parse or len(words) != 6 or any(b"%" in word for word in words):
        raise ValueError
    hosts = [str(parse[words[1]](word.decode("ascii"))) for word in words[2:4]]
    ports = [_port(word) for word in words[4:]]
    return Preamble((hosts[0], ports[0]), (hosts[1], ports[1]))


def _port(word: bytes) -> int:
    if not word.isdigit() or (word[:1] == b"0" and word != b"0") or int(word) > 65535:
        raise ValueError
    return int(word)


def _read_block(data: bytes) -> tuple[Preamble, bytes] | None:
    if len(data) < _HEAD_BYTES:
        return None
    command, family = data[12], data[13]
    size = int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise _refusal("unknown version or command", data)
    if size > BLOCK_BYTES:
        raise _refusal(f"{size} bytes are announced, more than {BLOCK_BYTES}", data)
    end = _HEAD_BYTES + size
    if len(data) < end:
        return None
    if command == _LOCAL:
        return Preamble(), data[end:]
    preamble, used = _read_addresses(family, data[_HEAD_BYTES:end])
    if _says_tls(data[_HEAD_BYTES + used : end]):
        preamble = preamble._replace(over_tls=True)
    return preamble, data[end:]


def _read_addresses(family: int, block: bytes) -> tuple[Preamble, int]:
    """The addresses, and how many bytes they take."""
    if family in _NAMELESS:
        return Preamble(), min(_NAMELESS[family], len(block))
    if family == _IPV4 and len(block) >= 12:
        return _addresses(IPv4Address, block, 4), 12
    if family == _IPV6 and len(block) >= 36:
        return _addresses(IPv6Address, block, 16), 36
    raise _refusal(f"no stream over TCP, or too short (family 0x{family:02x})", block)


def _addresses(
    parse: Callable[[bytes], IPv4Address | IPv6Address], block: bytes, width: int
) -> Preamble:
    source, target = str(parse(block[:width])), str(parse(block[width : 2 * width]))
    ports = block[2 * width : 2 * width + 4]
    return Preamble(
        (source, int.from_bytes(ports[:2], "big")), (target, int.from_bytes(ports[2:], "big"))
    )


def _says_tls(extensions: bytes) -> bool:
    """Whether an extension says that the client spoke TLS (section 2.2.5)."""
    at = 0
    while at < len(extensions):
        start = at + _TLV_HEAD_BYTES
        end = start + int.from_bytes(extensions[at + 1 : start], "big")
        if end > len(extensions) or start > len(extensions):
            raise _refusal("an extension is longer than its block", extensions)
        if extensions[at] == _TLV_SSL and end > start and extensions[start] & _CLIENT_SSL:
            return True
        at = end
    return False
