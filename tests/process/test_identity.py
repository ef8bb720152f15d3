"""The command as a service of its machine: pid file, user, umask, owner of sockets, titles."""

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from process.harness import await_exit, children_of, needs_procfs, running

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

APP = "process.service_apps:app"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
# An interpreter under a home directory cannot be read by anybody but its owner.
readable = all(
    path.stat().st_mode & stat.S_IXOTH
    for path in (Path(sys.base_prefix).resolve(), *Path(sys.base_prefix).resolve().parents)
)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_pid_file_names_the_first_process_while_it_runs(tmp_path: Path, workers: str) -> None:
    path = tmp_path / "x.pid"
    options = ("--port", "0", "--workers", workers, "--pid-file", str(path))
    with running("serval", APP, *options) as program:
        program.expect("starts as")

        assert path.read_text() == f"{program.pid}\n"
        assert program.stop() == 0
    assert not path.exists()


def test_a_second_server_does_not_take_the_pid_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    command = ("serval", APP, "--port", "0", "--pid-file", str(path))
    with running(*command) as first:
        first.expect("ready")
        with running(*command) as second:
            second.expect(f"error: pid file {path}: a serval runs already, as process {first.pid}")

            assert second.wait() == 2
        assert path.read_text() == f"{first.pid}\n"


def test_a_pid_file_of_a_killed_server_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    command = ("serval", APP, "--port", "0", "--pid-file", str(path))
    with running(*command) as first:
        first.expect("ready: 1 worker")
        first.process.kill()
        first.wait()
        with running(*command) as second:
            second.expect("ready: 1 worker")

            assert path.read_text() == f"{second.pid}\n"


@needs_root
def test_the_worker_alone_has_the_group_and_the_supervisor_stays() -> None:
    with running("serval", APP, "--port", "0", "--group", "daemon") as program:
        program.expect("starts as 0:1,")

        assert os.stat(f"/proc/{program.pid}").st_gid == 0


@needs_root
@pytest.mark.skipif(not readable, reason="nobody else could read this interpreter")
def test_the_application_is_loaded_as_the_user(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    options = ("--port", "0", "--user", "nobody", "--pid-file", str(path))
    with running("serval", APP, *options) as program:
        program.expect("starts as 65534:65534, HOME /nonexistent")

        assert program.stop() == 0
    assert not path.exists()  # the supervisor could still remove it


def test_a_user_that_is_none_keeps_the_server_from_starting() -> None:
    with running("serval", APP, "--port", "0", "--user", "no-such-user") as program:
        program.expect("error: there is no user 'no-such-user'")

        assert program.wait() == 2


@needs_root
def test_a_socket_has_the_mode_and_the_owner_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    options = ("--uds-mode", "620", "--uds-owner", "daemon", "--uds-group", "nogroup")
    with running("serval", APP, "--bind", f"unix:{path}", *options) as program:
        program.expect("ready")
        found = path.stat()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

        assert program.stop() == 0

    assert stat.S_IMODE(found.st_mode) == 0o620
    assert (found.st_uid, found.st_gid) == (1, 65534)
    assert not path.exists()


def test_the_umask_is_the_application_s_too(tmp_path: Path) -> None:
    with running("serval", APP, "--port", "0", "--umask", "027") as program:
        program.expect("ready")
        (worker,) = children_of(program.pid)

        umasks = [
            line.split()[1]
            for pid in (program.pid, worker)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("Umask:")
        ]

    assert umasks == ["0027", "0027"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_worker_is_told_by_its_title() -> None:
    with running("serval", APP, "--port", "0") as program:
        program.expect("ready")
        (worker,) = children_of(program.pid)

        title = Path(f"/proc/{worker}/cmdline").read_bytes().rstrip(b"\0").decode()
        name = Path(f"/proc/{worker}/comm").read_text().strip()
        program.stop()
        await_exit(worker)

    assert title.startswith("serval: worker 1 process.ser")
    assert name == "serval w1 proce"
