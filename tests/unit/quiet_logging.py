"""Logging as a process finds it that nobody has set up yet, although pytest listens in."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


def _is_pytests(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("_pytest")


def without_pytest() -> None:
    """Take pytest's handlers off the root logger; it puts them there anew for each test."""
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not _is_pytests(handler)]


@contextmanager
def restored() -> Iterator[None]:
    """Put back what a test has changed."""
    root = logging.getLogger()
    ours = [logging.getLogger(name) for name in ("serval", "serval.error", "serval.access")]
    before = [
        (one, one.handlers[:], one.level, one.propagate, one.filters[:]) for one in (root, *ours)
    ]
    for one in ours:
        one.handlers[:] = []
        one.propagate = True
    yield
    for one, handlers, level, propagate, filters in before:
        one.handlers[:], one.propagate, one.filters[:] = handlers, propagate, filters
        one.setLevel(level)
