"""What proxies say of a request: who sent it, over what, to which host, under which path.  Pure.

Believed of trusted peers only.  Whether a peer is trusted is decided once for each connection; a
request without such headers costs one look at its header names.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, TypeAlias

from serval.asgi.forwarded import forwarded_hops
from serval.asgi.scope import with_host
from serval.asgi.types import Address, Scope
from serval.net.trust import Node, TrustList, parse_node
from serval.protocols.events import Headers

Amend: TypeAlias = Callable[[Scope], None]

# Hosts that are remembered; clients can be many, so it is begun anew when full.
_HOSTS_COUNT: Final = 1024

_name: Final = itemgetter(0)

# What forwarding headers there are: those we can believe, and those that applications look at.
CLAIMS: Final = frozenset(
    b"forwarded x-forwarded-by x-forwarded-for x-forwarded-host x-forwarded-path "
    b"x-forwarded-port x-forwarded-prefix x-forwarded-proto x-forwarded-protocol "
    b"x-forwarded-scheme x-forwarded-server x-forwarded-ssl x-forwarded-user x-real-ip".split()
)

# How nginx names a peer on a Unix socket.
_UNIX_HOP: Final = "unix:"
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# Neither `//x`, which a browser takes for a host, nor dots that lead elsewhere.
_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+;=:@-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRules:
    """What is believed of whom; see the settings of the same names.

    Attributes:
        trust: Proxies; a peer, or a hop before it, that is not among them is the client.
        hops: How many proxies there are, where their number is known and not their addresses; 0
            goes by `trust`.
        headers: The headers to believe, in lower case.
        strip: Forwarding headers of peers that are not trusted do not reach the application.
        root_path: Where the application is mounted, unless a proxy says otherwise.
        path_is_whole: Request targets begin with the root path; otherwise a proxy removed it.
    """

    trust: TrustList
    hops: int = 0
    headers: frozenset[bytes] = frozenset()
    strip: bool = False
    root_path: str = ""
    path_is_whole: bool = False


@dataclass(slots=True)
class _Claims:
    """What the headers of one request claim.

    Attributes:
        node: The client.
        scheme: Checked: `http` or `https`.
    """

    node: Node | None = None
    scheme: str = ""
    host: str = ""
    prefix: str = ""


class Proxies:
    """The proxies before a server, as its connections ask about them."""

    __slots__ = ("_amend_other", "_amend_trusted", "_hosts", "_rules")

    def __init__(self, rules: ProxyRules) -> None:
        self._rules = rules
        self._hosts: dict[str, bool] = {}  # those that connected before -> whether trusted
        # Bound once, not for each of many connections.
        self._amend_trusted: Amend = self._believe
        self._amend_other: Amend | None = None
        if rules.strip:
            self._amend_other = self._strip
        elif rules.path_is_whole and rules.root_path:
            self._amend_other = self._mount

    @property
    def root_path(self) -> str:
        """What `http_scope` shall put before every path."""
        return "" if self._rules.path_is_whole else self._rules.root_path

    def amend_for(self, peer: Address | None) -> Amend | None:
        """What to do with the scopes of a peer's requests, or None where there is nothing to do."""
        if self._rules.headers and self.trusts(peer):
            return self._amend_trusted
        return self._amend_other

    def trusts(self, peer: Address | None) -> bool:
        """Whether what the peer says of a request is believed."""
        return bool(self._rules.hops) or self._is_trusted(peer)

    def _is_trusted(self, peer: Address | None) -> bool:
        if peer is None or peer[1] is None:
            return self._rules.trust.has_peer(peer)
        is_trusted = self._hosts.get(peer[0])
        if is_trusted is None:
            if len(self._hosts) >= _HOSTS_COUNT:
                self._hosts.clear()
            is_trusted = self._hosts[peer[0]] = self._rules.trust.has_peer(peer)
        return is_trusted

    def _mount(self, scope: Scope) -> None:
        scope["root_path"] = self._rules.root_path

    def _strip(self, scope: Scope) -> None:
        headers: Headers = scope["headers"]
        if not CLAIMS.isdisjoint(map(_name, headers)):
            scope["headers"] = [field for field in headers if field[0] not in CLAIMS]
        if self._rules.path_is_whole:
            self._mount(scope)

    def _believe(self, scope: Scope) -> None:
        rules = self._rules
        if rules.path_is_whole:
            self._mount(scope)
        headers: Headers = scope["headers"]
        if rules.headers.isdisjoint(map(_name, headers)):  # in C: it is asked of every request
            return
        claims = self._claims(headers)
        if claims.node is not None:
            extensions = scope["extensions"]
            extensions["serval"] = {**extensions.get("serval", {}), "peer": scope["client"]}
            scope["client"] = (str(claims.node.address), claims.node.port)
        if claims.scheme:
            scope["scheme"] = claims.scheme
        if claims.host:
            scope["headers"] = with_host(headers, claims.host.encode())
        if claims.prefix:
            scope["root_path"] = claims.prefix
            if not rules.path_is_whole:
                scope["path"] = claims.prefix + scope["path"][len(rules.root_path) :]

    def _claims(self, headers: Headers) -> _Claims:
        """What the headers claim that we believe."""
        rules = self._rules
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in rules.headers:
                values.setdefault(name, []).append(value)
        claims = _Claims()
        if b"forwarded" in values:
            hops = forwarded_hops(values[b"forwarded"])
            claims.node, distance = self._client([hop.get("for", "") for hop in hops])
            hop = hops[-distance] if distance <= len(hops) else {}
            claims.scheme = _SCHEMES.get(hop.get("proto", "").lower(), "")
            claims.host = _host(hop.get("host", ""))
        else:
            claims.node, distance = self._client(_items(values, b"x-forwarded-for"))
        if found := _of_hop(_items(values, b"x-forwarded-proto"), distance):
            claims.scheme = _SCHEMES.get(found.lower(), "")
        if found := _of_hop(_items(values, b"x-forwarded-host"), distance):
            claims.host = _host(found)
        # Each proxy that removed a part of the path has said so, the outermost first.
        claims.prefix = _prefix(_items(values, b"x-forwarded-prefix")[-distance:])
        return claims

    def _client(self, names: Sequence[str]) -> tuple[Node | None, int]:
        """Who the client is, and how far from us: 1 is next to the peer.

        The walk goes from the right to the first that is not trusted; what is left of it anybody
        may have written.  It also ends at what is no address, with the one before it.

        Args:
            names: The hops as the proxies name them, the nearest last.
        """
        rules = self._rules
        if rules.hops:
            known = rules.hops <= len(names)
            return parse_node(names[-rules.hops]) if known else None, rules.hops
        if rules.trust.everyone:
            return parse_node(names[0]) if names else None, len(names) or 1
        client: Node | None = None
        distance = 0
        for name in reversed(names):
            distance += 1
            node = parse_node(name)
            if node is None:
                if name == _UNIX_HOP and rules.trust.unix:
                    continue
                break
            client = node
            if not rules.trust.has(node.address):
                break
        return client, distance or 1


def _items(values: Mapping[bytes, Sequence[bytes]], name: bytes) -> list[str]:
    """The items of a list over all its fields; empty ones do not count (RFC 9110 5.6.1)."""
    fields = values.get(name)
    if not fields:
        return []
    text = b",".join(fields).decode("latin-1")
    return [item for part in text.split(",") if (item := part.strip(" \t"))]


def _of_hop(items: Sequence[str], distance: int) -> str:
    """What the proxy next to the client said, where each said something; else the outermost."""
    return items[-min(distance, len(items))] if items else ""


def _host(text: str) -> str:
    return text if _HOST.fullmatch(text) else ""


def _prefix(items: Sequence[str]) -> str:
    parts = [part for item in items if (part := item.rstrip("/"))]
    return "".join(parts) if all(map(_PREFIX.fullmatch, parts)) else ""
