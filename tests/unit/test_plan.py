"""The plan, driven as the loop drives it, in a world without processes."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from math import inf

import pytest

from serval.errors import ExitStatus
from serval.outlook import ServerState
from serval.scoreboard import WorkerState
from serval.supervisor.actions import (
    Action,
    Finish,
    Order,
    Replacement,
    Say,
    Settings,
    Spawn,
    Tell,
    Unlisten,
    Wish,
)
from serval.supervisor.child import Death
from serval.supervisor.plan import Plan

GRACEFUL = 30.0
CLOSING = 5.0


class World:
    """Carries out a plan's actions on paper.

    Attributes:
        alive: The generation of each process, by its pid; pids count from 1.
        told: What children were told since the last look.
        listening: Whether the parent's sockets are open; children are told to stop only afterwards.
        forks_fail: Whether the kernel refuses to fork.
    """

    def __init__(
        self, settings: Settings, *, slot_count: int = 16, forks_fail: bool = False
    ) -> None:
        self.settings = settings
        self.plan = Plan(self.settings, slot_count=slot_count)
        self.now = 1000.0
        self.listening = True
        self.alive: dict[int, int] = {}
        self.told: list[tuple[int, Order]] = []
        self.said: list[str] = []
        self.errors: list[str] = []
        self.status: ExitStatus | None = None
        self.forks_fail = forks_fail
        self._pids = count(1)
        self.do(self.plan.start(self.now))

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Spawn():
                    assert action is actions[-1]
                    self.fork(action)
                case Tell(pid, order):
                    assert pid in self.alive
                    assert self.listening or order is not Order.LEAVE
                    assert not (self.listening and order is Order.QUIT)
                    self.told.append((pid, order))
                case Say(level, text):
                    (self.errors if level == "error" else self.said).append(text)
                case Unlisten():
                    assert self.listening
                    self.listening = False
                case Finish(status):
                    assert not self.alive
                    assert not self.listening
                    self.status = status

    def fork(self, spawn: Spawn) -> None:
        if self.forks_fail:
            self.do(self.plan.not_spawned(spawn.index, "out of processes", self.now))
            return
        pid = next(self._pids)
        self.alive[pid] = spawn.generation
        self.do(self.plan.spawned(spawn.index, pid, self.now))

    def report(self, pid: int, state: WorkerState) -> None:
        index = next(child.index for child in self.plan.children if child.pid == pid)
        self.do(self.plan.seen(index, state, self.now))

    def ready(self, *pids: int) -> None:
        for pid in pids:
            self.report(pid, WorkerState.READY)

    def exit(self, pid: int, status: int = 0, signal_name: str = "") -> None:
        del self.alive[pid]
        death = Death(pid=pid, status=status, signal_name=signal_name)
        self.do(self.plan.exited(death, self.now))

    def kill(self, pid: int) -> None:
        self.exit(pid, signal_name="SIGKILL")

    def wish(self, wish: Wish) -> None:
        self.do(self.plan.wished(wish, self.now))

    def reload(self, workers: int | None = None) -> None:
        chosen = self.settings.workers if workers is None else workers
        self.do(self.plan.reload(replace(self.settings, workers=chosen), self.now))

    def wait(self, seconds: float) -> None:
        """Let time pass as the loop does, deadline by deadline."""
        until = self.now + seconds
        while self.plan.deadline <= until:
            self.now = self.plan.deadline
            self.do(self.plan.tick(self.now))
        self.now = until
        self.do(self.plan.tick(self.now))

    def orders(self) -> list[tuple[int, Order]]:
        told, self.told = self.told, []
        return told


SETTINGS = Settings(graceful_seconds=GRACEFUL, closing_seconds=CLOSING)


def starting(workers: int, settings: Settings = SETTINGS, *, forks_fail: bool = False) -> World:
    """A world whose first children, from pid 1 on, are booting."""
    return World(replace(settings, workers=workers), forks_fail=forks_fail)


def serving(workers: int, settings: Settings = SETTINGS, *, slot_count: int = 16) -> World:
    """A world whose first children are all ready."""
    world = World(replace(settings, workers=workers), slot_count=slot_count)
    world.ready(*range(1, workers + 1))
    world.said.clear()
    return world


# --- start ------------------------------------------------------------------------------------


def test_a_start_forks_as_many_children_as_wanted() -> None:
    world = starting(3)

    assert world.alive == {1: 1, 2: 1, 3: 1}
    assert [child.index for child in world.plan.children] == [0, 1, 2]


def test_the_start_is_announced_once_everybody_is_ready() -> None:
    world = starting(2)

    world.ready(1)
    before = list(world.said)
    world.now += 0.5
    world.ready(2)

    assert before == []
    assert world.said == ["ready: 2 workers after 0.50 s"]


def test_saying_ready_twice_changes_nothing() -> None:
    world = serving(1)

    world.ready(1)

    assert (world.said, world.orders()) == ([], [])


def test_with_everybody_ready_there_is_nothing_to_wake_for() -> None:
    assert serving(2).plan.deadline == inf


def test_starting_for_ever_is_legal() -> None:
    assert starting(1, Settings(startup_seconds=0.0)).plan.deadline == inf


@pytest.mark.parametrize("signal_name", ["", "SIGSEGV"])
def test_a_first_boot_that_fails_ends_everything(signal_name: str) -> None:
    world = starting(3)
    world.ready(1)

    world.exit(2, 3, signal_name)

    assert world.orders() == [(1, Order.QUIT), (3, Order.QUIT)]
    assert len(world.errors) == 2
    world.exit(1)
    world.exit(3, 3)
    assert world.status is ExitStatus.BOOT
    assert len(world.errors) == 2  # the siblings fail for the same reason, and say nothing


def test_after_a_failed_boot_everybody_is_gone_within_two_seconds() -> None:
    world = starting(2)
    world.exit(1, 3)
    world.orders()

    world.wait(1.9)

    assert world.orders() == [(2, Order.KILL)]
    world.kill(2)
    assert world.status is ExitStatus.BOOT


def test_a_fork_that_fails_at_the_start_ends_everything() -> None:
    world = starting(2, forks_fail=True)

    assert world.status is ExitStatus.BOOT
    assert world.errors[0] == "cannot fork a worker: out of processes"


def test_a_boot_that_takes_too_long_is_ended_and_counts_as_failed() -> None:
    world = starting(1, Settings(startup_seconds=10.0))

    world.wait(10.5)
    early = world.orders()
    world.wait(0.5)

    assert early == []
    assert world.orders() == [(1, Order.KILL)]
    assert "not ready after 10 s (timeout_startup)" in world.errors[0]
    world.kill(1)
    assert world.status is ExitStatus.BOOT


def test_a_child_that_is_stopped_by_hand_while_it_boots_is_replaced() -> None:
    world = starting(1)

    world.report(1, WorkerState.DRAINING)
    world.exit(1)

    assert world.alive == {2: 1}
    assert world.errors == []


# --- crashes ----------------------------------------------------------------------------------


def test_a_dead_child_is_replaced_after_a_moment() -> None:
    world = serving(2)

    world.kill(1)
    at_once = dict(world.alive)
    world.wait(0.1)

    assert at_once == {2: 1}
    assert world.alive == {2: 1, 3: 1}
    assert world.status is None


def test_a_death_is_told_in_one_line() -> None:
    world = serving(1)
    world.now += 12.34

    world.kill(1)

    (line,) = world.errors
    assert line.startswith("worker 1 (pid 1) died: killed by SIGKILL after 12.3 s")


def test_a_replacement_says_that_it_is_ready() -> None:
    world = serving(1)
    world.kill(1)
    world.wait(0.05)
    world.now += 2.0

    world.ready(2)

    assert world.said == ["worker 1 (pid 2) is ready after 2.0 s"]


def test_delays_double_and_stay_below_a_second_up_to_the_limit() -> None:
    world = serving(1)
    delays = []
    for pid in range(1, 6):
        world.kill(pid)
        delays.append(world.plan.deadline - world.now)
        world.wait(delays[-1])
        world.ready(pid + 1)

    assert delays == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8])


def test_the_sixth_death_within_a_minute_ends_the_server() -> None:
    world = serving(2)
    for pid in (1, 3, 4, 5, 6):
        world.kill(pid)
        world.wait(1.0)
        world.ready(pid + 1 if pid > 1 else 3)

    world.kill(7)

    assert world.orders() == [(2, Order.STOP)]
    assert "giving up: 6 workers died within 60 s" in world.errors[-1]
    world.exit(2)
    assert world.status is ExitStatus.CRASH_LOOP


def test_deaths_of_long_ago_do_not_count() -> None:
    world = serving(1)
    for pid in range(1, 20):
        world.kill(pid)
        world.wait(13.0)
        world.ready(pid + 1)

    assert world.status is None


def test_the_limit_can_be_switched_off() -> None:
    world = serving(1, Settings(crash_limit=0))
    for pid in range(1, 20):
        world.kill(pid)
        world.wait(30.0)
        world.ready(pid + 1)

    assert world.status is None


def test_replacements_that_do_not_boot_are_tried_again_while_others_serve() -> None:
    world = serving(2)
    world.kill(1)
    for _ in range(12):
        world.wait(30.0)
        world.exit(max(world.alive), 3)

    world.wait(30.0)

    assert world.status is None
    assert len(world.alive) == 2


def test_replacements_that_do_not_boot_end_the_server_when_nobody_serves() -> None:
    world = serving(1)
    world.kill(1)
    for pid in range(2, 7):
        world.wait(1.0)
        world.exit(pid, 3)

    assert world.status is ExitStatus.CRASH_LOOP


def test_a_fork_that_fails_later_is_tried_again() -> None:
    world = serving(2)
    world.forks_fail = True
    world.kill(1)
    world.wait(0.06)

    world.forks_fail = False
    world.wait(0.2)

    assert world.alive == {2: 1, 3: 1}


def test_a_child_that_leaves_without_being_asked_to_has_crashed() -> None:
    world = serving(1)

    world.exit(1, 0)

    assert "worker 1 (pid 1) died: exit status 0" in world.errors[0]


def test_a_stranger_that_is_reaped_is_nobody() -> None:
    world = serving(1)

    world.do(world.plan.exited(Death(pid=4711), world.now))

    assert (world.errors, world.said, world.alive) == ([], [], {1: 1})


def test_a_held_up_fork_does_not_keep_the_loop_awake() -> None:
    world = serving(2)
    world.kill(1)
    world.wish(Wish.FEWER)

    world.wait(1.0)

    assert world.alive == {2: 1}
    assert world.plan.deadline == inf


# --- replacing --------------------------------------------------------------------------------


def test_a_reload_replaces_one_child_after_the_other_new_before_old() -> None:
    world = serving(2)

    world.reload()
    assert (world.alive, world.orders()) == ({1: 1, 2: 1, 3: 2}, [])
    world.ready(3)
    assert world.orders() == [(1, Order.YIELD)]
    assert 4 not in world.alive  # the old one is still draining
    world.exit(1)
    world.ready(4)
    assert world.orders() == [(2, Order.YIELD)]
    world.exit(2)

    assert world.alive == {3: 2, 4: 2}
    assert world.said[-1] == "reloaded: 2 workers of generation 2"


def test_a_reload_that_does_not_boot_leaves_the_old_ones_serving() -> None:
    world = serving(2)
    world.reload(workers=5)

    world.exit(3, 3)
    assert world.orders() == [(4, Order.STOP), (5, Order.STOP)]
    world.exit(4, 3)
    world.exit(5, 3)
    world.wait(60.0)

    assert world.alive == {1: 1, 2: 1}
    assert world.orders() == []
    assert any("generation 1 goes on serving" in line for line in world.errors)
    assert world.plan.generations == {1}


def test_a_reload_can_be_tried_again() -> None:
    world = serving(1)
    world.reload()
    world.exit(2, 3)

    world.reload()

    assert world.alive == {1: 1, 3: 3}
    assert world.plan.generations == {1, 3}


def test_a_second_reload_overtakes_the_first_which_may_hang() -> None:
    world = serving(1)
    world.reload()

    world.reload()
    assert world.orders() == [(2, Order.STOP)]
    world.exit(2)
    assert world.alive == {1: 1, 3: 3}
    world.ready(3)
    assert world.orders() == [(1, Order.YIELD)]
    world.exit(1)

    assert world.alive == {3: 3}
    assert world.plan.generations == {3}
    assert world.errors == []


def test_a_reload_waits_for_no_pause_that_deaths_have_caused() -> None:
    world = serving(1)
    world.kill(1)
    assert world.alive == {}

    world.reload()

    assert world.alive == {2: 2}


def test_a_generation_that_fails_after_being_overtaken_is_no_matter() -> None:
    world = starting(1, replace(SETTINGS, startup_seconds=10.0))
    world.ready(1)
    world.reload()
    world.wait(11.0)  # it took too long, and was killed
    world.reload()

    world.kill(2)

    assert world.alive == {1: 1, 3: 3}
    assert not any("reload failed" in line for line in world.errors)


def test_a_reload_while_the_start_is_under_way_comes_after_it() -> None:
    world = starting(1)
    world.reload()
    assert world.alive == {1: 1}

    world.ready(1)
    world.ready(2)
    world.exit(1)

    assert world.alive == {2: 2}
    assert world.said[-1] == "reloaded: 1 worker of generation 2"


def test_a_reload_may_change_the_number_of_workers() -> None:
    world = serving(1)

    world.reload(workers=2)

    assert world.alive == {1: 1, 2: 2}
    world.ready(2)
    world.ready(3)
    assert world.orders() == [(1, Order.YIELD)]


def test_a_reload_gets_no_more_workers_than_there_is_room_for() -> None:
    world = serving(2, slot_count=6)

    world.reload(workers=7)

    assert "3 workers wanted: 7 would take a restart" in world.said
    for newcomer, old in ((3, 0), (4, 1), (5, 2)):
        world.ready(newcomer)
        if old:
            world.exit(old)
    assert world.said[-1] == "reloaded: 3 workers of generation 2"


def test_a_reload_keeps_a_number_of_workers_that_signals_have_set() -> None:
    world = serving(1)
    world.wish(Wish.MORE)
    world.ready(2)

    world.reload()
    world.ready(3)

    assert world.orders() == [(1, Order.YIELD)]
    assert len(world.alive) == 3


def test_a_crash_during_a_reload_is_made_up_for_by_the_newcomer() -> None:
    world = serving(2)
    world.reload()

    world.kill(2)
    world.wait(1.0)
    assert world.alive == {1: 1, 3: 2}
    world.ready(3)
    assert world.alive == {1: 1, 3: 2, 4: 2}
    world.ready(4)

    assert world.orders() == [(1, Order.YIELD)]


def test_a_reload_while_stopping_is_ignored() -> None:
    world = serving(1)
    world.wish(Wish.STOP)

    world.reload()

    assert world.alive == {1: 1}


def test_a_child_that_asks_for_it_is_replaced_before_it_is_stopped() -> None:
    world = serving(2)

    world.report(1, WorkerState.RETIRING)
    assert (world.alive, world.orders()) == ({1: 1, 2: 1, 3: 1}, [])
    world.ready(3)
    assert world.orders() == [(1, Order.YIELD)]
    world.exit(1)

    assert world.alive == {2: 1, 3: 1}


def test_a_child_may_ask_for_a_replacement_before_it_was_seen_ready() -> None:
    world = starting(1)

    world.report(1, WorkerState.RETIRING)

    assert world.alive == {1: 1, 2: 1}


def test_only_one_child_is_in_replacement_at_a_time() -> None:
    world = serving(3)

    for pid in (1, 2, 3):
        world.report(pid, WorkerState.RETIRING)

    assert len(world.alive) == 4
    world.ready(4)
    assert len(world.alive) == 4
    world.exit(1)
    assert len(world.alive) == 4


def test_a_replacement_that_does_not_boot_leaves_the_old_one_serving() -> None:
    world = serving(1)
    world.report(1, WorkerState.RETIRING)

    world.exit(2, 3)
    at_once = dict(world.alive)
    world.wait(0.1)

    assert at_once == {1: 1}
    assert world.alive == {1: 1, 3: 1}
    assert world.orders() == []


def test_a_child_that_stops_by_itself_is_replaced_at_once() -> None:
    world = serving(1)

    world.report(1, WorkerState.DRAINING)

    assert world.alive == {1: 1, 2: 1}
    world.exit(1, signal_name="SIGTERM")
    assert world.errors == []


def test_replacing_waits_for_a_free_slot() -> None:
    world = serving(1, slot_count=1)

    world.report(1, WorkerState.RETIRING)
    full = dict(world.alive)
    world.kill(1)
    world.wait(1.0)

    assert full == {1: 1}
    assert world.alive == {2: 1}


# --- more and fewer ---------------------------------------------------------------------------


def test_one_more_is_forked_and_one_fewer_is_the_youngest() -> None:
    world = serving(2)
    world.now += 1.0

    world.wish(Wish.MORE)
    world.ready(3)
    assert world.orders() == []
    world.wish(Wish.FEWER)

    assert world.orders() == [(3, Order.YIELD)]
    assert "3 workers wanted" in world.said


def test_the_last_worker_stays() -> None:
    world = serving(1)

    world.wish(Wish.FEWER)

    assert world.orders() == []


def test_there_are_never_more_workers_than_half_the_slots() -> None:
    world = serving(2, slot_count=6)

    for _ in range(5):
        world.wish(Wish.MORE)

    assert len(world.alive) == 3


def test_any_number_of_workers_can_be_wanted_at_once() -> None:
    world = serving(1)

    world.do(world.plan.scale(3, world.now))
    world.ready(2, 3)
    grown = len(world.alive)
    world.do(world.plan.scale(1, world.now))

    assert grown == 3
    assert [order for _, order in world.orders()] == [Order.YIELD] * 2


def test_while_stopping_no_number_is_wanted() -> None:
    world = serving(1)
    world.wish(Wish.STOP)

    world.do(world.plan.scale(3, world.now))

    assert len(world.alive) == 1


# --- the outlook ------------------------------------------------------------------------------


def state_of(world: World) -> ServerState:
    return world.plan.outlook(reloads=0).state


def test_the_outlook_follows_the_server_from_start_to_end() -> None:
    world = starting(1)
    states = [state_of(world)]

    world.ready(1)
    states.append(state_of(world))
    world.reload()
    states.append(state_of(world))
    world.ready(2)
    world.exit(1)
    states.append(state_of(world))
    world.wish(Wish.STOP)
    states.append(state_of(world))

    assert states == [
        ServerState.BOOTING,
        ServerState.RUNNING,
        ServerState.RELOADING,
        ServerState.RUNNING,
        ServerState.STOPPING,
    ]


def test_the_outlook_tells_what_is_wanted_and_how_children_ended() -> None:
    world = serving(2, slot_count=6)
    world.kill(1)
    world.wait(1.0)
    world.ready(3)
    world.wish(Wish.FEWER)
    world.exit(3)
    world.reload()

    outlook = world.plan.outlook(reloads=4)

    assert (outlook.generation, outlook.reloads) == (2, 4)
    assert (outlook.workers_wanted, outlook.workers_limit) == (1, 3)
    assert outlook.exits == {"crash": 1, "stopped": 1}


# --- stopping ---------------------------------------------------------------------------------


def test_a_stop_asks_every_child_and_ends_with_the_last() -> None:
    world = serving(2)

    world.wish(Wish.STOP)
    assert world.orders() == [(1, Order.STOP), (2, Order.STOP)]
    assert "stopping: running requests have 30 s" in world.said[0]
    world.exit(1)
    assert world.status is None
    world.now += 1.25
    world.exit(2)

    assert world.errors == []
    assert world.said[-1] == "stopped after 1.25 s"
    assert world.status is ExitStatus.OK


def test_the_end_comes_once() -> None:
    world = serving(1)

    world.wish(Wish.STOP)
    world.exit(1)

    assert world.plan.tick(world.now) == []


def test_the_parent_stops_listening_before_children_are_told_to_stop() -> None:
    world = serving(1)

    actions = world.plan.wished(Wish.STOP, world.now)

    assert actions[:2] == [Unlisten(), Tell(1, Order.STOP)]


def test_replacing_children_closes_no_listening_socket() -> None:
    world = serving(1)

    world.reload()
    world.ready(2)

    assert world.orders() == [(1, Order.YIELD)]
    assert world.listening


def test_a_stop_while_booting_ends_cleanly() -> None:
    world = starting(1)

    world.wish(Wish.STOP)
    assert world.orders() == [(1, Order.STOP)]
    world.exit(1, signal_name="SIGTERM")

    assert world.status is ExitStatus.OK


def test_a_stop_does_not_ask_twice_a_child_that_is_leaving() -> None:
    world = serving(1)
    world.report(1, WorkerState.DRAINING)

    world.wish(Wish.STOP)

    assert world.orders() == [(2, Order.STOP)]


def test_a_child_that_does_not_stop_is_killed_within_a_second_of_its_time() -> None:
    world = serving(1)
    world.wish(Wish.STOP)
    world.orders()

    world.wait(GRACEFUL)
    early = world.orders()
    world.wait(1.0)

    assert early == []
    assert world.orders() == [(1, Order.KILL)]
    assert world.plan.deadline == inf
    world.kill(1)
    assert world.status is ExitStatus.SHUTDOWN
    assert "was killed while stopping" in world.errors[-1]


def test_a_child_in_its_lifespan_shutdown_gets_the_time_for_it() -> None:
    world = serving(1)
    world.wish(Wish.STOP)
    world.orders()
    world.wait(GRACEFUL)

    world.report(1, WorkerState.CLOSING)
    world.wait(CLOSING)
    early = world.orders()
    world.wait(1.0)

    assert early == []
    assert world.orders() == [(1, Order.KILL)]


def test_a_second_signal_shortens_the_wait() -> None:
    world = serving(1)
    world.wish(Wish.STOP)
    world.orders()

    world.wish(Wish.STOP)
    assert world.orders() == [(1, Order.QUIT)]
    world.wait(CLOSING + 1.0)

    assert world.orders() == [(1, Order.KILL)]


def test_a_second_signal_gives_lifespan_shutdown_no_more_time_than_it_had() -> None:
    world = serving(1)
    world.wish(Wish.STOP)
    world.report(1, WorkerState.CLOSING)
    due_at = world.plan.deadline
    world.now += 1.0

    world.wish(Wish.STOP)
    world.report(1, WorkerState.CLOSING)

    assert world.plan.deadline == due_at


def test_a_third_signal_ends_at_once_and_cleanly() -> None:
    world = serving(2)
    world.wish(Wish.STOP)
    world.wish(Wish.STOP)
    world.orders()

    world.wish(Wish.STOP)
    assert world.orders() == [(1, Order.KILL), (2, Order.KILL)]
    world.wish(Wish.STOP)
    assert world.orders() == []
    world.kill(1)
    world.kill(2)

    assert world.status is ExitStatus.OK
    assert world.errors == []


@pytest.mark.parametrize("first", [[], [Wish.STOP]])
def test_quit_is_a_quick_stop(first: list[Wish]) -> None:
    world = serving(1)
    for wish in first:
        world.wish(wish)
    world.orders()

    world.wish(Wish.QUIT)

    assert world.orders() == [(1, Order.QUIT)]
    world.wish(Wish.QUIT)
    assert world.orders() == [(1, Order.KILL)]


@pytest.mark.parametrize(
    ("status", "signal_name", "expected"),
    [
        (0, "", ExitStatus.OK),
        (0, "SIGTERM", ExitStatus.OK),
        (0, "SIGQUIT", ExitStatus.OK),
        (3, "", ExitStatus.OK),  # stopped while it booted, which it took for a failure
        (5, "", ExitStatus.SHUTDOWN),
        (1, "", ExitStatus.SHUTDOWN),
        (0, "SIGSEGV", ExitStatus.SHUTDOWN),
    ],
)
def test_the_exit_status_tells_whether_shutdown_succeeded(
    status: int, signal_name: str, expected: ExitStatus
) -> None:
    world = serving(2)
    world.wish(Wish.STOP)

    world.exit(1, status, signal_name)
    world.exit(2)

    assert world.status is expected


def test_a_dead_child_is_not_replaced_while_stopping() -> None:
    world = serving(2)
    world.kill(1)

    world.wish(Wish.STOP)
    world.wait(1.0)

    assert world.alive == {2: 1}


def test_neither_more_nor_fewer_means_anything_while_stopping() -> None:
    world = serving(1)
    world.wish(Wish.STOP)
    world.said.clear()

    world.wish(Wish.MORE)
    world.wish(Wish.FEWER)

    assert world.said == []


def test_a_stop_with_no_child_left_ends_at_once() -> None:
    world = serving(1)
    world.kill(1)

    world.wish(Wish.STOP)

    assert world.status is ExitStatus.OK


def test_children_past_help_are_not_told_anything_more() -> None:
    world = starting(1, Settings(startup_seconds=1.0))
    world.wait(2.0)
    world.orders()

    world.wish(Wish.STOP)
    world.wish(Wish.STOP)
    world.wish(Wish.STOP)

    assert world.orders() == []
    world.kill(1)
    assert world.status is ExitStatus.OK


# --- leaving before stopping ------------------------------------------------------------------

LEAVING = replace(SETTINGS, drain_delay_seconds=8.0)


def test_a_stop_with_a_delay_lets_everybody_serve_on_for_so_long() -> None:
    world = serving(2, LEAVING)

    world.wish(Wish.STOP)
    assert world.orders() == [(1, Order.LEAVE), (2, Order.LEAVE)]
    world.wait(7.9)
    assert (world.orders(), world.listening) == ([], True)
    world.wait(0.1)

    assert (world.orders(), world.listening) == ([(1, Order.STOP), (2, Order.STOP)], False)
    assert world.said == [
        "leaving: everything is served for 8 s more, a second signal ends that",
        "stopping: running requests have 30 s, a second signal shortens that",
    ]


def test_whoever_leaves_is_not_ready_any_more() -> None:
    world = serving(1, LEAVING)

    world.wish(Wish.STOP)

    assert world.plan.outlook(reloads=0).state is ServerState.STOPPING


def test_the_time_for_a_graceful_stop_begins_after_the_delay() -> None:
    world = serving(1, LEAVING)
    world.wish(Wish.STOP)
    world.wait(8.0)
    world.orders()

    world.wait(GRACEFUL)
    early = world.orders()
    world.wait(1.0)

    assert early == []
    assert world.orders() == [(1, Order.KILL)]


@pytest.mark.parametrize("second", [Wish.STOP, Wish.INTERRUPT])
def test_a_second_signal_ends_the_delay(second: Wish) -> None:
    world = serving(1, LEAVING)
    world.wish(Wish.STOP)
    world.orders()

    world.wish(second)

    assert (world.orders(), world.listening) == ([(1, Order.STOP)], False)
    world.wait(20.0)
    assert world.orders() == []


@pytest.mark.parametrize(("wish", "order"), [(Wish.INTERRUPT, Order.STOP), (Wish.QUIT, Order.QUIT)])
def test_only_sigterm_is_delayed(wish: Wish, order: Order) -> None:
    world = serving(1, LEAVING)

    world.wish(wish)

    assert world.orders() == [(1, order)]


def test_a_child_that_boots_while_the_others_leave_is_stopped() -> None:
    world = serving(1, LEAVING)
    world.reload()

    world.wish(Wish.STOP)

    assert world.orders() == [(1, Order.LEAVE), (2, Order.STOP)]


def test_the_last_child_that_dies_while_leaving_ends_the_server() -> None:
    world = serving(1, LEAVING)
    world.wish(Wish.STOP)

    world.kill(1)

    assert world.status is ExitStatus.SHUTDOWN


# --- ways of replacing ------------------------------------------------------------------------

STOP_FIRST = replace(SETTINGS, replacement=Replacement.STOP_FIRST)
AT_ONCE = replace(SETTINGS, replacement=Replacement.AT_ONCE, waits=True)


def test_where_memory_is_tight_the_old_one_goes_before_the_new_one_comes() -> None:
    world = serving(2, STOP_FIRST)

    world.reload()
    assert (world.alive, world.orders()) == ({1: 1, 2: 1}, [(1, Order.YIELD)])
    world.exit(1)
    assert world.alive == {2: 1, 3: 2}
    world.ready(3)
    assert world.orders() == [(2, Order.YIELD)]
    world.exit(2)
    world.ready(4)

    assert world.alive == {3: 2, 4: 2}
    assert world.said[-1] == "reloaded: 2 workers of generation 2"


def test_a_retiring_child_goes_first_too_where_that_is_asked_for() -> None:
    world = serving(2, STOP_FIRST)

    world.report(2, WorkerState.RETIRING)
    world.exit(2)

    assert world.alive == {1: 1, 3: 1}


def test_a_failed_reload_brings_back_the_old_ones_that_went_first() -> None:
    world = serving(2, STOP_FIRST)
    world.reload()
    world.exit(1)

    world.exit(3, 3)

    assert world.alive == {2: 1, 4: 1}


def test_in_development_all_are_replaced_at_once() -> None:
    world = serving(2, AT_ONCE)

    world.reload()

    assert world.orders() == [(1, Order.STOP), (2, Order.STOP)]
    assert world.alive == {1: 1, 2: 1, 3: 2, 4: 2}
    world.exit(1)
    world.exit(2)
    world.ready(3, 4)
    assert world.said[-1] == "reloaded: 2 workers of generation 2"


def test_in_development_a_start_that_is_overtaken_is_given_up() -> None:
    world = starting(1, AT_ONCE)

    world.reload()

    assert world.orders() == [(1, Order.STOP)]
    assert world.alive == {1: 1, 2: 2}
    world.exit(1, signal_name="SIGTERM")
    world.ready(2)
    assert world.errors == []


@pytest.mark.parametrize("served_before", [False, True])
def test_in_development_a_boot_that_fails_waits_for_a_change(served_before: bool) -> None:
    world = starting(2, AT_ONCE)
    if served_before:
        world.ready(1, 2)
        world.reload()
        world.exit(1)
        world.exit(2)
    for pid in list(world.alive):
        world.exit(pid, 3)

    world.wait(100.0)
    assert (world.alive, world.status, world.plan.deadline) == ({}, None, inf)
    assert [line for line in world.errors if "waiting for a change" in line] == [
        "the application does not start: waiting for a change"
    ]
    world.reload()

    assert len(world.alive) == 2


def test_in_development_a_crash_loop_waits_for_a_change() -> None:
    world = serving(1, AT_ONCE)
    for pid in range(1, 7):
        world.kill(pid)
        world.wait(1.0)
        if pid < 6:
            world.ready(pid + 1)

    assert (world.alive, world.status) == ({}, None)
    assert world.errors[-1] == "6 workers died within 60 s: waiting for a change"
    world.wish(Wish.INTERRUPT)
    assert world.status is ExitStatus.OK


# --- liveness ---------------------------------------------------------------------------------


def test_a_child_whose_loop_turns_is_left_alone() -> None:
    world = serving(1, Settings(heartbeat_seconds=60.0))

    for _ in range(10):
        world.wait(50.0)
        world.plan.beat(0, world.now)

    assert world.orders() == []
    assert world.plan.deadline == world.now + 60.0


def test_a_hung_child_is_dumped_then_stopped_then_killed_then_replaced() -> None:
    world = serving(1, Settings(heartbeat_seconds=60.0))

    world.wait(60.0)
    assert world.orders() == [(1, Order.DUMP), (1, Order.STOP)]
    world.plan.beat(0, world.now)  # too late
    world.wait(5.0)
    assert world.orders() == [(1, Order.KILL)]
    world.kill(1)
    world.wait(0.1)

    assert world.alive == {2: 1}
    assert "has not turned for 60 s (timeout_worker_healthcheck)" in world.errors[0]
    assert "died: killed by SIGKILL" in world.errors[1]


def test_hung_children_do_not_stop_a_stop() -> None:
    world = serving(1, Settings(heartbeat_seconds=60.0))
    world.wait(60.0)
    world.orders()

    world.wish(Wish.STOP)
    world.wait(5.0)

    assert world.orders() == [(1, Order.KILL)]
    world.kill(1)
    assert world.status is ExitStatus.SHUTDOWN


def test_after_a_sleep_of_the_machine_everybody_gets_a_moment_to_beat() -> None:
    world = serving(1, Settings(heartbeat_seconds=60.0))
    world.now += 3600.0

    world.do(world.plan.tick(world.now))

    assert world.orders() == []
    assert world.plan.deadline == world.now + 5.0
    world.plan.beat(0, world.now + 1.0)
    assert world.plan.deadline == world.now + 61.0


def test_without_a_heartbeat_limit_nobody_counts_as_hung() -> None:
    world = serving(1)

    world.plan.beat(0, world.now)

    assert world.plan.deadline == inf


# --- whatever happens -------------------------------------------------------------------------

STEPS: tuple[Callable[[World, int], None], ...] = (
    lambda world, pid: world.ready(pid),
    lambda world, pid: world.report(pid, WorkerState.RETIRING),
    lambda world, pid: world.report(pid, WorkerState.DRAINING),
    lambda world, pid: world.report(pid, WorkerState.CLOSING),
    lambda world, pid: world.exit(pid),
    lambda world, pid: world.exit(pid, 3),
    lambda world, pid: world.kill(pid),
    lambda world, pid: world.wait(0.3),
    lambda world, pid: world.wait(40.0),
    lambda world, pid: world.wish(Wish.MORE),
    lambda world, pid: world.wish(Wish.FEWER),
    lambda world, pid: world.reload(),
)
WAYS = [SETTINGS, STOP_FIRST, AT_ONCE, LEAVING]


@pytest.mark.parametrize("settings", WAYS, ids=["plain", "stop-first", "at-once", "leaving"])
@pytest.mark.parametrize("seed", range(50))
def test_every_history_can_be_ended_by_a_stop(seed: int, settings: Settings) -> None:
    # A fixed walk, so that a failure repeats; its multiplier is MINSTD's.
    world, number = starting(3, settings), seed + 1
    for _ in range(40):
        number = number * 48271 % 0x7FFFFFFF
        pids = sorted(world.alive)
        if pids:
            STEPS[number % len(STEPS)](world, pids[number // 16 % len(pids)])

    for _ in range(4):
        world.wish(Wish.STOP)
    for pid in list(world.alive):
        world.kill(pid)

    assert isinstance(world.status, ExitStatus)
    assert world.plan.deadline == inf
