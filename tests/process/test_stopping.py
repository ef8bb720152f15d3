"""The end of a server as streams, idle clients and load balancers see it."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from process.harness import Program, children_of, needs_procfs, running
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(90)]


@contextmanager
def serving(workers: int, *options: str) -> Iterator[tuple[Program, tuple[str, int]]]:
    """The command, once it is ready, and its address."""
    command = ("serval", "process.stopping_app:app", "--port", "0", "--workers", str(workers))
    with running(*command, *options) as program:
        address = program.address()
        program.expect("starts up")
        if workers:
            program.expect(f"ready: {workers} worker")
        yield program, address


class Client:
    """One kept-alive connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = HTTPConnection(*address, timeout=20)

    def send(self, path: str) -> None:
        self._connection.request("GET", path)

    def answer(self) -> HTTPResponse:
        return self._connection.getresponse()

    def get(self, path: str = "/") -> HTTPResponse:
        self.send(path)
        return self.answer()

    def ask(self, path: str = "/") -> str | None:
        """The Connection field of a whole answer."""
        answer = self.get(path)
        assert answer.status == 200
        answer.read()
        return answer.getheader("Connection")

    def pid(self) -> int:
        return int(self.get().read())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    opened: list[Client] = []
    yield opened
    for client in opened:
        client.close()


# --- all at once ------------------------------------------------------------------------------

GRACE_SECONDS = 2.5


@contextmanager
def occupied(workers: int, loop: str) -> Iterator[tuple[Program, Client]]:
    """A server with whatever might keep it from its end, and who waits for an answer."""
    options = ("--loop", loop, "--timeout-graceful-shutdown", str(GRACE_SECONDS))
    with serving(workers, *options) as (program, (host, port)), ExitStack() as stack:
        clients = [Client((host, port)) for _ in range(5)]
        for client in clients:
            stack.callback(client.close)
        idle, stream, stubborn, burning, late = clients
        idle.ask()
        stream.get("/for-ever")
        program.expect("streams")
        stack.enter_context(connect(f"ws://{host}:{port}/", close_timeout=0))
        stubborn.send("/ignore-cancellation")
        program.expect("never ends")
        burning.ask("/burn")
        late.send("/late")
        program.expect("waits")
        yield program, late


@pytest.mark.alone
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stop_ends_in_time_whatever_is_going_on(loop: str) -> None:
    numbers = (0, 1, 3)
    with ExitStack() as stack:
        servers = [stack.enter_context(occupied(workers, loop)) for workers in numbers]
        begun = time.monotonic()
        for program, _ in servers:
            program.signal(signal.SIGTERM)
        for (program, late), workers in zip(servers, numbers, strict=True):
            # The second for what is cancelled, and some for a busy machine.
            status = program.wait(GRACE_SECONDS + 1.0 + 5.0)

            assert status == ExitStatus.OK, program.text
            assert late.answer().read() == b"late"
            assert program.text.count("shuts down") == max(workers, 1)
            program.expect("was cancelled")
            program.expect("ignore their cancellation")
        assert time.monotonic() - begun < GRACE_SECONDS + 1.0 + 5.0


# --- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_looks_for_the_end_is_not_cut(
    workers: int, loop: str, clients: list[Client]
) -> None:
    with serving(workers, "--loop", loop) as (program, address):
        client = Client(address)
        clients.append(client)
        answer = client.get("/until-drained")
        program.expect("streams, draining: False")
        program.signal(signal.SIGTERM)

        assert answer.read() == b"data: x\n\ndata: bye\n\n"
        assert program.wait() == ExitStatus.OK
        assert "lifespan sees the end" in program.text
        assert program.text.count("shuts down") == 1


def test_a_stream_is_told_that_its_client_left_after_the_grace(clients: list[Client]) -> None:
    options = ("--timeout-graceful-shutdown", "60", "--shutdown-stream-grace", "200ms")
    with serving(1, *options) as (program, address):
        client = Client(address)
        clients.append(client)
        answer = client.get("/until-left")
        program.expect("streams")
        program.signal(signal.SIGTERM)

        program.expect("received http.disconnect")
        assert answer.read().startswith(b"data: x")
        assert program.wait() == ExitStatus.OK


def test_a_stream_that_never_ends_is_cancelled_at_the_deadline(clients: list[Client]) -> None:
    with serving(1, "--timeout-graceful-shutdown", "400ms") as (program, address):
        client = Client(address)
        clients.append(client)
        client.get("/for-ever")
        program.expect("streams")
        program.signal(signal.SIGTERM)

        program.expect("was cancelled")
        assert program.wait() == ExitStatus.OK


