"""The parent process: fork, wait, signal, reap.  It carries out what the plan says, nothing more.

Called by `server.py` with the workers' entry function, so that it imports neither them nor the
application.  It sleeps until a signal, a child's bell or the plan's next deadline: no tick.
"""

import contextlib
import logging
import os
import resource  # noqa: F401 - else os.wait4 imports it, which takes a descriptor
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Final, NoReturn, TypeAlias, assert_never

from serval.channel import ChildChannel
from serval.errors import ExitStatus, StartupError
from serval.outlook import Companion, Outlook, ServerState
from serval.scoreboard import Asked, Scoreboard, WorkerState
from serval.supervisor.actions import (
    Action,
    Finish,
    Order,
    Say,
    Settings,
    Spawn,
    Tell,
    Unlisten,
    Wish,
)
from serval.supervisor.child import Death
from serval.supervisor.plan import Plan
from serval.supervisor.signals import SignalInbox, signals_held

Entry: TypeAlias = Callable[[ChildChannel], NoReturn]
Reloader: TypeAlias = Callable[[], tuple[Settings, Entry]]

_WISHES: Final = {
    signal.SIGTERM: Wish.STOP,
    signal.SIGINT: Wish.INTERRUPT,
    signal.SIGQUIT: Wish.QUIT,
    signal.SIGTTIN: Wish.MORE,
    signal.SIGTTOU: Wish.FEWER,
}
_ORDERS: Final = {
    Order.LEAVE: signal.SIGTERM,
    Order.YIELD: signal.SIGTERM,
    Order.STOP: signal.SIGTERM,
    Order.QUIT: signal.SIGQUIT,
    Order.KILL: signal.SIGKILL,
    Order.DUMP: signal.SIGUSR2,
}
_ASKED: Final = {
    Order.LEAVE: Asked.LEAVE,
    Order.YIELD: Asked.YIELD,
    Order.STOP: Asked.STOP,
}
_RELAYED: Final = (signal.SIGUSR1, signal.SIGUSR2)
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_LONGEST_SLEEP_SECONDS: Final = 86_400.0  # epoll's limit is some 24 days
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, getrusage(2)

_log = logging.getLogger("serval.error")


class _Pipes:
    """What parent and children share besides the scoreboard: three pipes for all of them."""

    def __init__(self) -> None:
        self.life_reader, self.life_writer = os.pipe()  # end of file: the parent is gone
        self.bell_reader, self.bell_writer = os.pipe()  # a byte: look at the slots
        self.claim_reader, self.claim_writer = os.pipe()  # one byte: who explains a failure
        for fd in (self.bell_reader, self.bell_writer, self.claim_reader):
            os.set_blocking(fd, False)

    def drain_bell(self) -> None:
        """Forget who rang; everybody is looked at."""
        _drain(self.bell_reader)

    def renew_claim(self) -> None:
        """Let one of the children that are forked from now on explain why it cannot start."""
        _drain(self.claim_reader)
        os.write(self.claim_writer, b"\0")

    def close_in_child(self) -> None:
        """Close the parent's ends; holding the life pipe's writer would hide the parent's death."""
        for fd in (self.life_writer, self.bell_reader, self.claim_writer):
            os.close(fd)

    def close(self) -> None:
        """Close both ends of all."""
        self.close_in_child()
        for fd in (self.life_reader, self.bell_writer, self.claim_reader):
            os.close(fd)


