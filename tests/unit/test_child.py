from itertools import product

import pytest

from serval.scoreboard import WorkerState
from serval.supervisor.child import NEXT, VERDICTS, Child, Death, Phase, Verdict, obituary


def a_child(phase: Phase) -> Child:
    return Child(2, 1, first=False, started_at=100.0, pid=77, phase=phase)


def test_every_phase_has_a_verdict() -> None:
    assert set(VERDICTS) == set(Phase)


@pytest.mark.parametrize("phase", [Phase.OVERDUE, Phase.HUNG, Phase.KILLED])
def test_nothing_that_a_condemned_child_says_changes_anything(phase: Phase) -> None:
    assert not any((phase, state) in NEXT for state in WorkerState)


def test_no_report_leads_back_to_an_earlier_phase() -> None:
    order = list(Phase)

    assert all(order.index(before) < order.index(after) for (before, _), after in NEXT.items())


@pytest.mark.parametrize(
    ("phase", "death", "line"),
    [
        (
            Phase.BOOTING,
            Death(pid=77, status=3),
            "worker 3 (pid 77) did not start: exit status 3 after 12.5 s",
        ),
        (
            Phase.READY,
            Death(pid=77, signal_name="SIGSEGV", requests=9, rss_bytes=45 << 20),
            "worker 3 (pid 77) died: killed by SIGSEGV after 12.5 s, 9 requests served, "
            "last RSS 45 MiB",
        ),
        (
            Phase.RETIRING,
            Death(pid=77, signal_name="SIGKILL", requests=9, peak_rss_bytes=50 << 20),
            "worker 3 (pid 77) died: killed by SIGKILL after 12.5 s, 9 requests served, "
            "peak RSS 50 MiB, not by us: out of memory? (kernel log, memory limit of the "
            "container)",
        ),
        (
            Phase.HUNG,
            Death(pid=77, signal_name="SIGKILL"),
            "worker 3 (pid 77) died: killed by SIGKILL after 12.5 s, 0 requests served",
        ),
        (
            Phase.STOPPING,
            Death(pid=77, requests=1),
            "worker 3 (pid 77) stopped: exit status 0 after 12.5 s, 1 requests served",
        ),
        (
            Phase.KILLED,
            Death(pid=77, signal_name="SIGKILL"),
            "worker 3 (pid 77) was killed while stopping: killed by SIGKILL after 12.5 s, "
            "0 requests served",
        ),
    ],
)
def test_an_obituary_says_who_how_when_and_how_big(phase: Phase, death: Death, line: str) -> None:
    assert obituary(a_child(phase), death, now=112.5) == line


@pytest.mark.parametrize(("status", "signal_name"), [(0, ""), (0, "SIGTERM"), (0, "SIGQUIT")])
def test_a_child_that_was_told_to_stop_ends_like_this(status: int, signal_name: str) -> None:
    assert Death(pid=1, status=status, signal_name=signal_name).is_clean


@pytest.mark.parametrize(("status", "signal_name"), [(1, ""), (5, ""), (0, "SIGKILL")])
def test_every_other_end_is_unclean(status: int, signal_name: str) -> None:
    assert not Death(pid=1, status=status, signal_name=signal_name).is_clean


def test_only_a_child_that_was_asked_to_stop_has_stopped() -> None:
    stopped = {phase for phase, verdict in VERDICTS.items() if verdict is Verdict.STOPPED}

    assert stopped == {Phase.STOPPING, Phase.CLOSING}
    assert {after for (_, state), after in NEXT.items() if state is WorkerState.CLOSING} <= stopped
    assert len(NEXT) < len(list(product(Phase, WorkerState)))
