"""The soak of workers that come and go, in short; `python -m soak.rolling` takes longer."""

import pytest

from process.harness import needs_procfs
from soak.rolling import roll

pytestmark = [needs_procfs, pytest.mark.timeout(90)]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_no_request_is_lost_while_workers_come_and_go(loop: str) -> None:
    tally, unexcused, text = roll(
        seconds=5.0, per_second=150.0, workers=2, options=("--loop", loop)
    )

    assert unexcused == [], text
    assert len(tally.seconds) > 500
    assert len(tally.pids) >= 4
