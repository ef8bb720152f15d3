"""The supervisor over real processes, with workers that only pretend to serve."""

import json
import os
import re
import resource
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from process.harness import (
    Program,
    await_exit,
    children_of,
    cpu_ticks,
    needs_procfs,
    running,
    state_of,
    wake_ups,
)
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(60)]


Options = Mapping[str, float]


@contextmanager
def supervising(
    behaviour: str, options: Options | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """A supervisor of fake workers; `options` are the plan's settings."""
    arguments = ("process.fake_server", behaviour, json.dumps(options or {}))
    with running(*arguments, environ=environ) as program:
        yield program


@contextmanager
def serving(workers: int, options: Options | None = None) -> Iterator[tuple[Program, list[int]]]:
    """A supervisor and the pids of its workers, all ready."""
    with supervising("serve", {"workers": workers, **(options or {})}) as program:
        program.expect(f"ready: {workers} worker")
        yield program, children_of(program.pid)


# --- start and stop ---------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_every_worker_and_ends_with_status_0(signum: signal.Signals) -> None:
    with serving(3) as (program, workers):
        program.signal(signum)

        assert program.wait() == ExitStatus.OK
        assert program.text.count(": SIGTERM") == 3
        assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)


def test_quit_stops_quickly() -> None:
    with serving(2) as (program, _):
        program.signal(signal.SIGQUIT)

        assert program.wait() == ExitStatus.OK
        assert program.text.count(": SIGQUIT") == 2


def test_a_stop_while_workers_boot_is_clean() -> None:
    with supervising("slow_to_boot") as program:
        program.expect("booting")

        assert program.stop() == ExitStatus.OK


def test_a_worker_that_does_not_stop_is_killed_and_the_status_says_so() -> None:
    with supervising("stubborn", {"graceful_seconds": 0.1}) as program:
        program.expect("ready: 1 worker")

        assert program.stop() == ExitStatus.SHUTDOWN
        assert "does not stop in time: killing it" in program.text


def test_a_third_signal_ends_at_once() -> None:
    with supervising("stubborn", {"workers": 2}) as program:
        program.expect("ready: 2 workers")

        program.signal(signal.SIGTERM)
        program.expect("stopping: ")
        program.signal(signal.SIGTERM)
        program.expect("stopping quickly")
        program.signal(signal.SIGTERM)

        assert program.wait(5.0) == ExitStatus.OK


def test_what_a_terminal_sends_to_everybody_leaves_workers_alone() -> None:
    with serving(1) as (program, (worker,)):
        for signum in (signal.SIGINT, signal.SIGHUP):
            os.kill(worker, signum)
        program.signal(signal.SIGTTIN)
        program.expect("ready after")

        assert worker in children_of(program.pid)
        assert program.stop() == ExitStatus.OK


