import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from serval.config import ServerConfig
from serval.errors import ExitStatus
from serval.scoreboard import Scoreboard, Slot, WorkerState
from serval.worker.early_stop import StopRequested, early_stop
from serval.worker.process import Inheritance, WorkerProcess


def test_a_signal_is_raised_where_the_thread_is_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(StopRequested), early_stop([signal.SIGTERM]) as early:
        signal.raise_signal(signal.SIGTERM)

    assert early.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_leaves_the_unwinding_alone() -> None:
    unwound = []

    def unwind() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGQUIT)
            unwound.append("whole")

    with pytest.raises(StopRequested), early_stop([signal.SIGTERM, signal.SIGQUIT]):
        unwind()

    assert unwound == ["whole"]


def test_a_signal_that_was_swallowed_is_remembered() -> None:
    with early_stop([signal.SIGTERM]) as early, suppress(StopRequested):
        signal.raise_signal(signal.SIGTERM)

    assert early.asked


def test_once_the_import_is_over_a_signal_is_remembered_and_nothing_raised() -> None:
    with early_stop([signal.SIGTERM]) as early:
        early.end()
        signal.raise_signal(signal.SIGTERM)

    assert early.asked


@dataclass(frozen=True)
class StoppingChannel:
    """A supervisor's end, from which a stop comes as soon as the worker says that it boots."""

    slot: Slot = field(default_factory=lambda: Scoreboard(1).slot(0))
    parent_gone_fd: int = -1
    dump_fds: tuple[int, int] = (-1, -1)
    states: list[WorkerState] = field(default_factory=list)

    def notify(self) -> None:
        self.states.append(self.slot.state)
        if self.slot.state is WorkerState.BOOTING:
            os.kill(os.getpid(), signal.SIGTERM)

    def claim_report(self) -> bool:
        return True


def test_a_worker_that_is_told_to_stop_before_its_import_stops_cleanly() -> None:
    channel = StoppingChannel()
    worker = WorkerProcess(Inheritance(ServerConfig(app="no_such_module:app"), ()), channel)

    status = worker.run((signal.SIGTERM,))

    assert status is ExitStatus.OK
    assert channel.states == [WorkerState.BOOTING, WorkerState.STOPPED]
