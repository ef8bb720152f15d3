import subprocess
import sys
from pathlib import Path

import pytest

from serval.process_title import set_process_title

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
SOURCE = Path(__file__).parents[2] / "src"
SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from serval.process_title import set_process_title
before = len(open("/proc/self/cmdline", "rb").read())
set_process_title(sys.argv[2] * int(sys.argv[4]), short=sys.argv[3])
after = open("/proc/self/cmdline", "rb").read()
assert len(after) == before
print(after.rstrip(b"\\0").decode())
print(open("/proc/self/comm").read().strip())
print(sys.argv[1:2] + [len(os.environ) > 0])
"""


def shown(title: str, short: str, *, times: int = 1) -> list[str]:
    """The command line and the name of a process that has given itself a title."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(SOURCE), title, short, str(times)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[2] == str([str(SOURCE), True])  # what the program itself knows is as it was
    return lines[:2]


@needs_linux
def test_ps_shows_the_title_and_top_the_name() -> None:
    assert shown("serval: worker 2 a:b", "serval w2 a:b") == [
        "serval: worker 2 a:b",
        "serval w2 a:b",
    ]


@needs_linux
def test_a_name_is_cut_to_what_the_kernel_keeps() -> None:
    assert shown("t", "serval w12 myapplication:app")[1] == "serval w12 myap"


@needs_linux
def test_a_title_is_cut_to_the_command_line_that_there_was() -> None:
    title, _ = shown("x", "n", times=100_000)

    assert len(SCRIPT) < len(title) < 100_000
    assert set(title) == {"x"}


def test_elsewhere_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    set_process_title("t", short="n")


def test_whatever_goes_wrong_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())

    set_process_title("t", short="n")
