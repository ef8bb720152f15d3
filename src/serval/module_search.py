"""Modules that an operator may have meant, looked for where the import system did not find one.

Only names and paths are read; nothing is imported.  The search is bounded, for it may start in a
home directory.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DEEPEST: Final = 3
_MOST_DIRECTORIES: Final = 500
_NOT_CODE: Final = frozenset(
    {"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist", "tests"}
)


def similar_modules(wanted: str, directory: Path, *, limit_count: int = 3) -> list[str]:
    """Dotted names below a directory that look like the one that was wanted, best first."""
    import difflib  # noqa: PLC0415 - only what is not found needs it

    found = dict.fromkeys(_modules(directory))
    last = wanted.rpartition(".")[2]
    namesakes = [name for name in found if name.rpartition(".")[2] == last and name != wanted]
    near = difflib.get_close_matches(wanted, found, n=limit_count, cutoff=0.75)
    return list(dict.fromkeys(namesakes + near))[:limit_count]


def module_of_path(target: str) -> str:
    """The dotted name for what looks like a path: `src/main.py` is `src.main`."""
    return target.removesuffix(".py").replace("\\", "/").strip("./").replace("/", ".")


def _modules(directory: Path) -> Iterator[str]:
    pending = [(directory, "")]
    for _ in range(_MOST_DIRECTORIES):
        if not pending:
            return
        at, prefix = pending.pop(0)
        for entry in _entries(at):
            name = f"{prefix}{entry.name.removesuffix('.py')}"
            if entry.name.endswith(".py"):
                yield name.removesuffix(".__init__")
            elif prefix.count(".") < _DEEPEST and _is_directory(entry):
                pending.append((Path(entry.path), f"{name}."))


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(
                (one for one in entries if one.name.removesuffix(".py").isidentifier()),
                key=lambda one: one.name,
            )
    except OSError:  # not ours to read: what is there cannot be imported either
        return []


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.name not in _NOT_CODE and entry.is_dir(follow_symlinks=False)
    except OSError:  # it has just gone
        return False
