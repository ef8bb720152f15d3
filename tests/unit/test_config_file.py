"""The files that settings come from."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from serval.config_file import ConfigReader, read_config, read_env
from serval.errors import ConfigError
from serval.layers import Given, Table


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_without_any_file_there_is_no_table() -> None:
    assert read_config("") is None


def test_a_file_holds_settings_at_its_top() -> None:
    Path("serval.toml").write_text("port = 80\n")

    assert read_config("serval.toml") == Table("serval.toml", {"port": 80})


def test_a_project_file_is_found_by_itself() -> None:
    Path("pyproject.toml").write_text("[tool.other]\nx = 1\n[tool.serval]\nport = 80\n")

    assert read_config("") == Table("pyproject.toml", {"port": 80})


@pytest.mark.parametrize("text", ["", "tool = 3", "[tool.other]", "= broken"])
def test_a_project_file_without_our_table_is_passed_over(text: str) -> None:
    Path("pyproject.toml").write_text(text)

    assert read_config("") is None


@pytest.mark.parametrize("text", ["", "[tool.other]"])
def test_a_project_file_that_was_named_must_have_our_table(text: str) -> None:
    Path("pyproject.toml").write_text(text)

    with pytest.raises(ConfigError, match=r"^pyproject.toml has no table \[tool.serval\]$"):
        read_config("pyproject.toml")


def test_our_name_in_a_project_file_must_be_a_table() -> None:
    Path("pyproject.toml").write_text("[tool]\nserval = 3")

    with pytest.raises(ConfigError, match="has no table"):
        read_config("")


@pytest.mark.parametrize(
    ("path", "named"), [("pyproject.toml", ""), ("pyproject.toml", "pyproject.toml"), ("x", "x")]
)
def test_a_file_with_our_settings_that_is_broken_is_refused(path: str, named: str) -> None:
    Path(path).write_text("[tool.serval]\nport 80\n")

    with pytest.raises(ConfigError, match=rf"^{path} is not TOML: .*line 2"):
        read_config(named)


def test_a_file_that_is_missing_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^cannot read no.toml: No such file or directory$"):
        read_config("no.toml")


def test_a_file_that_is_not_utf8_is_refused() -> None:
    Path("x.toml").write_bytes(b"a = '\xff'")

    with pytest.raises(ConfigError, match=r"^cannot read x.toml: it is not UTF-8 at byte 5$"):
        read_config("x.toml")


def test_an_env_file_gives_its_variables() -> None:
    Path("a.env").write_text("A=1\n")

    assert read_env("a.env") == Table("a.env", {"A": "1"})


ENV_FILE = (Given("env_file", "a.env", "--env-file"),)


def test_an_env_file_fills_the_environment_and_changes_nothing_in_it() -> None:
    os.environ["TEST_ONLY_A"] = "before"
    Path("a.env").write_text("TEST_ONLY_A=1\nTEST_ONLY_B=1\nSERVAL_WORKERS=3\n")

    config = ConfigReader(ENV_FILE, "")()

    assert (os.environ["TEST_ONLY_A"], os.environ["TEST_ONLY_B"]) == ("before", "1")
    assert config.workers == 3


def test_what_an_env_file_brought_in_changes_with_it() -> None:
    read = ConfigReader(ENV_FILE, "")
    Path("a.env").write_text("TEST_ONLY_A=1\nTEST_ONLY_B=1\nSERVAL_WORKERS=3\n")
    read()
    Path("a.env").write_text("TEST_ONLY_B=2\nSERVAL_WORKERS=4\n")

    config = read()

    assert "TEST_ONLY_A" not in os.environ
    assert (os.environ["TEST_ONLY_B"], config.workers) == ("2", 4)


def test_a_reading_that_fails_leaves_the_environment_as_it_was() -> None:
    read = ConfigReader(ENV_FILE, "")
    Path("a.env").write_text("TEST_ONLY_A=1\n")
    read()
    Path("a.env").write_text("TEST_ONLY_A=2\nSERVAL_WORKERS=many\n")

    with pytest.raises(ConfigError, match=r"SERVAL_WORKERS in a\.env"):
        read()

    assert os.environ["TEST_ONLY_A"] == "1"
