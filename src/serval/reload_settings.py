"""The settings of a developer's server: reload when a file changes.

A base of `ServerConfig`, apart for room.  Inert like all settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from serval.log_settings import LogSettings
from serval.options import Group, option


# Only ServerConfig is ever made: methods of its bases would be compiled for nothing at each start.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)
class ReloadSettings(LogSettings):
    """What to watch for changes."""

    reload: bool = option(
        False,
        "Watch the application's files, and replace the workers when one changes. Workers then "
        "stop within a second, and what does not start waits for the next change.",
        group=Group.RELOAD,
        negatable=False,
    )
    reload_dir: tuple[str, ...] = option(
        (),
        "A directory to watch, with those in it; app_dir by default. May be repeated.",
        group=Group.RELOAD,
        placeholder="DIR",
        completes="dir",
        aliases=("--reload-dirs", "--reload-paths"),
    )
    reload_include: tuple[str, ...] = option(
        (),
        "A pattern of files that count beside *.py, such as *.html or conf/*. May be repeated.",
        group=Group.RELOAD,
        placeholder="PATTERN",
    )
    reload_exclude: tuple[str, ...] = option(
        (),
        "A pattern of files and directories that do not count, whatever else says so; version "
        "control, virtual environments, caches and hidden directories never do. May be repeated.",
        group=Group.RELOAD,
        placeholder="PATTERN",
        aliases=("--reload-ignore-patterns", "--reload-ignore-dirs", "--reload-ignore-paths"),
    )
    reload_engine: Literal["auto", "poll"] = option(
        "auto",
        "How changes are learned of: auto asks the kernel where it can tell, poll looks at the "
        "files now and then, which network file systems need.",
        group=Group.RELOAD,
    )


def reload_faults(
    settings: ReloadSettings, *, workers: int, preload: bool
) -> Iterator[tuple[str, str]]:
    """What contradicts itself: the name of a setting, and what is wrong, as the end of a sentence.

    Args:
        settings: What to look at.
        workers: How many worker processes there shall be.
        preload: Whether the application is loaded before these.
    """
    if settings.reload and workers == 0:
        yield "reload", "needs a supervisor, which workers 0 does without"
    if settings.reload and preload:
        yield "reload", "contradicts preload: what is loaded before the workers is not loaded anew"
