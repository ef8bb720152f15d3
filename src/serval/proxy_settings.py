"""The settings of a server behind proxies: whom to believe, and what of what they say.

A base of `ServerConfig`, apart for room.  Inert like all settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from serval.errors import ConfigError
from serval.net.trust import LOCAL, TrustList, parse_trust
from serval.options import Group, near, option
from serval.service_settings import ServiceSettings

ALLOW_VARIABLE: Final = "FORWARDED_ALLOW_IPS"
BELIEVED: Final = ("x-forwarded-for", "x-forwarded-proto")
KNOWN: Final = (*BELIEVED, "x-forwarded-host", "x-forwarded-prefix", "forwarded")
# What both families of headers tell; a prefix is told by one of them only.
_RIVAL: Final = frozenset(KNOWN[:3])


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)
class ProxySettings(ServiceSettings):
    """Trust in proxies."""

    proxy_headers: bool = option(
        True,
        "Take client address and scheme from the headers of trusted proxies.",
        group=Group.PROXIES,
    )
    forwarded_allow_ips: tuple[str, ...] = option(
        LOCAL,
        "The proxies to trust: addresses, networks, unix for peers on Unix sockets, or * for "
        "everybody. May be repeated.",
        group=Group.PROXIES,
        placeholder="PEERS",
        fallback_variable=ALLOW_VARIABLE,
    )
    proxy_hops: int = option(
        0,
        "How many proxies there are, where their addresses are not known: the client is the Nth "
        "hop from the right, whoever the peer is.",
        group=Group.PROXIES,
        at_most=64,
        zero_means="going by forwarded_allow_ips",
    )
    forwarded_headers: tuple[str, ...] = option(
        BELIEVED,
        "The headers to believe, all of which every proxy must set or remove: x-forwarded-for, "
        "x-forwarded-proto, x-forwarded-host, x-forwarded-prefix, or forwarded (RFC 7239). May be "
        "repeated.",
        group=Group.PROXIES,
        placeholder="HEADERS",
    )
    forwarded_strip: bool = option(
        False,
        "Hide the forwarding headers of peers that are not trusted from the application.",
        group=Group.PROXIES,
    )
    root_path_mode: Literal["strip", "keep"] = option(
        "strip",
        "Whether the proxy strips the root path from what it forwards, or keeps it.",
        group=Group.PROXIES,
    )
    proxy_protocol: Literal["off", "v1", "v2", "auto"] = option(
        "off",
        "Read the client's address from the PROXY protocol, which the peers in proxy_protocol_from "
        "must then speak.",
        group=Group.PROXIES,
    )
    proxy_protocol_from: tuple[str, ...] = option(
        LOCAL,
        "The peers that speak the PROXY protocol: addresses, networks, unix or *. May be repeated.",
        group=Group.PROXIES,
        placeholder="PEERS",
        aliases=("--proxy-allow-from",),
    )

    @property
    def proxies(self) -> TrustList:
        """Whose headers are believed.

        Raises:
            ConfigError: An item of the list is no peer.
        """
        return parse_trust(self.forwarded_allow_ips)

    @property
    def believed_headers(self) -> frozenset[str]:
        """The forwarding headers that count, in lower case; none without `proxy_headers`."""
        return frozenset(_split(self.forwarded_headers)) if self.proxy_headers else frozenset()

    @property
    def preamble_peers(self) -> TrustList:
        """Who speaks the PROXY protocol, if it is spoken at all.

        Raises:
            ConfigError: An item of the list is no peer.
        """
        return parse_trust(self.proxy_protocol_from)


def proxy_faults(
    settings: ProxySettings, *, root_path: str, trust_origin: str
) -> Iterator[tuple[str, str]]:
    """What is wrong or contradicts itself: a setting's name, and the end of a sentence.

    Args:
        settings: What to look at.
        root_path: Where the application is mounted.
        trust_origin: Where the list of trusted proxies came from.
    """
    for name in ("forwarded_allow_ips", "proxy_protocol_from"):
        try:
            parse_trust(getattr(settings, name))
        except ConfigError as exc:
            yield name, f"cannot be used: {exc}"
    yield from _header_faults(settings)
    if settings.proxy_hops and not settings.proxy_headers:
        yield "proxy_hops", "counts hops in headers, which no-proxy-headers leaves unread"
    if settings.proxy_hops and settings.forwarded_allow_ips != LOCAL:
        yield "proxy_hops", "contradicts forwarded_allow_ips; give the one or the other"
    if (
        not settings.proxy_headers
        and settings.forwarded_allow_ips != LOCAL
        and trust_origin != ALLOW_VARIABLE  # which stands in many an environment unasked
    ):
        yield "forwarded_allow_ips", "is given, and proxy_headers is off"
    if settings.proxy_protocol == "off" and settings.proxy_protocol_from != LOCAL:
        yield "proxy_protocol_from", "is given, and proxy_protocol is off"
    if (
        settings.root_path_mode == "keep"
        and not root_path
        and "x-forwarded-prefix" not in settings.believed_headers
    ):
        yield "root_path_mode", "is keep, and there is no root_path to keep"


def credulous_settings(settings: ProxySettings) -> list[str]:
    """The settings that let every peer say who it is, each with its value."""
    found = []
    if settings.believed_headers and settings.proxies.everyone:
        found.append("forwarded_allow_ips is *")
    if settings.believed_headers and settings.proxy_hops:
        found.append(f"proxy_hops is {settings.proxy_hops}")
    if settings.proxy_protocol != "off" and settings.preamble_peers.everyone:
        found.append("proxy_protocol_from is *")
    return found


def _header_faults(settings: ProxySettings) -> Iterator[tuple[str, str]]:
    names = _split(settings.forwarded_headers)
    for name in names:
        if name not in KNOWN:
            yield (
                "forwarded_headers",
                f"names {name!r}{near(name, KNOWN)}; legal: {', '.join(KNOWN)}",
            )
    if "forwarded" in names and _RIVAL & {*names}:
        yield (
            "forwarded_headers",
            "names forwarded beside x-forwarded headers that tell the same; a proxy that sets the "
            "one passes on what a client wrote into the other",
        )
    if not names:
        yield "forwarded_headers", "is empty; say no-proxy-headers"


def _split(items: tuple[str, ...]) -> list[str]:
    return [name for item in items for part in item.split(",") if (name := part.strip().lower())]
