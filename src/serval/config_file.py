"""Finds and reads the files that settings come from: TOML, and env files.

The command calls it, at the start and again for a reload; the configuration itself opens nothing.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from serval.config import ServerConfig
from serval.env_file import parse_env
from serval.errors import ConfigError
from serval.layers import CONFIG_VARIABLE, Given, Sources, Table, env_files_named
from serval.options import options_of

PROJECT_FILE: Final = "pyproject.toml"


class ConfigReader:
    """Reads all sources, as often as it is called, and fills the environment from env files.

    Flags and environment are those of its making: what an env file brought in before is no
    variable that a later reading of the same file would have to give way to.
    """

    def __init__(self, flags: Sequence[Given], path: str) -> None:
        self._flags = tuple(flags)
        self._environ = dict(os.environ)
        self._path = path or self._environ.get(CONFIG_VARIABLE, "")
        self._filled: dict[str, str] = {}

    def __call__(self) -> ServerConfig:
        """The settings as the sources have them now.

        Raises:
            ConfigError: A file can't be read, or a setting is wrong; the environment is as before.
        """
        named = Sources(flags=self._flags, environ=self._environ, file=read_config(self._path))
        env_files = [read_env(name) for name in env_files_named(options_of(ServerConfig), named)]
        config = ServerConfig.load(replace(named, env_files=env_files))
        self._fill(env_files)
        return config

    def _fill(self, env_files: Sequence[Table]) -> None:
        variables = {
            name: str(value) for table in env_files for name, value in table.entries.items()
        }
        filled = {name: variables[name] for name in variables.keys() - self._environ.keys()}
        for gone in self._filled.keys() - filled.keys():
            os.environ.pop(gone, None)
        os.environ.update(filled)
        self._filled = filled


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
    import tomllib  # noqa: PLC0415 - most starts have no file

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
