"""A server with nothing to do does nothing, however many clients keep it company."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from missing import MISSING, reason
from process.harness import Program, children_of, cpu_ticks, needs_procfs, running, wake_ups
from serval.errors import ExitStatus

pytestmark = [needs_procfs, pytest.mark.timeout(90)]

WORKERS_COUNT = 4
STREAMS_COUNT = 50
# For so long, the workers' watchdogs look closely after the last sign of life, and a bit more.
CLOSE_SECONDS = 6.0
IDLE_SECONDS = 10.0
# In that time each worker beats twice or thrice, and as often looks whether its loop is blocked; as
# much again for a machine where its threads must wait for each other.
WAKE_UPS_COUNT = 2 * 2 * 3

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
STREAM = b"GET /until-drained HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def asked(address: tuple[str, int], request: bytes, answer: bytes) -> Iterator[None]:
    """A client that has an answer, and waits for more."""
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(request)
        received = b""
        while answer not in received:
            received += client.recv(65_536)
        yield


@contextmanager
def in_company(loop: str) -> Iterator[Program]:
    """A server with open WebSockets and streams on which nothing is said any more."""
    command = ("serval", "process.stopping_app:app", "--port", "0", "--loop", loop)
    options = ("--workers", str(WORKERS_COUNT), "--ws-ping-interval", "0", "--no-access-log")
    with running(*command, *options) as program, ExitStack() as clients:
        address = program.address()
        program.expect(f"ready: {WORKERS_COUNT} workers")
        for _ in range(STREAMS_COUNT):
            clients.enter_context(asked(address, UPGRADE, b" 101 "))
            clients.enter_context(asked(address, STREAM, b"data: x\n\n"))
        yield program


def test_idle_websockets_and_streams_wake_nobody() -> None:
    loops = [loop for loop in ("asyncio", "uvloop") if loop not in MISSING]
    with ExitStack() as stack:
        programs = [stack.enter_context(in_company(loop)) for loop in loops]
        for program in programs:
            assert program.text.count("streams, draining: False") == STREAMS_COUNT
        programs[0].expect_silence(CLOSE_SECONDS)
        families = [[program.pid, *children_of(program.pid)] for program in programs]
        before = [(sum(map(wake_ups, all_)), sum(map(cpu_ticks, all_))) for all_ in families]

        programs[0].expect_silence(IDLE_SECONDS)

        for family, (woken, used) in zip(families, before, strict=True):
            assert len(family) == 1 + WORKERS_COUNT
            assert sum(map(wake_ups, family)) - woken <= WORKERS_COUNT * WAKE_UPS_COUNT
            assert sum(map(cpu_ticks, family)) - used < 5  # of 10 ms
        for program in programs:
            program.signal(signal.SIGQUIT)
            assert program.wait() == ExitStatus.OK
    if "uvloop" in MISSING:
        pytest.skip(f"shown for asyncio only: {reason('uvloop')}")
