"""What a worker counts of each request once somebody may ask for it: times, bytes, refusals.

A service without an admin endpoint has no meter, and pays nothing.  The service's thread only.
"""

from typing import Final

from serval.latency import BUCKET_COUNT, bucket_of
from serval.protocols.refusals import OTHER, REASONS
from serval.scoreboard import (
    LATENCY,
    RECEIVED_BYTES,
    REFUSED,
    REQUESTS,
    SENT_BYTES,
    SERVING_MICROSECONDS,
    Slot,
)

_REFUSAL_INDEX: Final = {reason: index for index, reason in enumerate(REASONS)}
_OTHER: Final = _REFUSAL_INDEX[OTHER]


class Meter:
    """Sums since the worker's start; `show` copies them to where the supervisor reads."""

    __slots__ = (
        "_buckets",
        "_changed",
        "_received_bytes",
        "_refused",
        "_seconds",
        "_sent_bytes",
        "_shown_at",
        "_shown_count",
    )

    def __init__(self, now: float) -> None:
        self._buckets = [0] * BUCKET_COUNT
        self._refused = [0] * len(REASONS)
        self._changed: set[int] = set()  # refusals that were not yet shown
        self._seconds = 0.0
        self._sent_bytes = 0
        self._received_bytes = 0
        self._shown_at = now
        self._shown_count = 0

    def finished(self, seconds: float, sent_bytes: int, received_bytes: int) -> None:
        """A request is over."""
        self._buckets[bucket_of(seconds)] += 1
        self._seconds += seconds
        self._sent_bytes += sent_bytes
        self._received_bytes += received_bytes

    def refused(self, reason: str) -> None:
        """The server answered a request by itself."""
        index = _REFUSAL_INDEX.get(reason, _OTHER)
        self._refused[index] += 1
        self._changed.add(index)

    def show(self, slot: Slot, now: float) -> None:
        """Write the sums, and how many requests per second there were since the last time."""
        counters = slot.counters
        counters[SENT_BYTES] = self._sent_bytes
        counters[RECEIVED_BYTES] = self._received_bytes
        counters[SERVING_MICROSECONDS] = int(self._seconds * 1e6)
        for index, count in enumerate(self._buckets, LATENCY):
            counters[index] = count
        while self._changed:
            index = self._changed.pop()
            counters[REFUSED + index] = self._refused[index]
        if now > self._shown_at:
            slot.request_rate = (counters[REQUESTS] - self._shown_count) / (now - self._shown_at)
            self._shown_count, self._shown_at = counters[REQUESTS], now
