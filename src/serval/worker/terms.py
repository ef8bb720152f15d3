"""The settings of a service as the records that its parts take.  Pure: from one to the other.

Called by `worker/service.py` as it begins.
"""

from collections.abc import Callable
from typing import Final

from serval.asgi.proxy import ProxyRules
from serval.config import ServerConfig
from serval.protocols.response_defaults import ResponseDefaults
from serval.protocols.sections import HeadLimits
from serval.worker.deadlines import Wait

# The peer's time to read a last answer after our side is closed.
LINGER_SECONDS: Final = 2.0


def waits(config: ServerConfig) -> dict[Wait, float]:
    """How many seconds each kind of wait may last; 0 for ever."""
    return {
        Wait.HANDSHAKE: config.timeout_tls_handshake,
        Wait.HEAD: config.timeout_headers,
        Wait.KEEP_ALIVE: config.timeout_keep_alive,
        Wait.BODY: config.timeout_body_idle,
        Wait.WRITE: config.timeout_write_idle,
        Wait.LINGER: LINGER_SECONDS,
        Wait.REQUEST: config.timeout_request,
    }


def telling_waits(config: ServerConfig) -> tuple[Wait, ...]:
    """The kinds of whose beginning somebody wants to know."""
    # At a full door, who comes waits for a connection to rest.
    return (Wait.KEEP_ALIVE,) if config.limit_connections else ()


def head_limits(config: ServerConfig) -> HeadLimits:
    """What the head of a request may cost."""
    return HeadLimits(
        request_line_bytes=config.limit_request_line,
        field_bytes=config.limit_header_field,
        block_bytes=config.limit_header_block,
        count=config.limit_header_count,
    )


def proxy_rules(config: ServerConfig) -> ProxyRules:
    """What is believed of whom."""
    return ProxyRules(
        trust=config.proxies,
        hops=config.proxy_hops,
        headers=frozenset(name.encode() for name in config.believed_headers),
        strip=config.forwarded_strip,
        root_path=config.root_path,
        path_is_whole=config.root_path_mode == "keep",
    )


def response_defaults(config: ServerConfig, clock: Callable[[], float]) -> ResponseDefaults:
    """What every response says besides what the application gave it.

    Args:
        clock: Gives the time in Unix seconds.
    """
    return ResponseDefaults(
        clock,
        server=config.server_header,
        date=config.date_header,
        headers=config.extra_headers,
    )
