import pytest

from serval.latency import bucket_of
from serval.protocols.refusals import REASONS
from serval.scoreboard import REFUSED_COUNT, Scoreboard, Slot
from serval.worker.counts.meter import Meter


@pytest.fixture
def slot() -> Slot:
    return Scoreboard(1).slot(0)


def test_requests_are_counted_by_time_and_by_size(slot: Slot) -> None:
    meter = Meter(0.0)

    meter.finished(0.003, 100, 7)
    meter.finished(0.003, 50, 0)
    meter.finished(5.0, 1, 0)
    meter.show(slot, 1.0)

    totals = Scoreboard(1).totals()
    totals.add(slot)
    assert slot.latency[bucket_of(0.003)] == 2
    assert slot.latency[bucket_of(5.0)] == 1
    assert sum(slot.latency) == 3
    assert (totals.sent_bytes, totals.received_bytes) == (151, 7)
    assert totals.serving_microseconds == pytest.approx(5_006_000, abs=1)


def test_refusals_are_told_apart_by_reason(slot: Slot) -> None:
    meter = Meter(0.0)

    meter.refused("bad-chunk-size")
    meter.show(slot, 1.0)
    for reason in ("bad-chunk-size", "overloaded", "never-heard-of", "nor-of-this"):
        meter.refused(reason)
    meter.show(slot, 1.0)

    found = dict(zip(REASONS, slot.refused, strict=False))
    assert {reason: count for reason, count in found.items() if count} == {
        "bad-chunk-size": 2,
        "overloaded": 1,
        "other": 2,
    }


def test_every_reason_has_a_place_in_the_scoreboard() -> None:
    assert len(REASONS) <= REFUSED_COUNT


def test_the_rate_is_that_of_the_time_since_it_was_shown_last(slot: Slot) -> None:
    meter = Meter(10.0)

    slot.requests = 100
    meter.show(slot, 20.0)
    first = slot.request_rate
    slot.requests = 101
    meter.show(slot, 22.0)

    assert (first, slot.request_rate) == (10.0, 0.5)


def test_shown_twice_in_one_instant_the_rate_stays(slot: Slot) -> None:
    meter = Meter(0.0)
    slot.requests = 8
    meter.show(slot, 2.0)

    meter.show(slot, 2.0)

    assert slot.request_rate == 4.0
