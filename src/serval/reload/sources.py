"""Where changes are learned from: the kernel, or looking at every file now and then."""

import errno
import logging
import os
import time
from collections.abc import Sequence
from math import inf
from typing import Final, Protocol

from serval.reload.inotify import (
    IN_CREATE,
    IN_IGNORED,
    IN_ISDIR,
    IN_MOVED_TO,
    IN_Q_OVERFLOW,
    Inotify,
)
from serval.reload.rules import Rules
from serval.reload.tree import Directory, Survey, survey, survey_below

logger = logging.getLogger("serval.error")

# A look takes at most that share of the time, however many files there are.
POLLING_SHARE: Final = 0.01
LEAST_POLL_SECONDS: Final = 0.5


class ChangeSource(Protocol):
    """Tells which files have changed."""

    @property
    def deadline(self) -> float:
        """When to look though nothing calls; infinity for never."""

    def fileno(self) -> int:
        """Readable when there is something to look at; -1 where nothing is ever."""

    def changed(self, now: float) -> set[str]:
        """The paths of the files that have changed since the last call, and that count."""

    def close(self) -> None:
        """Give everything back."""


class KernelSource:
    """Changes by inotify.

    Raises:
        OSError: There is no inotify, or not enough of it.
    """

    deadline = inf

    def __init__(self, roots: Sequence[str], rules: Rules) -> None:
        self._roots = roots
        self._rules = rules
        self._inotify = Inotify()
        self._watches: dict[int, Directory] = {}
        try:
            self.found = self._watch(survey(roots, rules))
        except OSError:
            self._inotify.close()
            raise

    def fileno(self) -> int:
        """Readable when something has happened."""
        return self._inotify.fileno()

    def changed(self, now: float) -> set[str]:
        """The files that have changed since the last call, and that count."""
        paths: set[str] = set()
        for event in self._inotify.events():
            if event.mask & IN_Q_OVERFLOW:  # nobody knows what has changed
                paths.update(self._watch_more(survey(self._roots, self._rules), "all of it"))
                continue
            directory = self._watches.get(event.watch)
            if directory is None:
                continue
            if event.mask & IN_IGNORED:  # it is gone
                del self._watches[event.watch]
            elif event.mask & IN_ISDIR:
                if event.mask & (IN_CREATE | IN_MOVED_TO):
                    paths.update(self._enter(directory, event.name))
            # A file that was created counts once it is written.
            elif not event.mask & IN_CREATE and self._rules.counts(directory.within(event.name)):
                paths.add(os.path.join(directory.path, event.name))
        return paths

    def close(self) -> None:
        """Watch no more."""
        self._inotify.close()

    def _enter(self, directory: Directory, name: str) -> list[str]:
        """Watch a new directory; the files that came with it."""
        path = os.path.join(directory.path, name)
        found = Survey()
        survey_below(Directory(path, directory.within(name), directory.root), self._rules, found)
        return self._watch_more(found, path)

    def _watch_more(self, found: Survey, what: str) -> list[str]:
        """Watch directories as far as the kernel lets us; the files in them."""
        try:
            self._watch(found)
        except OSError as exc:
            logger.warning("reload: cannot watch %s: %s", what, exc.strerror)
        return found.files

    def _watch(self, found: Survey) -> Survey:
        for directory in found.directories:
            try:
                self._watches[self._inotify.add(directory.path)] = directory
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                    raise
        return found


class PollingSource:
    """Changes by looking at the times and sizes of all files, seldom enough to cost little."""

    def __init__(self, roots: Sequence[str], rules: Rules) -> None:
        self._roots = roots
        self._rules = rules
        self.found = Survey()
        self._seen = self._look()
        self.deadline = self._next(time.monotonic())

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    def changed(self, now: float) -> set[str]:
        """The files that have changed since the last look, if it is time for one."""
        if now < self.deadline:
            return set()
        before, self._seen = self._seen, self._look()
        self.deadline = self._next(now)
        return {path for path, _ in before.items() ^ self._seen.items()}

    def close(self) -> None:
        """There is nothing to give back."""

    def _look(self) -> dict[str, tuple[int, int]]:
        began_at = time.monotonic()
        self.found = survey(self._roots, self._rules)
        seen = {}
        for path in self.found.files:
            try:
                status = os.stat(path)
            except OSError:  # gone meanwhile
                continue
            seen[path] = (status.st_mtime_ns, status.st_size)
        self._seconds = time.monotonic() - began_at
        return seen

    def _next(self, now: float) -> float:
        return now + max(LEAST_POLL_SECONDS, self._seconds / POLLING_SHARE)


def open_source(roots: Sequence[str], rules: Rules, *, polls: bool) -> KernelSource | PollingSource:
    """The best source of changes that there is here."""
    if not polls:
        try:
            return KernelSource(roots, rules)
        except OSError as exc:
            hint = " (see fs.inotify.max_user_watches)" if exc.errno == errno.ENOSPC else ""
            logger.info("reload: looking at files now and then, for inotify says: %s%s", exc, hint)
    return PollingSource(roots, rules)
