import pytest

from serval.supervisor.backoff import LONGEST_DELAY_SECONDS, Backoff


def test_the_delay_doubles_with_each_death() -> None:
    backoff = Backoff()
    delays = []
    for _ in range(5):
        backoff.note(0.0, counts=True)
        delays.append(backoff.delay_seconds)

    assert delays == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8])


def test_the_delay_is_bounded_however_many_die() -> None:
    backoff = Backoff()
    for _ in range(2000):
        backoff.note(0.0, counts=False)

    assert backoff.delay_seconds == LONGEST_DELAY_SECONDS


def test_only_deaths_that_count_are_counted() -> None:
    backoff = Backoff()

    assert backoff.note(0.0, counts=True) == 1
    assert backoff.note(1.0, counts=False) == 1
    assert backoff.note(2.0, counts=True) == 2


def test_a_death_is_forgotten_after_a_minute() -> None:
    backoff = Backoff()
    backoff.note(0.0, counts=True)

    assert backoff.note(59.9, counts=True) == 2
    assert backoff.note(60.0, counts=True) == 2
    assert backoff.note(500.0, counts=True) == 1
    assert backoff.delay_seconds == pytest.approx(0.05)