def test_hup_means_nothing_to_a_server_that_stops(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()  # so that an attempt would be told
    with supervising("stubborn", environ={"FAKE_BROKEN": str(tmp_path / "broken")}) as program:
        program.expect("ready: 1 worker")

        program.signal(signal.SIGTERM)
        program.expect("stopping: ")
        program.signal(signal.SIGHUP)
        program.signal(signal.SIGTERM)
        program.expect("stopping quickly")
        program.signal(signal.SIGTERM)

        assert program.wait() == ExitStatus.OK
        assert "reload" not in program.text


# --- failures ---------------------------------------------------------------------------------


def test_a_failed_first_boot_ends_with_status_3_and_one_explanation() -> None:
    with supervising("unbootable", {"workers": 4}) as program:
        assert program.wait() == ExitStatus.BOOT
        assert program.text.count("this is why") == 1
        assert program.text.count("giving up") == 1


def test_one_worker_that_does_not_boot_ends_the_others() -> None:
    with supervising("one_unbootable", {"workers": 2}) as program:
        assert program.wait() == ExitStatus.BOOT


def test_a_worker_that_is_never_ready_has_failed_to_boot() -> None:
    with supervising("slow_to_boot", {"startup_seconds": 0.1}) as program:
        assert program.wait() == ExitStatus.BOOT
        assert "not ready after 0.1 s (timeout_startup)" in program.text


def test_deaths_after_ready_are_crashes_and_too_many_end_with_status_4() -> None:
    with supervising("crashing") as program:
        assert program.wait() == ExitStatus.CRASH_LOOP
        assert "giving up: 6 workers died within 60 s, more than 5" in program.text
        assert "did not start" not in program.text


def test_an_exception_of_a_worker_is_logged_and_never_makes_a_second_supervisor() -> None:
    with supervising("raising") as program:
        assert program.wait() == ExitStatus.BOOT
        assert "ValueError: a defect" in program.text
        assert program.text.count("finished") == 1


def test_a_killed_worker_is_replaced_and_its_death_explained() -> None:
    with serving(2) as (program, (first, second)):
        os.kill(first, signal.SIGKILL)

        found = program.expect(rf"\(pid {first}\) died: (.*)")
        assert re.match(
            r"killed by SIGKILL after [\d.]+ s, 7 requests served, peak RSS \d+ MiB, "
            "not by us: out of memory?",
            found[1],
        )
        program.expect("is ready after")
        assert second in children_of(program.pid)
        assert program.stop() == ExitStatus.OK


def test_the_counts_of_dead_workers_are_kept() -> None:
    with serving(1) as (program, (worker,)):
        os.kill(worker, signal.SIGKILL)
        program.expect("is ready after")
        program.stop()

        program.expect("finished: 2 deaths, 14 requests")


def test_a_hundred_deaths_leave_no_zombie_and_no_descriptor() -> None:
    with serving(10, {"crash_limit": 0}) as (program, workers):
        descriptors = len(os.listdir(f"/proc/{program.pid}/fd"))
        for pid in workers[:5]:
            os.kill(pid, signal.SIGKILL)
        for _ in range(5):
            program.expect("is ready after")
        for _ in range(10):
            program.signal(signal.SIGHUP)
            program.expect("reloaded: 10 workers")

        children = children_of(program.pid)
        assert len(children) == 10
        assert "Z" not in map(state_of, children)
        assert len(os.listdir(f"/proc/{program.pid}/fd")) == descriptors
        program.stop()
        program.expect("finished: 115 deaths")


def test_orphans_are_reaped_in_silence() -> None:
    with supervising("leaving_orphans") as program:
        orphan = int(program.expect(r"orphan (\d+)")[1])
        program.expect("ready: 1 worker")
        await_exit(orphan)
        program.signal(signal.SIGTTIN)
        program.expect("is ready after")  # by then the supervisor has reaped more than once

        assert not os.path.exists(f"/proc/{orphan}")
        assert program.stop() == ExitStatus.OK
        assert f"{orphan}" not in program.text.replace(f"orphan {orphan}", "")


# --- replacing --------------------------------------------------------------------------------


def test_hup_replaces_every_worker() -> None:
    with serving(2) as (program, before):
        program.signal(signal.SIGHUP)
        program.expect("reloaded: 2 workers of generation 2")

        after = children_of(program.pid)
        assert len(after) == 2
        assert not set(before) & set(after)
        assert program.stop() == ExitStatus.OK


def test_a_new_worker_is_ready_before_the_old_one_is_told_to_stop() -> None:
    with serving(1) as (program, (old,)):
        program.signal(signal.SIGHUP)
        program.expect("reloaded")

        ready = program.text.index("is ready after")
        assert ready < program.text.index(f"pid {old}: SIGTERM")


def test_a_new_generation_that_does_not_boot_leaves_the_old_one_serving() -> None:
    with supervising("unbootable_later", {"workers": 2}) as program:
        program.expect("ready: 2 workers")
        before = children_of(program.pid)

        program.signal(signal.SIGHUP)
        program.expect("reload failed: generation 2 does not start, generation 1 goes on")
        assert children_of(program.pid) == before
        program.signal(signal.SIGHUP)
        program.expect("reloaded: 2 workers of generation 3")

        assert program.stop() == ExitStatus.OK


def test_a_configuration_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with supervising("serve", environ={"FAKE_BROKEN": str(broken)}) as program:
        program.expect("ready: 1 worker")
        before = children_of(program.pid)
        broken.touch()
        program.signal(signal.SIGHUP)
        program.expect("reload failed, the workers go on as they are: the file is broken")
        assert children_of(program.pid) == before
        broken.unlink()
        program.signal(signal.SIGHUP)
        program.expect("reloaded: 1 worker of generation 2")

        assert program.stop() == ExitStatus.OK


def test_a_reload_that_fails_for_no_known_reason_changes_nothing(tmp_path: Path) -> None:
    with supervising("serve", environ={"FAKE_BROKEN": str(tmp_path / "broken")}) as program:
        program.expect("ready: 1 worker")
        before = children_of(program.pid)
        (tmp_path / "broken.defect").touch()
        program.signal(signal.SIGHUP)
        program.expect("reload failed, the workers go on as they are")
        program.expect("ZeroDivisionError: a defect")
        assert children_of(program.pid) == before

        assert program.stop() == ExitStatus.OK


def test_a_worker_that_asks_for_it_is_replaced() -> None:
    with serving(1) as (program, (old,)):
        os.kill(old, signal.SIGUSR1)
        program.expect(rf"\(pid {old}\) asks to be replaced")
        program.expect(rf"pid {old}: SIGTERM")

        assert program.stop() == ExitStatus.OK


def test_a_worker_that_is_stopped_by_hand_is_replaced() -> None:
    with serving(1) as (program, (old,)):
        os.kill(old, signal.SIGTERM)
        program.expect("is ready after")

        assert old not in children_of(program.pid)
        assert program.stop() == ExitStatus.OK
        assert "died" not in program.text


def test_ttin_and_ttou_change_the_number_of_workers() -> None:
    with serving(1) as (program, (first,)):
        program.signal(signal.SIGTTIN)
        program.expect("is ready after")
        assert len(children_of(program.pid)) == 2
        program.signal(signal.SIGTTOU)
        program.expect("stopped: exit status 0")

        assert children_of(program.pid) == [first]
        assert program.stop() == ExitStatus.OK


def test_without_descriptors_there_is_no_fork_until_there_are_some_again() -> None:
    with serving(1) as (program, _):
        used = {int(fd) for fd in os.listdir(f"/proc/{program.pid}/fd")}
        free = min(set(range(len(used) + 1)) - used)
        most = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (free, most[1]))
        program.signal(signal.SIGTTIN)
        program.expect("cannot fork a worker: Too many open files")
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, most)
        program.expect("is ready after")

        assert len(children_of(program.pid)) == 2
        assert program.stop() == ExitStatus.OK


