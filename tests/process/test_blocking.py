"""Handlers that block the event loop: they are named, and where that lasts, replaced."""

import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.sync.client import connect

from process.harness import Program, children_of, cpu_ticks, needs_procfs, running, wake_ups
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

LOOPS = ["asyncio", "uvloop"]
# A third of the time for which handlers block.
LAG = ("--watchdog-lag", "300ms")


@contextmanager
def serving(workers: int, *options: str) -> Iterator[tuple[Program, tuple[str, int]]]:
    """The command, once it is ready, and its address."""
    command = ("serval", "process.blocking_app:app", "--port", "0", "--workers", str(workers))
    with running(*command, "--lifespan", "off", *options) as program:
        address = program.address()
        if workers:
            program.expect(f"ready: {workers} worker")
        yield program, address


def ask(address: tuple[str, int], path: str) -> int:
    connection = HTTPConnection(*address, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def asking(address: tuple[str, int], path: str) -> Iterator[socket.socket]:
    """A client that has asked, and waits."""
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield client


# --- the watchdog -----------------------------------------------------------------------------


def test_a_worker_without_a_thread_to_spare_beats_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "crowded.py").write_text(
        "import threading\n"
        "from process.quiet_app import app\n"
        "start = threading.Thread.start\n"
        "def refuse(thread):\n"
        "    if thread.name == 'serval-watchdog':\n"
        "        raise RuntimeError('no thread is left')\n"
        "    start(thread)\n"
        "threading.Thread.start = refuse\n"
    )
    options = ("--app-dir", str(tmp_path), "--workers-lifetime", "1s", "--port", "0")
    with running("serval", "crowded:app", *options) as program:
        program.expect("handlers that block the event loop go unnoticed: no thread is left")
        program.expect(r"to be replaced: \d+ s of service")  # which its beat tells

        assert program.stop() == ExitStatus.OK


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("path", "function"), [("/sleep", "sleep"), ("/sleep-after-a-wait", "sleep_after_a_wait")]
)
def test_a_handler_that_blocks_is_named_once(loop: str, path: str, function: str) -> None:
    with serving(1, "--loop", loop, *LAG) as (program, address):
        assert ask(address, path) == 200

        found = program.expect(r"the event loop was blocked for ([\d.]+) s by GET '(\S+)'")
        assert 0.3 <= float(found[1]) < 20.0
        assert found[2] == path
        program.expect(rf'File ".*blocking_app.py", line \d+, in {function}$')
        assert program.expect(r"^\s+\S").group().strip() is not None
        assert "time.sleep(BLOCK_SECONDS)" in program.text
        assert program.stop() == ExitStatus.OK
        assert program.text.count("the event loop was blocked") == 1


def test_the_same_place_is_named_once_a_minute() -> None:
    with serving(1, "--watchdog-lag", "200ms") as (program, address):
        assert ask(address, "/sleep-twice") == 200
        assert ask(address, "/sleep-twice") == 200
        program.expect("the event loop was blocked")

        assert program.stop() == ExitStatus.OK
        assert program.text.count("the event loop was blocked") == 1


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/chat", "sleep_in_a_websocket"),
        pytest.param(
            "/task",
            "sleep_in_a_task",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 12), reason="3.11 tells no context of a task"
            ),
        ),
    ],
)
def test_a_websocket_that_blocks_is_named_too(path: str, function: str) -> None:
    with serving(1, *LAG) as (program, (host, port)):
        with connect(f"ws://{host}:{port}{path}") as websocket:
            websocket.send("x")
            program.expect(rf"blocked for [\d.]+ s by WebSocket '{path}'")
            program.expect(f"in {function}")
        assert program.stop() == ExitStatus.OK


def test_the_watchdog_can_be_switched_off() -> None:
    with serving(1, "--watchdog-lag", "0") as (program, address):
        assert ask(address, "/sleep-for-long") == 200

        assert program.stop() == ExitStatus.OK
        assert "blocked" not in program.text


