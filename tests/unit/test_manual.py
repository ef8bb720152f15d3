"""The manual page."""

import shutil
import subprocess
from pathlib import Path

import pytest

from serval.config import ServerConfig
from serval.errors import ExitStatus
from serval.manual import page
from serval.manual_text import EXIT_STATUSES
from serval.options import Option, options_of

COMMITTED = Path(__file__).parents[2] / "man" / "serval.1"
OPTIONS = options_of(ServerConfig)


def test_the_committed_page_is_what_the_settings_say() -> None:
    assert COMMITTED.read_text() == page(), "run: python -m serval.manual > man/serval.1"


@pytest.mark.parametrize("one", OPTIONS, ids=lambda one: one.name)
def test_each_setting_has_an_entry_with_all_its_names(one: Option) -> None:
    plain = page().replace(r"\-", "-").replace(r"\%", "")

    assert f"key {one.name} (" in plain
    assert f"Variable {one.variable}" in plain
    for alias in one.aliases:
        assert alias.flag in plain


def test_each_exit_status_of_the_command_is_told() -> None:
    assert {status for status, _ in EXIT_STATUSES} == {*ExitStatus} - {ExitStatus.CRASHED}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_formatter_finds_nothing_to_complain_of() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww"], input=page().encode(), capture_output=True, check=True
    )

    assert done.stderr == b""
