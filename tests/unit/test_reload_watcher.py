"""From changes to a reload."""

from math import inf
from pathlib import Path

import pytest

from serval.config import ServerConfig
from serval.errors import ConfigError
from serval.outlook import Outlook
from serval.reload.rules import Rules
from serval.reload.watcher import ReloadWatcher, roots_of, rules_of, syntax_fault, watch


class Source:
    """Changes as the test has them."""

    deadline = inf

    def __init__(self) -> None:
        self.next: set[str] = set()
        self.is_open = True

    def fileno(self) -> int:
        return 7

    def changed(self, now: float) -> set[str]:
        found, self.next = self.next, set()
        return found

    def close(self) -> None:
        self.is_open = False


class Overseer:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.reloads = 0

    def outlook(self) -> Outlook:
        return Outlook()

    def ask_reload(self) -> str:
        self.reloads += 1
        return ""

    def ask_scale(self, workers: int) -> str:
        raise AssertionError(workers)


class World:
    """A watcher and its surroundings."""

    def __init__(self) -> None:
        self.source = Source()
        self.overseer = Overseer()
        self.watcher = ReloadWatcher(self.source)
        self.now = 100.0

    def change(self, *paths: object) -> None:
        self.source.next = {str(path) for path in paths}
        self.watcher.turn(self.overseer, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass as the loop does."""
        until = self.now + seconds
        while self.watcher.deadline <= until:
            self.now = self.watcher.deadline
            self.watcher.turn(self.overseer, self.now)
        self.now = until


def test_a_change_reloads_once_it_has_settled() -> None:
    world = World()

    world.change("page.html")
    assert world.overseer.reloads == 0
    world.wait(0.05)

    assert world.overseer.reloads == 1
    assert world.watcher.deadline == inf


def test_several_changes_reload_once() -> None:
    world = World()
    for number in range(5):
        world.change(f"{number}.html")
        world.wait(0.04)

    world.wait(1.0)

    assert world.overseer.reloads == 1


def test_changes_without_end_do_not_hold_it_up_for_long() -> None:
    world = World()

    for number in range(20):
        world.change(f"{number}.html")
        world.wait(0.04)

    assert world.overseer.reloads == 1


def test_nothing_happens_where_nothing_has_changed() -> None:
    world = World()

    world.change()

    assert (world.watcher.deadline, world.watcher.fileno()) == (inf, 7)


def test_a_syntax_error_is_shown_and_waited_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    broken, other = tmp_path / "broken.py", tmp_path / "other.py"
    broken.write_text("def f(:\n")
    other.write_text("x = 1")

    world.change(broken, other)
    world.wait(1.0)
    assert world.overseer.reloads == 0
    assert "line 1" in caplog.text
    assert "def f(:" in caplog.text
    world.change(other)
    world.wait(1.0)
    assert world.overseer.reloads == 0  # it is still broken
    broken.write_text("def f(): ...\n")
    world.change(broken)
    world.wait(1.0)

    assert world.overseer.reloads == 1
    assert caplog.text.count("waiting for a change") == 1


def test_a_broken_file_that_is_deleted_breaks_nothing_any_more(tmp_path: Path) -> None:
    world = World()
    broken = tmp_path / "broken.py"
    broken.write_text("(")
    world.change(broken)
    world.wait(1.0)

    broken.unlink()
    world.change(broken)
    world.wait(1.0)

    assert world.overseer.reloads == 1


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (b"x = 1", ""),
        (b"x = '\\d'", ""),  # a warning, which a compiler gives again when it matters
        (b"x =", "SyntaxError in "),
        (b"def f():\nx = 1", "IndentationError in "),
        (b"x = 1\0", "Error in "),
        (b"\xff", "SyntaxError in "),
        (b"x = " + b"+".join([b"1"] * 60_000), "Error in "),
        (b"x = " + b"-" * 60_000 + b"1", "Error in "),
    ],
)
def test_what_is_no_python_is_known_without_running_it(
    tmp_path: Path, source: bytes, fault: str
) -> None:
    path = tmp_path / "module.py"
    path.write_bytes(source)

    found = syntax_fault(str(path))

    assert (fault in found) if fault else found == ""


def test_children_and_the_end_close_the_source() -> None:
    for name in ("close", "close_in_child"):
        world = World()
        getattr(world.watcher, name)()
        assert not world.source.is_open


@pytest.mark.parametrize(
    ("config", "roots"),
    [
        (ServerConfig(), [""]),
        (ServerConfig(app_dir="src"), ["src"]),
        (ServerConfig(app_dir="src", reload_dir=("a", "b")), ["a", "b"]),
    ],
)
def test_the_directories_to_watch_are_those_named(config: ServerConfig, roots: list[str]) -> None:
    assert roots_of(config) == [str(Path.cwd() / root) for root in roots]


def test_a_current_directory_that_goes_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    watcher = watch(ServerConfig(reload_engine="poll"))
    gone.rmdir()
    world = World()

    watcher.turn(world.overseer, watcher.deadline)
    world.change(gone / "views.txt")
    world.wait(1.0)

    assert world.overseer.reloads == 1
    with pytest.raises(ConfigError, match="cannot watch the current directory"):
        watch(ServerConfig())


def test_the_rules_are_those_of_the_configuration() -> None:
    config = ServerConfig(reload_include=("*.html",), reload_exclude=("x",))

    assert rules_of(config) == Rules(include=("*.html",), exclude=("x",))


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no directory"):
        watch(ServerConfig(reload_dir=(str(tmp_path / "gone"),)))


def test_watching_begins_with_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")

    watcher = watch(ServerConfig(reload_dir=(str(tmp_path),)))

    assert watcher.deadline > 0.0
    watcher.close()