def test_usr1_and_usr2_are_passed_on_to_every_worker() -> None:
    with serving(2) as (program, _):
        program.signal(signal.SIGUSR1)  # which these workers take for a wish to retire
        program.expect("asks to be replaced")
        program.expect("asks to be replaced")
        program.signal(signal.SIGUSR2)  # which they drop

        assert program.stop() == ExitStatus.OK


# --- good neighbours --------------------------------------------------------------------------


def test_workers_go_when_the_supervisor_is_killed() -> None:
    with serving(3) as (program, workers):
        program.signal(signal.SIGKILL)

        for pid in workers:
            await_exit(pid, seconds=1.0)


def test_an_idle_supervisor_sleeps() -> None:
    with serving(2) as (program, _):
        # It may still hear of what was before; a tick of its own would be in all of them.
        assert any(sleeps_through(program, 0.5) for _ in range(10))
        assert program.stop() == ExitStatus.OK


def sleeps_through(program: Program, seconds: float) -> bool:
    before = wake_ups(program.pid), cpu_ticks(program.pid)
    program.expect_silence(seconds)
    return (wake_ups(program.pid), cpu_ticks(program.pid)) == before


def test_a_worker_inherits_nothing_that_is_not_meant_for_it() -> None:
    with supervising("curious", {"workers": 2}) as program:
        program.expect("ready: 2 workers")
        program.signal(signal.SIGHUP)
        program.expect("reloaded: 2 workers")

        assert program.text.count("extra descriptors: []") == 4
        masks = {int(mask, 16) for mask in re.findall(r"subprocess: (0x\w+)", program.text)}
        for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN):
            assert not any(mask & 1 << (signum - 1) for mask in masks)
        assert program.stop() == ExitStatus.OK
