"""What contradicts itself in the settings of workers."""

import pytest

from serval.config import ServerConfig
from serval.errors import ConfigError


def refusal_of(**settings: object) -> str:
    with pytest.raises(ConfigError) as refusal:
        ServerConfig(**settings)  # type: ignore[arg-type]  # wrong values are what is tested
    return str(refusal.value)


@pytest.mark.parametrize("name", ["limit_max_requests_jitter", "workers_lifetime_jitter"])
def test_a_jitter_is_a_share_or_a_number(name: str) -> None:
    assert refusal_of(**{name: "much"}) == (
        f"{name} must be a share such as 10% or a number such as 50, not 'much'"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit_max_requests", 5),
        ("workers_max_rss", 1 << 30),
        ("workers_lifetime", 60.0),
        ("preload", True),
        ("replace_mode", "stop-first"),
        ("timeout_worker_healthcheck", 5.0),
        ("crash_limit", 0),
    ],
)
def test_what_a_supervisor_does_needs_one(name: str, value: object) -> None:
    assert refusal_of(workers=0, **{name: value}) == (
        f"{name} needs a supervisor, which workers 0 does without"
    )


def test_a_limit_that_no_worker_keeps_below_is_refused() -> None:
    assert "at least 16MiB, or 0 for no limit" in refusal_of(workers_max_rss=512)
