"""Reloads the workers when a developer has changed something.

A companion of the supervisor's loop.  A file that is no Python yet changes nothing but the log:
what serves goes on until the mistake is mended.
"""

import logging
import os
import warnings
from collections.abc import Iterable
from math import inf
from typing import Final

from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.outlook import Overseer
from serval.reload.rules import Rules
from serval.reload.sources import ChangeSource, open_source

logger = logging.getLogger("serval.error")

# An editor or a version control writes several files: so long after the last one, all are there.
SETTLE_SECONDS: Final = 0.05
# However many files change, at the latest.
LATEST_SECONDS: Final = 0.5
_NAMED_COUNT: Final = 3


class ReloadWatcher:
    """Waits for changes, lets them settle, and asks for a reload.

    Args:
        source: Tells which files have changed.
    """

    def __init__(self, source: ChangeSource) -> None:
        self._source = source
        self._changed: set[str] = set()
        self._broken: set[str] = set()
        self._first_at = 0.0
        self._settled_at = inf

    @property
    def deadline(self) -> float:
        """When there is something to look at, or what has changed is all there."""
        return min(self._settled_at, self._source.deadline)

    def fileno(self) -> int:
        """Readable when something has changed."""
        return self._source.fileno()

    def turn(self, overseer: Overseer, now: float) -> None:
        """Take note of changes; where they have settled, reload."""
        if changed := self._source.changed(now):
            if not self._changed:
                self._first_at = now
            self._changed |= changed
            self._settled_at = min(now + SETTLE_SECONDS, self._first_at + LATEST_SECONDS)
        if now < self._settled_at:
            return
        self._settled_at = inf
        changed, self._changed = self._changed, set()
        if self._is_sound(changed):
            logger.info("%s changed: reloading", _named(changed))
            overseer.ask_reload()

    def close_in_child(self) -> None:
        """Leave the source to the supervisor."""
        self._source.close()

    def close(self) -> None:
        """Watch no more."""
        self._source.close()

    def _is_sound(self, changed: set[str]) -> bool:
        """Whether all that changed can be compiled; what cannot is said once."""
        suspects = sorted(path for path in changed | self._broken if path.endswith(".py"))
        faults = {path: fault for path in suspects if (fault := syntax_fault(path))}
        self._broken = set(faults)
        for path, fault in faults.items():
            if path in changed:
                logger.error("%s; the workers stay as they are, waiting for a change", fault)
        return not faults


def roots_of(config: ServerConfig) -> list[str]:
    """The directories to watch, absolute: the current one may be replaced by another.

    Raises:
        ConfigError: The current one is gone.
    """
    roots = list(config.reload_dir) or [config.app_dir or os.curdir]
    try:
        return [os.path.abspath(root) for root in roots]
    except OSError as exc:
        raise ConfigError(f"cannot watch the current directory: {exc.strerror}") from exc


def rules_of(config: ServerConfig) -> Rules:
    """What counts in them."""
    return Rules(include=config.reload_include, exclude=config.reload_exclude)


def watch(config: ServerConfig) -> ReloadWatcher:
    """Begin to watch what a configuration names.

    Raises:
        ConfigError: A directory to watch is none.
    """
    roots = roots_of(config)
    for root in roots:
        if not os.path.isdir(root):
            raise ConfigError(f"reload_dir {root!r} is no directory")
    source = open_source(roots, rules_of(config), polls=config.reload_engine == "poll")
    found = source.found
    logger.info(
        "watching %d files in %d directories for changes; --reload-explain tells which",
        len(found.files),
        len(found.directories),
    )
    return ReloadWatcher(source)


def syntax_fault(path: str) -> str:
    """What keeps a file from being compiled, or nothing; a file that is gone has no fault."""
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as exc:
        text = f"\n    {exc.text.strip()}" if exc.text else ""
        return f"{type(exc).__name__} in {path}, line {exc.lineno}: {exc.msg}{text}"
    # Null bytes, before Python 3.12; an expression that is too deep, as programs write them.
    except (ValueError, RecursionError, MemoryError) as exc:
        return f"{type(exc).__name__} in {path}: {exc}"
    return ""


def _named(paths: Iterable[str]) -> str:
    """A few paths, as seen from here."""
    try:
        names = sorted(os.path.relpath(path) for path in paths)
    except OSError:  # the current directory is gone
        names = sorted(paths)
    shown = ", ".join(names[:_NAMED_COUNT])
    return shown if len(names) <= _NAMED_COUNT else f"{shown} and {len(names) - _NAMED_COUNT} more"
