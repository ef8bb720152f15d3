"""The life of one worker: load the application, start its lifespan, serve, drain, exit status.

`run_worker` is what a forked child runs, `run_here` the same without a supervisor.
"""

import asyncio
import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Final, NoReturn, Protocol

from serval import log
from serval.config import ServerConfig
from serval.errors import ExitStatus, StartupError
from serval.loader import LoadedApp
from serval.net.listeners import Listener, remove_socket_files
from serval.net.tls import Certificates
from serval.scoreboard import Slot, WorkerState
from serval.worker.application import load_app
from serval.worker.descriptors import make_room
from serval.worker.early_stop import EarlyStop, StopRequested, early_stop
from serval.worker.loops import loop_factory
from serval.worker.serving import Serving
from serval.worker.stops import Stops
from serval.worker.watch.dump import Dump

logger = logging.getLogger("serval.error")

# How long an idle connection of a worker that is replaced may wait for one more request, whose
# answer then says that it is the last: to close it without that may cross a request on its way.
LAST_REQUEST_SECONDS: Final = 1.0
# What the application's own tasks get to end, after its lifespan shutdown.
LAST_TASKS_SECONDS: Final = 0.5
# What is left to a worker whose supervisor has died.
ORPHAN_SECONDS: Final = 0.8


class Channel(Protocol):
    """What a worker has of its supervisor."""

    @property
    def slot(self) -> Slot:
        """Where the worker says how far it is."""

    @property
    def parent_gone_fd(self) -> int:
        """A descriptor that reaches its end when the supervisor has died."""

    @property
    def dump_fds(self) -> tuple[int, int]:
        """A pipe; what is left in it, the supervisor shows when we are dead."""

    def notify(self) -> None:
        """Wake the supervisor after the slot's state has changed."""

    def claim_report(self) -> bool:
        """Whether this worker is the one to say why it and its like do not start."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a worker has from the process that forked it.

    Attributes:
        config: All settings.
        listeners: Sockets to accept from.
        certificates: What to speak TLS with; None for plain connections.
        app: The application, where it is loaded already.
        slots: What each worker says about itself.
    """

    config: ServerConfig
    listeners: Sequence[Listener]
    certificates: Certificates | None = None
    app: LoadedApp | None = None
    slots: Sequence[Slot] = ()


def run_worker(channel: Channel, inheritance: Inheritance) -> NoReturn:
    """Be a worker process; in the child, right after the fork."""
    status = ExitStatus.CRASHED
    try:
        make_room()  # before `follow_parent`, which starts a thread
        worker = WorkerProcess(inheritance, channel)
        worker.follow_parent(channel.parent_gone_fd)
        status = worker.run((signal.SIGTERM,))
    except BaseException:
        logger.critical("the worker died of a defect in serval", exc_info=True)
    finally:
        leave(status)


def run_here(inheritance: Inheritance) -> ExitStatus:
    """Serve in this process, without a supervisor, until a signal says stop."""
    make_room()
    worker = WorkerProcess(inheritance, None)
    return worker.run((signal.SIGTERM, signal.SIGINT))


def leave(status: int) -> NoReturn:
    """End a forked child as an interpreter would, without unwinding its parent's frames."""
    try:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(status)


