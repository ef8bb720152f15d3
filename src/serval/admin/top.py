"""`serval top`: a status report, drawn anew every moment, until a key says enough.

Plain ANSI sequences; the screen before is put back at the end.
"""

import os
import selectors
import signal
import socket
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from serval.admin.client import AdminClient
from serval.admin.screen import screen_of, since
from serval.admin.status import StatusReport
from serval.errors import AdminError

_OTHER_SCREEN: Final = "\x1b[?1049h\x1b[?25l"  # and no cursor
_SCREEN_BEFORE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"
_INVERSE, _PLAIN = "\x1b[7m", "\x1b[0m"
_QUIT: Final = (b"q", b"Q", b"\x03", b"\x04", b"")


def watch(client: AdminClient, *, interval_seconds: float) -> None:
    """Show the server until `q` or Ctrl-C.  Main thread of a process with a terminal.

    Raises:
        AdminError: There is no terminal, or no server answers the first question.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise AdminError("top needs a terminal; without one, use serval status")
    report = client.status()
    with ExitStack() as stack:
        resized = stack.enter_context(_resizes())
        stack.enter_context(_own_screen())
        keys = stack.enter_context(selectors.DefaultSelector())
        keys.register(sys.stdin, selectors.EVENT_READ)
        keys.register(resized, selectors.EVENT_READ)
        _follow(client, report, keys, resized, interval_seconds)


def _follow(
    client: AdminClient,
    report: StatusReport,
    keys: selectors.BaseSelector,
    resized: socket.socket,
    interval_seconds: float,
) -> None:
    shown, trouble = report, ""
    while True:
        _draw(shown, trouble)
        due_at = time.monotonic() + interval_seconds
        while (left := due_at - time.monotonic()) > 0:
            for key, _ in keys.select(left):
                if key.fileobj is resized:
                    resized.recv(4096)
                    _draw(shown, trouble)
                elif os.read(sys.stdin.fileno(), 1) in _QUIT:
                    return
        try:
            report, before = client.status(), report
            shown, trouble = since(report, before), ""
        except AdminError as exc:  # it may come back: a restart is worth watching
            trouble = str(exc)


def frame(report: StatusReport, trouble: str, *, columns: int, lines: int) -> str:
    """What is written to the terminal: no more than fits, and nothing left of what was there."""
    screen = screen_of(report)
    head, *rows = screen.table
    body: Sequence[str] = [
        *(f"{line[:columns]}" for line in screen.summary),
        "",
        f"{_INVERSE}{head[:columns].ljust(min(columns, len(head)))}{_PLAIN}",
        *(row[:columns] for row in rows),
        *(["", trouble[:columns]] if trouble else []),
    ]
    shown = [*body[: max(lines - 1, 1)], "q quits"[:columns]]
    return _HOME + f"{_REST_OF_LINE}\r\n".join(shown) + _REST_OF_LINE + _REST_OF_SCREEN


def _draw(report: StatusReport, trouble: str) -> None:
    size = os.get_terminal_size(sys.stdout.fileno())
    sys.stdout.write(frame(report, trouble, columns=size.columns, lines=size.lines))
    sys.stdout.flush()


@contextmanager
def _own_screen() -> Iterator[None]:
    """Keys come one by one and unseen; the screen is ours."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        sys.stdout.write(_OTHER_SCREEN)
        yield
    finally:
        sys.stdout.write(_SCREEN_BEFORE)
        sys.stdout.flush()
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _resizes() -> Iterator[socket.socket]:
    """A socket that is readable when the terminal has another size."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        handler = signal.signal(signal.SIGWINCH, lambda _signum, _frame: None)
        try:
            yield reader
        finally:
            signal.signal(signal.SIGWINCH, handler)
            signal.set_wakeup_fd(wakeup)
