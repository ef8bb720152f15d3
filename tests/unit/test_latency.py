from itertools import pairwise

import pytest

from serval.latency import BOUNDS_SECONDS, BUCKET_COUNT, bucket_of, quantile


def counted(*seconds: float) -> list[int]:
    buckets = [0] * BUCKET_COUNT
    for one in seconds:
        buckets[bucket_of(one)] += 1
    return buckets


def test_each_bound_is_twice_the_one_before() -> None:
    assert all(high == 2 * low for low, high in pairwise(BOUNDS_SECONDS))


@pytest.mark.parametrize(("index", "bound"), list(enumerate(BOUNDS_SECONDS)))
def test_a_bound_belongs_to_the_bucket_that_it_ends(index: int, bound: float) -> None:
    assert bucket_of(bound) == index
    assert bucket_of(bound * 1.001) == index + 1


def test_the_buckets_reach_from_nothing_to_for_ever() -> None:
    assert bucket_of(0.0) == 0
    assert bucket_of(1e9) == BUCKET_COUNT - 1


def test_where_nothing_was_counted_there_is_no_quantile() -> None:
    assert quantile(counted(), 0.5) is None


def test_a_quantile_lies_in_the_bucket_of_the_request_at_that_rank() -> None:
    buckets = counted(*[0.0015] * 98, 0.3, 3.0)

    assert quantile(buckets, 0.5) == pytest.approx(0.0015, rel=0.5)
    assert quantile(buckets, 0.985) == pytest.approx(0.3, rel=0.5)
    assert quantile(buckets, 1.0) == BOUNDS_SECONDS[bucket_of(3.0)]


def test_within_a_bucket_a_quantile_is_taken_evenly() -> None:
    low, high = BOUNDS_SECONDS[3], BOUNDS_SECONDS[4]

    assert quantile(counted(*[high] * 10), 0.5) == pytest.approx((low + high) / 2)


def test_of_what_took_longer_than_all_bounds_only_that_is_known() -> None:
    assert quantile(counted(100.0), 0.99) == BOUNDS_SECONDS[-1]
