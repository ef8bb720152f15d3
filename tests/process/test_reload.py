"""`--reload`: what a developer sees after saving a file."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from process.harness import Program, children_of, cpu_ticks, needs_procfs, running, wake_ups
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

APPLICATION = """
import asyncio, os
VERSION = {version!r}

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({{"type": "http.response.start", "status": 200}})
    if scope["path"] == "/events":
        os.write(1, b"streams\\n")
        while True:
            await send({{"type": "http.response.body", "body": b"x", "more_body": True}})
            await asyncio.sleep(0.05)
    await send({{"type": "http.response.body", "body": VERSION.encode()}})
"""


class Project:
    """A small application on disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.save("first")

    def save(self, version: str) -> None:
        self.write("site_app.py", APPLICATION.format(version=version))

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@contextmanager
def developing(project: Project, *options: str) -> Iterator[tuple[Program, tuple[str, int]]]:
    """The command with --reload, once it is listening, and its address."""
    command = ("serval", "site_app:app", "--port", "0", "--reload", "--no-access-log")
    with running(*command, "--app-dir", str(project.directory), *options) as program:
        yield program, program.address()


def ask(address: tuple[str, int]) -> str:
    connection = HTTPConnection(*address, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("engine", ["auto", "poll"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_save_brings_the_new_version(project: Project, workers: int, engine: str) -> None:
    options = ("--workers", str(workers), "--reload-engine", engine)
    with developing(project, *options) as (program, address):
        program.expect(f"ready: {workers} worker")
        assert ask(address) == "first"
        before = children_of(program.pid)

        project.save("second!")
        program.expect("site_app.py changed: reloading")
        program.expect(f"reloaded: {workers} worker")

        assert ask(address) == "second!"
        assert not set(before) & set(children_of(program.pid))
        assert program.stop() == ExitStatus.OK


def test_a_request_right_after_the_save_gets_the_new_version(project: Project) -> None:
    with developing(project) as (program, address):
        program.expect("ready: 1 worker")
        project.save("second")
        program.expect("changed: reloading")
        program.expect("reloading: generation 2")
        before = time.monotonic()
        while ask(address) != "second":
            assert time.monotonic() - before < 20.0  # the old one may still be about to hear of it
        assert program.stop() == ExitStatus.OK


def test_an_open_stream_and_websocket_do_not_hold_it_up(project: Project) -> None:
    with developing(project) as (program, address):
        program.expect("ready: 1 worker")
        host, port = address
        events = HTTPConnection(*address, timeout=20)
        events.request("GET", "/events")
        events.getresponse()
        program.expect("streams")
        with connect(f"ws://{host}:{port}/") as websocket:
            saved_at = time.monotonic()
            project.save("second")
            program.expect("is ready after")

            assert time.monotonic() - saved_at < 10.0  # an import's time, on a busy machine
            assert ask(address) == "second"
            with pytest.raises(ConnectionClosed):
                websocket.recv(timeout=20)
        program.expect("reloaded: 1 worker")
        events.close()
        assert program.stop() == ExitStatus.OK


def test_a_syntax_error_is_shown_and_the_old_version_serves_on(project: Project) -> None:
    with developing(project) as (program, address):
        program.expect("ready: 1 worker")
        project.write("site_app.py", "def f(:\n")
        program.expect("SyntaxError in .*site_app.py, line 1")
        assert ask(address) == "first"

        project.save("mended")
        program.expect("reloaded: 1 worker")

        assert ask(address) == "mended"
        assert program.stop() == ExitStatus.OK


def test_an_error_in_the_import_is_shown_and_the_next_save_recovers(project: Project) -> None:
    with developing(project) as (program, address):
        program.expect("ready: 1 worker")
        project.write("site_app.py", "import no_such_module_here\n")
        program.expect("No module named 'no_such_module_here'")
        program.expect("the application does not start: waiting for a change")

        project.save("mended")
        program.expect("reloaded: 1 worker")

        assert ask(address) == "mended"
        assert program.stop() == ExitStatus.OK


def test_even_the_first_start_may_fail(project: Project) -> None:
    project.write("site_app.py", "1 / 0\n")
    with developing(project, "--workers", "2") as (program, address):
        program.expect("ZeroDivisionError")
        program.expect("waiting for a change")
        assert program.process.poll() is None

        project.save("mended")
        program.expect("ready: 2 workers")

        assert ask(address) == "mended"
        assert program.text.count("waiting for a change") == 1
        assert program.stop() == ExitStatus.OK


def test_a_killed_worker_is_told_of_and_replaced(project: Project) -> None:
    with developing(project) as (program, address):
        program.expect("ready: 1 worker")
        (worker,) = children_of(program.pid)
        os.kill(worker, signal.SIGKILL)

        program.expect(rf"\(pid {worker}\) died: killed by SIGKILL")
        program.expect("is ready after")
        assert ask(address) == "first"
        assert program.stop() == ExitStatus.OK


def test_templates_count_where_they_are_included(project: Project) -> None:
    options = ("--reload-include", "*.html", "--reload-exclude", "draft*")
    with developing(project, *options) as (program, _):
        program.expect("ready: 1 worker")
        project.write("draft.html", "x")
        project.write("notes.txt", "x")
        project.write("page.html", "x")

        found = program.expect("(.*) changed: reloading")
        assert "page.html" in found[1]
        assert "draft" not in found[1]
        assert program.stop() == ExitStatus.OK


def test_waiting_for_changes_costs_nothing(project: Project) -> None:
    with developing(project) as (program, address):
        program.expect("ready: 1 worker")
        assert ask(address) == "first"
        before = wake_ups(program.pid), cpu_ticks(program.pid)

        program.expect_silence(1.5)

        assert wake_ups(program.pid) - before[0] <= 1
        assert cpu_ticks(program.pid) - before[1] <= 1


def test_it_can_be_explained_without_an_application(project: Project) -> None:
    (project.directory / "node_modules").mkdir()
    command = ("serval", "--reload-explain", "--reload-dir", str(project.directory))
    with running(*command) as program:
        program.expect(r"watched: 1 files like \*\.py in 1 directories")
        program.expect("node_modules: packages of node")
        assert program.wait() == ExitStatus.OK


@pytest.mark.parametrize(
    ("option", "reason"),
    [(("--workers", "0"), "reload needs a supervisor"), (("--preload",), "reload contradicts")],
)
def test_what_contradicts_it_is_refused(option: tuple[str, ...], reason: str) -> None:
    with running("serval", "process.apps:app", "--reload", *option) as program:
        assert program.wait() == ExitStatus.USAGE
        assert reason in program.text.replace(" (from --reload)", "")
