import pytest

from serval.latency import bucket_of
from serval.scoreboard import REFUSED_AS, Scoreboard, Slot
from serval.worker.meter import Meter


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


def test_refusals_are_told_apart_by_status(slot: Slot) -> None:
    meter = Meter(0.0)

    for status in (400, 431, 431, 1009, 418):
        meter.refused(status)
    meter.show(slot, 1.0)

    found = dict(zip(REFUSED_AS, slot.refused, strict=True))
    assert {status: count for status, count in found.items() if count} == {400: 1, 431: 2, 0: 2}


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
