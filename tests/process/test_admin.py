"""The admin endpoint of the real command, with real workers, over a socket file and a port."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from process.harness import PATIENCE_SECONDS, Program, await_exit, needs_procfs, running
from serval.admin.client import AdminClient
from serval.admin.status import StatusReport
from serval.errors import AdminError
from serval.net.bind import TcpBind, UnixBind

pytestmark = [needs_procfs, pytest.mark.timeout(90)]


class Server:
    """A running command and its two ends."""

    def __init__(self, program: Program, address: tuple[str, int], bind: UnixBind) -> None:
        self.program = program
        self.address = address
        self.bind = bind
        self.client = AdminClient(bind)

    def get(self, path: str = "/") -> None:
        """A request to the application that is answered."""
        connection = HTTPConnection(*self.address, timeout=PATIENCE_SECONDS)
        connection.request("GET", path)
        assert connection.getresponse().status == 200
        connection.close()

    def probe(self, path: str) -> tuple[int, str]:
        """What the admin endpoint answers."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_SECONDS)
            sock.connect(self.bind.path)
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split()[1]), body

    def once(self, holds: Callable[[StatusReport], bool]) -> StatusReport:
        """The first report of which something holds; workers tell once a second."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(report := self.client.status()):
            assert time.monotonic() < deadline, report
            time.sleep(0.05)
        return report

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`serval status` and its like."""
        return subprocess.run(
            [sys.executable, "-m", "serval", *words, "--admin-bind", str(self.bind)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )


@contextmanager
def serving(
    tmp_path: Path, *options: str, target: str = "process.service_apps:app", workers: int = 2
) -> Iterator[Server]:
    bind = UnixBind(str(tmp_path / "admin.sock"))
    command = ("serval", target, "--port", "0", "--workers", str(workers), "--no-access-log")
    with running(*command, "--admin-bind", str(bind), *options) as program:
        address = program.address()
        program.expect("admin endpoint on")
        yield Server(program, address, bind)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as made:
        made.program.expect("ready: 2 workers")
        yield made


def counter(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


def test_the_socket_is_its_owner_s_alone_and_goes_with_the_server(server: Server) -> None:
    mode = stat.S_IMODE(os.stat(server.bind.path).st_mode)

    status = server.program.stop()

    assert (mode, status) == (0o600, 0)
    assert not os.path.exists(server.bind.path)


def test_requests_are_counted_timed_and_measured(server: Server) -> None:
    for _ in range(5):
        server.get()
    with socket.create_connection(server.address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b" 400 " in sock.recv(4096)

    report = server.once(
        lambda found: (found["totals"]["requests"], found["totals"]["rejected"]) == (5, 1)
    )

    totals = report["totals"]
    assert sum(totals["latency_counts"]) == 5
    assert totals["p50_seconds"] is not None
    assert totals["sent_bytes"] >= 5
    assert (totals["refused"], totals["accepted"]) == ({"missing-host": 1}, 6)
    assert report["ready"]
    _, text = server.probe("/metrics")
    assert counter(text, 'serval_requests_refused_total{reason="missing-host",status="400"}') == 1
    server.once(lambda _: counter(server.probe("/metrics")[1], "serval_loop_lag_seconds_count") > 0)
    assert all(worker["rss_bytes"] > 5_000_000 for worker in report["workers"])


def pool_of(report: StatusReport) -> tuple[int, int]:
    """Threads of AnyIO's pool in the only worker, and calls that have one or wait for one."""
    (worker,) = report["workers"]
    calls = worker["pool_threads_busy"] + worker["pool_calls_waiting"]
    return worker["pool_threads_limit"], calls


@pytest.mark.parametrize(("threads", "loops"), [(0, 1), (2, 4)])
def test_the_threads_of_anyio_are_shown_of_all_loops(
    tmp_path: Path, threads: int, loops: int
) -> None:
    """`--threads 2` has three threads, one of them in reserve, and the main one."""
    options = ("--threads", str(threads), "--anyio-tokens", "2")

    with (
        serving(tmp_path, *options, target="process.anyio_app:app", workers=1) as server,
        ThreadPoolExecutor(3) as clients,
    ):
        held = [clients.submit(server.get, "/hold") for _ in range(3)]
        assert server.once(lambda found: pool_of(found) == (2 * loops, 3))
        server.get("/let-go")
        for one in held:
            one.result()

        assert server.once(lambda found: pool_of(found) == (2 * loops, 0))


def test_no_counter_falls_when_a_worker_is_killed(server: Server) -> None:
    for _ in range(6):
        server.get()
    before = server.once(lambda found: found["totals"]["requests"] == 6)
    accepted = before["totals"]["accepted"]
    killed = max(before["workers"], key=lambda worker: worker["requests"])["pid"]

    os.kill(killed, signal.SIGKILL)
    server.program.expect(rf"pid {killed}\) died: killed by SIGKILL.* last RSS")
    server.program.expect("is ready after")

    _, text = server.probe("/metrics")
    assert counter(text, "serval_requests_total") == 6
    assert counter(text, "serval_request_duration_seconds_count") == 6
    assert counter(text, "serval_connections_accepted_total") == accepted
    assert counter(text, 'serval_worker_exits_total{reason="crash"}') == 1
    assert counter(text, 'serval_workers{state="ready"}') == 2
    assert server.client.status()["restarts"] == 1


def test_probes_are_answered_though_every_worker_is_blocked(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as server:
        server.program.expect("ready: 1 worker")
        with socket.create_connection(server.address) as sock:
            sock.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            server.program.expect("blocks")

            assert server.probe("/livez") == (200, "alive\n")
            assert server.client.status()["workers"][0]["state"] == "ready"


def test_a_server_is_alive_before_it_is_ready(tmp_path: Path) -> None:
    with serving(tmp_path, target="process.service_apps:slow_to_start") as server:
        server.program.expect("is starting")

        assert server.probe("/livez") == (200, "alive\n")
        assert server.probe("/readyz") == (503, "not ready: booting\n")
        assert server.client.status()["state"] == "booting"


def test_a_server_that_stops_is_alive_and_no_longer_ready(server: Server) -> None:
    with socket.create_connection(server.address) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
        server.once(lambda found: found["totals"]["in_flight"] == 1)
        server.program.signal(signal.SIGTERM)
        server.program.expect("stopping: ")

        alive, ready = server.probe("/livez"), server.probe("/readyz")
        sock.sendall(b"56789")

        assert alive == (200, "alive\n")
        assert ready == (503, "not ready: draining\n")
        assert server.program.wait() == 0


def test_the_words_of_the_command_ask_and_act(server: Server) -> None:
    status = server.command("status")
    scaled = server.command("scale", "3")
    server.once(lambda found: len(found["workers"]) == 3)
    before = {worker["pid"] for worker in server.client.status()["workers"]}
    reloaded = server.command("reload")
    after = server.once(lambda found: len(found["workers"]) == 3)

    assert "2 of 2 workers ready" in status.stdout
    assert scaled.stdout == "workers wanted: 3\n"
    assert reloaded.stdout == "reloaded: 3 workers of generation 2\n"
    assert before.isdisjoint(worker["pid"] for worker in after["workers"])


def test_more_workers_than_there_is_room_for_are_refused(server: Server) -> None:
    done = server.command("scale", "1000")

    assert done.returncode == 7
    assert "workers can be 1 to 32 without a restart, not 1000" in done.stderr


def test_a_reload_of_a_wrong_configuration_is_told_to_who_asked(tmp_path: Path) -> None:
    file = tmp_path / "serval.toml"
    file.write_text("backlog = 100")
    with serving(tmp_path, "--config", str(file)) as server:
        server.program.expect("ready: 2 workers")
        file.write_text("backlok = 100")

        with pytest.raises(AdminError, match="unknown setting 'backlok'"):
            server.client.reload()

        assert server.probe("/readyz") == (200, "ready\n")


def test_over_a_port_everything_is_read_and_nothing_changed(tmp_path: Path) -> None:
    with running(
        *("serval", "process.service_apps:app", "--port", "0", "--admin-bind", "127.0.0.1:0")
    ) as program:
        program.expect("serves ")
        found = program.expect(r"admin endpoint on http://127\.0\.0\.1:(\d+)")
        program.expect("ready: 1 worker")
        client = AdminClient(TcpBind("127.0.0.1", int(found[1])))

        with pytest.raises(AdminError, match="refused over TCP"):
            client.scale(2)

        assert client.status()["workers_wanted"] == 1


def test_an_endpoint_that_cannot_be_opened_keeps_the_server_from_starting(tmp_path: Path) -> None:
    bind = f"unix:{tmp_path}/missing/admin.sock"
    command = ("serval", "process.service_apps:app", "--port", "0", "--admin-bind", bind)
    with running(*command) as program:
        program.expect(rf"error: cannot listen on {bind} \(from --admin-bind\)")

        assert program.wait() == 6


def test_workers_hold_nothing_of_the_endpoint(server: Server) -> None:
    inodes = {
        line.split()[6]
        for line in Path("/proc/net/unix").read_text().splitlines()
        if line.endswith(server.bind.path)
    }

    held = [
        os.readlink(link)
        for worker in server.client.status()["workers"]
        for link in Path(f"/proc/{worker['pid']}/fd").iterdir()
    ]

    assert inodes
    assert not {f"socket:[{inode}]" for inode in inodes} & {*held}


def test_the_supervisor_dies_with_clients_that_do_not_leave(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(server.bind.path)

        assert server.program.stop() == 0

    await_exit(server.program.pid)