def _drain(fd: int) -> bytes:
    """What can be read without waiting."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(fd, 4096):
            found += data
    return found


class Supervisor:
    """Keeps workers running until it is told to stop, or has to give up.

    Main thread only, without other threads; nothing else in the process may wait for children, for
    this reaps them all (as PID 1 of a container it inherits strangers).

    Args:
        scoreboard: Made before; its size bounds how many workers there can be at once.
        entry: What a worker does, after the fork; it never returns.
        reloader: Gives what new workers run on, on SIGHUP; None for what is there already.
        unlisten: Closes the parent's listening sockets, before the workers are told to stop.
        reopen_logs: Opens the parent's log files anew, before the workers do.
        companions: What else gets its turn in the loop.
    """

    def __init__(
        self,
        settings: Settings,
        scoreboard: Scoreboard,
        entry: Entry,
        *,
        inbox: SignalInbox,
        reloader: Reloader | None = None,
        unlisten: Callable[[], None] = lambda: None,
        reopen_logs: Callable[[], None] = lambda: None,
        companions: Sequence[Companion] = (),
    ) -> None:
        self.scoreboard = scoreboard
        self._plan = Plan(settings, slot_count=len(scoreboard))
        self._settings = settings
        self._entry = entry
        self._entries = {1: entry}  # by generation: a reload that fails goes back to its own
        self._reloader = reloader
        self._unlisten = unlisten
        self._reopen_logs = reopen_logs
        self._companions = companions
        self._reloads = 0
        self._inbox = inbox
        self._pipes = _Pipes()
        self._last_words: dict[int, int] = {}  # by slot: what a child writes before it is killed
        self._selector = selectors.DefaultSelector()
        self._todo: deque[Action] = deque()
        self._status: ExitStatus | None = None

    def run(self) -> ExitStatus:
        """Supervise until no worker is left; in the parent only does this return."""
        self._selector.register(self._inbox, selectors.EVENT_READ)
        self._selector.register(self._pipes.bell_reader, selectors.EVENT_READ)
        for companion in self._companions:
            if companion.fileno() >= 0:
                self._selector.register(companion, selectors.EVENT_READ)
        try:
            self._do(self._plan.start(time.monotonic()))
            while self._status is None:
                self._turn()
            return self._status
        finally:
            self._selector.close()
            self._pipes.close()

    def _turn(self) -> None:
        """Sleep, then act: the operator first, then the children, the clock, the companions."""
        deadline = min([self._plan.deadline, *(one.deadline for one in self._companions)])
        sleep = min(max(deadline - time.monotonic(), 0.0), _LONGEST_SLEEP_SECONDS)
        self._selector.select(None if deadline == inf else sleep)
        self._pipes.drain_bell()
        for signum in self._inbox.drain():
            self._obey(signum)
        for child in self._plan.children:
            self._observe(child.index)
        self._reap()
        self._do(self._plan.tick(time.monotonic()))
        for companion in self._companions:
            companion.turn(self, time.monotonic())

    # --- what companions may ask --------------------------------------------------------------

    def outlook(self) -> Outlook:
        """How things are now."""
        return self._plan.outlook(reloads=self._reloads)

    def ask_reload(self) -> str:
        """Begin what SIGHUP begins; returns why it cannot be, or nothing."""
        if self.outlook().state is ServerState.STOPPING:
            return "the server is stopping"
        return self._reload()

    def ask_scale(self, workers: int) -> str:
        """Want so many workers; returns why that cannot be, or nothing."""
        outlook = self.outlook()
        if outlook.state is ServerState.STOPPING:
            return "the server is stopping"
        if not 1 <= workers <= outlook.workers_limit:
            return f"workers can be 1 to {outlook.workers_limit} without a restart, not {workers}"
        self._do(self._plan.scale(workers, time.monotonic()))
        return ""

    # --- what has happened --------------------------------------------------------------------

    def _obey(self, signum: signal.Signals) -> None:
        if signum in _WISHES:
            self._do(self._plan.wished(_WISHES[signum], time.monotonic()))
        elif signum == signal.SIGHUP:
            self.ask_reload()
        elif signum in _RELAYED:
            if signum == signal.SIGUSR1:  # first of all: the workers may not be able to make files
                self._reopen_logs()
            for child in self._plan.children:
                _send(child.pid, signum)

    def _reload(self) -> str:
        """Read the configuration and begin to replace the workers; returns why not, or nothing."""
        self._reloads += 1
        settings, entry = self._settings, self._entry
        if self._reloader is not None:
            try:
                settings, entry = self._reloader()
            except StartupError as exc:
                _log.error("reload failed, the workers go on as they are: %s", exc)
                return str(exc)
            except Exception as exc:  # whatever it is, it must not end a server that serves
                _log.exception("reload failed, the workers go on as they are")
                return f"the reload failed: {exc!r}"
        self._settings, self._entry = settings, entry
        self._do(self._plan.reload(settings, time.monotonic()))
        return ""

    def _observe(self, index: int) -> None:
        """Tell the plan what a child says of itself."""
        slot = self.scoreboard.slot(index)
        if slot.heartbeat_at:
            self._plan.beat(index, slot.heartbeat_at)
        self._do(self._plan.seen(index, slot.state, time.monotonic()))

    def _reap(self) -> None:
        """Collect every process that has ended, ours or an orphan's."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:  # there is none at all
                return
            if pid == 0:
                return
            index = next((c.index for c in self._plan.children if c.pid == pid), None)
            if index is None:
                continue
            self._observe(index)  # it may have been ready for a moment: a crash, not a failed boot
            slot = self.scoreboard.slot(index)
            code = os.waitstatus_to_exitcode(status)
            death = Death(
                pid=pid,
                status=max(code, 0),
                signal_name=_signal_name(-code) if code < 0 else "",
                requests=slot.requests,
                rss_bytes=slot.rss_bytes,
                peak_rss_bytes=usage.ru_maxrss * _RSS_UNIT,
            )
            self.scoreboard.release(index)
            words = _last_words(self._last_words.pop(index))
            self._do(self._plan.exited(death, time.monotonic()))
            if words:
                _log.error("process %d could not say itself where it stood:\n%s", pid, words)

    def _do(self, actions: Iterable[Action]) -> None:
        """Carry out actions and what follows from them, in order."""
        self._todo.extend(actions)
        while self._todo:
            action = self._todo.popleft()
            match action:
                case Spawn():
                    self._spawn(action)
                case Tell(pid, order):
                    self._tell(pid, order)
                case Say(level, text):
                    _log.log(_LEVELS[level], "%s", text)
                case Unlisten():
                    self._unlisten()
                case Finish(status):
                    self._status = status
                case _:
                    assert_never(action)

    def _tell(self, pid: int, order: Order) -> None:
        if order in _ASKED:
            index = next(child.index for child in self._plan.children if child.pid == pid)
            self.scoreboard.slot(index).asked = _ASKED[order]
        _send(pid, _ORDERS[order])

    def _spawn(self, spawn: Spawn) -> None:
        slot = self.scoreboard.slot(spawn.index)
        slot.clear()
        slot.generation = spawn.generation
        slot.started_at = time.monotonic()
        slot.state = WorkerState.BOOTING
        if not any(c.pid and self._is_booting(c.index) for c in self._plan.children):
            self._pipes.renew_claim()
        try:
            pid, self._last_words[spawn.index] = self._fork(spawn)
        except OSError as exc:  # out of processes, of memory, of descriptors
            slot.clear()
            reason = exc.strerror or str(exc)
            self._todo.extend(self._plan.not_spawned(spawn.index, reason, time.monotonic()))
            return
        slot.pid = pid
        self._todo.extend(self._plan.spawned(spawn.index, pid, time.monotonic()))

    def _fork(self, spawn: Spawn) -> tuple[int, int]:
        """The process id of a new child, and where it leaves its last words."""
        entry = self._entry_of(spawn.generation)
        dump_fds = os.pipe()
        try:
            with signals_held() as mask:
                pid = os.fork()
                if pid == 0:
                    self._become_worker(entry, spawn, mask, dump_fds)
        except OSError:
            os.close(dump_fds[0])
            raise
        finally:
            os.close(dump_fds[1])
        return pid, dump_fds[0]

    def _is_booting(self, index: int) -> bool:
        return self.scoreboard.slot(index).state is WorkerState.BOOTING

    def _entry_of(self, generation: int) -> Entry:
        """What a child of a generation runs; forgets what no child will ever run."""
        self._entries.setdefault(generation, self._entry)
        needed = self._plan.generations
        self._entries = {g: e for g, e in self._entries.items() if g in needed}
        return self._entries[generation]

    def _become_worker(
        self, entry: Entry, spawn: Spawn, mask: set[int], dump_fds: tuple[int, int]
    ) -> NoReturn:
        """In the child: never come back, or there would be two supervisors."""
        try:
            self._inbox.close_in_child()
            self._selector.close()
            self._pipes.close_in_child()
            for reader in self._last_words.values():
                os.close(reader)
            for companion in self._companions:
                companion.close_in_child()
            slot = self.scoreboard.slot(spawn.index)
            slot.pid = os.getpid()
            channel = ChildChannel(
                slot,
                spawn.index,
                spawn.generation,
                parent_gone_fd=self._pipes.life_reader,
                bell_fd=self._pipes.bell_writer,
                claim_fd=self._pipes.claim_reader,
                dump_fds=dump_fds,
            )
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            entry(channel)
        except BaseException:
            _log.critical("a worker ended by an exception", exc_info=True)
        finally:
            os._exit(ExitStatus.CRASHED)


def _last_words(fd: int) -> str:
    """What was written into a pipe and never read; closes it."""
    os.set_blocking(fd, False)
    words = _drain(fd)
    os.close(fd)
    return words.decode("utf-8", "replace").strip()


def _send(pid: int, signum: signal.Signals) -> None:
    # A dead child stays a zombie until we reap it, unless somebody else has reaped it for us.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
