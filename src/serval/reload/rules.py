"""Which files a developer's change counts of, and which directories are not even looked into.

Pure.  The order of patterns means nothing: a file counts if a pattern includes it, and none
excludes it or a directory that it lies in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

ALWAYS: Final = "*.py"
# What marks a virtual environment, whatever its name (PEP 405).
ENVIRONMENT_MARK: Final = "pyvenv.cfg"

_IGNORED: Final = {
    "__pycache__": "cache",
    "node_modules": "packages of node",
    "site-packages": "installed packages",
    "htmlcov": "coverage report",
}
_IGNORED_ENDINGS: Final = {".egg-info": "package metadata", ".dist-info": "package metadata"}
_VERSION_CONTROL: Final = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", "CVS"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What to watch.

    Attributes:
        include: Patterns of files beside `*.py`.
        exclude: Patterns of files and directories.

    A pattern is for the name of a file or directory, or, with a slash in it, for its path from the
    watched directory on; `*` stands for anything, slashes included.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def ignores(self, path: str) -> str:
        """Why a directory is not looked into, or nothing.

        Args:
            path: Of the directory, from the watched one on, with slashes.
        """
        name = path.rpartition("/")[2]
        if name in _VERSION_CONTROL:
            return "version control"
        if name in _IGNORED:
            return _IGNORED[name]
        for ending, reason in _IGNORED_ENDINGS.items():
            if name.endswith(ending):
                return reason
        if name.startswith("."):
            return "hidden"
        return next((f"excluded by {one}" for one in self.exclude if _matches(path, one)), "")

    def ignores_what_holds(self, names: Iterable[str]) -> str:
        """Why a directory with these entries is not looked into, or nothing."""
        return "virtual environment" if ENVIRONMENT_MARK in names else ""

    def counts(self, path: str) -> bool:
        """Whether a change of a file in a watched directory matters.

        Args:
            path: From the watched directory on, with slashes.
        """
        if any(_matches(path, one) for one in self.exclude):
            return False
        return any(_matches(path, one) for one in (ALWAYS, *self.include))


def _matches(path: str, pattern: str) -> bool:
    pattern = pattern.removeprefix("./").rstrip("/")
    return fnmatchcase(path if "/" in pattern else path.rpartition("/")[2], pattern)
