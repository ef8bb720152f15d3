"""The README and the examples name what there is."""

import re
from pathlib import Path
from typing import Final

import pytest

from serval.command_options import COMMAND_OPTIONS
from serval.config import ServerConfig
from serval.errors import ExitStatus
from serval.manual_text import SIGNALS, WORKER_STATES
from serval.options import options_of
from serval.scoreboard import WorkerState
from serval.supervisor.signals import ORDER
from serval.version import __version__

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
TEXTS: Final = [ROOT / "README.md", *sorted((ROOT / "examples").iterdir())]
OPTIONS: Final = [*options_of(ServerConfig), *COMMAND_OPTIONS]
# Flags of other programs, in the lines that show how to run these.
FOREIGN: Final = {"--rm", "--no-cache-dir", "--system", "--create-home", "--uid", "--now", "--time"}


def known_flags() -> set[str]:
    flags = {"--help"}
    for option in OPTIONS:
        flags |= {option.flag, option.negative_flag}
        flags |= {alias.flag for alias in option.aliases}
    return flags


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_flag_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", path.read_text()))

    assert named - known_flags() - FOREIGN == set()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_variable_of_ours_that_is_named_exists(path: Path) -> None:
    known = {option.variable for option in OPTIONS} | {"SERVAL_COMPLETE"}
    named = set(re.findall(r"SERVAL_[A-Z_]*[A-Z]", path.read_text()))

    assert named - known == set()


def test_the_defaults_in_the_table_are_the_real_ones() -> None:
    config = ServerConfig()

    assert f"| `--host`, `--port` | `{config.host}`, `{config.port}` |" in README
    assert f"| `--workers` | `{config.workers}` |" in README
    assert f"| `--timeout-graceful-shutdown` | `{config.timeout_graceful_shutdown:g}s` |" in README
    assert f"| `--timeout-keep-alive` | `{config.timeout_keep_alive:g}s` |" in README
    assert f"| `--max-body-size` | `{config.max_body_size >> 20}MiB` |" in README


def test_every_exit_status_of_the_command_is_in_the_table() -> None:
    statuses = {status for status in ExitStatus if status is not ExitStatus.CRASHED}

    rows = {int(code) for code in re.findall(r"^\| `(\d)` \|", README, re.MULTILINE)}

    assert rows == {int(status) for status in statuses}


def test_every_signal_of_the_manual_is_in_the_table() -> None:
    for names, _ in SIGNALS:
        for name in names.split(", "):
            assert f"`{name}`" in README


def test_every_signal_that_the_supervisor_acts_on_is_in_the_manual() -> None:
    told = {f"SIG{name}" for names, _ in SIGNALS for name in names.split(", ")}

    assert told == {one.name for one in ORDER} - {"SIGCHLD"}


def test_every_state_of_a_worker_is_in_the_table_and_in_the_manual() -> None:
    states = [state for state in WorkerState if state is not WorkerState.EMPTY]

    assert [state for state, _ in WORKER_STATES] == states
    for state in states:
        assert f"| `{state.name.lower()}` |" in README


def test_the_links_to_files_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert versions[0] == __version__
