"""The settings of a server behind proxies, and their contradictions."""

import pytest

from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.layers import Given, Sources
from serval.proxy_settings import credulous_settings


def test_by_default_the_machine_itself_is_trusted_for_client_and_scheme() -> None:
    config = ServerConfig()

    assert config.proxies.has_peer(("127.0.0.1", 1))
    assert config.proxies.has_peer(None)
    assert not config.proxies.has_peer(("10.0.0.1", 1))
    assert config.believed_headers == {"x-forwarded-for", "x-forwarded-proto"}


def test_without_proxy_headers_none_is_believed() -> None:
    assert ServerConfig(proxy_headers=False).believed_headers == frozenset()


def test_names_of_headers_are_read_in_any_case_and_between_commas() -> None:
    config = ServerConfig(forwarded_headers=("X-Forwarded-For, X-Forwarded-Prefix",))

    assert config.believed_headers == {"x-forwarded-for", "x-forwarded-prefix"}


def test_the_list_that_speaks_the_proxy_protocol_is_its_own() -> None:
    config = ServerConfig(proxy_protocol="v2", proxy_protocol_from=("10.0.0.0/8",))

    assert config.preamble_peers.has_peer(("10.0.0.1", 1))
    assert not config.proxies.has_peer(("10.0.0.1", 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forwarded_allow_ips": ("x",)}, "forwarded_allow_ips cannot be used: 'x' is no peer"),
        (
            {"proxy_protocol": "v1", "proxy_protocol_from": ("x",)},
            "proxy_protocol_from cannot be used: 'x' is no peer",
        ),
        ({"proxy_protocol_from": ("*",)}, "proxy_protocol_from is given, and proxy_protocol is"),
        ({"proxy_hops": 1, "proxy_headers": False}, "proxy_hops counts hops in headers"),
        ({"proxy_hops": 1, "forwarded_allow_ips": ("*",)}, "contradicts forwarded_allow_ips"),
        ({"proxy_hops": 65}, "proxy_hops must be at most 64"),
        (
            {"forwarded_allow_ips": ("*",), "proxy_headers": False},
            "forwarded_allow_ips is given, and proxy_headers is off",
        ),
        (
            {"forwarded_headers": ("x-forwarded-fro",)},
            "names 'x-forwarded-fro'; did you mean x-forwarded-for",
        ),
        ({"forwarded_headers": ("forwarded,x-forwarded-for",)}, "names forwarded beside"),
        ({"forwarded_headers": ()}, "forwarded_headers is empty; say no-proxy-headers"),
        ({"root_path_mode": "keep"}, "root_path_mode is keep, and there is no root_path"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        ServerConfig(**settings)  # type: ignore[arg-type]  # wrong values are what is tested

    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"root_path_mode": "keep", "root_path": "/api"},
        {"root_path_mode": "keep", "forwarded_headers": ("x-forwarded-prefix",)},
        {"forwarded_headers": ("forwarded", "x-forwarded-prefix")},
        {"proxy_headers": False, "forwarded_strip": True},
    ],
)
def test_what_goes_together_is_accepted(settings: dict[str, object]) -> None:
    ServerConfig(**settings)  # type: ignore[arg-type]  # one of several types each


def test_the_platform_s_trust_list_does_not_stand_against_a_flag() -> None:
    off = Sources(
        environ={"FORWARDED_ALLOW_IPS": "*"},
        flags=[Given("proxy_headers", False, "--no-proxy-headers")],
    )
    hops = Sources(
        environ={"FORWARDED_ALLOW_IPS": "*"}, flags=[Given("proxy_hops", "2", "--proxy-hops")]
    )

    assert ServerConfig.load(off).believed_headers == frozenset()
    assert not ServerConfig.load(hops).proxies.everyone
    assert ServerConfig.load(Sources(environ=off.environ)).proxies.everyone


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"forwarded_allow_ips": ("*",)}, ["forwarded_allow_ips is *"]),
        ({"proxy_hops": 2}, ["proxy_hops is 2"]),
        (
            {"proxy_protocol": "v2", "proxy_protocol_from": ("*",)},
            ["proxy_protocol_from is *"],
        ),
        ({"proxy_protocol": "v2"}, []),
    ],
)
def test_settings_that_believe_everybody_are_told(
    settings: dict[str, object], expected: list[str]
) -> None:
    config = ServerConfig(**settings)  # type: ignore[arg-type]  # one of several types each

    assert credulous_settings(config) == expected
