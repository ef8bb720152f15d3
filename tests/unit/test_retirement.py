"""When workers have served long enough."""

from math import inf

import pytest

from serval.jitter import Jitter
from serval.worker.retirement import Limits, Retirement

MIB = 1024 * 1024
TENTH = Jitter(share=0.1)


def test_without_limits_it_is_never_over() -> None:
    retirement = Retirement(Limits(), luck=1.0, now=0.0)

    assert (retirement.requests, retirement.due_at) == (inf, inf)
    assert retirement.reason(10**9, 10**12, 10.0**9) == ""


def test_it_is_over_after_enough_requests() -> None:
    retirement = Retirement(Limits(requests=100, requests_jitter=TENTH), luck=0.5, now=0.0)

    assert retirement.requests == 105
    assert retirement.reason(104, 0, 0.0) == ""
    assert retirement.reason(105, 0, 0.0) == "105 requests served (limit_max_requests)"


def test_it_is_over_after_enough_time() -> None:
    retirement = Retirement(
        Limits(lifetime_seconds=60.0, lifetime_jitter=TENTH), luck=1.0, now=1000.0
    )

    assert retirement.due_at == 1066.0
    assert retirement.reason(0, 0, 1065.9) == ""
    assert retirement.reason(0, 0, 1066.0) == "66 s of service (workers_lifetime)"


@pytest.mark.parametrize(
    ("samples", "over"),
    [
        ([101, 101], False),
        ([101, 101, 101], True),
        ([101, 99, 101, 99, 101], True),
        ([101, 101, 99, 99, 99, 101], False),
        ([100, 100, 100], False),
    ],
)
def test_peaks_of_memory_are_borne(samples: list[int], over: bool) -> None:
    retirement = Retirement(Limits(rss_bytes=100 * MIB), luck=0.0, now=0.0)

    reasons = [retirement.reason(0, sample * MIB, 0.0) for sample in samples]

    assert any(reasons) is over
    if over:
        assert reasons[-1] == "101 MiB of memory (workers_max_rss)"
