"""How long children may take."""

from math import inf

import pytest

from serval.supervisor.actions import Order, Say, Settings, Tell
from serval.supervisor.child import Child, Phase
from serval.supervisor.patience import due_at, lost

SETTINGS = Settings(
    startup_seconds=10.0, graceful_seconds=20.0, closing_seconds=30.0, heartbeat_seconds=40.0
)


def child_in(phase: Phase) -> Child:
    return Child(0, 1, first=False, started_at=0.0, pid=7, phase=phase)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.BOOTING, 110.75),
        (Phase.READY, 140.0),
        (Phase.RETIRING, 140.0),
        (Phase.STOPPING, 120.75),
        (Phase.CLOSING, 130.75),
        (Phase.HUNG, 105.0),
        (Phase.OVERDUE, inf),
        (Phase.KILLED, inf),
    ],
)
def test_each_phase_has_its_time(phase: Phase, expected: float) -> None:
    assert due_at(child_in(phase), SETTINGS, 100.0) == expected


@pytest.mark.parametrize("phase", [Phase.BOOTING, Phase.READY])
def test_zero_is_for_ever(phase: Phase) -> None:
    settings = Settings(startup_seconds=0.0, heartbeat_seconds=0.0)

    assert due_at(child_in(phase), settings, 100.0) == inf


@pytest.mark.parametrize(
    ("phase", "then", "level", "orders"),
    [
        (Phase.BOOTING, Phase.OVERDUE, "error", [Order.KILL]),
        (Phase.READY, Phase.HUNG, "error", [Order.DUMP, Order.STOP]),
        (Phase.RETIRING, Phase.HUNG, "error", [Order.DUMP, Order.STOP]),
        (Phase.HUNG, Phase.HUNG, "warning", [Order.KILL]),
        (Phase.STOPPING, Phase.KILLED, "warning", [Order.KILL]),
        (Phase.CLOSING, Phase.KILLED, "warning", [Order.KILL]),
    ],
)
def test_after_it_comes_what_must(
    phase: Phase, then: Phase, level: str, orders: list[Order]
) -> None:
    child = child_in(phase)

    said, *told = lost(child, SETTINGS, 100.0)

    assert child.phase is then
    assert isinstance(said, Say)
    assert (said.level, told) == (level, [Tell(7, order) for order in orders])


def test_a_hung_child_is_killed_once() -> None:
    child = child_in(Phase.READY)
    lost(child, SETTINGS, 100.0)
    assert child.due_at == 105.0

    lost(child, SETTINGS, 105.0)

    assert child.due_at == inf
