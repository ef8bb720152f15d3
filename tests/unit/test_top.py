"""`serval top`, at a terminal that a test holds the other end of."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest
from admin_server import answering
from admin_world import FakeOverseer, figures, two_workers

from serval.admin.client import AdminClient
from serval.admin.status import report_of
from serval.admin.top import frame, watch
from serval.errors import AdminError
from serval.net.bind import UnixBind

SOURCE = Path(__file__).parents[2] / "src"
PATIENCE_SECONDS = 20.0
OTHER_SCREEN, SCREEN_BEFORE = "\x1b[?1049h", "\x1b[?1049l"


REPORT = report_of(figures())


class Terminal:
    """A pseudo-terminal with a program at its other end."""

    def __init__(self, bind: UnixBind) -> None:
        self.fd, program_end = pty.openpty()
        self.resize(24, 120)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serval", "top", "--admin-bind", str(bind)],
            stdin=program_end,
            stdout=program_end,
            stderr=program_end,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            start_new_session=True,
        )
        os.close(program_end)
        self.text = ""

    def resize(self, lines: int, columns: int) -> None:
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def expect(self, pattern: str) -> None:
        """Read on until the pattern has come; what was before it is forgotten."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(pattern, self.text)):
            left = max(deadline - time.monotonic(), 0.0)
            assert select.select([self.fd], [], [], left)[0], f"no {pattern!r} in {self.text!r}"
            self.text += os.read(self.fd, 65536).decode()
        self.text = self.text[found.end() :]

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)


@contextmanager
def terminal(bind: UnixBind) -> Iterator[Terminal]:
    made = Terminal(bind)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        os.close(made.fd)


@pytest.fixture
def bind(tmp_path: Path) -> Iterator[UnixBind]:
    bind = UnixBind(str(tmp_path / "a"))
    with answering(bind, FakeOverseer(), two_workers()):
        yield bind


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_it_draws_until_a_key_says_enough_and_leaves_no_trace(bind: UnixBind, key: bytes) -> None:
    with terminal(bind) as screen:
        screen.expect(re.escape(OTHER_SCREEN))
        screen.expect("shop:app  running  generation 3")
        screen.type(key)
        screen.expect(re.escape(SCREEN_BEFORE))

        assert screen.process.wait(PATIENCE_SECONDS) == 0


def test_it_draws_anew_by_itself_and_at_another_size(bind: UnixBind) -> None:
    with terminal(bind) as screen:
        screen.expect("q quits")
        screen.expect("shop:app")
        screen.expect("q quits")

        screen.resize(24, 30)
        os.killpg(screen.process.pid, signal.SIGWINCH)
        screen.expect(r"shop:app  running  generation \x1b")
        screen.type(b"x")
        screen.type(b"q")

        assert screen.process.wait(PATIENCE_SECONDS) == 0


def test_a_server_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    bind = UnixBind(str(tmp_path / "a"))
    with answering(bind, FakeOverseer(), two_workers()):
        made = terminal(bind)
        screen = made.__enter__()
        screen.expect("shop:app")
    screen.expect("no server answers on unix:")
    with answering(bind, FakeOverseer(), two_workers()):
        screen.expect(r"30MiB\x1b\[K\r\nq quits")
    made.__exit__(None, None, None)


def test_without_a_terminal_it_says_so(bind: UnixBind) -> None:
    with pytest.raises(AdminError, match="top needs a terminal; without one, use serval status"):
        watch(AdminClient(bind), interval_seconds=1.0)


def test_a_frame_is_no_wider_and_no_higher_than_the_terminal() -> None:
    plain = re.sub(r"\x1b\[\??[0-9]*[A-Za-z]", "", frame(REPORT, "trouble", columns=20, lines=5))

    lines = plain.split("\r\n")
    assert len(lines) == 5
    assert max(map(len, lines)) == 20
    assert lines[-1] == "q quits"


def test_a_frame_tells_what_went_wrong() -> None:
    assert "no server answers" in frame(REPORT, "no server answers", columns=80, lines=24)