class WorkerProcess:
    """One worker, from the application's import to its exit status.

    Args:
        inheritance: Settings, sockets and what else there is from before.
        channel: To the supervisor; None without one.
    """

    def __init__(self, inheritance: Inheritance, channel: Channel | None) -> None:
        self._inherited = inheritance
        self._config = inheritance.config
        self._channel = channel
        self._slot = None if channel is None else channel.slot
        self._dump = Dump(None if channel is None else channel.dump_fds)

    # Start.

    def run(self, stop_signals: Sequence[signal.Signals]) -> ExitStatus:
        """Load, serve and stop."""
        numbers = (*stop_signals, signal.SIGQUIT)
        try:
            with early_stop(numbers) as early:
                return self._run(numbers, early)
        except StopRequested:
            return ExitStatus.OK
        finally:
            self._report(WorkerState.STOPPED)

    def _run(self, numbers: Sequence[signal.Signals], early: EarlyStop) -> ExitStatus:
        self._report(WorkerState.BOOTING)
        self._dump.listen()
        signal.signal(signal.SIGUSR1, _reopen_logs)
        log.follow_files()  # they may have been renamed since the fork
        try:
            loaded = self._inherited.app or load_app(self._config)
            early.end()  # no event loop bears what is raised in the midst of its own code
            with asyncio.Runner(loop_factory=loop_factory(self._config.loop)) as runner:
                return runner.run(self._main(loaded, numbers, early))
        except StartupError as error:
            early.end()  # a sibling that fails too has us stopped, but not while we say why
            # Of several workers that fail alike, one says so.
            if self._channel is None or self._channel.claim_report():
                logger.error("%s", error)  # noqa: TRY400 - it holds what traceback there is to show
            return error.exit_status

    async def _main(
        self, loaded: LoadedApp, numbers: Sequence[signal.Signals], early: EarlyStop
    ) -> ExitStatus:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_loop_error)
        serving = Serving(
            self._config,
            loaded,
            listeners=self._inherited.listeners,
            certificates=self._inherited.certificates,
            slot=self._slot,
            slots=self._inherited.slots,
        )
        self._dump.service = serving.service
        stops = Stops(
            serving.service,
            self._slot,
            delay_seconds=self._config.drain_delay,
            hurry=serving.hurry,
            end=partial(leave, ExitStatus.CRASHED),
        )
        stops.listen(numbers)
        try:
            if not early.asked and await _unless(stops.stopping, serving.startup()):
                await self._serve(serving, stops)
        finally:
            status = await self._shut_down(serving)
        if not await _all_cancelled():
            self._report(WorkerState.STOPPED)
            leave(status)  # to close the loop would be to wait for them without end
        return status

    # Serving.

    async def _serve(self, serving: Serving, stops: Stops) -> None:
        serving.start(self._retire, self._notify)
        self._report(WorkerState.READY)
        await stops.stopping.wait()
        self._report(WorkerState.DRAINING)
        if self._channel is None:  # else they are the supervisor's
            remove_socket_files(self._inherited.listeners)
        await serving.drain(LAST_REQUEST_SECONDS if stops.yields else 0.0)

    def _retire(self, reason: str) -> None:
        """Ask for a replacement, and serve on until told to stop."""
        if self._slot is not None and self._slot.state is WorkerState.READY:
            logger.info("this worker is to be replaced: %s", reason)
            self._report(WorkerState.RETIRING)

    async def _shut_down(self, serving: Serving) -> ExitStatus:
        if serving.has_started:
            self._report(WorkerState.CLOSING)
        status = ExitStatus.OK
        for error in await serving.shutdown():
            logger.error("%s", error)
            status = error.exit_status
        serving.close()
        return status

    # Stop.

    def follow_parent(self, parent_gone_fd: int) -> None:
        """End soon after the supervisor has, however that was: nobody would stop us any more."""

        def wait() -> None:
            os.read(parent_gone_fd, 1)  # returns at the end of file
            logger.error("the supervisor is gone: the worker stops")
            os.kill(os.getpid(), signal.SIGQUIT)
            time.sleep(ORPHAN_SECONDS)
            os._exit(ExitStatus.CRASHED)

        threading.Thread(target=wait, name="serval-follow-parent", daemon=True).start()

    def _report(self, state: WorkerState) -> None:
        if self._channel is None or self._slot is None:
            return
        now = time.monotonic()
        self._slot.heartbeat_at = now
        if state is WorkerState.READY:
            self._slot.ready_at = now
        self._slot.state = state
        self._notify()

    def _notify(self) -> None:
        """Have the supervisor look at our slot."""
        if self._channel is not None:
            self._channel.notify()


def _reopen_logs(_number: int, _frame: FrameType | None) -> None:
    log.reopen_files()


def _log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio would log by itself, under our logger."""
    logger.error("%s", context.get("message", "event loop"), exc_info=context.get("exception"))


async def _all_cancelled() -> bool:
    """End what the application still runs; whether it let that happen."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if not tasks:
        return True
    _, stubborn = await asyncio.wait(tasks, timeout=LAST_TASKS_SECONDS)
    if stubborn:
        logger.warning("%d tasks ignore their cancellation and are left behind", len(stubborn))
    return not stubborn


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Await `work`; False where the stop came first, and `work` was cancelled."""
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait((task,))
    return False
