"""The command itself, with real workers that serve a small application."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
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
)
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

WORKERS = [0, 1, 3]
HALF_A_POST = b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"


@contextmanager
def serving(
    workers: int, *options: str, target: str = "process.apps:app"
) -> Iterator[tuple[Program, tuple[str, int]]]:
    """The command, once it is ready, and its address."""
    with running("serval", target, "--port", "0", "--workers", str(workers), *options) as program:
        address = program.address()
        for _ in range(max(workers, 1)):
            program.expect("starts up")
        if workers:
            program.expect(f"ready: {workers} worker")
        yield program, address


def ask(address: tuple[str, int], path: str = "/") -> int:
    """The pid of the process that answers a request."""
    connection = HTTPConnection(*address, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        return int(response.read())
    finally:
        connection.close()


def header_of(address: tuple[str, int], name: str) -> str | None:
    """A header of the answer to a request."""
    connection = HTTPConnection(*address, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().getheader(name)
    finally:
        connection.close()


def servers(program: Program, workers: int) -> list[int]:
    return children_of(program.pid) if workers else [program.pid]


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return data


# --- start ------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("target", ["process.quiet_app:app", "process.nowhere:app"])
def test_a_full_disk_for_the_log_changes_no_exit_status(target: str) -> None:
    full = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
    starts = target == "process.quiet_app:app"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        options = ("--bind", f"fd:{listener.fileno()}")
        with running(
            *("serval", target, *options),
            environ={"PYTHONUNBUFFERED": ""},  # as it usually is
            pass_fds=[listener.fileno()],
            under=full,
        ) as program:
            if starts:
                ask(listener.getsockname())
                program.signal(signal.SIGTERM)

            assert program.wait() == (ExitStatus.OK if starts else ExitStatus.BOOT)


@pytest.mark.parametrize("workers", [0, 1])
def test_no_socket_gets_the_number_of_a_standard_stream_that_is_closed(workers: int) -> None:
    closing = ("sh", "-c", 'exec "$@" <&- >&-', "sh")
    options = ("process.quiet_app:app", "--port", "0", "--workers", str(workers))
    with running("serval", *options, under=closing) as program:
        program.address()
        if workers:
            program.expect("ready: 1 worker")

        for pid in (program.pid, *servers(program, workers)):
            assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1)] == ["/dev/null"] * 2
        assert program.stop() == ExitStatus.OK


@pytest.mark.parametrize("workers", WORKERS)
def test_requests_are_answered_by_the_processes_that_should(workers: int) -> None:
    with serving(workers) as (program, address):
        assert ask(address) in servers(program, workers)
        assert program.stop() == ExitStatus.OK


def test_the_banner_says_what_where_and_by_how_many() -> None:
    with serving(3, "--loop", "asyncio") as (program, (host, port)):
        text = program.text
        assert f"serves process.apps:app on http://{host}:{port}" in text
        assert "3 workers, event loop asyncio" in text
        assert text.count("INFO") <= 5
        program.stop()


@pytest.mark.parametrize("workers", WORKERS)
def test_an_application_that_cannot_be_imported_ends_with_status_3(workers: int) -> None:
    command = ("serval", "process.broken_app:app", "--port", "0", "--workers", str(workers))
    with running(*command) as program:
        assert program.wait() == ExitStatus.BOOT
        assert "no database" in program.text
        assert "broken_app.py" in program.text


def test_a_taken_port_ends_with_status_6_before_the_application_is_imported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running("serval", "process.apps:app", "--port", str(port)) as program:
            assert program.wait() == ExitStatus.BIND
            assert f"cannot listen on 127.0.0.1:{port}" in program.text
            assert f"address already in use, by pid {os.getpid()}" in program.text
            assert "imported" not in program.text


def test_several_binds_serve_one_application(tmp_path: Path) -> None:
    path = tmp_path / "serval.sock"
    binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
    with running("serval", "process.apps:app", *binds) as program:
        address = program.address()
        program.expect("ready: 1 worker")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            over_unix = read_all(client)

        assert over_unix.startswith(b"HTTP/1.1 200")
        assert over_unix.endswith(str(ask(address)).encode())
        assert program.stop() == ExitStatus.OK
        assert not path.exists()


def test_a_socket_that_a_service_manager_passes_takes_the_place_of_the_default() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        command = ("process.activated", str(given.fileno()), "serval", "process.apps:app")
        with running(*command, pass_fds=[given.fileno()]) as program:
            assert program.address() == given.getsockname()
            program.expect("ready: 1 worker")

            assert ask(given.getsockname()) in children_of(program.pid)
            assert program.stop() == ExitStatus.OK


# --- stop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("workers", WORKERS)
def test_a_stop_lets_a_running_request_finish(workers: int, loop: str) -> None:
    with serving(workers, "--loop", loop) as (program, address):
        with socket.create_connection(address) as client:
            client.sendall(HALF_A_POST)
            program.expect("wants more")
            program.signal(signal.SIGTERM)
            if workers:
                program.expect("stopping: ")
            client.sendall(b"67890")
            answer = read_all(client)

        assert answer.startswith(b"HTTP/1.1 200")
        assert program.wait() == ExitStatus.OK
        assert program.text.count("shuts down") == max(workers, 1)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("workers", WORKERS)
def test_an_idle_connection_holds_nothing_up(workers: int, signum: signal.Signals) -> None:
    with serving(workers) as (program, address):
        with socket.create_connection(address) as idle:
            idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            idle.recv(65536)
            program.signal(signum)

            assert idle.recv(1) == b""
        assert program.wait() == ExitStatus.OK
        assert program.text.count("shuts down") == max(workers, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_signal_shortens_the_wait_and_still_shuts_down(workers: int) -> None:
    with serving(workers) as (program, address):
        with socket.create_connection(address) as client:
            client.sendall(HALF_A_POST)
            program.expect("wants more")
            with socket.create_connection(address) as idle:
                idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                idle.recv(65536)
                program.signal(signal.SIGTERM)
                assert idle.recv(1) == b""  # the first signal has been dealt with
            program.signal(signal.SIGTERM)

            assert program.wait(10.0) == ExitStatus.OK
        assert program.text.count("shuts down") == max(workers, 1)


def test_a_shutdown_that_fails_ends_with_status_5() -> None:
    command = ("serval", "process.apps:failing_to_stop", "--port", "0", "--workers", "2")
    with running(*command) as program:
        program.expect("ready: 2 workers")

        assert program.stop() == ExitStatus.SHUTDOWN
        assert "the queue is not empty" in program.text


def test_a_signal_to_the_whole_group_stops_as_gracefully() -> None:
    with serving(2) as (program, address):
        with socket.create_connection(address) as client:
            client.sendall(HALF_A_POST)
            program.expect("wants more")
            os.killpg(program.pid, signal.SIGTERM)  # as systemd does, by default
            program.expect("stopping: ")
            client.sendall(b"67890")
            answer = read_all(client)

        assert answer.startswith(b"HTTP/1.1 200")
        assert program.wait() == ExitStatus.OK


def may_make_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--pid", "--fork", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_make_namespaces(), reason="may not make a PID namespace")
def test_pid_1_stops_when_told_to() -> None:
    command = ("serval", "process.apps:app", "--port", "0")
    with running(*command, under=["unshare", "--pid", "--fork", "--kill-child"]) as program:
        program.expect(r"pid 1, 1 worker")
        program.expect("ready: 1 worker")
        (first,) = children_of(program.pid)
        os.kill(first, signal.SIGTERM)

        assert program.wait(5.0) == ExitStatus.OK
        assert "shuts down" in program.text


# --- crashes ----------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 3])
def test_a_killed_worker_is_replaced_within_two_seconds(workers: int) -> None:
    with serving(workers) as (program, address):
        before = children_of(program.pid)
        os.kill(before[0], signal.SIGKILL)

        program.expect(rf"\(pid {before[0]}\) died: killed by SIGKILL")
        program.expect("is ready after", seconds=2.0)
        after = children_of(program.pid)
        assert ask(address) in after
        assert len(after) == workers
        assert set(before[1:]) <= set(after)
        assert "Z" not in map(state_of, after)
        assert program.stop() == ExitStatus.OK


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_are_gone_soon_after_their_supervisor(workers: int) -> None:
    with serving(workers) as (program, _):
        pids = children_of(program.pid)
        program.signal(signal.SIGKILL)

        for pid in pids:
            await_exit(pid, seconds=1.0)


def test_a_reload_changes_every_worker_and_loses_no_request() -> None:
    with serving(2) as (program, address):
        before = children_of(program.pid)
        program.signal(signal.SIGHUP)
        answers = [ask(address) for _ in range(20)]
        program.expect("reloaded: 2 workers of generation 2")

        assert len(answers) == 20
        assert not set(before) & set(children_of(program.pid))
        assert ask(address) not in before
        assert program.stop() == ExitStatus.OK


def test_a_reload_that_fails_leaves_its_environment_to_nobody(tmp_path: Path) -> None:
    (tmp_path / "needs_good.py").write_text(
        "import os\nassert os.environ['HEALTH'] == 'good'\nfrom process.quiet_app import app\n"
    )
    (tmp_path / "env").write_text("HEALTH=good")
    options = ("--app-dir", str(tmp_path), "--env-file", str(tmp_path / "env"), "--port", "0")
    with running("serval", "needs_good:app", *options) as program:
        program.expect("ready: 1 worker")
        (before,) = children_of(program.pid)
        (tmp_path / "env").write_text("HEALTH=bad")
        program.signal(signal.SIGHUP)
        program.expect("generation 1 goes on serving")
        os.kill(before, signal.SIGKILL)
        program.expect("is ready after")

        assert program.stop() == ExitStatus.OK


def test_a_reload_reads_the_configuration_anew(tmp_path: Path) -> None:
    file = tmp_path / "serval.toml"
    file.write_text('workers = 1\nheader = ["X-Reading: first"]\n')
    command = ("serval", "process.apps:app", "--port", "0", "--config", str(file))
    with running(*command) as program:
        address = program.address()
        program.expect("ready: 1 worker")
        file.write_text('workers = 2\nheader = ["X-Reading: second"]\n')
        program.signal(signal.SIGHUP)
        program.expect("reloaded: 2 workers of generation 2")

        assert header_of(address, "X-Reading") == "second"
        assert program.stop() == ExitStatus.OK


# --- idle -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_a_server_without_requests_uses_no_processor(workers: int) -> None:
    with serving(workers) as (program, address):
        ask(address)
        program.expect("GET / ")
        pids = [program.pid, *children_of(program.pid)]
        before = sum(map(cpu_ticks, pids))

        program.expect_silence(1.0)

        # A server that polled would take a hundred; the last of the request may be counted late.
        assert sum(map(cpu_ticks, pids)) - before <= 4
        assert program.stop() == ExitStatus.OK


def test_the_supervisor_never_imports_the_application() -> None:
    with serving(2) as (program, _):
        assert f"app in {program.pid}: imported" not in program.text
        assert program.text.count("imported") == 2
        assert program.stop() == ExitStatus.OK


def test_the_module_runs_like_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serval", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("serval ")
