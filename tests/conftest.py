"""Two tests run at a time; one that compares times, or takes all of the machine, runs alone.

Most tests wait most of their time, so a second process that runs tests halves that of the suite.
"""

import fcntl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from missing import skip_what_is_missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some packages have no build for some Pythons."""
    skip_what_is_missing(items)


@contextmanager
def share(folder: Path, *, alone: bool) -> Iterator[None]:
    """Run beside others, or wait until they have ended and keep them away.

    All come in by one door, one after the other: who waits there to be alone lets nobody past.
    The locks belong to a process, so what a test forks does not hold them.
    """
    with (folder / "machine").open("a+") as machine:
        with (folder / "door").open("a+") as door:
            fcntl.lockf(door, fcntl.LOCK_EX)
            fcntl.lockf(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before what limits the time of a test
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Where several processes run tests (pytest-xdist), give each its share of the machine."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    # What the fixture of that name is made from: a hook cannot ask for one.
    factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    alone = item.get_closest_marker("alone") is not None
    with share(factory.getbasetemp().parent, alone=alone):
        return (yield)
