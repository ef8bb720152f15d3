import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serval.errors import ConfigError
from serval.pid_file import PidFile, running_server

needs_procfs = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@contextmanager
def process(*command: str) -> Iterator[int]:
    """A program that has begun, and that ends with the block."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        assert started.stdout.read(1) == b"!"
        yield started.pid
        started.stdin.close()


SLEEPER = "import sys; sys.stdout.write('!'); sys.stdout.flush(); sys.stdin.read()"


def test_it_holds_the_process_id_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"

    file = PidFile(str(path))
    written = path.read_text()
    file.close()

    assert written == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_anybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    umask = os.umask(0o022)

    PidFile(str(path))
    os.umask(umask)

    assert path.stat().st_mode & 0o777 == 0o644


def test_without_a_path_there_is_no_file() -> None:
    PidFile("").close()


def test_a_relative_path_means_the_directory_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = PidFile("x.pid")

    monkeypatch.chdir("/")
    file.close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "99999999", "9" * 40, "12 34"])
def test_what_names_no_living_process_is_written_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.pid"
    path.write_text(text)

    PidFile(str(path))

    assert path.read_text() == f"{os.getpid()}\n"


def test_our_own_number_from_an_earlier_life_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    path.write_text(f"{os.getpid()}\n")

    assert running_server(str(path)) is None


@needs_procfs
def test_a_number_that_another_program_has_now_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    with process(sys.executable, "-c", SLEEPER, "--name=serval") as pid:
        path.write_text(str(pid))

        PidFile(str(path))

    assert path.read_text() == f"{os.getpid()}\n"


@needs_procfs
@pytest.mark.parametrize(
    "how", [("serval",), ("-m", "serval"), ("-X", "dev", "-m", "serval", "a:b")]
)
def test_a_living_serval_keeps_its_file(tmp_path: Path, how: tuple[str, ...]) -> None:
    path = tmp_path / "x.pid"
    (tmp_path / "serval").write_text(SLEEPER)
    (tmp_path / "serval.py").write_text(SLEEPER)
    arguments = [str(tmp_path / "serval")] if how == ("serval",) else list(how)
    command = ["env", "-C", str(tmp_path), sys.executable, *arguments]
    with process(*command) as pid:
        path.write_text(f"{pid}\n")

        with pytest.raises(ConfigError) as refusal:
            PidFile(str(path))

    assert str(refusal.value) == f"pid file {path}: a serval runs already, as process {pid}"
    assert path.read_text() == f"{pid}\n"


def test_another_server_s_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    file = PidFile(str(path))

    other = PidFile(str(path))
    file.close()

    assert path.exists()
    other.close()
    assert not path.exists()


def test_a_file_that_is_gone_is_no_trouble_at_the_end(tmp_path: Path) -> None:
    file = PidFile(str(tmp_path / "x.pid"))
    (tmp_path / "x.pid").unlink()

    file.close()


def test_a_file_that_cannot_be_written_is_told_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "x.pid"

    with pytest.raises(ConfigError) as refusal:
        PidFile(str(path))

    assert str(refusal.value) == f"cannot write pid file {path}: No such file or directory"


def test_a_relative_path_means_nothing_once_the_current_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(ConfigError, match=r"cannot write pid file x\.pid: No such"):
        PidFile("x.pid")


def test_a_symbolic_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "x.pid").symlink_to(tmp_path / "precious")

    PidFile(str(tmp_path / "x.pid"))

    assert (tmp_path / "precious").read_text() == "precious"


def test_what_cannot_be_put_in_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x.pid").mkdir()

    with pytest.raises(ConfigError, match="Is a directory"):
        PidFile(str(tmp_path / "x.pid"))

    assert [one.name for one in tmp_path.iterdir()] == ["x.pid"]
