"""The soak of a server that leaves, in short; `python -m soak.leaving` takes longer."""

import pytest

from process.harness import needs_procfs
from soak.leaving import leave

pytestmark = [needs_procfs, pytest.mark.timeout(90)]


def test_no_request_is_lost_while_a_load_balancer_takes_note() -> None:
    tally, failures, text = leave(before=1.0, delay=2.0, per_second=150.0, workers=2)

    assert failures == [], text
    assert len(tally.seconds) > 300
