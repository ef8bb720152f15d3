"""A service under systemd, with a real notify socket and really passed descriptors."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from process.harness import PATIENCE_SECONDS, Program, needs_procfs, running

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

APP = "process.service_apps:app"
# What sd_listen_fds(3) promises: descriptors from 3 on, and a process id that only exec keeps.
PASSING = """
import fcntl, os, sys
given = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 64) for fd in sys.argv[1].split(",")]
for number, fd in enumerate(given, start=3):
    os.dup2(fd, number)
names = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given)), "LISTEN_FDNAMES": "a:b"}
os.environ |= names
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])
"""


class Manager:
    """The socket at which a service manager listens."""

    def __init__(self, name: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + name[1:] if name.startswith("@") else name)
        self.name = name
        self.told: list[dict[str, str]] = []

    def expect(self, name: str) -> dict[str, str]:
        """The next notification that assigns the name."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            assert select.select([self.sock], [], [], left)[0], f"no {name} in {self.told}"
            lines = self.sock.recv(4096).decode().splitlines()
            self.told.append(dict(line.split("=", 1) for line in lines))
            if name in self.told[-1]:
                return self.told[-1]

    def expect_status(self, pattern: str) -> None:
        while not re.search(pattern, self.expect("STATUS")["STATUS"]):
            pass


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify") if request.param == "a path" else f"@{tmp_path}")
    yield made
    made.sock.close()


def test_a_manager_is_told_of_the_whole_life(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.name}
    with running("serval", APP, "--port", "0", "--workers", "2", environ=environ) as program:
        ready = manager.expect("READY")
        assert ready["MAINPID"] == str(program.pid)
        assert ready["STATUS"] == "running: 2 of 2 workers ready, generation 1"
        assert not any("READY" in told for told in manager.told[:-1])
        program.expect(r"of the manager's variables it sees \[\]")

        before = time.monotonic_ns() // 1000
        program.signal(signal.SIGHUP)
        assert int(manager.expect("RELOADING")["MONOTONIC_USEC"]) >= before
        assert "generation 2" in manager.expect("READY")["STATUS"]

        program.signal(signal.SIGTERM)
        assert "stopping" in manager.expect("STOPPING")["STATUS"]
        assert program.wait() == 0


def test_a_reload_that_fails_ends_all_the_same(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    file = tmp_path / "serval.toml"
    file.write_text("workers = 1")
    environ = {"NOTIFY_SOCKET": manager.name}
    with running("serval", APP, "--port", "0", "--config", str(file), environ=environ) as program:
        manager.expect("READY")
        file.write_text("workers = -1")

        program.signal(signal.SIGHUP)

        manager.expect("RELOADING")
        manager.expect("READY")
        program.expect("reload failed, the workers go on as they are")
    manager.sock.close()


def test_readiness_is_not_claimed_before_the_application_has_started(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": manager.name}
    target = "process.service_apps:slow_to_start"
    with running("serval", target, "--port", "0", environ=environ) as program:
        manager.expect_status("booting: 0 of 1 workers ready")
        program.expect("is starting")

        program.signal(signal.SIGTERM)
        manager.expect("STOPPING")

        assert not any("READY" in told for told in manager.told)
    manager.sock.close()


def test_a_manager_gets_signs_of_life(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"}
    with running("serval", APP, "--port", "0", environ=environ):
        manager.expect("READY")
        begun = time.monotonic()

        for _ in range(3):
            manager.expect("WATCHDOG")

        assert time.monotonic() - begun > 0.25
    manager.sock.close()


def ask(connection: HTTPConnection) -> int:
    connection.request("GET", "/")
    return connection.getresponse().status


def test_passed_sockets_of_either_family_are_served_and_nothing_else(tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        address = tcp.getsockname()
        fds = (tcp.fileno(), unix.fileno())
        given = ",".join(map(str, fds))
        command = [sys.executable, "-c", PASSING, given, "serval", APP, "--workers", "2"]
        program = Program(command, {}, fds)
        try:
            line = program.expect("serves ").string
            program.expect("ready: 2 workers")
            over_tcp = HTTPConnection(address[0], address[1], timeout=PATIENCE_SECONDS)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = client.recv(4096)
            status = ask(over_tcp)
            over_tcp.close()
            ended = program.stop()
        finally:
            program.end()

        assert line.endswith(f"on http://127.0.0.1:{address[1]}, unix:{path}")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert (status, ended) == (200, 0)
        assert os.path.exists(path)  # the manager's to remove


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_units_of_the_examples_are_what_systemd_understands(tmp_path: Path) -> None:
    examples = Path(__file__).resolve().parents[2] / "examples"
    for name in ("serval.service", "serval.socket"):
        text = (examples / name).read_text().replace("/srv/myapp/venv/bin/serval", sys.executable)
        (tmp_path / name).write_text(text)

    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *tmp_path.iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (found.returncode, found.stderr) == (0, "")
