"""Real signals, sent by this process to itself and to a child that it forks."""

import os
import select
import signal
import threading
from collections.abc import Iterator

import pytest

from serval.supervisor.signals import ORDER, SignalInbox, signals_held

# Forking with a thread about is harmless here: the child runs a few lines and leaves.
pytestmark = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")


@pytest.fixture
def inbox() -> Iterator[SignalInbox]:
    inbox = SignalInbox()
    yield inbox
    inbox.close()


def send(*signums: signal.Signals) -> None:
    for signum in signums:
        os.kill(os.getpid(), signum)


def test_an_empty_inbox_is_empty(inbox: SignalInbox) -> None:
    assert inbox.drain() == []


def test_a_signal_makes_the_inbox_readable(inbox: SignalInbox) -> None:
    send(signal.SIGHUP)

    readable, _, _ = select.select([inbox], [], [], 5.0)

    assert readable == [inbox]
    assert inbox.drain() == [signal.SIGHUP]
    assert inbox.drain() == []


def test_signals_are_handed_out_in_a_fixed_order(inbox: SignalInbox) -> None:
    send(*reversed(ORDER))

    assert inbox.drain() == list(ORDER)


def test_a_signal_that_came_twice_counts_twice(inbox: SignalInbox) -> None:
    send(signal.SIGTERM, signal.SIGHUP, signal.SIGTERM)

    assert inbox.drain() == [signal.SIGTERM, signal.SIGTERM, signal.SIGHUP]


def test_a_signal_that_somebody_else_catches_is_not_ours(inbox: SignalInbox) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        send(signal.SIGALRM, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert inbox.drain() == [signal.SIGUSR1]


def test_closing_puts_every_handler_back() -> None:
    before = [signal.getsignal(signum) for signum in ORDER]
    wakeup_fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup_fd)

    SignalInbox().close()

    assert [signal.getsignal(signum) for signum in ORDER] == before
    assert signal.set_wakeup_fd(wakeup_fd) == wakeup_fd


def test_held_signals_arrive_afterwards(inbox: SignalInbox) -> None:
    with signals_held() as mask:
        # To this thread: of a whole process, any thread of an earlier test would take it.
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
        held = inbox.drain()

    assert held == []
    assert inbox.drain() == [signal.SIGHUP]
    assert signal.SIGHUP not in mask


def fates_in_a_child(inbox: SignalInbox) -> dict[signal.Signals, str]:
    """Fork as the supervisor does; what each signal would do to the child."""
    reader, writer = os.pipe()
    with signals_held() as mask:
        pid = os.fork()
        if pid == 0:
            inbox.close_in_child()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            fates = ["default" if _is_default(signum) else "handler" for signum in ORDER]
            os.write(writer, " ".join(fates).encode())
            for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
                os.kill(os.getpid(), signum)  # must be survived, and must not reach the parent
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        fates = pipe.read().decode().split()
    assert os.waitpid(pid, 0)[1] == 0
    return dict(zip(ORDER, fates, strict=True))


def _is_default(signum: signal.Signals) -> bool:
    return signal.getsignal(signum) is signal.SIG_DFL


def test_a_child_can_be_ended_and_is_deaf_to_what_is_meant_for_its_parent(
    inbox: SignalInbox,
) -> None:
    fates = fates_in_a_child(inbox)

    default = {signum for signum, fate in fates.items() if fate == "default"}
    assert default == {signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD}


def test_signals_of_a_child_do_not_reach_the_inbox_of_its_parent(inbox: SignalInbox) -> None:
    fates_in_a_child(inbox)

    assert set(inbox.drain()) <= {signal.SIGCHLD}
