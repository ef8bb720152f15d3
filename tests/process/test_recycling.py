"""Workers that are replaced while clients come and go: by count, memory, age and signals."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from process.harness import Program, children_of, needs_procfs, running
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(110)]


@contextmanager
def serving(
    workers: int, *options: str, target: str = "process.apps:app"
) -> Iterator[tuple[Program, tuple[str, int]]]:
    """The command, once it is ready, and its address."""
    command = ("serval", target, "--port", "0", "--workers", str(workers), "--no-access-log")
    with running(*command, *options) as program:
        address = program.address()
        program.expect(f"ready: {workers} worker")
        yield program, address


def ask_often(address: tuple[str, int], count: int, *, keep: bool) -> list[int]:
    """The statuses of so many requests, one after the other."""
    statuses = []
    connection = HTTPConnection(*address, timeout=20)
    for _ in range(count):
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
        if not keep:
            connection.close()
    connection.close()
    return statuses


def own_kib(pid: int) -> int:
    """The memory of a process, where what it shares with others counts in part."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)))


class Load:
    """Clients that ask without a pause, to the end of the block, on kept and on new connections."""

    def __init__(self, address: tuple[str, int], clients: int = 4) -> None:
        self._address = address
        self._clients = clients
        self._over = threading.Event()
        self.count = 0

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(self._clients)
        self._futures = [
            self._pool.submit(self._ask, keep=bool(number % 2)) for number in range(self._clients)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for future in self._futures:
            self.count += future.result()

    def _ask(self, *, keep: bool) -> int:
        count = 0
        while not self._over.is_set():
            assert ask_often(self._address, 20, keep=keep) == [200] * 20
            count += 20
        return count


# --- by count ---------------------------------------------------------------------------------


def test_workers_that_end_after_50_requests_lose_none() -> None:
    options = ("--limit-max-requests", "50", "--limit-max-requests-jitter", "20%")
    with serving(2, *options) as (program, address):
        for keep in (True, False):
            assert ask_often(address, 250, keep=keep) == [200] * 250
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(ask_often, address, 125, keep=bool(n % 2)) for n in range(4)]
            assert [run.result() for run in runs] == [[200] * 125] * 4

        program.expect(r"this worker is to be replaced: \d+ requests served \(limit_max_requests\)")
        program.expect("asks to be replaced")
        program.expect("is ready after")
        assert " died" not in program.text
        assert program.stop() == ExitStatus.OK


def test_threads_are_recycled_too() -> None:
    options = ("--limit-max-requests", "20", "--threads", "2")
    with serving(1, *options, target="process.quiet_app:app") as (program, address):
        assert ask_often(address, 60, keep=False) == [200] * 60

        program.expect(r"to be replaced: \d+ requests served \(limit_max_requests\)")
        program.expect("is ready after")
        assert ask_often(address, 1, keep=False) == [200]
        assert program.stop() == ExitStatus.OK


# --- by memory and age ------------------------------------------------------------------------


def test_a_worker_that_holds_too_much_memory_is_replaced() -> None:
    beat_often = ("--timeout-worker-healthcheck", "600ms")
    with serving(1, "--workers-max-rss", "16MiB", *beat_often) as (program, address):
        (before,) = children_of(program.pid)

        program.expect(r"to be replaced: \d+ MiB of memory \(workers_max_rss\)")
        program.expect("is ready after")
        assert children_of(program.pid) != [before]
        assert ask_often(address, 1, keep=False) == [200]
        assert program.stop() == ExitStatus.OK


def test_a_worker_that_is_too_old_is_replaced() -> None:
    options = ("--workers-lifetime", "1s", "--workers-lifetime-jitter", "0")
    with serving(1, *options) as (program, address):
        program.expect(r"to be replaced: 1 s of service \(workers_lifetime\)")
        program.expect("is ready after")
        assert ask_often(address, 1, keep=False) == [200]
        assert program.stop() == ExitStatus.OK


# --- by signals -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["start-first", "stop-first"])
def test_a_reload_under_load_loses_no_request(mode: str) -> None:
    with serving(2, "--replace-mode", mode) as (program, address), Load(address) as load:
        before = set(children_of(program.pid))
        program.signal(signal.SIGHUP)
        program.expect("reloaded: 2 workers of generation 2")
        after = set(children_of(program.pid))

    assert not before & after
    assert load.count


def test_more_and_fewer_workers_under_load_lose_no_request() -> None:
    with serving(1) as (program, address), Load(address) as load:
        program.signal(signal.SIGTTIN)
        program.expect("2 workers wanted")
        program.expect("is ready after")
        assert len(children_of(program.pid)) == 2
        program.signal(signal.SIGTTOU)
        program.expect("1 worker wanted")
        program.signal(signal.SIGHUP)
        program.expect("reloaded: 1 worker of generation 2")

    assert load.count


# --- preloading -------------------------------------------------------------------------------


def test_a_preloaded_application_is_imported_once() -> None:
    with serving(2, "--preload") as (program, address):
        text = program.text
        assert f"app in {program.pid}: imported" in text
        assert text.count("imported") == 1
        assert text.count("starts up") == 2

        program.signal(signal.SIGHUP)
        program.expect("the application was preloaded; a restart loads it anew")
        program.expect("reloaded: 2 workers")
        assert ask_often(address, 1, keep=False) == [200]
        assert program.text.count("imported") == 1
        assert program.stop() == ExitStatus.OK


def test_the_supervisor_holds_nothing_of_an_application_that_is_not_preloaded() -> None:
    with serving(1, target="process.heavy_app:app") as (program, _):
        (worker,) = children_of(program.pid)

        assert own_kib(worker) - own_kib(program.pid) > 25_000  # of the 30 MB that it holds


def test_a_preloaded_application_is_held_once() -> None:
    with serving(1, target="process.heavy_app:app") as (program, address):
        assert ask_often(address, 100, keep=True) == [200] * 100
        alone = sum(map(own_kib, children_of(program.pid)))
    with serving(4, "--preload", target="process.heavy_app:app") as (program, address):
        for _ in range(4):
            assert ask_often(address, 100, keep=False) == [200] * 100
        four = [own_kib(pid) for pid in children_of(program.pid)]

    assert len(four) == 4
    assert sum(four) < 2 * alone


def test_threads_that_an_import_leaves_behind_are_named() -> None:
    with serving(1, "--preload", target="process.threading_app:app") as (program, address):
        assert "has left the thread 'pump' running" in program.text
        assert ask_often(address, 1, keep=False) == [200]
        assert program.stop() == ExitStatus.OK


def test_an_application_that_cannot_be_preloaded_ends_the_start() -> None:
    with running("serval", "process.broken_app:app", "--port", "0", "--preload") as program:
        assert program.wait() == ExitStatus.BOOT
        assert program.text.count("Traceback") <= 1


def test_a_limit_without_a_supervisor_is_refused() -> None:
    command = ("serval", "process.apps:app", "--workers", "0", "--limit-max-requests", "5")
    with running(*command) as program:
        assert program.wait() == ExitStatus.USAGE
        assert "limit_max_requests" in program.text
        assert "needs a supervisor" in program.text


# --- crashes ----------------------------------------------------------------------------------


def test_the_limit_of_crashes_can_be_set() -> None:
    with serving(1, "--crash-limit", "1") as (program, _):
        for _ in range(2):
            (pid,) = children_of(program.pid)
            os.kill(pid, signal.SIGKILL)
            program.expect(rf"\(pid {pid}\) died: killed by SIGKILL")
            program.expect("is ready after|giving up: 2 workers died within 60 s, more than 1")

        assert program.wait() == ExitStatus.CRASH_LOOP
