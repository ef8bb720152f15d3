"""How many connections a worker takes, with an eye on the others."""

import pytest

from serval.worker.fairness import fair_count


def test_a_worker_alone_takes_as_many_as_it_can() -> None:
    assert fair_count(1000, [], 16) == 16


@pytest.mark.parametrize(
    ("own", "others", "count"),
    [
        (0, [0], 3),
        (0, [0, 0, 0], 2),
        (0, [10], 16),
        (10, [10], 10),
        (10, [0], 0),
        (3, [2, 2, 2], 2),
        (100, [90, 95, 105], 16),
        (140, [90, 95, 105], 0),
    ],
)
def test_nobody_takes_much_more_than_the_others_have(
    own: int, others: list[int], count: int
) -> None:
    assert fair_count(own, others, 16) == count


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_workers_that_take_in_turn_end_up_alike(workers: int) -> None:
    counts = [0] * workers
    for _ in range(200):
        for index, own in enumerate(counts):
            counts[index] += fair_count(own, counts[:index] + counts[index + 1 :], 3)

    assert max(counts) <= min(counts) * 1.25 + 3


def test_somebody_always_takes() -> None:
    for counts in ([5, 5], [5, 6, 7], [0, 0, 0, 9], [1, 0], [3, 3, 3, 3]):
        assert any(
            fair_count(own, counts[:index] + counts[index + 1 :], 16)
            for index, own in enumerate(counts)
        )
