"""The idle beside the busy, in short; `python -m soak.idle` takes longer and looks at their p99."""

import resource
from collections.abc import Iterator

import pytest

from process.harness import needs_procfs
from soak.idle import BOUND, BUSY_COUNT, COUNT, measure

pytestmark = [needs_procfs, pytest.mark.timeout(90)]


@pytest.fixture
def enough_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = COUNT + BUSY_COUNT + 200
    if before[0] < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(before[1], wanted)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.alone
@pytest.mark.usefixtures("enough_files")
def test_a_thousand_idle_connections_cost_the_busy_ones_nothing() -> None:
    alone, beside = measure(COUNT, rounds=3, seconds=0.6)

    assert min(alone.count, beside.count) > 500
    assert beside.cpu_each < BOUND * alone.cpu_each
