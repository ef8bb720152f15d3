"""How long requests take, as counts in buckets: which bucket a time belongs to, and quantiles.

Pure.  Workers count, the supervisor adds up, and whoever shows the sums reads quantiles off them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

# Upper ends, each the double of the one before: a quarter of a millisecond, which a plain answer
# takes at most, to half a minute.  One more bucket holds what took longer.
BOUNDS_SECONDS: Final = tuple(0.00025 * 2.0**step for step in range(18))
BUCKET_COUNT: Final = len(BOUNDS_SECONDS) + 1


def bucket_of(seconds: float) -> int:
    """The index of the bucket that a time is counted in; an upper end belongs to its bucket."""
    return bisect_left(BOUNDS_SECONDS, seconds)


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """The time in seconds within which that share of the requests was done.

    Within a bucket they are taken to lie evenly.  Of the last one only its lower end is known.

    Args:
        buckets: How many requests fell into each bucket.
        share: Between 0 and 1.

    Returns:
        None where nothing was counted.
    """
    wanted = sum(buckets) * share
    if not wanted:
        return None
    below = 0
    for count, (low, high) in zip(buckets, pairwise((0.0, *BOUNDS_SECONDS)), strict=False):
        if count and below + count >= wanted:
            return low + (high - low) * (wanted - below) / count
        below += count
    return BOUNDS_SECONDS[-1]
