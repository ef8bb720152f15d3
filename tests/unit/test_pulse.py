"""How often workers beat, and what they watch of themselves."""

import pytest

from serval.config import ServerConfig
from serval.jitter import Jitter
from serval.worker.retirement import Limits
from serval.worker.watch.pulse import beat_seconds, retirement_limits


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        (ServerConfig(), 5.0),
        (ServerConfig(timeout_worker_healthcheck=0.0), 5.0),
        (ServerConfig(timeout_worker_healthcheck=6.0), 2.0),
        (ServerConfig(admin_bind="9000"), 1.0),
        (ServerConfig(admin_bind="9000", timeout_worker_healthcheck=1.5), 0.5),
    ],
)
def test_a_worker_beats_several_times_before_it_counts_as_hung(
    config: ServerConfig, seconds: float
) -> None:
    assert beat_seconds(config) == seconds


def test_the_limits_are_those_of_the_configuration() -> None:
    config = ServerConfig(
        limit_max_requests=100,
        limit_max_requests_jitter="5",
        workers_max_rss=1 << 30,
        workers_lifetime=60.0,
    )

    assert retirement_limits(config) == Limits(
        requests=100,
        requests_jitter=Jitter(amount=5.0),
        rss_bytes=1 << 30,
        lifetime_seconds=60.0,
        lifetime_jitter=Jitter(share=0.1),
    )