def test_a_websocket_sees_the_end_coming_and_is_closed_with_1012() -> None:
    with serving(1) as (program, (host, port)), connect(f"ws://{host}:{port}/") as websocket:
        program.signal(signal.SIGTERM)

        assert websocket.recv(timeout=20) == "draining"
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        program.expect("closed with 1012")
        assert program.wait() == ExitStatus.OK


# --- a delay before the end -------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_with_a_delay_everything_is_served_on_and_each_response_is_the_last(
    workers: int, clients: list[Client]
) -> None:
    with serving(workers, "--drain-delay", "60") as (program, address):
        clients += [Client(address) for _ in range(2)]
        kept, idle = clients
        assert [kept.ask(), idle.ask()] == [None, None]
        program.signal(signal.SIGTERM)
        # Signals have no answer, and each worker gets its own.
        for client in (kept, idle):
            while client.ask() != "close":
                pass
        if workers:
            program.expect("leaving: everything is served for 60 s more")

        while kept.ask() != "close":  # on a connection that was opened after the signal
            pass
        program.signal(signal.SIGTERM)
        assert program.wait() == ExitStatus.OK


def test_whoever_asks_whether_the_server_is_ready_hears_no_during_the_delay() -> None:
    options = ("--drain-delay", "60", "--admin-bind", "127.0.0.1:0")
    with serving(1, *options) as (program, _):
        found = re.search(r"admin endpoint on http://([\d.]+):(\d+)", program.text)
        assert found is not None
        admin = Client((found[1], int(found[2])))
        assert admin.get("/readyz").status == 200
        admin.close()
        program.signal(signal.SIGTERM)
        program.expect("leaving: ")

        assert admin.get("/readyz").status == 503
        admin.close()
        program.signal(signal.SIGTERM)
        assert program.wait() == ExitStatus.OK


def test_the_delay_ends_by_itself(clients: list[Client]) -> None:
    with serving(1, "--drain-delay", "500ms") as (program, address):
        clients.append(Client(address))
        clients[0].ask()
        program.signal(signal.SIGTERM)

        program.expect("leaving: everything is served for 0.5 s more")
        program.expect("stopping: ")
        assert program.wait() == ExitStatus.OK


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("workers", [0, 1])
def test_only_sigterm_is_delayed(
    workers: int, signum: signal.Signals, clients: list[Client]
) -> None:
    with serving(workers, "--drain-delay", "60") as (program, address):
        clients.append(Client(address))
        clients[0].ask()
        program.signal(signum)

        assert program.wait(10.0) == ExitStatus.OK


def test_nobody_listens_once_the_delay_is_over() -> None:
    with serving(1, "--drain-delay", "100ms") as (program, address):
        client = Client(address)
        answer = client.get("/until-drained")
        program.signal(signal.SIGTERM)
        program.expect("lifespan sees the end")

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        answer.read()
        client.close()
        assert program.wait() == ExitStatus.OK


# --- replacing --------------------------------------------------------------------------------


def test_an_idle_client_of_a_replaced_worker_gets_one_more_answer(clients: list[Client]) -> None:
    with serving(1) as (program, address):
        clients.append(Client(address))
        before = clients[0].pid()
        program.signal(signal.SIGHUP)
        program.expect("lifespan sees the end")

        assert clients[0].ask() == "close"
        assert clients[0].pid() != before
        program.expect("reloaded: 1 worker of generation 2")
        assert before not in children_of(program.pid)
        assert program.stop() == ExitStatus.OK


# --- early and late ---------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_before_anything_is_served_is_a_clean_end(
    tmp_path: Path, signum: signal.Signals
) -> None:
    file = tmp_path / "serval.toml"
    os.mkfifo(file)
    command = ("serval", "process.stopping_app:app", "--config", str(file))
    with running(*command) as program, file.open("w"):  # opens once the command reads
        program.signal(signum)

        assert program.wait() == ExitStatus.OK


def test_a_stop_while_the_event_loop_begins_to_run_is_a_clean_end() -> None:
    fixed = ("--port", "0", "--workers", "0", "--loop", "uvloop")
    with running("serval", "process.stopping_loop_app:app", *fixed) as program:
        assert program.wait() == ExitStatus.OK
        program.expect("the loop begins")
        assert "Traceback" not in program.text


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_stop_after_the_end_changes_nothing(workers: str) -> None:
    command = ("serval", "process.late_signals_app:app", "--port", "0", "--workers", workers)
    with running(*command) as program:
        program.expect("does not support lifespan")
        program.signal(signal.SIGINT)

        assert program.wait() == ExitStatus.OK
        assert "signals itself" in program.text
