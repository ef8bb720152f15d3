"""Runs a program as an operator would: starts it, reads its log, sends signals, waits with limits.

Everything that a test waits for is an event: a line in the log, the end of a process, an answer.
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import serval

TESTS = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 20.0
# The tests, for the applications in them, and the very package that is being tested.
_PATH = os.pathsep.join([str(TESTS), str(Path(serval.__file__).resolve().parent.parent)])
_ADDRESS = re.compile(r"https?://(?P<host>\[[\da-f:]+\]|[\d.]+):(?P<port>\d+)")

needs_procfs = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


class Program:
    """A running program whose output is read line by line.

    Attributes:
        lines: What it has written so far, as far as it was read.
    """

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], pass_fds: Collection[int] = ()
    ) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": _PATH, "PYTHONUNBUFFERED": "1", **environ},
            cwd=TESTS,
            pass_fds=pass_fds,
            start_new_session=True,  # so that nothing it started outlives the test
        )
        assert self.process.stdout is not None
        self._fd = self.process.stdout.fileno()
        os.set_blocking(self._fd, False)
        self._partial = b""
        self.lines: list[str] = []
        self._read_count = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        """Everything it has written up to now."""
        self._read(0.0)
        return "\n".join(self.lines)

    def expect(self, pattern: str, seconds: float = PATIENCE_SECONDS) -> re.Match[str]:
        """The next line that has the pattern; lines before it are passed over."""
        deadline = time.monotonic() + seconds
        more = True
        while True:
            while self._read_count < len(self.lines):
                line = self.lines[self._read_count]
                self._read_count += 1
                if found := re.search(pattern, line):
                    return found
            left = deadline - time.monotonic()
            if more and left > 0:
                more = self._read(left)
            else:
                text = "\n".join(self.lines)
                pytest.fail(f"no line has {pattern!r} within {seconds} s; the output:\n{text}")

    def expect_silence(self, seconds: float) -> None:
        """Nothing is written for so long."""
        self._read(0.0)
        before = len(self.lines)
        self._read(seconds)
        assert self.lines[before:] == []

    def _read(self, seconds: float) -> bool:
        """Read what there is, waiting so long for it; False at the end of the output."""
        select.select([self._fd], [], [], seconds)
        with suppress(BlockingIOError):
            while data := os.read(self._fd, 65536):
                *whole, self._partial = (self._partial + data).split(b"\n")
                self.lines += [line.decode(errors="replace") for line in whole]
            return False
        return True

    def address(self) -> tuple[str, int]:
        """Where it says that it listens."""
        found = self.expect(_ADDRESS.pattern)
        return found["host"].strip("[]"), int(found["port"])

    def signal(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status; negative for a signal."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s; the output:\n{self.text}")

    def stop(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Ask it to stop, gracefully."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def end(self) -> None:
        """Kill whatever is left of it."""
        with suppress(ProcessLookupError):  # all of its session has ended, as it should
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def running(
    *command: str,
    environ: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
    under: Sequence[str] = (),
) -> Iterator[Program]:
    """Run a Python module with arguments, such as `serval`, to the end of the block.

    Args:
        under: A program that runs it, with arguments, such as `unshare`.
    """
    program = Program([*under, sys.executable, "-m", *command], environ or {}, pass_fds)
    try:
        yield program
    finally:
        program.end()


def children_of(pid: int) -> list[int]:
    """The children of a process, zombies included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return sorted(found)


def state_of(pid: int) -> str:
    """The letter that ps shows: R, S, Z ..."""
    return _stat(pid)[0]


def cpu_ticks(pid: int) -> int:
    """The processor time that a process has used, in units of 10 ms."""
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12])


def wake_ups(pid: int) -> int:
    """How often threads of a process went to sleep by themselves: each wake-up ends in one."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    texts = [(thread / "status").read_text() for thread in threads]
    found = [re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE) for text in texts]
    return sum(int(one[1]) for one in found if one is not None)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the name before it may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def await_exit(pid: int, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([fd], [], [], seconds)
    finally:
        os.close(fd)
    assert ended, f"process {pid} still runs after {seconds} s"