def test_the_watchdog_sleeps_when_nothing_is_served() -> None:
    with serving(1) as (program, address):
        assert ask(address, "/") == 200
        program.expect("GET / ")
        (worker,) = children_of(program.pid)
        program.expect_silence(2.0)  # it looks once or twice more, and finds nothing
        before = wake_ups(worker), cpu_ticks(worker)

        program.expect_silence(1.5)

        assert wake_ups(worker) - before[0] <= 1
        assert cpu_ticks(worker) - before[1] <= 1


# --- liveness ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_a_worker_that_hangs_is_dumped_and_replaced(loop: str) -> None:
    options = ("--loop", loop, "--timeout-worker-healthcheck", "1s", "--watchdog-lag", "0")
    with serving(1, *options) as (program, address), asking(address, "/spin"):
        program.expect("spins")
        (hung,) = children_of(program.pid)

        program.expect(rf"\(pid {hung}\) is hung: its event loop has not turned for 1 s")
        program.expect("thread MainThread, serving GET '/spin'")
        program.expect(r'File ".*blocking_app.py", line \d+, in spin$')
        program.expect(rf"\(pid {hung}\) died: killed by SIGKILL", seconds=8.0)
        program.expect("is ready after", seconds=3.0)
        assert ask(address, "/") == 200
        assert program.stop() == ExitStatus.OK


def test_a_worker_whose_interpreter_is_held_is_told_of_and_replaced() -> None:
    options = ("--timeout-worker-healthcheck", "1s")
    with serving(1, *options) as (program, address), asking(address, "/hold"):
        program.expect("holds")
        (hung,) = children_of(program.pid)

        program.expect(rf"\(pid {hung}\) is hung")
        program.expect(r"blocking_app.py\", line \d+ in hold_the_interpreter")
        program.expect("is ready after")
        assert ask(address, "/") == 200
        assert program.stop() == ExitStatus.OK


def test_a_short_block_is_no_reason_to_replace() -> None:
    with serving(1, "--timeout-worker-healthcheck", "10s") as (program, address):
        (before,) = children_of(program.pid)

        assert ask(address, "/sleep") == 200

        assert children_of(program.pid) == [before]
        assert "hung" not in program.text


# --- a look inside ----------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("workers", [0, 2])
def test_sigusr2_tells_threads_tasks_and_connections(workers: int, loop: str) -> None:
    options = ("--loop", loop, "--timeout-graceful-shutdown", "500ms")
    with serving(workers, *options) as (program, address):
        if not workers:
            assert ask(address, "/") == 200  # it serves: its signals are taken
        with asking(address, "/wait"), socket.create_connection(address) as silent:
            program.expect("waits")
            silent.sendall(b"GET / HT")
            program.signal(signal.SIGUSR2)
            for _ in range(workers or 1):
                program.expect("state of worker process", seconds=5.0)
                program.expect("[0-9]+ connections:")
            assert program.stop() == ExitStatus.OK
            text = program.text

    assert text.count("state of worker process") == (workers or 1)
    assert "thread MainThread" in text
    assert re.search(r"task \S+, serving GET '/wait'\n(.*\n)+?.*blocking_app.py", text)
    assert re.search(r"connection of 127\.0\.0\.1:\d+, [\d.]+ s old, serving GET '/wait'", text)


@pytest.mark.parametrize("path", ["/sleep-for-long", "/spin"])
def test_a_blocked_worker_can_be_looked_into(path: str) -> None:
    options = ("--watchdog-lag", "0", "--timeout-lifespan-shutdown", "1")
    with serving(1, *options) as (program, address), asking(address, path):
        program.expect("spins" if path == "/spin" else "sleeps")
        program.signal(signal.SIGUSR2)

        program.expect(rf"thread MainThread, serving GET '{path}'", seconds=2.0)
        program.expect(rf"connection of .*, serving GET '{path}' \(waiting, 0 bytes\)", seconds=2.0)
        program.signal(signal.SIGQUIT)
        program.wait()
