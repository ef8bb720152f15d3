"""Python's own logging, configured from a file that the operator names.

Applied by `log.py` before anything is imported; no logger is disabled for not being named there.
"""

import configparser
import contextlib
import json
import logging.config
import os
import tomllib
from pathlib import Path
from typing import Any, Final

from serval.errors import ConfigError

# The file whose configuration holds, for going back to it.
_in_force: list[str] = []
_INI: Final = (".ini", ".conf", ".cfg")
_LEGAL: Final = "legal: .json, .toml, .ini or .conf"


def apply_log_config(path: str) -> None:
    """Configure Python's logging from a file.

    Raises:
        ConfigError: It cannot be read, or is no such configuration.
    """
    try:
        _replace(path)
    except OSError as exc:
        raise ConfigError(f"cannot read log_config {path}: {exc.strerror}") from exc
    except (
        *(AttributeError, ImportError, KeyError, TypeError, ValueError, RuntimeError),
        configparser.Error,
    ) as exc:
        cause = f": {exc.__cause__}" if exc.__cause__ else ""
        raise ConfigError(f"log_config {path} cannot be used: {exc}{cause}") from exc


def _replace(path: str) -> None:
    try:
        _apply(path)
    except BaseException:
        for before in _in_force:  # what fails halfway has undone it
            with contextlib.suppress(Exception):
                _apply(before)
        raise
    _in_force[:] = [path]


def _apply(path: str) -> None:
    kind = os.path.splitext(path)[1].lower()
    if kind in _INI:
        with open(path, encoding="utf-8") as file:
            logging.config.fileConfig(file, disable_existing_loggers=False)
        return
    text = Path(path).read_text(encoding="utf-8")
    if kind == ".json":
        found: Any = json.loads(text)
    elif kind == ".toml":
        found = tomllib.loads(text)
    else:
        raise ValueError(f"its name says nothing of what it is; {_LEGAL}")
    if not isinstance(found, dict):
        raise TypeError("it is no table of settings")
    logging.config.dictConfig({"version": 1, **found, "disable_existing_loggers": False})
