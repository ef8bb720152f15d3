"""The settings of a service, handed to its parts."""

from serval.config import ServerConfig
from serval.protocols.sections import HeadLimits
from serval.worker.deadlines import Wait
from serval.worker.terms import (
    head_limits,
    proxy_rules,
    response_defaults,
    telling_waits,
    waits,
)


def test_every_wait_has_an_end() -> None:
    found = waits(ServerConfig(timeout_request=7.0))

    assert set(found) == set(Wait)
    assert all(found.values())


def test_heads_are_limited_as_configured() -> None:
    config = ServerConfig(
        limit_request_line=100, limit_header_field=200, limit_header_block=300, limit_header_count=4
    )

    assert head_limits(config) == HeadLimits(100, 200, 300, 4)


def test_proxies_are_believed_as_configured() -> None:
    rules = proxy_rules(ServerConfig(root_path="/api", root_path_mode="keep", proxy_hops=2))

    assert (rules.root_path, rules.path_is_whole, rules.hops) == ("/api", True, 2)
    assert b"x-forwarded-for" in rules.headers


def test_responses_say_what_is_configured() -> None:
    config = ServerConfig(server_header=False, date_header=False, header=("X-A: b",))

    assert response_defaults(config, lambda: 0.0).lines() == b"x-a: b\r\n"


def test_only_a_full_door_waits_for_a_connection_to_rest() -> None:
    assert telling_waits(ServerConfig()) == ()
    assert telling_waits(ServerConfig(limit_connections=1)) == (Wait.KEEP_ALIVE,)
