import logging
import os
import stat
from pathlib import Path

import pytest

from serval.errors import ConfigError
from serval.log_files import LogFile


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    path.write_text("before\n")

    file = LogFile(str(path))
    file.write("a\n")
    file.flush()
    file.write("\u00e9\ud800\n")

    assert path.read_bytes() == b"before\na\n\xc3\xa9\\ud800\n"
    file.close()


def test_after_a_rename_lines_go_to_a_new_file_through_the_same_descriptor(tmp_path: Path) -> None:
    path, old = tmp_path / "a.log", tmp_path / "a.log.1"
    file = LogFile(str(path))
    fd = file.fileno()
    file.write("one\n")

    path.rename(old)
    file.write("two\n")
    file.reopen()
    os.write(fd, b"three\n")

    assert old.read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"
    assert not os.get_inheritable(fd)
    file.close()


def test_a_file_is_followed_only_where_it_was_renamed_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = LogFile(str(path))
    before = os.fstat(file.fd).st_ino

    file.follow()
    assert os.fstat(file.fd).st_ino == before
    path.rename(tmp_path / "a.log.1")
    file.follow()
    assert os.path.samestat(os.fstat(file.fd), path.stat())
    path.rename(tmp_path / "a.log.2")
    path.write_text("of somebody else\n")
    file.follow()
    assert os.path.samestat(os.fstat(file.fd), path.stat())
    file.close()


def test_a_file_that_cannot_be_opened_anew_is_kept_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "logs" / "a.log"
    path.parent.mkdir()
    file = LogFile(str(path))
    path.parent.rename(tmp_path / "gone")

    with caplog.at_level(logging.WARNING):
        file.reopen()
    file.write("still\n")

    assert (tmp_path / "gone" / "a.log").read_text() == "still\n"
    assert f"cannot open {path} anew, going on as before: No such file" in caplog.text
    file.close()


def test_a_file_that_cannot_be_opened_at_all_is_an_error_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        LogFile(str(tmp_path / "none" / "a.log"))

    assert str(refusal.value) == (
        f"cannot open the log file {tmp_path}/none/a.log: No such file or directory"
    )


def test_a_relative_name_means_nothing_once_the_current_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(ConfigError, match=r"cannot open the log file a\.log: No such"):
        LogFile("a.log")


def test_a_file_may_be_given_to_whom_it_belongs_already(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "a.log"))

    file.give(-1, -1)
    file.give(os.getuid(), os.getgid())

    assert stat.S_IMODE(os.fstat(file.fd).st_mode) & 0o133 == 0
    assert os.fstat(file.fd).st_uid == os.getuid()
    file.close()
