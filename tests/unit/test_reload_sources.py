"""Where changes are learned from, with real files."""

import errno
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serval.reload.inotify import IN_CLOSE_WRITE, IN_Q_OVERFLOW, Event, Inotify, parsed
from serval.reload.rules import Rules
from serval.reload.sources import KernelSource, PollingSource, open_source

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "views.py").write_text("x = 1")
    return tmp_path


def changes(source: KernelSource) -> set[str]:
    """What the kernel says by now; it says it at once."""
    select.select([source], [], [], 5.0)
    return {os.path.basename(path) for path in source.changed(0.0)}


def test_events_are_read_off_one_after_the_other() -> None:
    event = (7).to_bytes(4, sys.byteorder) + IN_CLOSE_WRITE.to_bytes(4, sys.byteorder) + bytes(4)
    named = event + (16).to_bytes(4, sys.byteorder) + b"app.py".ljust(16, b"\0")
    nameless = event + bytes(4)

    assert list(parsed(named + nameless)) == [
        Event(7, IN_CLOSE_WRITE, "app.py"),
        Event(7, IN_CLOSE_WRITE, ""),
    ]


@linux
def test_the_kernel_tells_of_what_is_written_moved_and_deleted(project: Path) -> None:
    source = KernelSource([str(project)], Rules())
    views = project / "app" / "views.py"

    views.write_text("x = 2")
    assert changes(source) == {"views.py"}
    (project / "new").write_text("")
    (project / "new").rename(project / "app" / "urls.py")  # as careful editors do
    assert changes(source) == {"urls.py"}
    views.unlink()
    assert changes(source) == {"views.py"}
    assert source.deadline == float("inf")
    source.close()


@linux
def test_the_kernel_is_not_asked_about_what_does_not_count(project: Path) -> None:
    source = KernelSource([str(project)], Rules(exclude=("media",)))

    (project / "notes.txt").write_text("")
    (project / "media").mkdir()
    (project / "media" / "x.py").write_text("")
    (project / "__pycache__").mkdir()
    (project / "__pycache__" / "x.py").write_text("")

    assert changes(source) == set()
    source.close()


@linux
def test_new_directories_are_watched_with_all_that_is_in_them(project: Path) -> None:
    source = KernelSource([str(project)], Rules())
    (project / "package" / "deep").mkdir(parents=True)
    (project / "package" / "deep" / "early.py").write_text("")

    assert "early.py" in changes(source)
    (project / "package" / "deep" / "late.py").write_text("")
    assert changes(source) == {"late.py"}
    source.close()


@linux
def test_a_directory_that_goes_is_forgotten(project: Path) -> None:
    source = KernelSource([str(project)], Rules())
    (project / "app" / "views.py").unlink()
    (project / "app").rmdir()

    assert changes(source) == {"views.py"}
    (project / "other.py").write_text("")
    assert changes(source) == {"other.py"}
    source.close()


class Exhausted(Inotify):
    """A kernel that has lost events, and gives no more watches."""

    def __init__(self) -> None:
        """Open nothing."""

    def events(self) -> Iterator[Event]:
        yield Event(-1, IN_Q_OVERFLOW, "")

    def add(self, path: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


@linux
def test_where_the_kernel_has_lost_events_and_watches_every_file_may_have_changed(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = KernelSource([str(project)], Rules())
    source.close()
    source._inotify = Exhausted()

    assert source.changed(0.0) == {str(project / "app" / "views.py")}
    assert "cannot watch all of it: No space left" in caplog.text


def test_looking_finds_what_was_changed_made_or_deleted(project: Path) -> None:
    source = PollingSource([str(project)], Rules())
    views, urls = project / "app" / "views.py", project / "app" / "urls.py"
    assert source.changed(source.deadline) == set()

    views.write_text("x = 123")
    urls.write_text("")
    assert source.changed(source.deadline) == {str(views), str(urls)}
    views.unlink()
    assert source.changed(source.deadline) == {str(views)}
    assert source.fileno() == -1


def test_nobody_looks_before_it_is_time(project: Path) -> None:
    source = PollingSource([str(project)], Rules())
    (project / "app" / "views.py").write_text("x = 123")

    assert source.changed(source.deadline - 0.01) == set()
    assert source.changed(source.deadline) != set()


def test_looking_is_what_remains_where_it_is_asked_for(project: Path) -> None:
    source = open_source([str(project)], Rules(), polls=True)

    assert isinstance(source, PollingSource)
    source.close()
