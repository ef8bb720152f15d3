"""Everything that a worker does at a moment, written to the log on SIGUSR2.

The loop may be blocked just then, and no signal handler of Python's would run: faulthandler's,
which is C, writes into a pipe, and a thread that sleeps on its other end does the rest.
"""

import asyncio
import faulthandler
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from serval.escaping import request_text
from serval.net.addresses import address_text
from serval.worker.connections.connection import HttpConnection
from serval.worker.connections.websocket import WebSocketConnection
from serval.worker.service import ServedConnection, Service
from serval.worker.threads.thread_pool import ThreadPool
from serval.worker.watch.stacks import (
    frames_of,
    frames_of_task,
    is_at_rest,
    scope_behind,
    scope_of,
    stack_lines,
)

logger = logging.getLogger("serval.error")

# faulthandler writes in many small pieces.
SETTLE_MILLISECONDS: Final = 50
# Of each kind; the rest is counted.
LISTED_COUNT: Final = 200


class Dump:
    """Writes the state of this process to its log whenever it is asked to.

    Attributes:
        service: What is served, once it is.

    Args:
        fds: A pipe; a supervisor has it too, and shows what we leave in it.
    """

    def __init__(self, fds: tuple[int, int] | None) -> None:
        self.service: Service | None = None
        self._fds = fds

    def listen(self) -> None:
        """Take SIGUSR2 from now on."""
        self._reader, writer = self._fds or os.pipe()
        os.set_blocking(writer, False)
        # The descriptor must outlive us: a signal may come at any time.
        faulthandler.register(signal.SIGUSR2, file=writer, all_threads=True, chain=False)
        threading.Thread(target=self._run, name="serval-dump", daemon=True).start()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        while True:
            if not _can_be_read(poller, None):
                return
            try:
                logger.warning("%s", "\n".join(self.lines()))
            except Exception:  # what was looked at has changed too much meanwhile
                logger.exception("the state of this worker cannot be told")
            # Read only now: where another thread holds the interpreter, or a free-threaded one
            # cannot be stopped to be looked at, we never come here, and our parent shall find it.
            while _can_be_read(poller, SETTLE_MILLISECONDS):
                os.read(self._reader, 65536)

    def lines(self) -> Iterator[str]:
        """The state, from the general to the particular; from any thread."""
        service = self.service
        yield f"state of worker process {os.getpid()}, asked for by SIGUSR2"
        yield from _threads()
        if service is not None:
            yield from _tasks(service.loop)
            yield from _connections(service)


def _can_be_read(poller: select.poll, milliseconds: int | None) -> bool:
    """Whether there is something to read within that time; None is any."""
    return any(bits & select.POLLIN for _, bits in poller.poll(milliseconds))


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    yield f"{len(frames)} threads:"
    for ident, frame in frames.items():
        stack = frames_of(frame)
        scope = scope_of(stack)
        busy = f", serving {request_text(scope)}" if scope else ""
        rest = ", in its event loop" if is_at_rest(frame) else ""
        yield f"thread {names.get(ident, ident)}{busy}{rest}"
        yield from stack_lines(stack)


def _tasks(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    yield f"{len(tasks)} tasks:"
    for task in islice(tasks, LISTED_COUNT):
        stack = frames_of_task(task)
        scope = scope_of(stack) or scope_behind(task)
        busy = f", serving {request_text(scope)}" if scope else ""
        yield f"task {task.get_name()}{busy}"
        yield from stack_lines(stack)
    yield from _more(len(tasks))


def _connections(service: Service) -> Iterator[str]:
    connections = list(_each_of(service.connections))
    now = time.monotonic()
    yield f"{len(connections)} connections:"
    for connection in islice(connections, LISTED_COUNT):
        yield _connection(connection, now)
    yield from _more(len(connections))


def _each_of(connections: Iterable[ServedConnection]) -> Iterator[ServedConnection]:
    """Connections, and those of threads, which stand among them as one."""
    for one in list(connections):
        if isinstance(one, ThreadPool):
            yield from list(one.connections)
        else:
            yield one


def _more(count: int) -> Iterator[str]:
    if count > LISTED_COUNT:
        yield f"... and {count - LISTED_COUNT} more"


def _connection(connection: ServedConnection, now: float) -> str:
    """One line on a connection: who, since when, what for."""
    if isinstance(connection, WebSocketConnection):
        age = now - connection._started_at
        peer = address_text(connection.client)
        return f"connection of {peer}, {age:.1f} s old, WebSocket {connection.path!a}"
    if not isinstance(connection, HttpConnection):
        return f"connection that is no HTTP connection yet ({type(connection).__name__})"
    doing = connection.state.name.lower()
    if connection.exchange is not None:
        exchange = connection.exchange
        phase = exchange.phase.name.lower().replace("_", " ")
        doing = f"serving {request_text(connection._scope)} ({phase}, {exchange.sent_bytes} bytes)"
        if connection._started_at:
            doing += f" for {now - connection._started_at:.1f} s"
    age = now - connection.opened_at
    return f"connection of {address_text(connection.client)}, {age:.1f} s old, {doing}"
