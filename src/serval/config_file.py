"""Finds and reads the files that settings come from: TOML, and env files.

The command calls it; the configuration itself opens nothing.
"""

import tomllib
from pathlib import Path
from typing import Final

from serval.env_file import parse_env
from serval.errors import ConfigError
from serval.layers import Table

PROJECT_FILE: Final = "pyproject.toml"


def read_config(path: str) -> Table | None:
    """The settings of a TOML file, or of `[tool.serval]` in ./pyproject.toml where `path` is empty.

    Raises:
        ConfigError: The file can't be read, is not TOML, or is a pyproject.toml without our table.
    """
    if path:
        return _read(Path(path), required=True)
    project = Path(PROJECT_FILE)
    return _read(project, required=False) if project.is_file() else None


def _read(path: Path, *, required: bool) -> Table | None:
    text = _text(path)
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        if not required and "tool.serval" not in text:
            return None  # a broken file with nothing for us is not ours to complain of
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    if path.name != PROJECT_FILE:
        return Table(str(path), entries)
    tool = entries.get("tool")
    found = tool.get("serval") if isinstance(tool, dict) else None
    if isinstance(found, dict):
        return Table(str(path), found)
    if required or found is not None:
        raise ConfigError(f"{path} has no table [tool.serval]")
    return None


def read_env(path: str) -> Table:
    """The variables of an env file.

    Raises:
        ConfigError: It can't be read, or a line of it is wrong.
    """
    return Table(path, parse_env(_text(Path(path)), path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 at byte {exc.start}") from exc
