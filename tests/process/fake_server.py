"""A supervisor with workers that only pretend: `python -m process.fake_server BEHAVIOUR SETTINGS`.

SETTINGS is JSON for the plan's settings.  Every worker prints a line when it has come somewhere.
"""

import json
import logging
import os
import select
import signal
import subprocess
import sys
from contextlib import closing
from functools import partial
from typing import NoReturn

from serval.channel import ChildChannel
from serval.errors import ConfigError, ExitStatus
from serval.scoreboard import Scoreboard, WorkerState
from serval.supervisor.actions import Settings
from serval.supervisor.loop import Entry, Supervisor
from serval.supervisor.signals import SignalInbox


def say(channel: ChildChannel, text: str) -> None:
    """One write, so that lines of several workers never mix."""
    line = f"worker {channel.index} of generation {channel.generation}, pid {os.getpid()}: {text}\n"
    os.write(1, line.encode())


def report(channel: ChildChannel, state: WorkerState) -> None:
    channel.slot.state = state
    channel.notify()


def rest(channel: ChildChannel) -> None:
    """Sleep until the parent is gone; signals are handled meanwhile.

    A signal that comes just before `select` would not end it: hence the descriptor that it writes.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([channel.parent_gone_fd, reader], [], [])
        if channel.parent_gone_fd in ready:
            return
        os.read(reader, 64)


def serve(channel: ChildChannel) -> NoReturn:
    """Be ready until told to stop, or until the parent is gone."""

    def stop(signum: int, _frame: object) -> None:
        say(channel, signal.Signals(signum).name)
        report(channel, WorkerState.DRAINING)
        report(channel, WorkerState.CLOSING)
        os._exit(ExitStatus.OK)

    def retire(_signum: int, _frame: object) -> None:
        report(channel, WorkerState.RETIRING)

    for signum in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(signum, stop)
    signal.signal(signal.SIGUSR1, retire)
    channel.slot.requests = 7
    say(channel, "ready")
    report(channel, WorkerState.READY)
    rest(channel)
    say(channel, "the parent is gone")
    os._exit(ExitStatus.CRASHED)


def unbootable(channel: ChildChannel) -> NoReturn:
    """Fail to start, with one explanation for all."""
    if channel.claim_report():
        say(channel, "this is why")
    os._exit(ExitStatus.BOOT)


def one_unbootable(channel: ChildChannel) -> NoReturn:
    """Fail to start as the second worker only, once the first is ready."""
    if channel.index == 1:
        unbootable(channel)
    serve(channel)


def unbootable_later(channel: ChildChannel) -> NoReturn:
    """Serve in the first generation, fail to start in the next, serve again in the one after."""
    if channel.generation == 2:
        unbootable(channel)
    serve(channel)


def crashing(channel: ChildChannel) -> NoReturn:
    """Die right after being ready: ring no bell, so that only the slot tells."""
    channel.slot.state = WorkerState.READY
    os._exit(ExitStatus.CRASHED)


def raising(_channel: ChildChannel) -> NoReturn:
    """End by an exception, which no worker should."""
    raise ValueError("a defect")


def stubborn(channel: ChildChannel) -> NoReturn:
    """Be ready, and deaf to every polite request."""
    for signum in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    report(channel, WorkerState.READY)
    say(channel, "ready")
    rest(channel)
    os._exit(ExitStatus.CRASHED)


def slow_to_boot(channel: ChildChannel) -> NoReturn:
    """Never become ready, as if the import hung."""
    say(channel, "booting")
    rest(channel)
    os._exit(ExitStatus.CRASHED)


def curious(channel: ChildChannel) -> NoReturn:
    """Say what was inherited: descriptors here, ignored signals in a program that it runs."""
    own = {channel.parent_gone_fd, channel.bell_fd, channel.claim_fd, *channel.dump_fds}
    opened = {int(name) for name in os.listdir("/proc/self/fd")}
    extra = [fd for fd in opened - own - {0, 1, 2} if os.path.exists(f"/proc/self/fd/{fd}")]
    say(channel, f"extra descriptors: {extra}")
    ignored = subprocess.run(
        ["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True, check=True
    )
    say(channel, f"ignored in a subprocess: {int(ignored.stdout.split()[1], 16):#x}")
    serve(channel)


def leaving_orphans(channel: ChildChannel) -> NoReturn:
    """Leave behind a grandchild that the supervisor, being a subreaper, must reap."""
    if os.fork() == 0:
        orphan = os.fork()
        if orphan == 0:
            select.select([channel.parent_gone_fd], [], [], 0.1)
            os._exit(9)
        os.write(1, f"orphan {orphan}\n".encode())
        os._exit(0)
    os.wait()
    serve(channel)


BEHAVIOURS = {
    behaviour.__name__: behaviour
    for behaviour in (
        serve,
        unbootable,
        one_unbootable,
        unbootable_later,
        crashing,
        raising,
        stubborn,
        slow_to_boot,
        curious,
        leaving_orphans,
    )
}


def adopt_orphans() -> None:
    """Become what PID 1 is in a container: the parent of orphaned descendants."""
    import ctypes  # noqa: PLC0415 -- for one test only

    set_child_subreaper = 36  # prctl(2)
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def main() -> None:
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s: %(message)s")
    name, options = sys.argv[1:]
    settings = Settings(**json.loads(options))
    entry: Entry = BEHAVIOURS[name]
    if name == "leaving_orphans":
        adopt_orphans()

    def reload() -> tuple[Settings, Entry]:
        if os.path.exists(os.environ.get("FAKE_BROKEN", "")):
            raise ConfigError("the file is broken")
        if os.path.exists(os.environ["FAKE_BROKEN"] + ".defect"):
            raise ZeroDivisionError("a defect")
        return settings, partial(entry)

    with closing(SignalInbox()) as inbox:
        supervisor = Supervisor(
            settings,
            Scoreboard(64),
            entry,
            inbox=inbox,
            reloader=reload if "FAKE_BROKEN" in os.environ else None,
        )
        status = supervisor.run()
    totals = supervisor.scoreboard.totals()
    print(f"finished: {totals.deaths} deaths, {totals.requests} requests", flush=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
