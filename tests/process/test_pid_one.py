"""The server as the first process of a container: in a process namespace of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from process.harness import PATIENCE_SECONDS, Program, children_of, needs_procfs

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

APP = "process.service_apps:app"
AT_ONCE_SECONDS = 1.0
ATTEMPTS = 4  # to see it done so soon on a machine that is busy
OPTIONS = ("--port", "0", "--workers", "2")
# The second needs no root, where the kernel lets users have namespaces.
NAMESPACES = (
    ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
    ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"),
)


@pytest.fixture(scope="module")
def namespace() -> tuple[str, ...]:
    """A command that runs another as process 1."""
    reasons = []
    for command in NAMESPACES:
        try:
            done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.fail("these tests need the program unshare (util-linux)")
        if done.returncode == 0:
            return command
        reasons.append(done.stderr.strip())
    pytest.fail(f"these tests need a process namespace, by root or by user: {'; '.join(reasons)}")


@contextmanager
def container(namespace: tuple[str, ...], target: str, *options: str) -> Iterator[Program]:
    command = [*namespace, sys.executable, "-m", "serval", target, *OPTIONS, *options]
    program = Program(command, {})
    try:
        yield program
    finally:
        program.end()


def init_of(program: Program) -> int:
    """The process that is 1 within, by its number out here."""
    (init,) = children_of(program.pid)
    return init


def stop(program: Program) -> tuple[int, float]:
    """What `docker stop` does first; the exit status, and how long it took."""
    begun = time.monotonic()
    os.kill(init_of(program), signal.SIGTERM)
    return program.wait(), time.monotonic() - begun


def get(address: tuple[str, int], path: str) -> int:
    connection = HTTPConnection(*address, timeout=PATIENCE_SECONDS)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_an_idle_server_stops_at_once(namespace: tuple[str, ...]) -> None:
    def seconds_to_stop() -> float:
        with container(namespace, APP) as program:
            address = program.address()
            program.expect("pid 1, 2 workers")
            program.expect("ready: 2 workers")
            with socket.create_connection(address) as idle:
                idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")

                status, seconds = stop(program)

            assert status == 0, program.text
        return seconds

    assert any(seconds_to_stop() < AT_ONCE_SECONDS for _ in range(ATTEMPTS))


@pytest.mark.parametrize(
    ("target", "line", "options"),
    [
        ("process.slow_import_app:app", "is being imported", ()),
        ("process.slow_import_app:app", "is being imported", ("--preload",)),
        ("process.service_apps:slow_to_start", "is starting", ()),
    ],
)
def test_a_server_that_is_starting_stops_at_once(
    namespace: tuple[str, ...], target: str, line: str, options: tuple[str, ...]
) -> None:
    def seconds_to_stop() -> float:
        with container(namespace, target, *options) as program:
            program.expect(line)

            status, seconds = stop(program)

            assert status == 0, program.text
        return seconds

    assert any(seconds_to_stop() < AT_ONCE_SECONDS for _ in range(ATTEMPTS))


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_an_import_that_swallows_the_stop_is_cut_off(
    namespace: tuple[str, ...], options: tuple[str, ...]
) -> None:
    with container(namespace, "process.stubborn_import_app:app", *options) as program:
        program.expect("is being imported")

        status, _ = stop(program)
        said = program.text

    assert status == 0
    assert "cut off" in said


def test_orphans_are_collected_without_a_word(namespace: tuple[str, ...]) -> None:
    with container(namespace, APP) as program:
        address = program.address()
        program.expect("ready: 2 workers")
        init = init_of(program)
        workers = children_of(init)
        before = len(program.text.splitlines())

        for _ in range(5):
            assert get(address, "/orphan") == 200
            program.expect("an orphan ends")
        await_children(init, workers)

        said = program.text.splitlines()[before:]
        assert stop(program)[0] == 0

    assert [line for line in said if "orphan" not in line and '"GET ' not in line] == []


def await_children(pid: int, wanted: list[int]) -> None:
    """Wait until a process has these children and no zombie beside them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := children_of(pid)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_a_pid_file_from_an_earlier_life_is_no_obstacle(
    namespace: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "serval.pid"
    file.write_text("1\n")
    with container(namespace, APP, "--pid-file", str(file)) as program:
        program.expect("ready: 2 workers")
        text = file.read_text()

        assert stop(program)[0] == 0

    assert text == "1\n"
    assert not file.exists()
