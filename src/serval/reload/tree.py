"""The directories to watch below some roots, and why others are left out.

Reads the file system; changes nothing.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from serval.reload.rules import Rules


class Directory(NamedTuple):
    """A directory that is watched.

    Attributes:
        path: Absolute.
        relative: From its root on, with slashes; empty for the root itself.
        root: The watched directory that it lies in.
    """

    path: str
    relative: str
    root: str

    def within(self, name: str) -> str:
        """The path of something in it, from the root on."""
        return f"{self.relative}/{name}" if self.relative else name


@dataclass(slots=True)
class Survey:
    """What there is to watch.

    Attributes:
        directories: Those to watch.
        files: Those whose change counts: their absolute paths.
        ignored: Directories that are left out, each with the reason.
    """

    directories: list[Directory] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)


def survey(roots: Sequence[str], rules: Rules) -> Survey:
    """Look through all roots."""
    found = Survey()
    for root in dict.fromkeys(str(Path(root).resolve()) for root in roots):
        survey_below(Directory(root, "", root), rules, found)
    return found


def survey_below(start: Directory, rules: Rules, found: Survey) -> None:
    """Look through a directory and those in it; links to directories are not followed."""
    todo = [start]
    while todo:
        here = todo.pop()
        if here.relative and (reason := rules.ignores(here.relative)):
            found.ignored.append((here.path, reason))
            continue
        entries = sorted(_entries(here.path), key=lambda entry: entry.name, reverse=True)
        if here.relative and (reason := rules.ignores_what_holds(one.name for one in entries)):
            found.ignored.append((here.path, reason))
            continue
        found.directories.append(here)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                todo.append(Directory(entry.path, here.within(entry.name), here.root))
            elif rules.counts(here.within(entry.name)):
                found.files.append(entry.path)


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            yield from entries
    except OSError:  # gone again, or not ours to read
        return


def explained(found: Survey, rules: Rules) -> Iterator[str]:
    """What is watched and why, line by line."""
    patterns = ", ".join(("*.py", *rules.include))
    files, directories = len(found.files), len(found.directories)
    yield f"watched: {files} files like {patterns} in {directories} directories"
    for root in dict.fromkeys(one.root for one in found.directories):
        below = [one for one in found.directories if one.root == root]
        yield f"  {root} and {len(below) - 1} directories in it"
    if rules.exclude:
        yield f"not watched: files like {', '.join(rules.exclude)}"
    if found.ignored:
        yield "not looked into:"
    for path, reason in sorted(found.ignored):
        yield f"  {path}: {reason}"
