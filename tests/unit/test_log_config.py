import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import quiet_logging

from serval.errors import ConfigError
from serval.log_config import apply_log_config

INI = """
[loggers]
keys = root, ours
[handlers]
keys = file
[formatters]
keys = bare
[formatter_bare]
format = bare %(message)s
[handler_file]
class = FileHandler
args = ({path!r},)
formatter = bare
[logger_root]
handlers =
[logger_ours]
qualname = tested.ini
handlers = file
level = INFO
"""


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    with quiet_logging.restored():
        quiet_logging.without_pytest()
        yield


def a_dict(out: Path) -> dict[str, object]:
    return {
        "formatters": {"bare": {"format": "bare %(message)s"}},
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(out), "formatter": "bare"}
        },
        "loggers": {"tested.json": {"handlers": ["file"], "level": "INFO"}},
    }


def said(name: str, out: Path) -> str:
    logger = logging.getLogger(name)
    logger.info("hello")
    for handler in logger.handlers:
        handler.close()
    return out.read_text()


def test_a_json_file_is_a_dictconfig_that_disables_nobody(tmp_path: Path) -> None:
    path, out = tmp_path / "log.json", tmp_path / "out"
    path.write_text(json.dumps(a_dict(out) | {"disable_existing_loggers": True}))
    other = logging.getLogger("tested.other")

    apply_log_config(str(path))

    assert said("tested.json", out) == "bare hello\n"
    assert not other.disabled


def test_a_toml_file_is_one_too(tmp_path: Path) -> None:
    path, out = tmp_path / "log.toml", tmp_path / "out"
    path.write_text(
        f"""
        [handlers.file]
        class = "logging.FileHandler"
        filename = "{out}"
        [loggers."tested.toml"]
        handlers = ["file"]
        level = "INFO"
        """
    )

    apply_log_config(str(path))

    assert said("tested.toml", out) == "hello\n"


def test_an_ini_file_is_a_fileconfig(tmp_path: Path) -> None:
    path, out = tmp_path / "log.ini", tmp_path / "out"
    path.write_text(INI.format(path=str(out)))
    other = logging.getLogger("tested.other")

    apply_log_config(str(path))

    assert said("tested.ini", out) == "bare hello\n"
    assert not other.disabled


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "cannot be used: Expecting property name"),
        ("a.json", "[]", "it is no table of settings"),
        ("a.json", '{"handlers": {"x": {"class": "no.Such"}}}', "Unable to configure handler 'x'"),
        ("a.ini", "nothing", "cannot be used"),
        ("a.ini", "[loggers]", "cannot be used"),
        ("a.txt", "", "its name says nothing of what it is; legal: .json, .toml, .ini or .conf"),
        ("a.toml", None, "cannot read log_config"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_of_the_operator(
    tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)

    with pytest.raises(ConfigError) as refusal:
        apply_log_config(str(path))

    assert words in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_file_that_fails_halfway_leaves_the_one_before_in_force(tmp_path: Path) -> None:
    good, bad, out = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "out"
    good.write_text(json.dumps(a_dict(out)))
    bad.write_text('{"loggers": {"tested.json": {"handlers": ["nowhere"]}}}')
    apply_log_config(str(good))

    with pytest.raises(ConfigError):
        apply_log_config(str(bad))

    assert said("tested.json", out) == "bare hello\n"
