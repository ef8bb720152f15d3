"""Which peers are believed: addresses, networks, `unix`, `*`; and addresses as others write them.

Pure; the configuration parses its allow lists with it, and the proxy headers are walked with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple, TypeAlias

from serval.asgi.types import Address
from serval.errors import ConfigError

IPAddress: TypeAlias = IPv4Address | IPv6Address

EVERYONE: Final = "*"
UNIX: Final = "unix"
LEGAL: Final = "an address such as 10.0.0.1, a network such as 10.0.0.0/8, unix, or *"
LOCAL: Final = ("127.0.0.1", "::1", UNIX)

# The longest spelling of an address, a zone with it, has some 60 characters.
_ADDRESS_CHARACTERS: Final = 64
_CACHED_COUNT: Final = 1024
# ::ffff:0:0/96, where IPv4 addresses appear on a socket that listens for both (RFC 4291 2.5.5.2).
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


class Node(NamedTuple):
    """One hop as a proxy names it.

    Attributes:
        port: 0 where the proxy does not tell.
    """

    address: IPAddress
    port: int


class _Range(NamedTuple):
    """All networks of one family and size.

    Attributes:
        shift: How many low bits of an address do not count.
        numbers: The other bits.
    """

    version: int
    shift: int
    numbers: frozenset[int]


@dataclass(frozen=True, slots=True)
class TrustList:
    """Who is believed.

    Attributes:
        everyone: `*` is in the list.
        unix: Peers on Unix sockets are, who have no address.
    """

    everyone: bool
    unix: bool
    ranges: tuple[_Range, ...]

    def has(self, address: IPAddress) -> bool:
        """Whether an address is believed."""
        if self.everyone:
            return True
        number, version = int(address), address.version
        return any(
            one.version == version and number >> one.shift in one.numbers for one in self.ranges
        )

    def has_peer(self, peer: Address | None) -> bool:
        """Whether the other end of a connection is believed."""
        if self.everyone:
            return True
        if peer is None or peer[1] is None:
            return self.unix
        address = parse_address(peer[0])
        return address is not None and self.has(address)


def parse_trust(items: Iterable[str]) -> TrustList:
    """The list that texts mean; each may hold several items between commas.

    Raises:
        ConfigError: An item is none; the text says what would be legal.
    """
    found: dict[tuple[int, int], set[int]] = {}
    words: set[str] = set()
    for item in (part.strip() for text in items for part in text.split(",")):
        if item in (EVERYONE, UNIX):
            words.add(item)
        elif item:
            network = _network(item)
            shift = network.max_prefixlen - network.prefixlen
            numbers = found.setdefault((network.version, shift), set())
            numbers.add(int(network.network_address) >> shift)
    return TrustList(
        EVERYONE in words,
        UNIX in words,
        tuple(_Range(*key, frozenset(numbers)) for key, numbers in sorted(found.items())),
    )


def _network(item: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(item)
    except ValueError:
        raise ConfigError(f"{item!r} is no peer: {_hint(item)}") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        low_bits = int(network.network_address) & 0xFFFF_FFFF
        return IPv4Network((low_bits, network.prefixlen - _MAPPED.prefixlen))
    return network


def _hint(item: str) -> str:
    try:
        whole = ip_network(item, strict=False)
    except ValueError:
        if item.startswith("/") or item.startswith("unix:"):
            return "peers on Unix sockets have no address; write unix for all of them"
        return f"it must be {LEGAL}"
    return f"bits are set behind the prefix; write {whole} or {item.partition('/')[0]}"


@lru_cache(_CACHED_COUNT)
def _parse(text: str) -> IPAddress | None:
    bare, percent, _ = text.partition("%")
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return None if percent else address


def parse_address(text: str) -> IPAddress | None:
    """The address in a text, or None.

    A zone is left out, since it means nothing on another machine, and an IPv4 address that is
    mapped into IPv6 is itself again.
    """
    return _parse(text) if len(text) <= _ADDRESS_CHARACTERS else None


def parse_node(text: str) -> Node | None:
    """A hop: an address, perhaps with a port, an IPv6 one with a port in brackets.

    `unknown` and hidden names are None (RFC 7239 section 6); a hidden port is 0.
    """
    if text[:1] == "[":
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host:
            return None
        colon, port = rest[:1], rest[1:]
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
    else:
        host, colon, port = text, "", ""
    address = parse_address(host)
    number = _port(colon, port)
    return None if address is None or number is None else Node(address, number)


def _port(colon: str, text: str) -> int | None:
    if not colon and not text:
        return 0
    if colon != ":" or not text:
        return None
    if text[0] == "_":
        return 0
    if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    return None
