"""More clients than the threads can serve: who waits where, and for how long."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from process.harness import Program, running
from serval.errors import ExitStatus
from serval.worker.door import ACCEPT_COUNT
from serval.worker.threads.newcomers import NEWCOMERS_COUNT

pytestmark = pytest.mark.timeout(60)

# No more than fit into the kernel's queue with what is accepted, also where it is short.
CROWD_COUNT = NEWCOMERS_COUNT + 122


class Gate:
    """What `/hold` waits for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let everybody through."""
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            yield
        finally:
            os.close(descriptor)


@contextmanager
def crowded(kind: str, gate: Gate, count: int) -> Iterator[tuple[Program, tuple[str, int]]]:
    command = ("serval", f"process.crowded_app:{kind}", "--port", "0", "--threads", str(count))
    options = ("--interface", kind, "--timeout-keep-alive", "60")
    with running(*command, *options, environ={"GATE": str(gate.path)}) as program:
        address = program.address()
        program.expect("ready: ")
        yield program, address


def asking(address: tuple[str, int], path: str) -> socket.socket:
    client = socket.create_connection(address, timeout=20)
    client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    return client


def answer_to(client: socket.socket) -> int:
    with client, client.makefile("rb") as answer:
        return int(answer.read().rpartition(b"\r\n\r\n")[2])


def test_clients_whom_no_thread_can_serve_yet_wait_outside(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    with crowded("wsgi", gate, 1) as (program, address):
        first = asking(address, "/hold")
        program.expect("app: holds")
        others = [asking(address, "/") for _ in range(CROWD_COUNT)]
        with gate.open():
            base = answer_to(first)
            counts = [answer_to(client) for client in others]

        assert len(counts) == CROWD_COUNT
        assert max(counts) <= base + NEWCOMERS_COUNT + ACCEPT_COUNT
        assert program.stop() == ExitStatus.OK, program.text


def test_clients_who_say_nothing_lock_nobody_out(tmp_path: Path) -> None:
    with crowded("wsgi", Gate(tmp_path / "gate"), 1) as (program, address), ExitStack() as silent:
        for _ in range(2 * NEWCOMERS_COUNT):
            silent.enter_context(socket.create_connection(address, timeout=20))

        assert answer_to(asking(address, "/")) > 2 * NEWCOMERS_COUNT
        assert program.stop() == ExitStatus.OK, program.text


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_who_has_left_while_it_waited_for_a_thread_gets_none(kind: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    with crowded(kind, gate, 2) as (program, address):
        held = []
        for _ in range(2):
            held.append(asking(address, "/hold"))
            program.expect("app: holds")
        leaving = asking(address, "/hold")
        answer_to(asking(address, "/"))  # by the thread that has read the other's request before
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaving.close()
        with gate.open():
            for client in held:
                answer_to(client)
            answer_to(asking(address, "/hold"))
            assert program.stop() == ExitStatus.OK, program.text

        assert program.text.count("app: holds") == 3
